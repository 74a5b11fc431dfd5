"""Refused requests that proved nothing: counted by network and minute, never more than fit."""

from __future__ import annotations

from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.unproven_requests import MAXIMUM_KINDS, UnprovenRequest, UnprovenRequests
from tests.support.clock import FrozenClock

ANYBODY = Actor("anonymous", ip="192.0.2.7")


def from_network(network: str | None) -> UnprovenRequest:
    return UnprovenRequest(AuditEvent.API_KEY_CARRIER_REFUSED, (("carrier", "query"),), network)


def test_first_is_told_of_and_others_are_counted_when_their_minute_is_over(clock: FrozenClock) -> None:
    requests = UnprovenRequests(clock)
    assert [requests.is_first(from_network("a"), ANYBODY) for _ in range(3)] == [True, False, False]
    assert requests.is_first(from_network("b"), ANYBODY)
    clock.advance(59)
    assert requests.take() == {}
    clock.advance(1)
    taken = requests.take()
    assert {request.network: repetitions.count for request, repetitions in taken.items()} == {"a": 2}
    assert requests.is_first(from_network("a"), ANYBODY)
    requests.give_back(taken)
    left = requests.take(all_of_them=True)
    assert [repetitions.count for repetitions in left.values()] == [2]
    assert requests.take(all_of_them=True) == {}


def test_networks_are_counted_together_when_there_are_too_many(clock: FrozenClock) -> None:
    requests = UnprovenRequests(clock)
    firsts = [requests.is_first(from_network(str(number)), ANYBODY) for number in range(MAXIMUM_KINDS + 10)]
    assert sum(firsts) == MAXIMUM_KINDS + 1
    assert {each.network: repeated.count for each, repeated in requests.take(all_of_them=True).items()} == {None: 9}
