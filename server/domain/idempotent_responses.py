"""Answers kept for a while, so that a request sent twice under one `Idempotency-Key` acts once.

The row is written before the act and in its transaction: of two requests at once the second waits for the first, and
then finds its answer. A refused request leaves no row, so it may be mended and sent again under the same key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.errors import Conflict
from server.domain.policy.lifetimes import is_expired
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, insert_if_absent

#: How long a request may be sent again.
LIFETIME: Final = timedelta(days=1)


class IdempotentResponse(Base):
    """The answer to one request; without a status while it is being worked on."""

    __tablename__ = "idempotent_responses"

    #: A digest of who asked, where and under which key.
    id: Mapped[str] = mapped_column(primary_key=True)
    request_digest: Mapped[str]
    status: Mapped[int | None]
    #: Under the keyring: the answer may hold a secret that is shown once.
    body_encrypted: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


@dataclass(frozen=True)
class KeptResponse:
    """What was answered to the same request before."""

    status: int
    body: bytes


def begin_once(work: UnitOfWork, identity: str, request: str) -> KeptResponse | None:
    """Marks the request as begun, or tells what was answered when it was sent before.

    Args:
        work: the work, in whose transaction the act follows.
        identity: who asks, for which operation, under which key.
        request: all that the request says.

    Raises:
        Conflict: when another request came under the same key.
    """
    row_id, digest = secrets.digest(identity), secrets.digest(request)
    values = {
        "id": row_id,
        "request_digest": digest,
        "status": None,
        "body_encrypted": None,
        "created_at": work.now,
        "expires_at": work.now + LIFETIME,
    }
    if insert_if_absent(work.db, IdempotentResponse, values):
        return None
    query = select(IdempotentResponse).where(IdempotentResponse.id == row_id).with_for_update()
    row = work.db.scalars(query.execution_options(populate_existing=True)).one_or_none()
    if row is None or is_expired(work.now, row.expires_at):
        # Housekeeping has removed it, or soon will: its time is over either way.
        _begin_anew(work, row, values)
        return None
    if not secrets.equal(row.request_digest, digest):
        raise Conflict("Another request was sent under this Idempotency-Key. Use a new key for a new request.")
    if row.status is None:
        raise Conflict("A request under this Idempotency-Key is still being worked on.")
    body = work.runtime.keyring.decrypt(row.body_encrypted, _context(row_id)) if row.body_encrypted else b""
    return KeptResponse(row.status, body)


def keep_response(work: UnitOfWork, identity: str, status: int, body: bytes) -> None:
    """Keeps the answer to the request that `begin_once` marked."""
    row_id = secrets.digest(identity)
    row = work.db.get_one(IdempotentResponse, row_id, populate_existing=True)
    row.status = status
    row.body_encrypted = work.runtime.keyring.encrypt(body, _context(row_id)) if body else None
    work.db.flush()


def _begin_anew(work: UnitOfWork, row: IdempotentResponse | None, values: Mapping[str, Any]) -> None:
    if row is not None:
        work.db.delete(row)
        work.db.flush()
    work.db.add(IdempotentResponse(**values))
    work.db.flush()


def _context(row_id: str) -> str:
    return f"idempotent_responses.body_encrypted:{row_id}"
