"""The same request down both lanes: the short one in front of Flask, and Flask alone (INV-43)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flask import Flask
from hypothesis import given, seed
from hypothesis import strategies as st
from sqlalchemy import func, select
from werkzeug.test import TestResponse, run_wsgi_app

from server.domain.tables import METADATA
from server.web.wsgi_guard import WsgiGuard
from tests.properties.catalogue import VALID, Parts, World
from tests.properties.malformed import mutate, mutations, repeatable
from tests.properties.wire import WireRequest

#: Requests to the endpoints that the short lane serves, and to their neighbours.
MACHINE = tuple(
    name
    for name in VALID
    if name.startswith(
        ("redeem", "refresh", "client_credentials", "introspect", "revoke", "userinfo", "keys", "discovery", "metadata")
    )
)
#: What an answer of success has anew each time.
_FRESH = ("access_token", "refresh_token", "id_token", "jti", "iat", "exp")

_OF_THE_REQUEST = {"X-Request-ID", "Content-Length", "Set-Cookie"}

Outcome = tuple[int, list[tuple[str, str]], object, Counter[str]]


class BothLanes:
    """Sends each request once past the short lane and once through everything."""

    def __init__(self, world: World) -> None:
        self.world = world
        app = world.gatepost.app
        self.whole = WsgiGuard(lambda environ, start: Flask.wsgi_app(app, environ, start), world.gatepost.settings)
        self.short = app.wsgi_app
        self.seen: Counter[str] = Counter()

    def compare(self, name: str, changes: list[tuple[str, int, str, str, str]]) -> None:
        """One valid request with the same faults in both; both must say and do the same.

        Raises:
            AssertionError: when they differ.
        """
        found = []
        for lane in (self.whole, self.short):
            request = self._made(name, changes)
            found.append(self._outcome(lane, request))
            if found[-1][0] == 200 and request.path in {"/oauth/token", "/oauth/revoke"}:
                self.world.renew()
        self.seen[str(found[0][0])] += 1
        assert found[0] == found[1], (name, changes)

    def _made(self, name: str, changes: list[tuple[str, int, str, str, str]]) -> WireRequest:
        parts: Parts = VALID[name](self.world)
        for change in changes:
            parts = mutate(parts, *change)
        return parts.on_the_wire(self.world.next_peer())

    def _outcome(self, lane: Any, request: WireRequest) -> Outcome:
        before = self._rows()
        iterable, status, headers = run_wsgi_app(lane, request.environ(), buffered=True)
        response = TestResponse(iterable, status, headers, request=None)  # type: ignore[arg-type]
        told = sorted((name, value) for name, value in response.headers if name not in _OF_THE_REQUEST)
        return response.status_code, told, _comparable(response), self._rows() - before

    def _rows(self) -> Counter[str]:
        with self.world.gatepost.work() as work:
            return Counter(
                {
                    name: work.db.scalar(select(func.count()).select_from(table))
                    for name, table in METADATA.tables.items()
                }
            )


def _comparable(response: TestResponse) -> object:
    """The body without what is random in it."""
    if response.mimetype == "text/html":
        return "a page, which never comes from the short lane"
    if response.status_code != 200 or response.mimetype != "application/json" or not response.data:
        return response.data
    document = response.get_json()
    return {name: type(value).__name__ if name in _FRESH else value for name, value in document.items()}


def compare_lanes(world: World, examples: int, number: int | None = None) -> Counter[str]:
    """Compares the lanes over `examples` faulty requests; how often each status was seen."""
    lanes = BothLanes(world)

    @repeatable(examples, is_repeatable=number is None)
    @given(name=st.sampled_from(MACHINE), changes=mutations)
    def check(name: str, changes: list[tuple[str, int, str, str, str]]) -> None:
        lanes.compare(name, changes)

    (check if number is None else seed(number)(check))()
    return lanes.seen
