"""Who may wait for other people's servers: some of each account, fewer of one client, and nobody more."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from server.infra.fetch_payer import ANYBODY, FetchPostponed, Payer
from server.infra.waiting_room import PLACES, PLACES_PER_CLIENT, WaitingRoom


@pytest.fixture
def room() -> WaitingRoom:
    return WaitingRoom()


def taken(room: WaitingRoom, stack: ExitStack, payer: Payer) -> int:
    """How many places there were to take."""
    for count in range(1000):
        try:
            stack.enter_context(room.place(payer))
        except FetchPostponed:
            return count
    raise AssertionError("there is no end of places")


@pytest.mark.spec("F-08")
def test_account_has_its_places_when_another_has_none_left(room: WaitingRoom) -> None:
    with ExitStack() as stack:
        for payer in (ANYBODY, Payer("keys"), Payer("pages", is_operators=True), Payer("keys", is_operators=True)):
            assert taken(room, stack, payer) == PLACES
    with ExitStack() as stack:
        assert taken(room, stack, ANYBODY) == PLACES


@pytest.mark.spec("F-08")
def test_client_leaves_places_to_others_of_its_account(room: WaitingRoom) -> None:
    with ExitStack() as stack:
        assert taken(room, stack, Payer("keys", "one")) == PLACES_PER_CLIENT
        assert taken(room, stack, Payer("keys", "other")) == PLACES - PLACES_PER_CLIENT
        assert taken(room, stack, Payer("keys", "third")) == 0


def test_place_is_free_again_when_the_wait_ends_with_a_fault(room: WaitingRoom) -> None:
    for _ in range(2 * PLACES):
        with pytest.raises(RuntimeError), room.place(Payer("pages", "one")):
            raise RuntimeError
    assert not room._taken
