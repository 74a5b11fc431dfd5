"""Subjects: by which `sub` a client knows a person (OpenID Connect Core §8).

A public one is the id of the user. A pairwise one is random and belongs to one person in one sector, which is a host
that the clients of one owner share: two owners cannot tell that they know the same person. It is kept, not computed: no
change of keys ever changes it. It goes with the person, and nobody else is given it.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import ForeignKey, bindparam, select
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import ID_PREFIX
from server.infra import secrets
from server.infra.database import Base, insert_if_absent

_PAIRWISE: Final = "pairwise"


class PairwiseSubject(Base):
    """What the clients of one sector call one person."""

    __tablename__ = "pairwise_subjects"

    sector: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True, index=True)
    subject: Mapped[str] = mapped_column(unique=True)


_SUBJECT: Final = select(PairwiseSubject.subject).where(
    PairwiseSubject.sector == bindparam("sector"), PairwiseSubject.user_id == bindparam("user_id")
)
_USER: Final = select(PairwiseSubject.user_id).where(
    PairwiseSubject.sector == bindparam("sector"), PairwiseSubject.subject == bindparam("subject")
)


def subject_of(work: UnitOfWork, client: Client, user_id: str) -> str:
    """The person's `sub` for this client; a pairwise one is made when the client first meets the person."""
    if client.subject_type != _PAIRWISE:
        return user_id
    parameters = {"sector": sector_of(client), "user_id": user_id}
    found = work.read(_SUBJECT, parameters)
    if not found:
        # Begins as a user's id does, so that no client id can be the same (RFC 9700 §4.15).
        insert_if_absent(work.db, PairwiseSubject, {**parameters, "subject": ID_PREFIX + secrets.new_id()})
        found = work.read(_SUBJECT, parameters)
    return str(found[0][0])


def user_id_of(work: UnitOfWork, client: Client, subject: str) -> str | None:
    """Whom the client means by `subject`, or None when it is nobody it knows."""
    if client.subject_type != _PAIRWISE:
        return subject
    found = work.read(_USER, {"sector": sector_of(client), "subject": subject})
    return str(found[0][0]) if found else None


def sector_of(client: Client) -> str:
    """The host of the sector identifier URI, without one that of the redirect URIs, which is one (§8.1)."""
    named = client.sector_identifier_uri or next(iter(client.redirect_uris), "")
    # A private-use URI has no host, and localhost is nobody's: `client_checks.py` asks such clients for a sector's URI.
    return urlsplit(named).hostname or client.id
