"""No secret in a log at any level, nor readable in the database, after everything has been done once."""

import logging
from collections.abc import Iterator

import pytest
from sqlalchemy import inspect

from server.infra.logging import configure_logging
from tests.support.application import PASSWORD, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER, Flow, basic, flow_of, form_fields, jwt_claims


class Captured(logging.Handler):
    """Every record with its arguments and its traceback, as a careless formatter would write it."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.getMessage()} {vars(record)!r}")


@pytest.fixture
def captured(make_gatepost: GatepostMaker) -> Iterator[tuple[Gatepost, Captured]]:
    """A deployment that logs all it can, set up as `serve` and `dev` do."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("authlib", "sqlalchemy")}
    gatepost = make_gatepost(log_level="debug")
    configure_logging(gatepost.settings)
    handler = Captured()
    root.handlers[:] = [handler]
    yield gatepost, handler
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)


def everything(flow: Flow) -> dict[str, str]:
    """Does everything once; the secrets that went to and fro."""
    secrets = {"password": PASSWORD, "verifier": VERIFIER, "client secret": flow.secret or ""}
    page = flow.open_page("/login", flow.authorize())
    secrets["CSRF token"] = form_fields(page.text)["csrf_token"]
    flow.submit(page, "/login", username=flow.email, password="a wrong password")
    secrets["wrong password"] = "a wrong password"
    code = secrets["code"] = flow.code()
    flow.redeem(code, code_verifier="x" * 43)
    tokens = flow.redeem(code).get_json()
    flow.redeem(code)
    tokens = flow.tokens()
    again = flow.refresh(tokens["refresh_token"]).get_json()
    for prefix, document in (("first", tokens), ("second", again)):
        for name in ("access_token", "refresh_token", "id_token"):
            secrets[f"{prefix} {name}"] = document[name]
    headers = basic(flow.client.id, flow.secret or "")
    for token in (again["access_token"], again["refresh_token"], again["id_token"]):
        flow.browser.post("/oauth/introspect", data={"token": token}, headers=headers)
        flow.browser.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})
    flow.browser.get("/oauth/authorize", query_string=flow.parameters(id_token_hint=tokens["access_token"]))
    flow.browser.post("/oauth/revoke", data={"token": again["refresh_token"]}, headers=headers)
    flow.browser.post("/oauth/token", data={"grant_type": "refresh_token"}, headers=basic(flow.client.id, "cs_wrong"))
    secrets["wrong client secret"] = "cs_wrong"
    cookie = flow.browser.get_cookie("gatepost")
    assert cookie is not None
    secrets["cookie"] = cookie.value
    return secrets


def test_no_secret_is_logged_when_everything_is_done_at_debug_level(captured: tuple[Gatepost, Captured]) -> None:
    gatepost, handler = captured
    secrets = everything(flow_of(gatepost, redirect_uris=("https://app.example/cb",)))
    assert handler.lines, "nothing was captured, so nothing was tested"
    for name, secret in secrets.items():
        assert not [line for line in handler.lines if secret in line], name


def test_no_secret_is_readable_in_the_database_when_everything_was_done(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    secrets = everything(flow)
    rows = 0
    for table in inspect(gatepost.engine).get_table_names():
        with gatepost.work() as work:
            for row in work.db.connection().exec_driver_sql(f'SELECT * FROM "{table}"').fetchall():
                rows += 1
                for name, secret in secrets.items():
                    assert secret not in str(row), (table, name)
    assert rows > 20


def test_private_keys_are_sealed_when_stored(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        stored = str(work.db.connection().exec_driver_sql("SELECT * FROM signing_keys").fetchall())
    assert '"d"' not in stored
    assert "PRIVATE KEY" not in stored


def test_replay_opens_only_with_the_token_that_was_presented(gatepost: Gatepost) -> None:
    """The kept answer of a refresh is worth nothing to whoever reads the database."""
    flow = flow_of(gatepost)
    tokens = flow.tokens()
    again = flow.refresh(tokens["refresh_token"]).get_json()
    with gatepost.work() as work:
        (sealed,) = (
            work.db.connection().exec_driver_sql("SELECT replay FROM refresh_tokens WHERE replay IS NOT NULL").scalars()
        )
    assert again["refresh_token"] not in sealed
    assert jwt_claims(again["access_token"])["jti"] not in sealed
    assert flow.refresh(tokens["refresh_token"]).get_json() == again
