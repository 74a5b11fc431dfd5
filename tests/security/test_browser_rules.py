"""What browsers are held to: the rules C, each seen from outside."""

import re
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from server.config import scrub_environment
from server.web.urls import URLS
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of, form_fields

SITE = "https://app.example/cb"
#: Tables whose rows a look at a page may add or touch: what was asked, who came by, when they were last seen.
OF_LOOKING = {"authorization_requests", "browsers", "sessions", "alembic_version"}


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=(SITE,))


def snapshot(gatepost: Gatepost) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a look may not change."""
    with gatepost.work() as work:
        connection = work.db.connection()
        names = [row[0] for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(f'SELECT * FROM "{name}"')]
            for name in names
            if name not in OF_LOOKING and not name.startswith("sqlite_")
        }


FORMS = {"/login": "login", "/consent": "consent", "/select-account": "chooser", "/logout": "logout"}


def opened(flow: Flow, path: str) -> TestResponse:
    """The page at `path`, its form ready to be sent."""
    if path == "/logout":
        flow.code()
        return flow.browser.get(path)
    return flow.open_page(path, flow.authorize(prompt="select_account" if path == "/select-account" else None))


def test_every_form_is_listed_when_one_is_added() -> None:
    """Those of the dashboard stand behind one gate, which tests/web/dashboard tries at each of them."""
    people = ("interaction.",)
    posts = {path for path, endpoint, methods, _ in URLS if "POST" in methods and endpoint.startswith(people)}
    assert posts == set(FORMS)


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.spec("C-01", "INV-23")
def test_nothing_changes_when_a_form_lacks_the_proof_that_it_is_ours(flow: Flow, path: str) -> None:
    page = opened(flow, path)
    fields = {
        **form_fields(page.text),
        "username": flow.email,
        "password": flow.password,
        "decision": "allow" if path == "/consent" else "sign_out",
        "another": "1",
    }
    stranger = flow_of(flow.gatepost, client_id="another", redirect_uris=(SITE,))
    foreign = form_fields(opened(stranger, path).text)["csrf_token"]
    before = snapshot(flow.gatepost)
    without = {name: value for name, value in fields.items() if name != "csrf_token"}
    attempts = {
        "no token": flow.browser.post(path, data=without),
        "another's token": flow.browser.post(path, data={**fields, "csrf_token": foreign}),
        "altered token": flow.browser.post(path, data={**fields, "csrf_token": fields["csrf_token"][:-1]}),
        "JSON as text": flow.browser.post(path, data=str(fields), content_type="text/plain"),
        "multipart": flow.browser.post(path, data={**without}, content_type="multipart/form-data"),
        "cross-site": flow.browser.post(path, data=fields, headers={"Sec-Fetch-Site": "cross-site"}),
        "same-site": flow.browser.post(path, data=fields, headers={"Sec-Fetch-Site": "same-site"}),
        "foreign origin": flow.browser.post(path, data=fields, headers={"Origin": "https://evil.example"}),
        "put": flow.browser.put(path, data=fields),
        "override": flow.browser.get(
            path, query_string={**fields, "_method": "POST"}, headers={"X-HTTP-Method-Override": "POST"}
        ),
    }
    for name, answer in attempts.items():
        if name == "override":
            assert answer.status_code in (200, 303), name
        elif path == "/login" and answer.status_code == 303:
            # As after a sign-in in another tab: on to the request, signed in or not.
            assert answer.headers["Location"].startswith("/oauth/authorize/resume/"), name
        else:
            assert answer.status_code in (400, 403, 404, 405), (name, answer.status_code)
    assert snapshot(flow.gatepost) == before


@pytest.mark.spec("C-03")
def test_form_is_refused_when_it_comes_from_elsewhere_even_with_a_valid_token(flow: Flow) -> None:
    page = opened(flow, "/logout")
    for headers in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://localhost:8001"},
        {"Origin": "http://localhost:8000.evil.example"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    ):
        fields = {**form_fields(page.text), "decision": "sign_out"}
        assert flow.browser.post("/logout", data=fields, headers=headers).status_code == 403, headers
    assert "You are signed in" in flow.browser.get("/").text


@pytest.mark.spec("C-02", "INV-23")
def test_nothing_changes_when_every_address_is_only_looked_at(flow: Flow) -> None:
    flow.code()
    parked = flow.authorize(prompt="consent").headers["Location"].partition("request=")[2]
    form = {"csrf_token": form_fields(flow.browser.get(f"/consent?request={parked}").text)["csrf_token"]}
    bearer = {"Authorization": f"Bearer {flow.tokens()['access_token']}"}
    before = snapshot(flow.gatepost)
    for path, *_ in URLS:
        plain = path.replace("<request_id>", parked).replace("<path:path>", "gatepost.css")
        for query in (
            {},
            {"request": parked, "decision": "allow", "choose": "1", **form},
            {"decision": "sign_out", **form},
        ):
            for method in ("GET", "HEAD", "OPTIONS"):
                for headers in ({}, bearer, basic(flow.client.id, flow.secret or "")):
                    flow.browser.open(plain, method=method, query_string=query, headers=headers, buffered=True)
    assert snapshot(flow.gatepost) == before
    assert "You are signed in" in flow.browser.get("/").text


ORIGINS = (
    *(
        "null",
        "http://localhost:8000",
        "https://localhost:8000",
        "http://localhost:8000.evil.example",
        "http://localhost",
    ),
    *(
        "https://evil.example",
        "https://app.example",
        "https://appxexample",
        "HTTP://LOCALHOST:8000",
        "http://evil@localhost",
    ),
)


@pytest.mark.spec("C-04")
def test_no_origin_may_ride_on_a_cookie_and_pages_are_closed_to_all(flow: Flow) -> None:
    flow.code()
    for path, endpoint, methods, _ in URLS:
        plain = path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css")
        for origin in ORIGINS:
            answer = flow.browser.open(plain, method=methods[0], headers={"Origin": origin}, buffered=True)
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            assert "Access-Control-Allow-Credentials" not in answer.headers, plain
            assert allowed in (None, "*"), plain
            if not endpoint.startswith("oauth.") or endpoint.startswith("oauth.authorize"):
                assert allowed is None, plain


@pytest.mark.spec("C-05", "C-07", "INV-24")
def test_every_answer_carries_the_whole_set_of_headers(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    paths = {path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css") for path, *_ in URLS}
    for path in (*sorted(paths), "/nope"):
        for method in ("GET", "POST", "OPTIONS", "DELETE"):
            headers = gatepost.browser().open(path, method=method, buffered=True).headers
            policy = headers["Content-Security-Policy"]
            # Session Management §3.3: one page is made to be embedded by clients; it has nothing to click.
            is_framed = path == "/oauth/check-session" and "X-Frame-Options" not in headers
            ancestors = "frame-ancestors *" if is_framed else "frame-ancestors 'none'"
            for part in ("default-src 'none'", "base-uri 'none'", "object-src 'none'", ancestors):
                assert part in policy, path
            assert "unsafe" not in policy, path
            assert headers["X-Content-Type-Options"] == "nosniff", path
            assert headers["Referrer-Policy"] == "no-referrer", path
            assert is_framed or headers["X-Frame-Options"] == "DENY", path
            assert is_framed or headers["Cross-Origin-Resource-Policy"] == "same-origin", path
            assert headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains", path
            assert headers["Permissions-Policy"].startswith("camera=()"), path
            assert headers["Server"] == "", path


@pytest.mark.parametrize(
    "value", ['"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>", "</form><form action=//evil>"]
)
@pytest.mark.spec("C-10")
def test_page_that_posts_an_answer_escapes_what_it_posts_and_works_without_scripts(flow: Flow, value: str) -> None:
    page = flow.walk(flow.authorize(response_mode="form_post", state=value))
    assert value not in page.text
    assert not re.search(r"<script(?![^>]*\bsrc=\"/static/)", page.text)
    assert "<button" in page.text
    assert page.headers["Content-Security-Policy"].endswith("; script-src 'self'")


TARGETS = (
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "javascript:alert(1)",
    "https:evil.example",
    "\thttps://evil.example",
)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.spec("C-09", "INV-19")
def test_nobody_is_sent_elsewhere_when_an_address_asks_for_it(flow: Flow, target: str) -> None:
    flow.code()
    names = (
        "next",
        "return_to",
        "continue",
        "redirect",
        "url",
        "RelayState",
        "post_logout_redirect_uri",
        "redirect_uri",
    )
    for path, endpoint, _, _ in URLS:
        plain = path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css")
        answer = flow.browser.get(plain, query_string=dict.fromkeys(names, target), buffered=True)
        assert "evil" not in answer.headers.get("Location", ""), endpoint
        assert "evil" not in answer.headers.get("Refresh", ""), endpoint
    page = flow.browser.get("/login")
    fields = {
        **form_fields(page.text),
        "username": flow.email,
        "password": flow.password,
        **dict.fromkeys(names, target),
    }
    assert flow.browser.post("/login", data=fields).headers["Location"] == "/"


@pytest.mark.parametrize("method", ["TRACE", "TRACK", "CONNECT", "PROPFIND", "DEBUG"])
@pytest.mark.spec("C-11")
def test_method_is_refused_when_it_echoes_or_tunnels(gatepost: Gatepost, method: str) -> None:
    answer = gatepost.browser().open("/", method=method, headers={"Cookie": "gatepost=bs_secret"})
    assert answer.status_code == 405
    assert "bs_secret" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/docs",
        "/openapi.json",
        "/admin",
        "/admin/users",
        "/console",
        "/debug",
        "/dev/try",
        "/.git/config",
        "/.env",
        "/server-status",
    ],
)
@pytest.mark.spec("C-11")
def test_address_is_not_found_when_it_is_for_operators(gatepost: Gatepost, path: str) -> None:
    for query in ("", "?__debugger__=yes&cmd=resource&f=debugger.js"):
        assert gatepost.browser().get(path + query).status_code == 404


@pytest.mark.spec("C-11", "L-04")
def test_debugging_stays_off_when_the_environment_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLASK_DEBUG", "FLASK_ENV", "FLASK_APP"):
        monkeypatch.setenv(name, "1")
    assert Flask("x").debug
    scrub_environment()
    assert not Flask("x").debug
