"""Security headers on every answer of every route, errors included, and the policy of each page."""

import re

import pytest
from werkzeug.test import TestResponse

from server.web.urls import URLS
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, flow_of

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; object-src 'none'; "
    "frame-ancestors 'none'"
)
PATHS = sorted({path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css") for path, *_ in URLS})

#: Session Management §3.3: clients embed it; it shows nothing and has nothing to click.
FRAMED = "/oauth/check-session"


def assert_hardened(response: TestResponse) -> None:
    headers = response.headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    assert headers.getlist("X-Frame-Options") == ["DENY"]
    assert headers.getlist("Cross-Origin-Resource-Policy") == ["same-origin"]
    assert headers.getlist("Content-Security-Policy")[0].startswith(POLICY)
    assert_hardened_at_least(response)


def assert_hardened_at_least(response: TestResponse) -> None:
    """What holds for a page too that is made to be framed."""
    headers = response.headers
    assert headers.getlist("Referrer-Policy") == ["no-referrer"]
    assert headers["Permissions-Policy"].startswith("camera=()")
    assert len(headers.getlist("Content-Security-Policy")) == 1
    assert re.fullmatch(r"req_[0-9A-Za-z]{22}", headers["X-Request-ID"])
    assert len(headers.getlist("Cache-Control")) == 1
    assert headers.getlist("Server") == [""]
    assert "X-Powered-By" not in headers


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE"])
@pytest.mark.parametrize("path", [*PATHS, "/nope", "/static/nope.css", "/oauth", "/oauth/nope", "/..%2fetc/passwd"])
@pytest.mark.spec("C-07", "INV-24")
def test_headers_are_there_when_any_route_answers(gatepost: Gatepost, path: str, method: str) -> None:
    response = gatepost.browser().open(path, method=method, buffered=True)
    if path == FRAMED and response.status_code == 200 and method != "OPTIONS":
        assert_hardened_at_least(response)
        assert "X-Frame-Options" not in response.headers
        assert "frame-ancestors *" in response.headers["Content-Security-Policy"]
        assert response.headers.getlist("Cross-Origin-Resource-Policy") == ["cross-origin"]
    else:
        assert_hardened(response)
    assert "Strict-Transport-Security" not in response.headers
    is_public = response.headers["Cache-Control"].startswith("public, max-age=")
    assert is_public is (response.status_code == 200 and path in KEPT and method in ("GET", "HEAD"))
    if not is_public:
        assert response.headers["Cache-Control"] == "no-store"


KEPT = {
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/oauth/check-session",
    "/static/gatepost.css",
}


@pytest.mark.parametrize("path", ["/login", "/.well-known/jwks.json"])
def test_localhost_is_not_pinned_to_https_when_the_issuer_is_there(make_gatepost: GatepostMaker, path: str) -> None:
    """A browser would refuse http on every port of the machine, for years."""
    gatepost = make_gatepost(issuer="https://localhost:9443")
    assert "Strict-Transport-Security" not in gatepost.browser().get(path).headers


@pytest.mark.parametrize("path", ["/login", "/oauth/token", "/healthz", "/nope", "/static/gatepost.css"])
@pytest.mark.spec("RFC 6797 §7.1")
def test_transport_is_strict_when_the_issuer_is_https(make_gatepost: GatepostMaker, path: str) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    response = gatepost.browser().get(path, buffered=True)
    assert response.headers["Strict-Transport-Security"] == "max-age=63072000; includeSubDomains"


@pytest.mark.parametrize("path", ["/login", "/consent", "/select-account"])
def test_policy_has_no_form_action_when_the_forms_answer_may_leave_for_a_client(flow: Flow, path: str) -> None:
    """Chromium applies form-action to every hop of the redirect and would stop the person on the way back."""
    if path == "/select-account":
        flow.code()
    page = flow.open_page(path, flow.authorize(prompt="select_account" if path == "/select-account" else None))
    assert page.status_code == 200
    assert page.headers["Content-Security-Policy"] == POLICY
    assert "Cross-Origin-Opener-Policy" not in page.headers


def test_policy_has_no_form_action_on_logout_and_has_it_on_home_when_signed_in(flow: Flow) -> None:
    flow.code()
    assert flow.browser.get("/logout").headers["Content-Security-Policy"] == POLICY
    assert flow.browser.get("/signed-out").headers["Content-Security-Policy"] == POLICY
    home = flow.browser.get("/")
    assert home.headers["Content-Security-Policy"] == f"{POLICY}; form-action 'self'"
    assert home.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_policy_allows_our_script_only_on_the_page_that_posts_an_answer(flow: Flow) -> None:
    answered = flow.walk(flow.authorize(response_mode="form_post"))
    assert answered.headers["Content-Security-Policy"] == f"{POLICY}; script-src 'self'"
    error = flow.authorize(response_mode="form_post", prompt="none login")
    assert error.headers["Content-Security-Policy"] == f"{POLICY}; script-src 'self'"
    assert flow.browser.get("/login").headers["Content-Security-Policy"] == POLICY


def pages(flow: Flow) -> dict[str, TestResponse]:
    """One answer of every page."""
    found = {
        "login": flow.open_page("/login", flow.authorize()),
        "consent": flow.open_page("/consent", flow.authorize()),
        "chooser": flow.open_page("/select-account", flow.authorize(prompt="select_account")),
        "logout": flow.browser.get("/logout"),
        "signed out": flow.browser.get("/signed-out"),
        "home": flow.browser.get("/"),
        "error": flow.browser.get("/oauth/authorize"),
        "form_post": flow.walk(flow.authorize(response_mode="form_post")),
        "not found": flow.browser.get("/nope", headers={"Accept": "text/html"}),
    }
    assert all(page.mimetype == "text/html" for page in found.values())
    return found


@pytest.mark.spec("RFC 9700 §4.2.4")
def test_page_loads_nothing_from_elsewhere_and_has_nothing_inline_when_shown(flow: Flow) -> None:
    for name, page in pages(flow).items():
        for attribute in re.findall(r'(?:src|href)="([^"]*)"', page.text):
            assert attribute.startswith("/"), (name, attribute)
        for tag in ("<style", "<script>", "<iframe", "<object", "<base"):
            assert tag not in page.text, (name, tag)
        assert not re.search(r"<[^>]+\s(?:style|on[a-z]+)=", page.text), name
        assert "javascript:" not in page.text, name


def test_page_is_kept_by_no_cache_and_told_apart_by_cookie_when_shown(flow: Flow) -> None:
    for name, page in pages(flow).items():
        assert page.headers["Cache-Control"] == "no-store", name
        assert "Cookie" in page.headers["Vary"], name
        assert page.headers["Content-Type"] == "text/html; charset=utf-8", name
