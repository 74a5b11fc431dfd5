"""What each request may cost, counted: a regression fails here on any machine, an improvement lowers a number.

Every request is sent once before it is counted, so that what happens once per process (keys parsed, statements
compiled, connections opened, the registry read) is over. On SQLite each also asks for the registry's version, past
SQLAlchemy. The audit rows of client_credentials are written by the queue, many at a time, as in `gatepost serve`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pytest
from werkzeug.test import TestResponse

from server.domain.policy.client_metadata import JWT_BEARER, TOKEN_EXCHANGE
from server.protocol.grants.token_exchange import API_KEY_TYPE
from tests.bench.counting import Counts, Recorder
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of
from tests.support.makers import Makers

COSTS: dict[str, Counts] = {
    "client_credentials": Counts(statements=0, commits=0, signatures=1),
    "client_credentials ES256": Counts(statements=0, commits=0, signatures=1),
    "code exchange": Counts(statements=5, commits=1, signatures=2),
    "refresh": Counts(statements=4, commits=1, signatures=2),
    "introspection": Counts(statements=1, commits=0, signatures=0),
    "introspection, client's own token": Counts(statements=1, commits=0, signatures=0),
    "introspection of an API key": Counts(statements=1, commits=0, signatures=0),
    "introspection of a key's token": Counts(statements=1, commits=0, signatures=0),
    "introspection of a client's token": Counts(statements=0, commits=0, signatures=0),
    "token exchange": Counts(statements=1, commits=0, signatures=1),
    "JWT as a grant": Counts(statements=0, commits=0, signatures=1),
    "userinfo": Counts(statements=1, commits=0, signatures=0),
    "JWKS": Counts(statements=0, commits=0, signatures=0),
    "discovery": Counts(statements=0, commits=0, signatures=0),
}
"""The one place: what a request of each kind costs today."""

Request = Callable[[], TestResponse]


@pytest.fixture
def service(make_gatepost: GatepostMaker) -> Iterator[Gatepost]:
    service = make_gatepost(scopes={"notes:read": "Read your notes"})
    service.runtime.audit_queue.start(service.settings)
    yield service
    service.runtime.audit_queue.stop()


@pytest.fixture
def recorder(service: Gatepost, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(service.engines, monkeypatch)


class Requests:
    """One function per row of the table: it makes ready what the request needs and returns the request."""

    def __init__(self, service: Gatepost) -> None:
        self.service = service
        self.web = flow_of(service, redirect_uris=("https://app.example/cb",))
        self.machine = flow_of(service, "machine", scope="notes:read")
        self._refresh_token = ""

    def client_credentials(self) -> Request:
        return lambda: self.machine.post_token(grant_type="client_credentials")

    def client_credentials_es256(self) -> Request:
        self.service.change_client(self.machine.client.id, access_token_signed_response_alg="ES256")
        return self.client_credentials()

    def code_exchange(self) -> Request:
        codes = [self.web.code(), self.web.code()]
        return lambda: self.web.redeem(codes.pop())

    def refresh(self) -> Request:
        self._refresh_token = self.web.tokens()["refresh_token"]

        def send() -> TestResponse:
            response = self.web.refresh(self._refresh_token)
            self._refresh_token = response.get_json()["refresh_token"]
            return response

        return send

    def introspection(self) -> Request:
        token = self.web.tokens()["access_token"]
        return lambda: self._introspect(self.web, token)

    def introspection_of_the_clients_own(self) -> Request:
        token = self.client_credentials()().get_json()["access_token"]
        return lambda: self._introspect(self.machine, token)

    def introspection_of_a_key(self) -> Request:
        _, key = self.makers.gateway.key("notes:read")
        return lambda: self.makers.introspect(key)

    def introspection_of_a_keys_token(self) -> Request:
        token = self.token_exchange()().get_json()["access_token"]
        return lambda: self.makers.introspect(token)

    def introspection_of_a_clients_token(self) -> Request:
        token = self.makers.token(aud=ISSUER)
        return lambda: self.makers.introspect(token)

    def token_exchange(self) -> Request:
        _, key = self.makers.gateway.key("notes:read")
        form = {"subject_token": key, "subject_token_type": API_KEY_TYPE, "grant_type": TOKEN_EXCHANGE}
        return lambda: self.service.browser().post("/oauth/token", data=form)

    def jwt_bearer(self) -> Request:
        form = {"grant_type": JWT_BEARER, "assertion": self.makers.token(aud=ISSUER)}
        return lambda: self.service.browser().post("/oauth/token", data=form)

    @cached_property
    def makers(self) -> Makers:
        return Makers(self.service, scope="notes:read")

    def userinfo(self) -> Request:
        headers = {"Authorization": f"Bearer {self.web.tokens()['access_token']}"}
        return lambda: self.service.browser().get("/oauth/userinfo", headers=headers)

    def jwks(self) -> Request:
        return lambda: self.service.browser().get("/.well-known/jwks.json")

    def discovery(self) -> Request:
        return lambda: self.service.browser().get("/.well-known/openid-configuration")

    def _introspect(self, flow: Flow, token: str) -> TestResponse:
        headers = basic(flow.client.id, flow.secret or "")
        return self.service.browser().post("/oauth/introspect", data={"token": token}, headers=headers)


REQUESTS: dict[str, Any] = {
    "client_credentials": Requests.client_credentials,
    "client_credentials ES256": Requests.client_credentials_es256,
    "code exchange": Requests.code_exchange,
    "refresh": Requests.refresh,
    "introspection": Requests.introspection,
    "introspection, client's own token": Requests.introspection_of_the_clients_own,
    "introspection of an API key": Requests.introspection_of_a_key,
    "introspection of a key's token": Requests.introspection_of_a_keys_token,
    "introspection of a client's token": Requests.introspection_of_a_clients_token,
    "token exchange": Requests.token_exchange,
    "JWT as a grant": Requests.jwt_bearer,
    "userinfo": Requests.userinfo,
    "JWKS": Requests.jwks,
    "discovery": Requests.discovery,
}


@pytest.mark.parametrize("name", COSTS)
def test_request_costs_what_the_table_says_when_the_process_is_warm(
    name: str, service: Gatepost, recorder: Recorder
) -> None:
    send = REQUESTS[name](Requests(service))
    assert send().status_code == 200
    with recorder.counting() as counts:
        response = send()
    assert response.status_code == 200, response.text
    assert response.get_json().get("active", True) is True
    assert counts() == COSTS[name], "\n".join(recorder.statements)


def test_table_and_requests_name_the_same() -> None:
    assert list(COSTS) == list(REQUESTS)


def test_private_key_is_parsed_once_when_a_process_begins(service: Gatepost, recorder: Recorder) -> None:
    requests = Requests(service)
    service.runtime.parsed_keys.clear()
    with recorder.counting() as counts:
        for _ in range(3):
            requests.client_credentials()()
    assert (counts().private_keys, counts().signatures) == (1, 3)


@pytest.mark.postgres
@pytest.mark.parametrize(("name", "round_trips"), [("refresh", 1), ("code exchange", 2), ("client_credentials", 0)])
def test_postgresql_is_asked_so_often_and_no_transaction_is_opened_when_the_process_is_warm(
    name: str, round_trips: int, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each statement is a transaction of its own: one round trip that changes something is one commit."""
    service = Gatepost(tmp_path, database_url=postgres_url, scopes={"notes:read": "Read your notes"})
    service.add_user()
    service.runtime.audit_queue.start(service.settings)
    service.runtime.registry_cache.listening(True)
    try:
        send = REQUESTS[name](Requests(service))
        assert send().status_code == 200
        sent: list[str] = []
        execute = psycopg.Cursor.execute

        def counted(cursor: Any, query: str, *arguments: Any, **options: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                assert cursor.connection.autocommit
                sent.append(query)
            return execute(cursor, query, *arguments, **options)

        monkeypatch.setattr(psycopg.Cursor, "execute", counted)
        assert send().status_code == 200
        assert len(sent) == round_trips, "\n".join(sent)
    finally:
        service.runtime.audit_queue.stop()
        service.close()
