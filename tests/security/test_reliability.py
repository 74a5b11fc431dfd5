"""Retries, lost answers, replicas, clocks and outages: rules R that one process can show; the rest is tests/races."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from server.domain.housekeeping import sweep
from tests.security.replicas import replica_of
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER, Flow, basic, flow_of, jwt_claims

SITE = "https://app.example/cb"


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, "spa", redirect_uris=(SITE,))


def error_of(answer: TestResponse) -> str | None:
    return str((answer.get_json() or {}).get("error"))


@pytest.mark.spec("R-07", "INV-03")
def test_very_same_answer_comes_again_when_it_was_lost_up_to_five_times(flow: Flow) -> None:
    token = flow.tokens()["refresh_token"]
    first = flow.refresh(token).get_json()
    for _ in range(5):
        flow.gatepost.clock.advance(5)
        assert flow.refresh(token).get_json() == first
    assert flow.refresh(first["refresh_token"]).status_code == 200


LATE: dict[str, Callable[[Flow, str, str], object]] = {
    "after 31 seconds": lambda flow, *_: flow.gatepost.clock.advance(31),
    "after its successor was used": lambda flow, _, successor: flow.refresh(successor),
}


@pytest.mark.parametrize("late", LATE)
@pytest.mark.spec("R-09", "R-10", "INV-04")
def test_family_dies_on_every_replica_when_a_predecessor_comes_too_late(flow: Flow, late: str) -> None:
    token = flow.tokens()["refresh_token"]
    newest = flow.refresh(token).get_json()["refresh_token"]
    LATE[late](flow, token, newest)
    with replica_of(flow.gatepost) as app:
        form = {"grant_type": "refresh_token", "client_id": flow.client.id}
        answers = [
            app.test_client().post("/oauth/token", data={**form, "refresh_token": each}) for each in (token, newest)
        ]
        assert [error_of(answer) for answer in answers] == ["invalid_grant"] * 2
    assert error_of(flow.refresh(newest)) == "invalid_grant"


@pytest.mark.spec("R-10", "INV-43")
def test_lost_answer_comes_again_from_another_replica(flow: Flow) -> None:
    token = flow.tokens()["refresh_token"]
    first = flow.refresh(token).get_json()
    form = {"grant_type": "refresh_token", "client_id": flow.client.id, "refresh_token": token}
    with replica_of(flow.gatepost) as app:
        assert app.test_client().post("/oauth/token", data=form).get_json() == first


@pytest.mark.parametrize("first", ["refresh", "revoke"])
@pytest.mark.spec("R-11", "INV-10")
def test_no_token_survives_when_refresh_and_revocation_meet(flow: Flow, first: str) -> None:
    token = flow.tokens()["refresh_token"]
    revocation = {"token": token, "client_id": flow.client.id}
    answers: list[Any] = []
    for step in (first, "revoke" if first == "refresh" else "refresh"):
        if step == "refresh":
            answers.append(flow.refresh(token))
        else:
            assert flow.browser.post("/oauth/revoke", data=revocation).status_code == 200
    issued = answers[0].get_json()
    if "refresh_token" in issued:
        assert error_of(flow.refresh(issued["refresh_token"])) == "invalid_grant"
        bearer = {"Authorization": f"Bearer {issued['access_token']}"}
        assert flow.browser.get("/oauth/userinfo", headers=bearer).status_code == 401


@pytest.mark.spec("R-12")
def test_nobody_signs_in_again_when_one_answer_in_ten_is_lost(flow: Flow) -> None:
    chance = random.Random(11)
    held = flow.tokens()["refresh_token"]
    for _ in range(60):
        answer = flow.refresh(held)
        while chance.random() < 0.1:
            flow.gatepost.clock.advance(2)
            answer = flow.refresh(held)
        assert answer.status_code == 200
        held = answer.get_json()["refresh_token"]
        flow.gatepost.clock.advance(60)


@contextmanager
def commit_that_breaks(gatepost: Gatepost, *, done: bool) -> Iterator[None]:
    """The connection breaks while it commits: before the database did, or after."""

    def broken(*arguments: Any) -> None:
        if arguments[2].startswith("COMMIT"):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise OperationalError("COMMIT", {}, error)

    moment = "after_cursor_execute" if done else "before_cursor_execute"
    for engine in gatepost.engines:
        event.listen(engine, moment, broken)
    try:
        yield
    finally:
        for engine in gatepost.engines:
            event.remove(engine, moment, broken)


@pytest.mark.parametrize("done", [False, True], ids=["not committed", "committed"])
@pytest.mark.spec("R-21", "INV-42")
def test_retry_is_safe_when_nobody_knows_whether_a_commit_happened(make_gatepost: GatepostMaker, *, done: bool) -> None:
    gatepost = make_gatepost()
    gatepost.app.testing = False
    flow = flow_of(gatepost, "spa", redirect_uris=(SITE,))
    held = flow.tokens()["refresh_token"]
    with commit_that_breaks(gatepost, done=done):
        broken = flow.refresh(held)
    assert broken.status_code == 503
    assert int(broken.headers["Retry-After"]) > 0
    assert flow.refresh(held).status_code == 200
    code = flow.code(prompt="login")
    with commit_that_breaks(gatepost, done=done):
        assert flow.redeem(code).status_code == 503
    again = flow.redeem(code)
    # What was committed is not given a second time.
    assert again.status_code == (400 if done else 200)


@pytest.mark.parametrize("seconds", [-120, 120])
@pytest.mark.spec("R-25", "INV-09", "INV-46")
def test_nothing_outlives_its_time_by_more_than_the_clocks_differ(make_gatepost: GatepostMaker, seconds: int) -> None:
    """Replicas ask the database for the time (`infra/database_clock.py`); these two have been told different ones."""
    gatepost = make_gatepost(access_token_lifetime=300)
    flow = flow_of(gatepost, "spa", redirect_uris=(SITE,))
    other = FrozenClock()
    other.advance(seconds)
    bearer = {"Authorization": f"Bearer {flow.tokens()['access_token']}"}
    code = flow.code()
    with replica_of(gatepost, other) as app:
        browser = app.test_client()
        assert browser.get("/oauth/userinfo", headers=bearer).status_code == 200
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": SITE, "code_verifier": VERIFIER}
        redeemed = browser.post("/oauth/token", data={**form, "client_id": flow.client.id})
        assert redeemed.status_code == (200 if seconds < 0 else 400)
        other.advance(300 + max(0, -seconds))
        assert browser.get("/oauth/userinfo", headers=bearer).status_code == 401


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2038, 1, 19, 3, 14, 5, tzinfo=UTC),
        datetime(2027, 12, 31, 23, 59, 58, tzinfo=UTC),
        datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
        datetime(2027, 3, 28, 0, 59, 59, tzinfo=UTC),
    ],
)
@pytest.mark.spec("R-26")
def test_whole_way_works_when_seconds_overflow_years_end_and_clocks_change(
    make_gatepost: GatepostMaker, moment: datetime
) -> None:
    gatepost = make_gatepost()
    gatepost.clock.advance((moment - gatepost.clock.now()).total_seconds())
    flow = flow_of(gatepost, "spa", redirect_uris=(SITE,))
    code = flow.code()
    gatepost.clock.advance(5)
    tokens = flow.redeem(code).get_json()
    assert jwt_claims(tokens["access_token"])["exp"] == int(moment.timestamp()) + 5 + 3600
    gatepost.clock.advance(5)
    assert flow.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("R-34")
def test_everything_expires_in_time_when_nothing_was_ever_swept(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    flow = flow_of(gatepost, "spa", redirect_uris=(SITE,))
    held, code = flow.tokens(), flow.code()
    silent = flow.authorize(prompt="none")
    assert silent.status_code == 303
    gatepost.clock.advance(31 * 86400)
    assert error_of(flow.redeem(code)) == "invalid_grant"
    assert error_of(flow.refresh(held["refresh_token"])) == "invalid_grant"
    assert "You are signed in" not in flow.browser.get("/").text
    before = flow.tokens()
    with gatepost.work() as work:
        sweep(work)
    assert flow.refresh(before["refresh_token"]).status_code == 200


@pytest.mark.spec("R-18", "INV-42")
def test_outage_is_503_and_never_a_refusal_of_good_credentials(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    gatepost.app.testing = False
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    tokens = flow.tokens()
    gatepost.close()
    file = Path(str(gatepost.engine.url.database))
    aside = file.rename(file.with_name("aside.sqlite"))
    # A folder in the file's place is what SQLite cannot open.
    file.mkdir()
    try:
        headers = basic(flow.client.id, flow.secret or "")
        answers = {
            "token": flow.refresh(tokens["refresh_token"]),
            "introspect": flow.browser.post(
                "/oauth/introspect", data={"token": tokens["access_token"]}, headers=headers
            ),
            "userinfo": flow.browser.get(
                "/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"}
            ),
            "authorize": flow.authorize(),
        }
        alive = flow.browser.get("/healthz").status_code
        ready = flow.browser.get("/readyz").status_code
        metadata = flow.browser.get("/.well-known/openid-configuration").status_code
    finally:
        gatepost.close()
        file.rmdir()
        aside.rename(file)
    for name, answer in answers.items():
        assert answer.status_code == 503, name
        assert int(answer.headers["Retry-After"]) > 0, name
        assert answer.headers["Cache-Control"] == "no-store", name
    assert (alive, ready, metadata) == (200, 503, 200)
    assert flow.refresh(tokens["refresh_token"]).status_code == 200


@pytest.mark.spec("INV-02", "INV-01", "INV-03")
def test_every_token_in_the_database_has_a_spent_code_and_a_consent_behind_it(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost()
    asking = flow_of(gatepost, "spa", redirect_uris=(SITE,))
    own = flow_of(gatepost, client_id="own", redirect_uris=(SITE,), is_first_party=True)
    for flow in (asking, own):
        for _ in range(3):
            code = flow.code(prompt="login")
            flow.redeem(code, code_verifier="w" * 43)
            held = flow.redeem(code).get_json()["refresh_token"]
            for _ in range(2):
                held = flow.refresh(held).get_json()["refresh_token"]
        flow.code(prompt="login")
    statements = {
        # What must not be there.
        "tokens without a spent code": "SELECT count(*) FROM refresh_tokens t WHERE NOT EXISTS "
        "(SELECT 1 FROM authorization_codes c WHERE c.grant_id = t.grant_id AND c.consumed_at IS NOT NULL)",
        "codes that gave more than one family": "SELECT count(*) FROM (SELECT grant_id FROM refresh_tokens "
        "WHERE predecessor_id IS NULL GROUP BY grant_id HAVING count(*) > 1) AS forks",
        "families with more than one unspent leaf": "SELECT count(*) FROM (SELECT grant_id FROM refresh_tokens "
        "WHERE consumed_at IS NULL GROUP BY grant_id HAVING count(*) > 1) AS forks",
        "grants that nobody consented to": "SELECT count(*) FROM grants g JOIN clients c ON c.id = g.client_id "
        "WHERE NOT c.is_first_party AND NOT EXISTS (SELECT 1 FROM consents o WHERE o.user_id = g.user_id "
        "AND o.client_id = g.client_id)",
    }
    with gatepost.work() as work:
        connection = work.db.connection()
        assert connection.exec_driver_sql("SELECT count(*) FROM refresh_tokens").scalar() == 18
        for name, statement in statements.items():
            assert connection.exec_driver_sql(statement).scalar() == 0, name
