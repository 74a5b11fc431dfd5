"""What a verification may cost, counted: statements, round trips, and how often a key's use is written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from server.domain.credential_usage import usage_of
from tests.bench.counting import Counts, Recorder
from tests.support.altered import altered
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of
from tests.support.gateway import API_SCOPES, Gateway

Request = Callable[[], TestResponse]

COSTS: dict[str, Counts] = {
    "key": Counts(statements=1, commits=0, signatures=0),
    # One statement finds the key, the other counts; on SQLite that one is a transaction.
    "key with a limit": Counts(statements=2, commits=1, signatures=0),
    "person's token": Counts(statements=1, commits=0, signatures=0),
    "client's token": Counts(statements=1, commits=0, signatures=0),
    "token that a key was exchanged for": Counts(statements=1, commits=0, signatures=0),
}


@pytest.fixture
def gateway(make_gatepost: GatepostMaker) -> Iterator[Gateway]:
    service = make_gatepost(scopes=API_SCOPES)
    service.runtime.audit_queue.start(service.settings)
    yield Gateway(service)
    service.runtime.audit_queue.stop()


def _presented(gateway: Gateway, name: str) -> str:
    if name == "key":
        return gateway.key()[1]
    if name == "key with a limit":
        return gateway.key(rate_limit_per_minute=100)[1]
    if name == "person's token":
        return str(flow_of(gateway.gatepost, scope="openid users:read").tokens(scope="users:read")["access_token"])
    if name == "client's token":
        machine = flow_of(gateway.gatepost, "machine", scope="users:read")
        return str(machine.post_token(grant_type="client_credentials").get_json()["access_token"])
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key",
        "subject_token": gateway.key()[1],
    }
    return str(gateway.gatepost.browser().post("/oauth/token", data=form).get_json()["access_token"])


@pytest.mark.spec("K-08")
@pytest.mark.parametrize("name", COSTS)
def test_verification_costs_what_the_table_says_when_the_process_is_warm(
    name: str, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(gateway.gatepost.engines, monkeypatch)
    presented = _presented(gateway, name)
    for path in ("/v1/verify", "/v1/verify/users"):
        query = "" if path.endswith("users") else "scope=users:read&environment=live"
        assert gateway.ask(presented, query, path=path).status_code == 200
        with recorder.counting() as counts:
            answer = gateway.ask(presented, query, path=path)
        assert answer.status_code == 200, answer.text
        assert counts() == COSTS[name], "\n".join(recorder.statements)


@pytest.mark.spec("K-08")
def test_refusal_costs_no_more_than_a_success(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(gateway.gatepost.engines, monkeypatch)
    _, key = gateway.key()
    _, used_up = gateway.key(rate_limit_per_minute=1)
    gateway.ask(used_up)
    gateway.ask(used_up)
    for presented, query, status in (
        (key, "scope=audit:read", 403),
        (used_up, "", 429),
        (key, "environment=test", 401),
    ):
        gateway.ask(presented, query)
        with recorder.counting() as counts:
            assert gateway.ask(presented, query).status_code == status
        assert counts().statements == 1, "\n".join(recorder.statements)


@pytest.mark.spec("K-02", "K-08")
@pytest.mark.parametrize("where", ["verification", "introspection", "exchange"])
def test_text_with_a_wrong_checksum_costs_no_statement(
    gateway: Gateway, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(gateway.gatepost.engines, monkeypatch)
    resource_server = flow_of(gateway.gatepost)
    gateway.gatepost.change_client(resource_server.client.id, may_introspect_any=True)
    _, key = gateway.key()
    for wrong in (altered(key), key[:-1], f"{key}0", key.swapcase(), "gp_live_"):
        for _ in range(2):
            with recorder.counting() as counts:
                assert _is_refused(gateway, resource_server, where, wrong)
        assert counts() == Counts(statements=0, commits=0, signatures=0), "\n".join(recorder.statements)


def _is_refused(gateway: Gateway, resource_server: Flow, where: str, presented: str) -> bool:
    if where == "verification":
        return gateway.ask(presented).status_code == 401
    browser = gateway.gatepost.browser()
    if where == "introspection":
        headers = basic(resource_server.client.id, resource_server.secret or "")
        answer = browser.post("/oauth/introspect", data={"token": presented}, headers=headers)
        return bool(answer.get_json() == {"active": False})
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key",
        "subject_token": presented,
    }
    return browser.post("/oauth/token", data=form).status_code == 400


@pytest.mark.spec("K-07")
def test_use_of_a_key_is_written_once_a_minute_however_often_it_is_used(gateway: Gateway) -> None:
    clock = gateway.gatepost.clock
    row, key = gateway.key()

    def written() -> tuple[object, ...]:
        with gateway.gatepost.work() as work:
            return tuple((day.uses, day.written_at) for day in usage_of(work, "api_key", row.id))

    def writes(minutes: int) -> int:
        """How often the row changed while 40 requests a minute came, and the writer looked after each."""
        count = 0
        for _ in range(minutes * 40):
            assert gateway.ask(key).status_code == 200
            before = written()
            gateway.flush_usage()
            count += written() != before
            clock.advance(1.5)
        return count

    assert writes(1) == 1
    assert writes(3) == 3
    clock.advance(60)
    gateway.flush_usage()
    with gateway.gatepost.work() as work:
        assert sum(day.uses for day in usage_of(work, "api_key", row.id)) == 160


@pytest.mark.postgres
@pytest.mark.parametrize(("limit", "round_trips"), [(None, 1), (100, 2)])
def test_postgresql_is_asked_so_often_and_no_transaction_is_opened_when_the_process_is_warm(
    limit: int | None, round_trips: int, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Gatepost(tmp_path, database_url=postgres_url, scopes=API_SCOPES)
    service.runtime.registry_cache.listening(True)
    try:
        gateway = Gateway(service)
        _, key = gateway.key(rate_limit_per_minute=limit)
        assert gateway.ask(key).status_code == 200
        sent: list[str] = []
        execute = psycopg.Cursor.execute

        def counted(cursor: Any, query: str, *arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                assert cursor.connection.autocommit
                sent.append(query)
            return execute(cursor, query, *arguments, **options)

        monkeypatch.setattr(psycopg.Cursor, "execute", counted)
        assert gateway.ask(key).status_code == 200
        assert len(sent) == round_trips, "\n".join(sent)
    finally:
        service.close()
