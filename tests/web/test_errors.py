"""Any error to bytes: JSON for programs, a page for people, and nothing about our insides for either."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import InternalServerError, default_exceptions
from werkzeug.test import TestResponse

from server.domain.errors import Conflict, Expired, Invalid
from server.infra.logging import request_id as logged_request_id
from server.web import urls
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of, form_fields
from tests.support.statements import each_statement, noted_statements

MACHINE = [
    ("POST", "/oauth/token"),
    ("POST", "/oauth/introspect"),
    ("POST", "/oauth/revoke"),
    ("GET", "/oauth/userinfo"),
    ("GET", "/.well-known/jwks.json"),
]
SECRET_OF_OURS = "the password of the database"


def sql_error(kind: type[DBAPIError], **details: Any) -> DBAPIError:
    return kind(f"SELECT '{SECRET_OF_OURS}'", {}, Exception(SECRET_OF_OURS), **details)


def replace_view(gatepost: Gatepost, endpoint: str, error: Exception) -> None:
    """Lets a view raise."""

    def view(**_: str) -> None:
        raise error

    gatepost.app.view_functions[endpoint] = view


def assert_error_page(response: TestResponse, status: int) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert 'id="error-page"' in response.text
    assert "<title>Error: " in response.text
    assert f"<code>{response.headers['X-Request-ID']}</code>" in response.text
    assert "Set-Cookie" not in response.headers


def assert_json(response: TestResponse, status: int, error: str) -> None:
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    assert response.get_json()["error"] == error
    assert set(response.get_json()) == {"error", "error_description"}
    assert response.headers["Cache-Control"] == "no-store"


# Paths and methods ------------------------------------------------------------------------------------------------


def test_unknown_path_is_a_page_when_a_browser_asks_and_json_when_a_program_does(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    for path in ("/nope", "/oauth/nope", "/.well-known/nope", "/login/nope", "/static"):
        assert_error_page(browser.get(path, headers={"Accept": "text/html,*/*"}), 404)
        assert_json(browser.get(path, headers={"Accept": "*/*"}), 404, "invalid_request")
        assert_json(browser.get(path), 404, "invalid_request")
        assert_json(browser.post(path, json={}), 404, "invalid_request")


def test_path_is_not_reflected_when_it_is_unknown(gatepost: Gatepost) -> None:
    for accept in ("text/html", "application/json"):
        response = gatepost.browser().get("/<script>zq9hostile</script>", headers={"Accept": accept})
        assert response.status_code == 404
        assert "zq9hostile" not in response.text


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/login", "PUT", "GET, HEAD, OPTIONS, POST"),
        ("/", "POST", "GET, HEAD, OPTIONS"),
        ("/static/gatepost.css", "DELETE", "GET, HEAD, OPTIONS"),
        ("/oauth/authorize", "PATCH", "GET, HEAD, OPTIONS, POST"),
        ("/oauth/token", "GET", "OPTIONS, POST"),
    ],
)
@pytest.mark.spec("RFC 9110 §15.5.6")
def test_methods_are_named_when_another_was_used(gatepost: Gatepost, path: str, method: str, allowed: str) -> None:
    response = gatepost.browser().open(path, method=method, headers={"Accept": "text/html"})
    assert_error_page(response, 405)
    assert response.headers["Allow"] == allowed


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/userinfo"])
def test_body_is_refused_in_json_when_a_program_sends_more_than_64_kib(gatepost: Gatepost, path: str) -> None:
    response = gatepost.browser().post(path, data={"x": "y" * 65536})
    assert_json(response, 413, "invalid_request")


@pytest.mark.parametrize("path", ["/oauth/authorize", "/login"])
def test_body_is_refused_with_a_page_when_a_browser_sends_more_than_64_kib(gatepost: Gatepost, path: str) -> None:
    browser = gatepost.browser()
    browser.get("/login")
    response = browser.post(path, data={"x": "y" * 65536})
    assert_error_page(response, 413)


# Faults of ours ---------------------------------------------------------------------------------------------------


class Captured(logging.Handler):
    """What is logged, with the id of the request it was logged for."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, bool]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((logged_request_id.get(), record.getMessage(), record.exc_info is not None))


@pytest.fixture
def captured() -> Iterator[Captured]:
    handler = Captured()
    logger = logging.getLogger("server")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_page_tells_nothing_of_our_insides_when_something_unexpected_happens(
    make_gatepost: GatepostMaker, captured: Captured, accept: str
) -> None:
    gatepost = make_gatepost()
    replace_view(gatepost, "interaction.show_login", RuntimeError(SECRET_OF_OURS))
    response = gatepost.browser().get("/login", headers={"Accept": accept})
    assert_error_page(response, 500)
    for words in (SECRET_OF_OURS, "Traceback", "RuntimeError", ".py"):
        assert words not in response.text
    assert captured.lines == [(response.headers["X-Request-ID"], "unhandled fault", True)]


@pytest.mark.parametrize(("method", "path"), MACHINE)
def test_program_is_told_server_error_when_something_unexpected_happens(
    make_gatepost: GatepostMaker, method: str, path: str
) -> None:
    gatepost = make_gatepost()
    endpoint = next(name for route, name, *_ in urls.URLS if route == path)
    replace_view(gatepost, endpoint, RuntimeError(SECRET_OF_OURS))
    response = gatepost.browser().open(path, method=method, query_string={"unusual": "so that Flask answers"})
    assert_json(response, 500, "server_error")
    assert SECRET_OF_OURS not in response.text


@pytest.mark.parametrize("original", [RuntimeError(SECRET_OF_OURS), None])
def test_fault_is_500_when_the_framework_wraps_it(
    make_gatepost: GatepostMaker, captured: Captured, original: Exception | None
) -> None:
    gatepost = make_gatepost()
    replace_view(gatepost, "oauth.token", InternalServerError(original_exception=original))
    response = gatepost.browser().post("/oauth/token")
    assert_json(response, 500, "server_error")
    assert SECRET_OF_OURS not in response.text
    assert [line[1] for line in captured.lines] == ["unhandled fault"]


@pytest.mark.parametrize("status", [406, 414, 415, 431])
def test_refusal_of_the_framework_has_words_of_ours_when_it_is_a_rare_one(
    make_gatepost: GatepostMaker, status: int
) -> None:
    gatepost = make_gatepost()
    error = default_exceptions[status](SECRET_OF_OURS)
    replace_view(gatepost, "oauth.token", error)
    replace_view(gatepost, "interaction.home", error)
    assert_json(gatepost.browser().post("/oauth/token"), status, "invalid_request")
    page = gatepost.browser().get("/")
    assert_error_page(page, status)
    assert SECRET_OF_OURS not in page.text


def test_nothing_is_kept_when_something_unexpected_happens_after_a_change(
    gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The password was right and the session written; then the next step fails: nobody is signed in."""
    flow = flow_of(gatepost)
    page = flow.open_page("/login", flow.authorize())

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("server.domain.login_flow.note_login", fail)
    response = flow.submit(page, "/login", username=flow.email, password=flow.password, decision="sign_in")
    assert_error_page(response, 500)
    assert "login.succeeded" not in gatepost.audit_events()
    monkeypatch.undo()
    assert flow.walk(flow.submit(page, "/login", username=flow.email, password=flow.password)).status_code == 303


def test_token_is_not_spent_when_signing_fails(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = flow_of(gatepost)
    code = flow.code()

    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("server.infra.jose.sign", fail)
    assert_json(flow.redeem(code), 500, "server_error")
    monkeypatch.undo()
    assert flow.redeem(code).status_code == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(Conflict("Taken."), 409), (Invalid("name", "Too long."), 400), (Expired("It is over."), 410)],
)
def test_refusal_of_the_domain_is_its_sentence_when_a_view_lets_it_pass(
    make_gatepost: GatepostMaker, error: Exception, status: int
) -> None:
    gatepost = make_gatepost()
    replace_view(gatepost, "interaction.home", error)
    replace_view(gatepost, "oauth.token", error)
    assert str(error) in gatepost.browser().get("/").text
    assert_error_page(gatepost.browser().get("/"), status)
    assert_json(gatepost.browser().post("/oauth/token"), status, "invalid_request")


def test_request_has_one_id_in_header_page_log_and_audit_row_when_it_fails(
    gatepost: Gatepost, captured: Captured
) -> None:
    flow = flow_of(gatepost)
    response = flow.authorize(client_id="nobody")
    assert_error_page(response, 400)
    assert [line[0] for line in captured.lines] == [response.headers["X-Request-ID"]]
    refused = gatepost.browser().post(
        "/oauth/token", data={"grant_type": "refresh_token"}, headers=basic("nobody", "x")
    )
    assert gatepost.audit_rows()[-1].request_id == refused.headers["X-Request-ID"]
    assert refused.headers["X-Request-ID"] != response.headers["X-Request-ID"]
    assert logged_request_id.get() == "-"


def test_id_is_ours_when_the_client_sends_one(gatepost: Gatepost) -> None:
    response = gatepost.browser().get("/nope", headers={"X-Request-ID": "req_evil\tx"})
    assert "evil" not in response.headers["X-Request-ID"]


def test_detail_is_logged_and_not_sent_when_a_client_is_refused(gatepost: Gatepost, captured: Captured) -> None:
    flow = flow_of(gatepost)
    code = flow.code()
    gatepost.clock.advance(60)
    response = flow.redeem(code)
    assert "expired" not in response.text
    assert not any(code in line[1] for line in captured.lines)


# The database is away ---------------------------------------------------------------------------------------------


@pytest.fixture
def broken(make_gatepost: GatepostMaker) -> Iterator[tuple[Gatepost, Flow]]:
    """A deployment whose database has just gone, with somebody signed in and tokens about."""
    gatepost = make_gatepost()
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    flow.code()
    gatepost.engine.dispose()
    # A connection that is open keeps the file, wherever it is moved.
    gatepost.runtime.autocommit.dispose()
    database = Path(str(gatepost.engine.url.database))
    aside = database.with_name("aside.sqlite")
    database.rename(aside)
    # A folder in the file's place is what SQLite cannot open.
    database.mkdir()
    yield gatepost, flow
    gatepost.engine.dispose()
    database.rmdir()
    aside.rename(database)


def assert_unavailable(response: TestResponse, *, machine: bool) -> None:
    assert response.headers["Retry-After"] == "5"
    if machine:
        assert_json(response, 503, "temporarily_unavailable")
    else:
        assert_error_page(response, 503)
    for words in ("sqlite", "OperationalError", "unable to open"):
        assert words not in response.text


def test_everything_is_503_and_nothing_401_when_the_database_is_away(broken: tuple[Gatepost, Flow]) -> None:
    _, flow = broken
    headers = basic(flow.client.id, flow.secret or "")
    bearer = {"Authorization": "Bearer e30.e30.e30"}
    for machine, response in (
        (True, flow.redeem("ac_x")),
        (True, flow.refresh("rt_x")),
        (True, flow.browser.post("/oauth/introspect", data={"token": "rt_x"}, headers=headers)),
        (True, flow.browser.post("/oauth/revoke", data={"token": "rt_x"}, headers=headers)),
        (True, flow.browser.get("/oauth/userinfo", headers=bearer)),
        (True, flow.browser.get("/.well-known/jwks.json")),
        (False, flow.authorize()),
        (False, flow.browser.get("/login")),
        (False, flow.browser.post("/login", data={"username": "x", "password": "y"})),
        (False, flow.browser.get("/consent?request=" + "0" * 22)),
        (False, flow.browser.get("/oauth/authorize/resume/" + "0" * 22)),
        (False, flow.browser.get("/logout")),
        (False, flow.browser.get("/")),
    ):
        assert_unavailable(response, machine=machine)


def test_what_needs_no_database_is_served_when_it_is_away(broken: tuple[Gatepost, Flow]) -> None:
    _, flow = broken
    for path in (
        "/healthz",
        "/signed-out",
        "/static/gatepost.css",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ):
        assert flow.browser.get(path, buffered=True).status_code == 200
    assert flow.browser.get("/nope").status_code == 404


@pytest.mark.parametrize(
    "error",
    [
        sql_error(OperationalError),
        sql_error(DBAPIError, connection_invalidated=True),
        PoolTimeoutError("QueuePool limit"),
    ],
    ids=["operational", "connection lost", "pool exhausted"],
)
def test_outage_is_503_when_the_driver_says_so(make_gatepost: GatepostMaker, error: Exception) -> None:
    gatepost = make_gatepost()
    replace_view(gatepost, "oauth.token", error)
    response = gatepost.browser().post("/oauth/token")
    assert_unavailable(response, machine=True)
    assert SECRET_OF_OURS not in response.text


def test_fault_is_500_when_the_statement_was_wrong(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    replace_view(gatepost, "oauth.token", sql_error(IntegrityError))
    response = gatepost.browser().post("/oauth/token")
    assert_json(response, 500, "server_error")
    assert SECRET_OF_OURS not in response.text


def test_service_goes_on_when_the_database_is_back(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    flow = flow_of(gatepost)
    code = flow.code()
    gatepost.engine.dispose()
    # A connection that is open keeps the file, wherever it is moved.
    gatepost.runtime.autocommit.dispose()
    database = Path(str(gatepost.engine.url.database))
    aside = database.rename(database.with_name("aside.sqlite"))
    database.mkdir()
    assert flow.redeem(code).status_code == 503
    database.rmdir()
    aside.rename(database)
    assert flow.redeem(code).status_code == 200


def test_person_is_still_signed_in_when_the_database_comes_back(broken: tuple[Gatepost, Flow]) -> None:
    _, flow = broken
    before = _cookie(flow.browser)
    assert flow.authorize().status_code == 503
    assert _cookie(flow.browser) == before


def _cookie(browser: FlaskClient) -> str:
    cookie = browser.get_cookie("gatepost")
    assert cookie is not None
    return cookie.value


# Every statement may fail -----------------------------------------------------------------------------------------


def statements_of(gatepost: Gatepost, act: Any) -> int:
    """How many statements a request sends."""

    with noted_statements(gatepost.engines) as seen:
        act()
    return len(seen)


@pytest.mark.parametrize("what", ["redeem", "refresh", "login"])
def test_nothing_happened_and_a_retry_succeeds_when_any_one_statement_fails(
    make_gatepost: GatepostMaker, what: str
) -> None:
    """INV-42: the database fails at the first, the second, … statement of a request."""
    gatepost = make_gatepost()

    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))

    def prepare() -> Any:
        if what == "redeem":
            code = flow.code()
            return lambda: flow.redeem(code)
        if what == "refresh":
            token = flow.tokens()["refresh_token"]
            return lambda: flow.refresh(token)
        flow.browser = gatepost.browser()
        page = flow.open_page("/login", flow.authorize())
        form = {**form_fields(page.text), "username": flow.email, "password": flow.password}
        return lambda: flow.browser.post("/login", data=form)

    act = prepare()
    gatepost.runtime.registry_cache.forget()
    total = statements_of(gatepost, act)
    assert total > 3
    for failing in range(total):
        act = prepare()
        gatepost.runtime.registry_cache.forget()
        remaining = failing

        def fail(*_: object) -> None:
            nonlocal remaining
            remaining -= 1
            if remaining < 0:
                raise sql_error(OperationalError)

        before = len(gatepost.audit_rows())
        with each_statement(gatepost.engines, fail):
            response = act()
        assert response.status_code == 503, (failing, response.text)
        assert len(gatepost.audit_rows()) == before
        again = act()
        assert again.status_code == (303 if what == "login" else 200), (failing, again.text)


def test_id_of_a_request_is_new_when_many_are_sent(gatepost: Gatepost) -> None:
    browser = gatepost.browser()
    ids = {browser.get("/healthz").headers["X-Request-ID"] for _ in range(20)}
    assert len(ids) == 20
    assert all(re.fullmatch(r"req_[0-9A-Za-z]{22}", each) for each in ids)
