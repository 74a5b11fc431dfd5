"""No secret in a log at any level, in the database, in a refusal or among the metrics, after everything was done."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import inspect

from server.domain import audit_chain
from server.infra.logging import configure_logging
from server.infra.metrics_exchange import MetricsExchange
from server.web.metrics_listener import page_of
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER, Flow, basic, flow_of, form_fields, jwt_claims


class Captured(logging.Handler):
    """Every record with its arguments and its traceback, as a careless formatter would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {vars(record)!r}")


class Answers:
    """Every answer of the application, whoever made it: its status line, its headers and its body."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self.application = application
        self.refusals: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        began: list[Any] = []

        def remember(status: str, headers: list[tuple[str, str]], *fault: Any) -> Any:
            began[:] = [status, headers]
            return start_response(status, headers, *fault)

        body = b"".join(self.application(environ, remember))
        status, headers = began
        if status >= "400" or "error=" in str(headers):
            shown = [value for name, value in headers if name.lower() != "set-cookie"]
            self.refusals.append(f"{status} {shown} {body.decode()}")
        return [body]


@pytest.fixture
def captured(make_gatepost: GatepostMaker) -> Iterator[tuple[Gatepost, Captured]]:
    """A deployment that logs all it can, set up as `serve` and `dev` do."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("authlib", "sqlalchemy")}
    gatepost = make_gatepost(log_level="debug", access_log=True, scopes={"notes:read": "Read your notes"})
    configure_logging(gatepost.settings)
    handler = Captured()
    root.handlers[:] = [handler]
    yield gatepost, handler
    gatepost.runtime.autocommit.dispose()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)


def everything(flow: Flow) -> dict[str, str]:
    """Does everything once, rightly and wrongly; the secrets that went to and fro."""
    secrets = {"password": PASSWORD, "verifier": VERIFIER, "client secret": flow.secret or ""}
    secrets |= sign_in(flow)
    code = secrets["code"] = flow.code()
    flow.redeem(code, code_verifier="x" * 43)
    secrets["wrong verifier"] = "x" * 43
    flow.redeem(code, redirect_uri="https://elsewhere.example/cb")
    flow.redeem(code)
    flow.redeem(code)
    tokens = flow.tokens()
    again = flow.refresh(tokens["refresh_token"]).get_json()
    # A retry is answered as before; a narrower scope and a lost race are not.
    flow.refresh(tokens["refresh_token"])
    flow.refresh(again["refresh_token"], scope="openid nonsense")
    for prefix, document in (("first", tokens), ("second", again)):
        for name in ("access_token", "refresh_token", "id_token"):
            secrets[f"{prefix} {name}"] = document[name]
    present(flow, again)
    misplace(flow, secrets, again)
    flow.gatepost.clock.advance(flow.gatepost.settings.refresh_replay_window + 1)
    newest = flow.refresh(again["refresh_token"]).get_json()
    flow.refresh(tokens["refresh_token"])
    secrets["refresh token of an ended family"] = newest["refresh_token"]
    flow.refresh(newest["refresh_token"])
    secrets |= serve_a_machine(flow)
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None
    secrets["cookie"] = cookie.value
    flow.browser.get("/logout", query_string={"id_token_hint": again["id_token"]})
    page = flow.browser.get("/logout")
    flow.submit(page, "/logout")
    return secrets


def sign_in(flow: Flow) -> dict[str, str]:
    page = flow.open_page("/login", flow.authorize())
    flow.submit(page, "/login", username=flow.email, password="a wrong password")
    flow.browser.post("/login", data={"username": flow.email, "password": "no token of the page"})
    flow.submit(page, "/login", username="nobody@example.com", password="nobody's password")
    return {
        "CSRF token": form_fields(page.text)["csrf_token"],
        "wrong password": "a wrong password",
        "password without a CSRF token": "no token of the page",
        "password of nobody": "nobody's password",
    }


def present(flow: Flow, tokens: dict[str, str]) -> None:
    """Shows each token to every endpoint that takes one, in its right and in its wrong places."""
    headers = basic(flow.client.id, flow.secret or "")
    for name in ("access_token", "refresh_token", "id_token"):
        token = tokens[name]
        flow.browser.post("/oauth/introspect", data={"token": token}, headers=headers)
        flow.browser.post("/oauth/introspect", data={"token": token})
        for presented in (f"Bearer {token}", f"bearer {token} ", token, f"Basic {token}"):
            flow.browser.get("/oauth/userinfo", headers={"Authorization": presented})
        flow.browser.get("/oauth/userinfo", query_string={"access_token": token})
        flow.browser.post("/oauth/userinfo", data={"access_token": token})
    flow.browser.get("/oauth/authorize", query_string=flow.parameters(id_token_hint=tokens["access_token"]))
    flow.browser.get("/oauth/authorize", query_string=flow.parameters(id_token_hint=tokens["id_token"], prompt="none"))


def misplace(flow: Flow, secrets: dict[str, str], tokens: dict[str, str]) -> None:
    """Secrets where they do not belong: in queries, in other parameters, twice, in headers, in the path."""
    secrets["wrong client secret"] = wrong = "cs_wrong_but_still_secret"
    secret, token = flow.secret or "", tokens["refresh_token"]
    browser = flow.browser
    refresh = {"grant_type": "refresh_token", "refresh_token": token}
    browser.post("/oauth/token", data=refresh, headers=basic(flow.client.id, wrong))
    browser.post("/oauth/token", data=refresh, headers=basic("nobody", secret))
    browser.post("/oauth/token", query_string={"client_secret": secret, **refresh})
    browser.post("/oauth/token", data={**refresh, "client_id": flow.client.id, "client_secret": secret})
    browser.post("/oauth/token", data=f"refresh_token={token}&refresh_token={token}&grant_type={token}")
    browser.post("/oauth/token", data=token.encode() + b"\xff", content_type="application/x-www-form-urlencoded")
    browser.post("/oauth/token", json=refresh)
    browser.post("/oauth/token", data=refresh, headers={"Authorization": f"Basic {secret}"})
    for name in ("scope", "redirect_uri", "client_id", "response_type", "code_challenge", "prompt", "max_age"):
        browser.get("/oauth/authorize", query_string=flow.parameters(**{name: secret}))
        browser.get("/oauth/authorize", query_string=flow.parameters(**{name: f"{token} {token}"}))
    browser.get(f"/{token}")
    browser.get("/login", query_string={"request": token})
    browser.get("/", headers={"User-Agent": "a program", "X-Request-ID": token, "Referer": f"https://x/?t={token}"})
    browser.open("/oauth/token", method="PUT", data=refresh)


def serve_a_machine(flow: Flow) -> dict[str, str]:
    machine = flow_of(flow.gatepost, "machine", scope="notes:read", client_id="canary-machine")
    token = machine.post_token(grant_type="client_credentials").get_json()["access_token"]
    machine.post_token(grant_type="client_credentials", scope="openid")
    headers = basic(machine.client.id, machine.secret or "")
    machine.browser.post("/oauth/introspect", data={"token": token}, headers=headers)
    machine.browser.post("/oauth/revoke", data={"token": token}, headers=headers)
    machine.browser.post("/oauth/revoke", data={"token": token, "token_type_hint": token}, headers=headers)
    return {"machine's token": token, "machine's secret": machine.secret or ""}


def break_down(flow: Flow) -> dict[str, str]:
    """Faults of our own: a private key that does not open, and a table that is not there."""
    code, other = flow.code(), flow.code()
    flow.gatepost.runtime.parsed_keys.clear()
    with flow.gatepost.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE signing_keys SET private_encrypted = 'g1.lost.AAAA'")
    assert flow.redeem(code).status_code == 500
    with flow.gatepost.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE authorization_codes RENAME TO lost")
    assert flow.redeem(other).status_code in {500, 503}
    with flow.gatepost.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO authorization_codes")
    return {"code of a fault": code, "code of an outage": other}


def found(secrets: dict[str, str], texts: list[str]) -> list[tuple[str, str]]:
    return [(name, text[:300]) for name, secret in secrets.items() for text in texts if secret in text]


@pytest.mark.spec("L-01")
def test_no_secret_is_logged_when_everything_is_done_at_debug_level(captured: tuple[Gatepost, Captured]) -> None:
    gatepost, handler = captured
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    secrets = everything(flow) | break_down(flow)
    assert [line for line in handler.lines if "unhandled fault" in line], "no traceback was written, so none was tested"
    assert [line for line in handler.lines if "POST oauth.token 200" in line], "the access log was not tested"
    assert found(secrets, handler.lines) == []


@pytest.mark.spec("L-01")
def test_no_secret_is_repeated_by_a_refusal_when_everything_is_done_wrongly(
    captured: tuple[Gatepost, Captured],
) -> None:
    gatepost, _ = captured
    gatepost.app.wsgi_app = answers = Answers(gatepost.app.wsgi_app)  # type: ignore[method-assign]
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    secrets = everything(flow) | break_down(flow)
    # A page that is shown again has the token of its form.
    del secrets["CSRF token"]
    assert len(answers.refusals) > 50
    assert found(secrets, answers.refusals) == []


@pytest.mark.spec("L-01")
def test_no_secret_is_among_the_metrics_when_everything_was_done(
    captured: tuple[Gatepost, Captured], tmp_path: Path
) -> None:
    gatepost, _ = captured
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    secrets = everything(flow) | break_down(flow)
    exchange, registry = MetricsExchange(tmp_path / "figures"), CollectorRegistry()
    registry.register(page_of(gatepost.runtime, gatepost.engine.pool, exchange))
    figures = generate_latest(registry).decode()
    shared = [path.read_text() for path in (tmp_path / "figures").glob("*.json")]
    exchange.close()
    assert 'gatepost_requests_total{endpoint="oauth.token",method="POST",status="2xx"}' in figures
    assert len(shared) == 1
    assert found(secrets, [figures, *shared]) == []


@pytest.mark.spec("L-01")
def test_no_secret_is_readable_in_the_database_when_everything_was_done(captured: tuple[Gatepost, Captured]) -> None:
    gatepost, _ = captured
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    secrets = everything(flow) | break_down(flow)
    with gatepost.work() as work:
        audit_chain.seal(work)
    texts = []
    for table in inspect(gatepost.engine).get_table_names():
        with gatepost.work() as work:
            rows = work.db.connection().exec_driver_sql(f'SELECT * FROM "{table}"').fetchall()
        texts += [f"{table} {row}" for row in rows]
    assert len([text for text in texts if text.startswith("audit_events")]) > 20
    assert found(secrets, texts) == []


def test_private_keys_are_sealed_when_stored(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        stored = str(work.db.connection().exec_driver_sql("SELECT * FROM signing_keys").fetchall())
    assert '"d"' not in stored
    assert "PRIVATE KEY" not in stored


def test_answer_of_a_refresh_is_kept_nowhere_though_a_retry_gets_it_again(gatepost: Gatepost) -> None:
    """It is computed from the presented token and the keyring: whoever reads the database finds neither."""
    flow = flow_of(gatepost)
    tokens = flow.tokens()
    again = flow.refresh(tokens["refresh_token"]).get_json()
    with gatepost.work() as work:
        rows = work.db.connection().exec_driver_sql("SELECT * FROM refresh_tokens").all()
    stored = " ".join(str(row) for row in rows)
    assert again["refresh_token"] not in stored
    assert jwt_claims(again["access_token"])["jti"] not in stored
    assert flow.refresh(tokens["refresh_token"]).get_json() == again
