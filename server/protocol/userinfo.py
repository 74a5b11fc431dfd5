"""The UserInfo response (OpenID Connect Core §5.3)."""

from __future__ import annotations

from typing import Any

from server.domain.claims import claims_of
from server.domain.subjects import subject_of
from server.domain.unit_of_work import UnitOfWork
from server.protocol.authorization_server import EndpointResponse
from server.protocol.tokens.access_token import VerifiedAccessToken
from server.protocol.tokens.signed_response import prepare_to_encrypt, sign_response


def userinfo_response(work: UnitOfWork, token: VerifiedAccessToken) -> EndpointResponse:
    """The claims that the token opens: JSON, or the JWT that the client registered, perhaps encrypted (§5.3.2).

    Raises:
        InvalidRequest: when it is to be encrypted and the client has no key for that.
    """
    client = token.client
    claims = _claims(work, token)
    signing, encryption = client.userinfo_signed_response_alg, client.userinfo_encrypted_response_alg
    if signing is None and encryption is None:
        return EndpointResponse(200, claims, [])
    prepare_to_encrypt(work, client)
    claims |= {"iss": work.settings.issuer, "aud": client.id}
    protection = (signing or "RS256", encryption, client.userinfo_encrypted_response_enc)
    jwt = sign_response(work, client, claims, protection)
    return EndpointResponse(200, jwt.encode("ascii"), [("Content-Type", "application/jwt")])


def _claims(work: UnitOfWork, token: VerifiedAccessToken) -> dict[str, Any]:
    """With the `sub` of the ID token, written last."""
    if token.user is None or token.grant is None:
        raise ValueError("userinfo is about a person; this token has none")
    single = (token.grant.requested_claims or {}).get("userinfo", ())
    claims = claims_of(token.user, token.scope_set, single)
    return claims | {"sub": subject_of(work, token.client, token.user.id)}
