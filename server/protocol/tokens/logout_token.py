"""Logout tokens: what tells a client that a session has ended (OpenID Connect Back-Channel Logout §2.4)."""

from __future__ import annotations

from typing import Any, Final

from server.domain import signing_keys
from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose

#: §2.4: explicit typing, so that no other token of ours passes for one.
TYP: Final = "logout+jwt"
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
#: §2.4: at most two minutes, so that a token which was intercepted is of no use for long.
LIFETIME_SECONDS: Final = 120


def issue_logout_token(work: UnitOfWork, client: Client, subject: str, sid: str, token_id: str) -> str:
    """Signs a logout token as the client's ID tokens are signed; without a nonce, which would make it one (§2.4).

    Sending it again means signing it again, with the same `jti`: by then the first one has expired.
    """
    algorithm = client.id_token_signed_response_alg
    issued = int(work.now.timestamp())
    claims: dict[str, Any] = {
        "iss": work.settings.issuer,
        "aud": client.id,
        "iat": issued,
        "exp": issued + LIFETIME_SECONDS,
        "jti": token_id,
        "sub": subject,
        "sid": sid,
        "events": {EVENT: {}},
    }
    return jose.sign(claims, signing_keys.signing_key(work, algorithm), algorithm, TYP)
