"""Any byte sequence at any endpoint is answered, and never with a fault of ours (INV-41, TK-17).

`python -m tests.properties malformed` is the long run of the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from tests.conftest import ServerStarter
from tests.properties import raw_socket
from tests.properties.catalogue import VALID, World
from tests.properties.malformed import (
    Tally,
    examine,
    send_faulty_requests,
    send_odd_values,
    send_raw_bytes,
    send_to_any_path,
)
from tests.properties.oracle import CANARY, breaches
from tests.properties.wire import WireRequest
from tests.support.application import REDIRECT_URI

#: Seconds of work, but of a machine that may be busy with other things.
pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A deployment in use, so that ids and cookies have something to meet."""
    world = World.begin(tmp_path_factory.mktemp("fuzzed"))
    yield world
    world.gatepost.close()


@pytest.mark.parametrize("name", VALID)
def test_request_is_taken_when_no_fault_was_put_in(world: World, name: str) -> None:
    request = VALID[name](world).on_the_wire(world.next_peer())
    response = examine(world, request, Tally())
    wanted = {"register": {201}, "delete a registration": {204}, "login": {200, 400, 401, 429}, "logo": {200, 404}}
    assert response.status_code in wanted.get(name, {200, 303}), response.text
    if request.path in {"/oauth/token", "/oauth/revoke"}:
        world.renew()


def test_every_machine_endpoint_and_form_has_a_valid_request_when_the_url_map_is_read(world: World) -> None:
    """Pages that only show something are covered by the raw bytes; `tests/properties/catalogue.py` has the rest.

    `/v1` is tried by its OpenAPI document (`tests/properties/test_openapi.py`), the dashboard's forms stand behind one
    gate (`tests/web/dashboard/test_page.py`), and invitations have tests of their own.
    """
    made = [make(world) for make in VALID.values()]
    covered = {(parts.method, _route_of(parts.path)) for parts in made}
    wanted = {
        (method, _route_of(path))
        for method, path in world.routes()
        if not path.startswith(("/v1/", "/api/v1/", "/dashboard", "/invitations/"))
        if method in {"POST", "PUT", "DELETE"} or (method == "GET" and path.startswith(("/oauth/", "/.well-known/")))
    }
    assert wanted - covered == set()


def _route_of(path: str) -> str:
    """A path without the id in it."""
    return re.sub(r"/(resume|register)/.*", r"/\1/", path)


@pytest.mark.spec("INV-41")
def test_answer_is_no_fault_of_ours_when_raw_bytes_are_sent_to_every_route(world: World) -> None:
    tally = Tally()
    send_raw_bytes(world, tally, 40)
    assert tally.requests >= 40 * len(VALID)


@pytest.mark.spec("INV-41", "TK-17")
def test_answer_is_no_fault_of_ours_when_a_valid_request_has_up_to_two_faults(world: World) -> None:
    tally = Tally()
    send_faulty_requests(world, tally, 400)
    assert {200, 303, 400, 401} <= set(tally.statuses), "all that an endpoint says was heard"


@pytest.mark.spec("INV-41")
def test_answer_is_no_fault_of_ours_when_any_parameter_holds_what_no_text_column_does(world: World) -> None:
    send_odd_values(world, Tally(), ["\0"])


@pytest.mark.postgres
@pytest.mark.spec("INV-41")
def test_answer_is_no_fault_of_ours_when_the_database_is_postgresql(tmp_path: Path, postgres_url: str) -> None:
    world = World.begin(tmp_path, database_url=postgres_url)
    send_odd_values(world, Tally(), ["\0", "\ud800"])
    send_faulty_requests(world, Tally(), 200)
    send_raw_bytes(world, Tally(), 5)
    world.gatepost.close()


@pytest.mark.spec("INV-41")
def test_answer_is_no_fault_of_ours_when_any_path_is_asked(world: World) -> None:
    send_to_any_path(world, Tally(), 80)


@pytest.mark.parametrize("query", ["\x80", "request=\xff", "\xc3(=x", "request=\xed\xa0\x80"])
def test_page_is_no_fault_of_ours_when_the_query_has_raw_bytes(world: World, query: str) -> None:
    for method, path in world.routes():
        examine(world, WireRequest(method, path, query), Tally())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/oauth/token", b"grant_type=authorization_code&code=%00"),
        ("/login", b"username=%00@x&password=%00"),
        ("/oauth/authorize", b"client_id=%ff"),
        ("/oauth/token", b"\xff\xfe"),
        ("/oauth/token", b"grant_type=" + b"x" * 70_000),
    ],
)
@pytest.mark.parametrize("kind", ["", "application/x-www-form-urlencoded", "application/json"])
def test_answer_is_no_fault_of_ours_when_the_body_is_what_once_was_one(
    world: World, path: str, body: bytes, kind: str
) -> None:
    examine(world, WireRequest("POST", path, headers=(("Content-Type", kind),), body=body), Tally())


@pytest.mark.slow
@pytest.mark.spec("INV-41")
def test_server_answers_and_lives_on_when_connections_bring_any_bytes(start: ServerStarter) -> None:
    server, tally = start(settings={"GATEPOST_REGISTRATION": "open"}), Tally()
    raw_socket.send_bytes(server, tally, 300)
    assert tally.requests >= 300
    assert 400 in tally.statuses


@pytest.mark.parametrize(
    ("response", "breach"),
    [
        (TestResponse([b""], "500 X", {}, request=None), "status 500"),
        (TestResponse([b""], "307 X", {"Location": "/"}, request=None), "status 307"),
        (
            TestResponse(
                [b'{"error":"x","error_description":"a \\"quote\\""}'],
                "400 X",
                {"Content-Type": "application/json"},
                None,
            ),
            "outside",
        ),
        (TestResponse([CANARY.encode()], "400 X", {"Content-Type": "text/html"}, request=None), "came back"),
        (TestResponse([b""], "400 X", {"X-Told": CANARY}, request=None), "came back"),
        (TestResponse([b""], "303 X", {"Location": f"{REDIRECT_URI}?error={CANARY}"}, request=None), "came back"),
        (TestResponse([b""], "303 X", {"Location": "https://evil.example/"}, request=None), "leads to"),
        (TestResponse([b""], "303 X", {"Location": "//evil.example/"}, request=None), "leads to"),
        (TestResponse([b""], "303 X", {"Location": f"{REDIRECT_URI}.evil?code=x"}, request=None), "leads to"),
        (TestResponse([b""], "303 X", {}, request=None), "nowhere"),
        (
            TestResponse(
                [b'<form method="post" action="https://evil.example/" id="form-post">'],
                "200 X",
                {"Content-Type": "text/html"},
                None,
            ),
            "leads to",
        ),
    ],
)  # type: ignore[arg-type]
def test_oracle_tells_when_an_answer_is_wrong(response: TestResponse, breach: str) -> None:
    assert any(breach in each for each in breaches(response, (REDIRECT_URI,)))


def test_oracle_is_silent_when_an_answer_goes_to_the_client_with_its_state() -> None:
    response = TestResponse([b""], "303 X", {"Location": f"{REDIRECT_URI}?code=ac_x&state={CANARY}"}, request=None)
    assert breaches(response, (REDIRECT_URI,)) == []
