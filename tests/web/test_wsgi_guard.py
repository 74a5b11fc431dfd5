"""The outermost door: what parsers could read in two ways never reaches the application."""

from collections.abc import Iterable
from typing import Any

import pytest
from werkzeug.test import create_environ, run_wsgi_app

from server.web.wsgi_guard import WsgiGuard
from tests.support.application import Gatepost


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"reached"]


def ask(changes: dict[str, Any], absent: str | None = None) -> tuple[str, dict[str, str], bytes]:
    environ = {**create_environ("/oauth/token", "http://localhost", method="POST"), **changes}
    if absent:
        del environ[absent]
    body, status, headers = run_wsgi_app(WsgiGuard(application), environ)
    return status, dict(headers), b"".join(body)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_request_passes_when_it_is_an_ordinary_one(method: str) -> None:
    assert ask({"REQUEST_METHOD": method})[2] == b"reached"
    assert ask({"REQUEST_METHOD": method, "CONTENT_LENGTH": "5"})[2] == b"reached"


@pytest.mark.parametrize("host", ["", "a,b", "localhost,localhost", "localhost, evil.example"])
@pytest.mark.spec("RFC 9112 §3.2")
def test_request_is_refused_when_it_has_two_hosts_or_an_empty_one(host: str) -> None:
    status, headers, body = ask({"HTTP_HOST": host})
    assert status == "400 Bad Request"
    assert headers["Connection"] == "close"
    assert body == b"Bad request.\n"


@pytest.mark.spec("RFC 9112 §3.2")
def test_request_is_refused_when_it_has_no_host() -> None:
    assert ask({}, absent="HTTP_HOST")[0] == "400 Bad Request"


@pytest.mark.parametrize("encoding", ["chunked", "identity", "", "chunked, chunked", "x"])
@pytest.mark.spec("RFC 9112 §6.3")
def test_request_is_refused_when_its_length_is_in_doubt(encoding: str) -> None:
    for changes in ({}, {"CONTENT_LENGTH": "5"}):
        status, headers, _ = ask({"HTTP_TRANSFER_ENCODING": encoding, **changes})
        assert status == "411 Length Required"
        assert headers["Connection"] == "close"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "", "GET "])
def test_request_is_refused_when_its_method_is_unheard_of(method: str) -> None:
    status, headers, _ = ask({"REQUEST_METHOD": method})
    assert status == "405 Method Not Allowed"
    assert "POST" in headers["Allow"]


def test_guard_stands_before_the_application_when_it_is_made(gatepost: Gatepost) -> None:
    response = gatepost.browser().open("/healthz", method="TRACE")
    assert response.status_code == 405
    assert gatepost.browser().get("/healthz", headers={"Host": "a,b"}).status_code == 400
    assert gatepost.browser().post("/oauth/token", headers={"Transfer-Encoding": "chunked"}).status_code == 411
