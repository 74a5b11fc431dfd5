"""How many clients may be registered without the operator: so many an hour from one network, and so many in all."""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, select

from server.domain.clients import Client
from server.domain.errors import TooMany
from server.domain.login_attempts import spend_attempt
from server.domain.policy.lockout import Budget, network_of
from server.domain.unit_of_work import UnitOfWork

_HOUR: Final = 3600


def spend_registration(work: UnitOfWork) -> None:
    """Takes one registration from the budget of the caller's network, and keeps that: simultaneous ones all count.

    The transaction under way is committed; none is open afterwards.

    Raises:
        TooMany: when it is used up, with the seconds until it is not.
    """
    network = network_of(work.actor.ip)
    try:
        spend_attempt(work, (Budget(f"registration:{network}", work.settings.registration_per_hour, _HOUR),))
    except TooMany as error:
        raise TooMany("Too many clients were registered from your network.", error.retry_after) from error


def check_room(work: UnitOfWork) -> None:
    """Whether there is room for one more client that registers itself; two at once may both take the last place.

    Raises:
        TooMany: when there is none.
    """
    query = select(func.count()).select_from(Client).where(Client.registered_dynamically)
    if (work.db.scalar(query) or 0) >= work.settings.registration_maximum:
        raise TooMany("No more clients can be registered here at present.", retry_after=_HOUR)
