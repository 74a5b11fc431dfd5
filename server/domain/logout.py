"""Which clients a sign-out concerns: those that were granted something in the session (Back-Channel Logout §2.3)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import select

from server.domain import outbox
from server.domain.clients import Client, find_client
from server.domain.grants import Grant
from server.domain.subjects import subject_of
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets

#: What such messages are called in the outbox.
BACKCHANNEL: Final = "backchannel_logout"


def sid_of(session_id: str, client_id: str) -> str:
    """What a client is told the session is called: another name for each client, as clients may compare (Core §8.1).

    Who shows one has been told it; the session's own id is told to nobody.
    """
    return secrets.derived_id(session_id.encode(), f"sid {client_id}")


def tell_clients(work: UnitOfWork, user_id: str, session_ids: Collection[str]) -> None:
    """Queues a logout token for each client of the sessions that takes one, in the transaction that ends them.

    What it will say is written down now: when it is sent, the person may be gone.
    """
    messages = []
    for client, session_id in clients_of(work, session_ids):
        if client.backchannel_logout_uri is not None:
            told = {"sub": subject_of(work, client, user_id), "sid": sid_of(session_id, client.id)}
            messages.append((client.id, {**told, "jti": secrets.new_id(), "session_id": session_id}))
    outbox.put(work, BACKCHANNEL, messages)


def clients_of(work: UnitOfWork, session_ids: Collection[str]) -> list[tuple[Client, str]]:
    """The clients that got anything in these sessions, each with the session's id; whatever became of the grants."""
    query = (
        select(Grant.client_id, Grant.session_id)
        .join(Client, Client.id == Grant.client_id)
        .where(Grant.session_id.in_(session_ids), Client.disabled_at.is_(None))
        .distinct()
        .order_by(Grant.client_id, Grant.session_id)
    )
    found = work.db.execute(query).all()
    known = ((find_client(work, client_id), session_id) for client_id, session_id in found)
    return [(client, session_id) for client, session_id in known if client is not None]
