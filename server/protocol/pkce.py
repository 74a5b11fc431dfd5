"""PKCE with S256 alone: `plain` is refused, also when it is only implied (RFC 7636, RFC 9700 §2.1.1)."""

from __future__ import annotations

from typing import Any, Final

from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7636.challenge import CODE_VERIFIER_PATTERN, create_s256_code_challenge

from server.protocol.errors import InvalidGrant, InvalidRequest
from server.protocol.request import Parameters

METHODS: Final = ("S256",)
#: An S256 challenge is the base64url of 32 bytes: 43 characters, no more (RFC 7636 §4.2).
_CHALLENGE_CHARACTERS: Final = 43


def check_code_challenge(parameters: Parameters, *, required: bool) -> str | None:
    """The request's challenge, or None when it has none and needs none (RFC 7636 §4.3, §4.4.1).

    Raises:
        InvalidRequest: when it is missing though required, malformed, or not S256.
    """
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if challenge is None:
        if required or method is not None:
            raise InvalidRequest("PKCE is required: code_challenge is missing.", parameter="code_challenge")
        return None
    if method not in METHODS:
        # An absent method means plain, which shows the verifier to whoever reads the request.
        raise InvalidRequest("code_challenge_method must be S256.", parameter="code_challenge_method")
    if len(challenge) != _CHALLENGE_CHARACTERS or CODE_VERIFIER_PATTERN.fullmatch(challenge) is None:
        raise InvalidRequest("code_challenge is malformed.", parameter="code_challenge")
    return challenge


def _s256(verifier: str) -> str:
    return str(create_s256_code_challenge(verifier))  # type: ignore[no-untyped-call]  # Authlib has no types


class ProofKey(CodeChallenge):
    """The token endpoint's half, as an extension of Authlib's code grant."""

    def __call__(self, grant: Any) -> None:
        """Attaches to the grant; the authorization endpoint's half is a row of `authorization.checks`."""
        grant.register_hook("after_validate_token_request", self.validate_code_verifier)

    def validate_code_verifier(self, grant: Any, result: object) -> None:
        """The verifier must be there exactly when the challenge was, and fit it (RFC 7636 §4.6, RFC 9700 §4.8.2).

        Raises:
            InvalidGrant: for every fault, as certification asks.
        """
        verifier = grant.request.form.get("code_verifier")
        challenge = grant.request.authorization_code.code_challenge
        if (challenge is None) != (verifier is None):
            raise InvalidGrant("The code_verifier is missing, or was not announced by a code_challenge.")
        if verifier is None:
            return
        if CODE_VERIFIER_PATTERN.fullmatch(verifier) is None or _s256(verifier) != challenge:
            raise InvalidGrant("The code_verifier does not fit the code_challenge.")
