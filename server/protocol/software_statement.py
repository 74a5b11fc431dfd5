"""Software statements: what somebody whom the operator trusts says of an application (RFC 7591 §2.3, §3.1.1)."""

from __future__ import annotations

from typing import Any, Final

from server.domain.unit_of_work import UnitOfWork
from server.infra import foreign_tokens, jose
from server.infra.database import commit_attempt
from server.infra.foreign_tokens import UnknownKey
from server.infra.jose import InvalidToken
from server.infra.outbound_http import Payer
from server.infra.remote_keys import Keys, KeysUnavailable
from server.protocol.errors import InvalidSoftwareStatement, UnapprovedSoftwareStatement

#: How far the issuer's clock may be off.
_LEEWAY_SECONDS: Final = 60


def verify_software_statement(work: UnitOfWork, statement: str) -> dict[str, Any]:
    """The claims of a statement whose issuer the deployment trusts.

    The issuer's keys may have to be fetched; a transaction under way is committed before.

    Raises:
        UnapprovedSoftwareStatement: when its issuer is not among `software_statement_issuers`.
        InvalidSoftwareStatement: when it is none, is not signed by its issuer, or is out of date.
    """
    try:
        issuer = jose.peek_claims(statement).get("iss")
    except InvalidToken as error:
        raise InvalidSoftwareStatement("The software statement is not a signed token.") from error
    jwks_uri = work.settings.software_statement_issuers.get(issuer) if isinstance(issuer, str) else None
    if jwks_uri is None:
        raise UnapprovedSoftwareStatement("The issuer of the software statement is not trusted here.")
    try:
        claims = _verify(work, statement, jwks_uri)
    except (InvalidToken, KeysUnavailable) as error:
        raise InvalidSoftwareStatement("The software statement does not verify.", detail=str(error)) from error
    _check_dates(work, claims)
    return claims


def _verify(work: UnitOfWork, statement: str, jwks_uri: str) -> dict[str, Any]:
    try:
        return foreign_tokens.verify_signed(statement, _keys(work, jwks_uri), jose.SIGNING_ALGORITHMS).claims
    except UnknownKey:
        return foreign_tokens.verify_signed(
            statement, _keys(work, jwks_uri, fresh=True), jose.SIGNING_ALGORITHMS
        ).claims


def _keys(work: UnitOfWork, jwks_uri: str, *, fresh: bool = False) -> Keys:
    known = work.runtime.remote_keys.known(jwks_uri, fresh=fresh)
    if known is not None:
        return known
    if work.is_in_transaction:
        commit_attempt(work.db)
    return work.runtime.remote_keys.fetch(jwks_uri, fresh=fresh, payer=Payer("keys", is_operators=True))


def _check_dates(work: UnitOfWork, claims: dict[str, Any]) -> None:
    """A statement may live for ever; one that names its time is good at that time only (RFC 7519 §4.1.4, §4.1.5)."""
    now = work.now.timestamp()
    begins, ends = claims.get("nbf", now), claims.get("exp", now)
    if not all(isinstance(moment, int | float) and not isinstance(moment, bool) for moment in (begins, ends)):
        raise InvalidSoftwareStatement("The software statement has a date that is no number.")
    if not begins - _LEEWAY_SECONDS <= now <= ends + _LEEWAY_SECONDS:
        raise InvalidSoftwareStatement("The software statement is out of date.")
