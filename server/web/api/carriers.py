"""Where a credential stands in a request: behind `Bearer` in the Authorization header alone (RFC 6750 §2.1).

Whatever else it may be carried in, other people's logs, caches and pages get to see. A key that is found there is not
looked at; it leaves a row, and the client is told.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

from server.domain.api_key_verification import looks_like_api_key
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import record_unproven
from server.infra.database import commit_before_raising
from server.web.api.error_answers import Refusal

_IN_URL: Final = (
    "A credential does not belong in a URL, where logs keep it. Send it in the Authorization header, and rotate the "
    "one that was sent."
)
_NOT_BEARER: Final = "The Authorization header must be: Bearer, a space, and the API key or access token."
#: The parameter that RFC 6750 §2.3 knows, and nobody should use.
ACCESS_TOKEN: Final = "access_token"


def check_carriers(
    work: UnitOfWork, environ: Mapping[str, Any], query: Iterable[tuple[str, str]], operation: str
) -> str | None:
    """What stands behind `Bearer`; None when the request has no Authorization header.

    Args:
        work: the work that the row is written in.
        environ: the request.
        query: names and values in the URL of the request that the credential is for.
        operation: what the row says was asked for.

    Raises:
        Refusal: 401 when a credential stands in the URL, or the header is another scheme's.
    """
    for name, value in query:
        if name == ACCESS_TOKEN or looks_like_api_key(work.settings, value):
            raise _refused(work, operation, "query", _IN_URL)
    authorization: str | None = environ.get("HTTP_AUTHORIZATION")
    if authorization is None:
        if any(looks_like_api_key(work.settings, value) for value in _cookies(environ)):
            _note(work, operation, "cookie")
        return None
    scheme, _, presented = authorization.partition(" ")
    if scheme.lower() == "bearer":
        # Blanks around it are HTTP's; anything else is part of what was sent.
        return presented.strip(" \t")
    if scheme.lower() == "basic" and any(looks_like_api_key(work.settings, part) for part in _basic(presented)):
        raise _refused(work, operation, "basic", _NOT_BEARER)
    raise Refusal(401, _NOT_BEARER, _challenge(work))


def _refused(work: UnitOfWork, operation: str, carrier: str, sentence: str) -> Refusal:
    _note(work, operation, carrier)
    return Refusal(401, sentence, _challenge(work))


def _challenge(work: UnitOfWork) -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="{work.settings.issuer}"'}


def _note(work: UnitOfWork, operation: str, carrier: str) -> None:
    record_unproven(work, AuditEvent.API_KEY_CARRIER_REFUSED, carrier=carrier, operation=operation)
    if work.is_in_transaction:
        commit_before_raising(work.db)


def _cookies(environ: Mapping[str, Any]) -> Iterable[str]:
    pairs = environ.get("HTTP_COOKIE", "").split(";")
    return (pair.partition("=")[2].strip(' "') for pair in pairs)


def _basic(presented: str) -> Iterable[str]:
    try:
        user_id, _, password = base64.b64decode(presented.strip(), validate=True).decode("latin-1").partition(":")
    except (binascii.Error, ValueError):
        return ()
    return user_id, password
