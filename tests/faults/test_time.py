"""Replicas that disagree about the time, time zones with odd offsets, and the end of 32-bit time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.replicas import Replica, replicas
from tests.interop.person import Person, challenge_of
from tests.interop.registry import Account, RegisteredClient, create_account, create_client
from tests.support.application import Gatepost
from tests.support.components import missing
from tests.support.flow import flow_of, jwt_claims

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-to-allow-it"
SCOPE = "openid profile offline_access"
#: The first second that 31 bits do not hold.
END = 2**31
#: How many seconds before it a server is started that shall sign somebody in still; more on a busy machine.
LEADS = (10, 30, 60)


def faketime(offset: str) -> dict[str, str]:
    """Environment variables under which a process believes in another time."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime is not installed")
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def seconds_before_the_end(seconds: int) -> dict[str, str]:
    """The same for a process that is started now."""
    return faketime(f"{END - seconds - time.time():+.0f}")


def authorization_url(replica: Replica, client: RegisteredClient) -> str:
    query = (
        f"response_type=code&client_id={client.client_id}&redirect_uri={client.redirect_uri}&state=s"
        f"&scope={SCOPE.replace(' ', '+')}&code_challenge={challenge_of(VERIFIER)}&code_challenge_method=S256"
    )
    return f"http://localhost:{replica.port}/oauth/authorize?{query}"


def sign_in(replica: Replica, client: RegisteredClient, account: Account) -> tuple[Person, dict[str, str]]:
    """A signed-in browser, and the form that redeems its code."""
    person = Person(account.email, account.password)
    code = person.walk(authorization_url(replica, client), client.redirect_uri).parameters["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": client.redirect_uri}
    return person, {**form, "code_verifier": VERIFIER}


@pytest.mark.postgres
@pytest.mark.spec("R-25")
@pytest.mark.parametrize("offsets", [("+120", "-120"), ("-120", "+120")], ids=" and ".join)
def test_replicas_agree_about_what_is_valid_when_their_clocks_do_not(
    tmp_path: Path, postgres_url: str, offsets: tuple[str, str]
) -> None:
    with replicas(tmp_path, postgres_url, 2) as both:
        for replica, offset in zip(both, offsets, strict=True):
            replica.stop()
            replica.server.environment |= faketime(offset)
            replica.start()
        client = create_client(both[0].server, "web", "--first-party")
        credentials = (client.client_id, client.client_secret)
        person, form = sign_in(both[0], client, create_account(both[0].server))

        def post(replica: Replica, path: str, form: dict[str, str]) -> dict[str, object]:
            address = f"http://localhost:{replica.port}/oauth/{path}"
            answer = person.session.post(address, form, auth=credentials, timeout=30)
            assert answer.status_code == 200, answer.text
            document: dict[str, object] = answer.json()
            return document

        tokens = post(both[1], "token", form)
        claims = jwt_claims(str(tokens["access_token"]))
        # Far from the two minutes by which the machines are wrong.
        assert abs(claims["iat"] - time.time()) <= 30
        assert claims["exp"] - claims["iat"] == 3600
        refresh = {"grant_type": "refresh_token", "refresh_token": str(tokens["refresh_token"])}
        for replica in both:
            assert post(replica, "introspect", {"token": str(tokens["access_token"])})["active"] is True
            # The second is a retry, within a window that both reckon alike.
            assert jwt_claims(str(post(replica, "token", refresh)["access_token"]))["iat"] - claims["iat"] < 60
        person.session.close()


@pytest.mark.spec("R-26")
def test_sign_in_spans_the_end_of_32_bit_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gatepost.sqlite'}"
    settings = {"TZ": "Pacific/Chatham", **seconds_before_the_end(3600)}
    with replicas(tmp_path / "run", url, 1, settings=settings) as (replica,):
        client, account = create_client(replica.server, "web", "--first-party"), create_account(replica.server)
        token_url, auth = f"http://localhost:{replica.port}/oauth/token", (client.client_id, client.client_secret)
        for lead in LEADS:
            replica.stop()
            replica.server.environment |= seconds_before_the_end(lead)
            replica.start()
            person, form = sign_in(replica, client, account)
            tokens = person.session.post(token_url, form, auth=auth, timeout=30).json()
            if jwt_claims(tokens["access_token"])["iat"] < END:
                break
            person.session.close()
        assert jwt_claims(tokens["access_token"])["iat"] < END, "nobody signed in before the end"
        while jwt_claims(tokens["access_token"])["iat"] < END + 1:
            time.sleep(1)
            refresh = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
            answer = person.session.post(token_url, refresh, auth=auth, timeout=30)
            assert answer.status_code == 200, answer.text
            tokens = answer.json()
        address = f"http://localhost:{replica.port}/oauth/userinfo"
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert person.session.get(address, headers=headers, timeout=30).status_code == 200
        assert "code" in person.walk(authorization_url(replica, client), client.redirect_uri).parameters
        person.session.close()


@pytest.fixture
def chatham(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine 12 hours and 45 minutes ahead of UTC, and an hour more in summer."""
    monkeypatch.setitem(os.environ, "TZ", "Pacific/Chatham")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.spec("R-26")
@pytest.mark.parametrize(
    "start",
    [
        datetime(2038, 1, 19, 3, 14, 0, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC),
        datetime(2028, 2, 29, 11, 59, 50, tzinfo=UTC),
        # Chatham's clocks go an hour back, and forward.
        datetime(2027, 4, 3, 13, 59, 50, tzinfo=UTC),
        datetime(2027, 9, 25, 13, 59, 50, tzinfo=UTC),
    ],
    ids=str,
)
def test_everything_expires_to_the_second_wherever_and_whenever_the_machine_stands(
    tmp_path: Path, chatham: None, start: datetime
) -> None:
    gatepost = Gatepost(tmp_path)
    gatepost.clock._start = start
    gatepost.clock.reset()
    gatepost.add_user()
    flow = flow_of(gatepost)
    spent, fresh = flow.code(), flow.code()
    gatepost.clock.advance(59)
    tokens = flow.redeem(fresh).get_json()
    claims = jwt_claims(tokens["access_token"])
    assert claims["exp"] == int((start + timedelta(seconds=59 + 3600)).timestamp())
    gatepost.clock.advance(2)
    assert flow.redeem(spent).get_json()["error"] == "invalid_grant"
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    gatepost.clock.advance(3590)
    assert flow.browser.get("/oauth/userinfo", headers=headers).status_code == 200
    gatepost.clock.advance(20)
    assert flow.browser.get("/oauth/userinfo", headers=headers).status_code == 401
    assert flow.refresh(tokens["refresh_token"]).status_code == 200
    gatepost.close()
