"""One request at a time in a worker, and no slow client in anybody's way."""

import io
import json
import threading
from collections.abc import Iterable
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from server.infra import draining
from server.web import one_at_a_time
from server.web.one_at_a_time import STREAMS, OneAtATime


def environ_with(body: bytes, length: str | None) -> dict[str, Any]:
    environ = create_environ("/oauth/token", "http://localhost", method="POST")
    environ["wsgi.input"] = io.BytesIO(body)
    environ.pop("CONTENT_LENGTH", None)
    if length is not None:
        environ["CONTENT_LENGTH"] = length
    return environ


class Echo:
    """Answers with the body, in parts, and notes whether its answer was closed."""

    def __init__(self) -> None:
        self.closed = False
        self.read: bytes | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.read = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [])
        return Parts(self)


class Parts:
    def __init__(self, echo: Echo) -> None:
        self.echo = echo

    def __iter__(self) -> Any:
        yield from (b"a", b"b")

    def close(self) -> None:
        self.echo.closed = True


def test_body_is_handed_on_whole_when_it_has_arrived() -> None:
    echo = Echo()
    body, status, _ = run_wsgi_app(OneAtATime(echo, 100), environ_with(b"grant_type=x", "12"))
    assert (status, b"".join(body)) == ("200 OK", b"ab")
    assert echo.read == b"grant_type=x"
    assert echo.closed


@pytest.mark.parametrize("length", [None, "", "0"])
def test_request_passes_when_it_has_no_body(length: str | None) -> None:
    echo = Echo()
    assert run_wsgi_app(OneAtATime(echo, 100), environ_with(b"", length))[1] == "200 OK"
    assert echo.read == b""


def test_application_is_not_reached_when_the_body_breaks_off() -> None:
    echo = Echo()
    body, status, headers = run_wsgi_app(OneAtATime(echo, 100), environ_with(b"grant", "12"))
    assert status == "400 Bad Request"
    assert b"".join(body) == b""
    assert dict(headers)["Connection"] == "close"
    assert echo.read is None


def test_body_is_left_unread_when_it_is_too_large() -> None:
    class Untouchable(io.BytesIO):
        def read(self, *_: Any) -> bytes:
            raise AssertionError("read")

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("413 Content Too Large", [])
        return []

    environ = environ_with(b"", "101")
    environ["wsgi.input"] = Untouchable()
    assert run_wsgi_app(OneAtATime(application, 100), environ)[1] == "413 Content Too Large"


def test_second_request_waits_when_the_first_is_being_answered() -> None:
    inside, order = threading.Event(), []
    leave = threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        order.append(environ["PATH_INFO"])
        inside.set()
        assert leave.wait(10)
        order.append("answered " + environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b""]

    gate = OneAtATime(application, 100)

    def ask(path: str) -> None:
        run_wsgi_app(gate, {**environ_with(b"", None), "PATH_INFO": path})

    threads = [threading.Thread(target=ask, args=(path,)) for path in ("/first", "/second")]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    leave.set()
    for thread in threads:
        thread.join(10)
    assert order == ["/first", "answered /first", "/second", "answered /second"]


def test_liveness_waits_for_nobody_when_the_gate_is_taken() -> None:
    inside, leave = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/slow":
            inside.set()
            assert leave.wait(10)
        start_response("200 OK", [])
        return [b""]

    gate = OneAtATime(application, 100, frozenset({"/healthz"}))
    slow = threading.Thread(target=run_wsgi_app, args=(gate, {**environ_with(b"", None), "PATH_INFO": "/slow"}))
    slow.start()
    assert inside.wait(10)
    assert run_wsgi_app(gate, {**environ_with(b"", None), "PATH_INFO": "/healthz"})[1] == "200 OK"
    leave.set()
    slow.join(10)


def test_gate_is_free_again_when_the_application_fails() -> None:
    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        raise RuntimeError

    gate = OneAtATime(application, 100)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            run_wsgi_app(gate, environ_with(b"", None))


@pytest.mark.parametrize("length", ["x", "1_0", "-5", "+5", "１"])
def test_request_is_refused_when_its_length_is_no_number(length: str) -> None:
    echo = Echo()
    status = run_wsgi_app(OneAtATime(echo, 100), environ_with(b"12345", length))[1]
    assert status == "400 Bad Request"
    assert echo.read is None


@pytest.mark.spec("R-19")
def test_request_is_answered_503_when_its_turn_does_not_come_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_at_a_time, "QUEUE_SECONDS", 0.05)
    inside, leave = threading.Event(), threading.Event()

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        inside.set()
        assert leave.wait(10)
        start_response("200 OK", [])
        return [b""]

    gate = OneAtATime(application, 100, issuer_path="/tenant")
    slow = threading.Thread(target=run_wsgi_app, args=(gate, environ_with(b"", None)))
    slow.start()
    assert inside.wait(10)
    body, status, headers = run_wsgi_app(gate, environ_with(b"", None))
    own = {"/v1/me": True, "/tenant/v1/verify": True, "/api/v1": True, "/v1x": False, "/oauth/token": False}
    told = {path: run_wsgi_app(gate, {**environ_with(b"", None), "PATH_INFO": path}) for path in own}
    leave.set()
    slow.join(10)
    assert status == "503 Service Unavailable"
    assert json.loads(b"".join(body))["error"] == "temporarily_unavailable"
    assert (headers["Retry-After"], headers["Cache-Control"]) == ("1", "no-store")
    for path, is_api in own.items():
        sent, _, headers = told[path]
        document = json.loads(b"".join(sent))
        members = {"error", "message", "request_id"} if is_api else {"error", "error_description"}
        assert (set(document), document["error"]) == (members, "temporarily_unavailable"), path
        assert headers.get("X-Request-ID") == document.get("request_id")
    assert run_wsgi_app(gate, environ_with(b"", None))[1] == "200 OK"


@pytest.mark.spec("R-27")
def test_clients_are_asked_to_connect_anew_when_the_server_drains() -> None:
    gate = OneAtATime(Echo(), 100, frozenset({"/healthz"}))
    draining.make_flag()
    try:
        assert "Connection" not in run_wsgi_app(gate, environ_with(b"", None))[2]
        draining.announce()
        assert run_wsgi_app(gate, environ_with(b"", None))[2]["Connection"] == "close"
        assert run_wsgi_app(gate, {**environ_with(b"", None), "PATH_INFO": "/healthz"})[2]["Connection"] == "close"
    finally:
        draining.adopt(None)


def test_larger_body_is_read_when_its_path_may_have_one() -> None:
    arriving = io.BytesIO(b"0123456789")

    def is_arriving(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK" if environ["wsgi.input"] is arriving else "299 Read Already", [])
        return []

    gate = OneAtATime(is_arriving, lambda path: 20 if path.endswith("/logo") else 4)
    for path, status in (("/a", "200 OK"), ("/a/logo", "299 Read Already")):
        environ = environ_with(b"", "10") | {"wsgi.input": arriving, "PATH_INFO": path}
        assert run_wsgi_app(gate, environ)[1] == status


def test_others_have_their_turn_while_an_answer_is_streamed() -> None:
    met: list[str] = []

    def streaming(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[STREAMS] = True
        start_response("200 OK", [])
        return iter((b"first", b"second"))

    def other(_environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("204 No Content", [])
        return []

    gate = OneAtATime(lambda e, s: (streaming if e["PATH_INFO"] == "/export" else other)(e, s), 100)
    body = iter(run_wsgi_app(gate, environ_with(b"", "0") | {"PATH_INFO": "/export"})[0])
    assert next(body) == b"first"
    met.append(run_wsgi_app(gate, environ_with(b"", "0"))[1])
    assert (met, list(body)) == (["204 No Content"], [b"second"])
