"""Logos that developers uploaded for their clients, drawn anew by us."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import ForeignKey, LargeBinary, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm.attributes import flag_modified

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.clients import Client
from server.domain.errors import Invalid
from server.domain.unit_of_work import UnitOfWork
from server.infra.database import Base
from server.infra.images import ImageRefused, redraw_as_png

LARGEST_UPLOAD: Final = 512 * 1024
#: Pixels on each side of what is kept; pages show it at a quarter of that.
_SIDE: Final = 256
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ClientLogo(Base):
    """One client's logo as PNG."""

    __tablename__ = "client_logos"

    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id", ondelete="CASCADE"), primary_key=True)
    image: Mapped[bytes] = mapped_column(LargeBinary)
    updated_at: Mapped[datetime]


def draw_logo(upload: bytes) -> bytes:
    """The logo to keep, of a file that was uploaded.

    Raises:
        Invalid: when it is no picture, or one that is too large.
    """
    if len(upload) > LARGEST_UPLOAD:
        raise Invalid("logo", f"The file is too large: at most {LARGEST_UPLOAD // 1024} KiB.")
    if not upload:
        raise Invalid("logo", "Choose a file first.")
    try:
        return redraw_as_png(upload, _SIDE)
    except ImageRefused as error:
        raise Invalid("logo", str(error)) from error


def replace_client_logo(work: UnitOfWork, client: Client, image: bytes) -> None:
    """Keeps `image`, as `draw_logo` made it, as the client's logo."""
    work.db.merge(ClientLogo(client_id=client.id, image=image, updated_at=work.now))
    _note_change(work, client, image)


def remove_client_logo(work: UnitOfWork, client: Client) -> None:
    """Forgets the uploaded logo. Idempotent."""
    logo = work.db.get(ClientLogo, client.id)
    if logo is not None:
        work.db.delete(logo)
        _note_change(work, client, None)


_IMAGE: Final = select(ClientLogo.image).where(ClientLogo.client_id == bindparam("client_id"))


def find_client_logo(work: UnitOfWork, client_id: str) -> bytes | None:
    """The uploaded logo as PNG, or None."""
    rows = work.read(_IMAGE, {"client_id": client_id})
    return bytes(rows[0][0]) if rows else None


_CHANGED: Final = select(ClientLogo.updated_at).where(ClientLogo.client_id == bindparam("client_id"))


def logo_version(work: UnitOfWork, client_id: str) -> str | None:
    """A word that changes whenever the uploaded logo does, for its URL; None when there is no such logo."""

    def load() -> str:
        rows = work.read(_CHANGED, {"client_id": client_id})
        return f"{(rows[0][0] - _EPOCH) // timedelta(microseconds=1):x}" if rows else ""

    return work.from_registry((ClientLogo, client_id), load) or None


def _note_change(work: UnitOfWork, client: Client, image: bytes | None) -> None:
    # A change of the client's row makes every process forget what it remembers of the client, the logo too.
    client.updated_at = work.now
    flag_modified(client, "updated_at")
    work.db.flush()
    audit_log.record(
        work,
        AuditEvent.CLIENT_LOGO_CHANGED,
        client_id=client.id,
        organization_id=client.organization_id,
        environment=client.environment,
        bytes=len(image) if image is not None else 0,
        is_removed=image is None,
    )
