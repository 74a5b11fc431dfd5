"""Registration access tokens: what a client manages its own registration with (RFC 7592 §3).

Kept as a digest. Each change of the registration replaces the token. A client that lost the answer may retry within the
window that refreshing has too: the successor is derived from the presented token under the deployment's keyring, so
that the retry is answered with the same one (docs/adr/0009).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import ForeignKey, bindparam, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, columns_of, count_changed, detached

PREFIX: Final = "rat_"
_CONTEXT: Final = "gatepost registration token"


class RegistrationToken(Base):
    """The token of one client. SHA-256 suffices: it has 256 random bits."""

    __tablename__ = "registration_tokens"

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True)
    token_digest: Mapped[str]
    created_at: Mapped[datetime]


_OF_CLIENT: Final = select(*columns_of(RegistrationToken)).where(RegistrationToken.client_id == bindparam("client_id"))


def issue_registration_token(work: UnitOfWork, client: Client) -> str:
    """Gives a new client its token and returns it, this once."""
    token = secrets.new_secret(PREFIX)
    work.db.add(RegistrationToken(client_id=client.id, token_digest=secrets.digest(token), created_at=work.now))
    work.db.flush()
    return token


def verify_registration_token(work: UnitOfWork, client_id: str, presented: str, *, may_be_retry: bool = False) -> bool:
    """Whether `presented` is the client's token, or the one before it where `may_be_retry`."""
    rows = work.read(_OF_CLIENT, {"client_id": client_id})
    if not rows:
        return False
    row = detached(RegistrationToken, rows[0])
    if secrets.equal(row.token_digest, secrets.digest(presented)):
        return True
    return may_be_retry and _find_retry(work, row, presented) is not None


def rotate_registration_token(work: UnitOfWork, client_id: str, presented: str) -> str | None:
    """Replaces the client's token and returns the new one; None when `presented` is neither it nor its predecessor.

    The caller has locked the client: of several changes at once each is made on what the one before left.
    """
    row = work.db.get(RegistrationToken, client_id, populate_existing=True)
    if row is None:
        return None
    if not secrets.equal(row.token_digest, secrets.digest(presented)):
        return _find_retry(work, row, presented)
    successor = _derive(work, work.runtime.keyring.active, presented)
    row.token_digest, row.created_at = secrets.digest(successor), work.now
    work.db.flush()
    audit_log.record(work, AuditEvent.REGISTRATION_TOKEN_ROTATED, client_id=client_id)
    return successor


def revoke_registration_token(work: UnitOfWork, client_id: str) -> bool:
    """Ends the client's management of its own registration, for good; False when it had no token."""
    remove = delete(RegistrationToken).where(RegistrationToken.client_id == client_id)
    if count_changed(work.db, remove) == 0:
        return False
    audit_log.record(work, AuditEvent.REGISTRATION_TOKEN_REVOKED, client_id=client_id)
    return True


def _find_retry(work: UnitOfWork, row: RegistrationToken, presented: str) -> str | None:
    """The present token, if it is the successor of `presented` and so new that the answer may have been lost."""
    window = work.settings.refresh_replay_window
    if window == 0 or (work.now - row.created_at).total_seconds() > window:
        return None
    # The keyring may have got another active key since.
    for name in work.runtime.keyring.names:
        successor = _derive(work, name, presented)
        if secrets.equal(row.token_digest, secrets.digest(successor)):
            return successor
    return None


def _derive(work: UnitOfWork, key_name: str, token: str) -> str:
    return secrets.derived_secret(work.runtime.keyring.derive_key(_CONTEXT, key_name), token, PREFIX)
