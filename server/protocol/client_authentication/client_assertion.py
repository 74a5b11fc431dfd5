"""private_key_jwt and client_secret_jwt: the client proves itself by a token it signed (RFC 7523 §3, OIDC Core §9).

Each assertion counts once. By default its audience is the issuer or the token endpoint, and nobody besides: whoever
else may read it could use it here (CVE-2025-27370). A client registered as strict has to name the issuer, as a string,
and to let its assertions expire within five minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from server.domain.client_keys import KeysUnavailable, verify_signed_by
from server.domain.client_secrets import CLIENT_SECRET_JWT, PRIVATE_KEY_JWT, readable_client_secrets
from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.domain.used_assertions import use_assertion
from server.infra import foreign_tokens, jose
from server.protocol.client_authentication.token_times import LEEWAY_SECONDS, why_untimely

HMAC_ALGORITHM: Final = "HS256"
#: What `token_endpoint_auth_signing_alg_values_supported` tells.
SIGNING_ALGORITHMS: Final = (*jose.SIGNING_ALGORITHMS, HMAC_ALGORITHM)
#: How far ahead an assertion may expire: so long its `jti` is kept. Libraries in wide use take an hour (Authlib).
MAXIMUM_LIFETIME: Final = 3600
MAXIMUM_STRICT_LIFETIME: Final = 300
#: Not the client's fault as far as anybody can tell: no guess, and not counted as one.
KEYS_UNAVAILABLE: Final = "the client's keys cannot be fetched"
#: No other kind of token that a client signs passes for an assertion (RFC 8725 §3.11).
_TYPES: Final = frozenset({"jwt", "client-authentication+jwt"})


def why_assertion_refused(work: UnitOfWork, client: Client, assertion: str) -> str | None:
    """Why the assertion does not prove that it is this client, in fixed words for the audit log; None uses it up."""
    try:
        decoded = verify_client_signature(work, client, assertion)
    except KeysUnavailable:
        return KEYS_UNAVAILABLE
    except jose.InvalidToken as error:
        return f"client assertion: {error}"
    fault = _why_type_refused(decoded.header) or _why_claims_refused(work, client, decoded.claims)
    if fault is not None:
        return f"client assertion: {fault}"
    until = datetime.fromtimestamp(int(decoded.claims["exp"]) + LEEWAY_SECONDS + 1, UTC)
    return None if use_assertion(work, client.id, decoded.claims["jti"], until) else "client assertion: used before"


def verify_client_signature(work: UnitOfWork, client: Client, token: str) -> jose.DecodedToken:
    """Verifies what a client signed in its registered way: its own key, or its secret, and never the other.

    Raises:
        InvalidToken: when it is not signed so.
        KeysUnavailable: when the client's keys cannot be fetched.
    """
    registered = client.token_endpoint_auth_signing_alg
    if client.token_endpoint_auth_method == PRIVATE_KEY_JWT:
        algorithms = jose.SIGNING_ALGORITHMS if registered is None else (registered,)
        return verify_signed_by(work, client, token, algorithms)
    if registered in {None, HMAC_ALGORITHM}:
        for secret in readable_client_secrets(work, client):
            try:
                return foreign_tokens.verify_hmac(token, secret)
            except jose.InvalidToken:
                continue
    raise jose.InvalidToken("The token is not signed with a live secret of the client.")


def is_for_client_authentication(work: UnitOfWork, client: Client, decoded: jose.DecodedToken) -> bool:
    """Whether a token that the client signed is one that it could prove itself by, in time and unused."""
    if client.token_endpoint_auth_method not in {PRIVATE_KEY_JWT, CLIENT_SECRET_JWT}:
        return False
    named = all(decoded.claims.get(name) == client.id for name in ("iss", "sub"))
    is_addressed = named and _is_for_us(work, client, decoded.claims.get("aud"))
    return is_addressed and "jti" in decoded.claims and _why_type_refused(decoded.header) is None


def _why_type_refused(header: Mapping[str, Any]) -> str | None:
    kind = header.get("typ", "JWT")
    is_known = isinstance(kind, str) and kind.lower().removeprefix("application/") in _TYPES
    return None if is_known else "it is another kind of token"


def _why_claims_refused(work: UnitOfWork, client: Client, claims: Mapping[str, Any]) -> str | None:
    if claims.get("iss") != client.id or claims.get("sub") != client.id:
        return "issuer and subject have to be the client"
    if not _is_for_us(work, client, claims.get("aud")):
        return "it is for another audience"
    if "exp" not in claims:
        return "it never expires"
    now = work.now.timestamp()
    untimely = why_untimely(claims, now)
    if untimely is not None:
        return untimely
    longest = MAXIMUM_STRICT_LIFETIME if client.strict_assertion_audience else MAXIMUM_LIFETIME
    if claims["exp"] > now + longest + LEEWAY_SECONDS:
        return f"it lives longer than {longest} seconds"
    jti = claims.get("jti")
    return None if isinstance(jti, str) and jti else "it has no jti"


def _is_for_us(work: UnitOfWork, client: Client, audience: object) -> bool:
    issuer = work.settings.issuer
    if client.strict_assertion_audience:
        return audience == issuer
    audiences = audience if isinstance(audience, list) else [audience]
    return bool(audiences) and all(each in (issuer, work.settings.url("/oauth/token")) for each in audiences)
