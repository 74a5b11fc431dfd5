"""The outermost door: what parsers could read in two ways never reaches the application."""

from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError
from werkzeug.test import create_environ, run_wsgi_app

from server.config import Settings
from server.web.wsgi_guard import WsgiGuard
from tests.support.application import Gatepost


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"reached"]


def settings(**changes: Any) -> Settings:
    return Settings(_env_file=None, **{"issuer": "https://login.example", **changes})


def ask(
    changes: dict[str, Any], absent: str | None = None, guard: WsgiGuard | None = None
) -> tuple[str, dict[str, str], bytes]:
    environ = {**create_environ("/oauth/token", "http://localhost", method="POST"), **changes}
    if absent:
        del environ[absent]
    body, status, headers = run_wsgi_app(guard or WsgiGuard(application, settings()), environ)
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


ISSUERS_OWN = {
    "https://login.example": ["login.example", "login.example:443", "LOGIN.example", "localhost", "127.0.0.1:8000"],
    "https://login.example/tenant": ["login.example", "[::1]:8000", "Localhost:1"],
    "https://login.example:8443": ["login.example:8443", "login.EXAMPLE:8443"],
    "http://localhost:8000": ["localhost:8000", "localhost", "127.0.0.1:1", "[::1]"],
}
FOREIGN = {
    "https://login.example": [
        "evil.example", "login.example.", "login.example:80", "login.example:8443", "login.example.evil.example",
        "evil.login.example", "login.example:443:443", "login.example:", "login.example/", "user@login.example",
        "login.example#", "login.example ", "localhost.evil.example", "127.0.0.2", "[::2]", "2130706433", "::1",
        "login.ex\u00e4mple", "login.example:0443", "x" * 70_000,
    ],
    "https://login.example:8443": ["login.example", "login.example:443"],
    "http://localhost:8000": ["evil.example", "localhost.", "evil.example:8000"],
}  # fmt: skip


@pytest.mark.parametrize("issuer", sorted(ISSUERS_OWN))
@pytest.mark.spec("H-02")
def test_request_passes_when_it_names_the_issuers_host_or_this_machine(issuer: str) -> None:
    for host in ISSUERS_OWN[issuer]:
        found = ask({"HTTP_HOST": host}, guard=WsgiGuard(application, settings(issuer=issuer)))
        assert found[2] == b"reached", host


@pytest.mark.parametrize("issuer", sorted(FOREIGN))
@pytest.mark.spec("H-02", "RFC 9110 §15.5.20")
def test_request_is_misdirected_when_it_names_another_host(issuer: str) -> None:
    guard = WsgiGuard(application, settings(issuer=issuer))
    for host in FOREIGN[issuer]:
        status, headers, body = ask({"HTTP_HOST": host}, guard=guard)
        assert status == "421 Misdirected Request", host
        assert host.encode() not in body
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.spec("H-02")
def test_request_passes_when_it_names_a_host_of_the_settings() -> None:
    guard = WsgiGuard(application, settings(allowed_hosts="gatepost, inside.example:8000,[fd00::1]"))
    for host in ("gatepost", "gatepost:8000", "GATEPOST:1", "inside.example:8000", "[fd00::1]", "[fd00::1]:443"):
        assert ask({"HTTP_HOST": host}, guard=guard)[2] == b"reached", host
    for host in ("inside.example", "inside.example:8001", "gatepost.evil", "[fd00::2]"):
        assert ask({"HTTP_HOST": host}, guard=guard)[0] == "421 Misdirected Request", host


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/tenant/healthz", "/tenant/readyz"])
@pytest.mark.spec("H-02")
def test_probe_passes_when_it_names_the_address_it_reaches(path: str) -> None:
    guard = WsgiGuard(application, settings(issuer="https://login.example/tenant"))
    assert ask({"HTTP_HOST": "10.0.0.7:8000", "PATH_INFO": path}, guard=guard)[2] == b"reached"
    assert ask({"HTTP_HOST": "10.0.0.7:8000", "PATH_INFO": f"{path}/x"}, guard=guard)[0].startswith("421")


@pytest.mark.parametrize("hosts", ["Gatepost", "https://x.example", "x.example:0", "x.example/", "x y", "*"])
def test_host_of_the_settings_is_refused_when_it_is_none(hosts: str) -> None:
    with pytest.raises(ValidationError, match="is no host"):
        settings(allowed_hosts=hosts)


@pytest.mark.spec("H-03")
def test_operator_is_told_once_when_a_proxy_is_there_and_none_is_trusted(caplog: pytest.LogCaptureFixture) -> None:
    guard = WsgiGuard(application, settings())
    for _ in range(3):
        assert ask({"HTTP_HOST": "login.example", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}, guard=guard)[2] == b"reached"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "GATEPOST_TRUSTED_PROXIES" in caplog.text
    assert "192.0.2.7" not in caplog.text


@pytest.mark.spec("H-03")
def test_operator_is_told_nothing_when_proxies_are_trusted(caplog: pytest.LogCaptureFixture) -> None:
    guard = WsgiGuard(application, settings(trusted_proxies="10.0.0.0/8"))
    ask({"HTTP_HOST": "login.example", "HTTP_X_FORWARDED_FOR": "192.0.2.7"}, guard=guard)
    ask({"HTTP_HOST": "login.example"}, guard=WsgiGuard(application, settings()))
    assert not caplog.records


@pytest.mark.spec("TK-27")
def test_request_is_refused_and_not_redirected_when_it_came_over_plain_http() -> None:
    guard = WsgiGuard(application, settings(trusted_proxies="10.0.0.0/8, fd00::/8"))
    for peer in ("10.1.2.3", "fd00::7"):
        plain = {"HTTP_HOST": "login.example", "HTTP_X_FORWARDED_PROTO": "http", "REMOTE_ADDR": peer}
        status, headers, body = ask(plain, guard=guard)
        assert (status, body) == ("400 Bad Request", b"This server is reached over https only.\n")
        assert "Location" not in headers
        assert ask({**plain, "HTTP_X_FORWARDED_PROTO": "https"}, guard=guard)[2] == b"reached"


@pytest.mark.spec("H-03")
def test_word_about_the_scheme_is_not_believed_when_the_peer_is_not_trusted() -> None:
    plain = {"HTTP_HOST": "login.example", "HTTP_X_FORWARDED_PROTO": "http"}
    trusting = WsgiGuard(application, settings(trusted_proxies="10.0.0.0/8"))
    for guard in (WsgiGuard(application, settings()), trusting):
        for peer in ("192.0.2.7", "", "nonsense"):
            assert ask({**plain, "REMOTE_ADDR": peer}, guard=guard)[2] == b"reached"


def test_guard_stands_before_the_application_when_it_is_made(gatepost: Gatepost) -> None:
    response = gatepost.browser().open("/healthz", method="TRACE")
    assert response.status_code == 405
    assert gatepost.browser().get("/healthz", headers={"Host": "a,b"}).status_code == 400
    assert gatepost.browser().post("/oauth/token", headers={"Transfer-Encoding": "chunked"}).status_code == 411
