"""Prometheus' page: every family, over all workers, read back by a parser that is not ours."""

from __future__ import annotations

import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from server.domain.signing_keys import ALGORITHMS
from server.infra.metrics import FAMILIES
from server.infra.metrics_exchange import MetricsExchange
from server.web import metrics_listener
from server.web.metrics_listener import MetricsPage, page_of
from tests.support.application import Gatepost
from tests.support.components import REPOSITORY
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic, flow_of
from tests.support.ports import free_port
from tests.support.servers import start_server

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values_of(exposition: str) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


class Page:
    """What Prometheus reads."""

    def __init__(self, page: MetricsPage) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(page)

    def text(self) -> str:
        return generate_latest(self.registry).decode()

    def value(self, name: str, **labels: str) -> float | None:
        return values_of(self.text()).get((name, frozenset(labels.items())))


@pytest.fixture
def service(make_gatepost: GatepostMaker) -> Gatepost:
    return make_gatepost(scopes={"notes:read": "Read your notes"})


@pytest.fixture
def page(service: Gatepost, tmp_path: Path) -> Iterator[Page]:
    exchange = MetricsExchange(tmp_path / "figures")
    yield Page(page_of(service.runtime, service.engine.pool, exchange))
    exchange.close()


def test_requests_are_told_by_endpoint_method_and_status(service: Gatepost, page: Page) -> None:
    browser = service.browser()
    for path in ("/.well-known/jwks.json", "/.well-known/jwks.json", "/nowhere/SECRET"):
        browser.get(path)
    browser.post("/oauth/token", data={"grant_type": "SECRET"})
    assert page.value("gatepost_requests_total", endpoint="oauth.jwks", method="GET", status="2xx") == 2
    assert page.value("gatepost_requests_total", endpoint="unknown", method="GET", status="4xx") == 1
    assert page.value("gatepost_requests_total", endpoint="oauth.token", method="POST", status="4xx") == 1
    assert page.value("gatepost_request_duration_seconds_count", endpoint="oauth.jwks") == 2
    assert page.value("gatepost_request_duration_seconds_bucket", endpoint="oauth.jwks", le="+Inf") == 2
    assert "SECRET" not in page.text()


def test_sign_ins_and_other_events_are_told(service: Gatepost, page: Page) -> None:
    flow = flow_of(service)
    flow.tokens()
    another = flow_of(service, client_id="another")
    page_of_login = another.open_page("/login", another.authorize())
    another.submit(page_of_login, "/login", username=flow.email, password="a wrong password")
    assert page.value("gatepost_logins_total", outcome="succeeded") == 1
    assert page.value("gatepost_logins_total", outcome="failed") == 1
    assert page.value("gatepost_audit_events_total", event="consent.given") == 1


def test_tokens_are_told_by_grant_and_kind_of_client(service: Gatepost, page: Page) -> None:
    web = flow_of(service, redirect_uris=("https://app.example/cb",))
    web.refresh(web.tokens()["refresh_token"])
    machine = flow_of(service, "machine", scope="notes:read")
    assert machine.post_token(grant_type="client_credentials").status_code == 200
    for grant_type, kind in (
        ("authorization_code", "web"),
        ("refresh_token", "web"),
        ("client_credentials", "machine"),
    ):
        assert page.value("gatepost_tokens_issued_total", grant_type=grant_type, client_type=kind) == 1


@pytest.mark.parametrize(
    ("path", "body", "endpoint", "error"),
    [
        ("/oauth/token", {"grant_type": "x"}, "oauth.token", "unsupported_grant_type"),
        ("/oauth/token", {"grant_type": "authorization_code", "code": "x"}, "oauth.token", "invalid_grant"),
        ("/oauth/introspect", {}, "oauth.introspect", "invalid_request"),
    ],
)
def test_refusals_are_told_by_endpoint_and_code(
    service: Gatepost, page: Page, path: str, body: dict[str, str], endpoint: str, error: str
) -> None:
    web = flow_of(service)
    assert service.browser().post(path, data=body, headers=basic(web.client.id, web.secret or "")).status_code == 400
    assert page.value("gatepost_refusals_total", endpoint=endpoint, error=error) == 1


def test_refusals_are_told_when_they_are_redirected(service: Gatepost, page: Page) -> None:
    web = flow_of(service)
    web.authorize(prompt="none")
    web.authorize(response_type="token")
    web.authorize(redirect_uri="https://elsewhere.example/cb")
    for error in ("login_required", "unsupported_response_type", "invalid_request"):
        assert page.value("gatepost_refusals_total", endpoint="oauth.authorize", error=error) == 1


def test_keys_and_their_ages_are_told(service: Gatepost, page: Page) -> None:
    service.clock.advance(60)
    ages = [value for (name, _), value in values_of(page.text()).items() if name == "gatepost_signing_key_age_seconds"]
    assert ages == [60.0] * len(ALGORITHMS)
    assert page.value("gatepost_database_up") == 1


def test_page_is_told_without_the_database(service: Gatepost, page: Page) -> None:
    with service.engine.begin() as connection:
        connection.execute(text("ALTER TABLE signing_keys RENAME TO away"))
    assert page.value("gatepost_database_up") == 0
    assert page.value("gatepost_workers") == 1
    with service.engine.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO signing_keys"))


def test_lag_of_housekeeping_begins_anew_when_a_round_is_finished(service: Gatepost, page: Page) -> None:
    service.runtime.metrics._swept_at -= 1000
    lag = page.value("gatepost_sweeper_lag_seconds")
    assert lag is not None
    assert lag > 1000
    service.runtime.metrics.swept()
    lag = page.value("gatepost_sweeper_lag_seconds")
    assert lag is not None
    assert lag < 10


def test_queue_and_pool_are_told(service: Gatepost, page: Page) -> None:
    assert page.value("gatepost_audit_queue_rows") == 0
    with service.engine.connect():
        assert page.value("gatepost_database_connections", state="in_use") == 1
    assert page.value("gatepost_database_connections", state="in_use") == 0


@pytest.mark.slow
def test_every_worker_is_told_and_another_serves_when_the_one_that_listens_is_killed(tmp_path: Path) -> None:
    port = free_port()
    settings = {"GATEPOST_METRICS_BIND": f"127.0.0.1:{port}", "TMPDIR": str(tmp_path)}
    with start_server(tmp_path / "server", workers=2, settings=settings) as server:
        eventually(lambda: live_value(port, "gatepost_workers") == 2)
        for _ in range(20):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/.well-known/jwks.json").close()
        eventually(lambda: live_value(port, "gatepost_requests_total", "oauth.jwks") == 20)
        (listener,) = processes_that_listen(port)
        os.kill(listener, signal.SIGKILL)
        eventually(lambda: processes_that_listen(port) not in ([], [listener]))
        # The one that was killed may take the last half second with it; what it told before stays.
        eventually(lambda: live_value(port, "gatepost_requests_total", "oauth.jwks") == 20)
    assert not list(tmp_path.glob("gatepost-metrics-*"))


def eventually(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def live_value(port: int, name: str, endpoint: str | None = None) -> float | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            values = values_of(answer.read().decode())
    except OSError:
        return None
    found = [
        value for (of, labels), value in values.items() if of == name and (not endpoint or endpoint in str(labels))
    ]
    return sum(found) if found else None


def processes_that_listen(port: int) -> list[int]:
    """Linux tells which sockets listen, and whose they are."""
    wanted = f":{port:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(wanted) and line[3] == "0A"}
    found = set()
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(link) in sockets:
                found.add(int(link.parts[2]))
    return sorted(found)


def test_nothing_listens_unless_the_settings_ask_for_it(gatepost: Gatepost) -> None:
    assert metrics_listener.start(gatepost.runtime, gatepost.engine.pool) is None


def test_page_of_the_operators_lists_every_family_and_no_other() -> None:
    table = (REPOSITORY / "docs" / "operations.md").read_text("utf-8")
    rows = re.findall(r"^\| `(gatepost_[a-z_]+?)(?:_total)?` \| (\w+) \| ([^|]*) \| ([^|]+) \|$", table, re.MULTILINE)
    assert [(name, kind, tuple(re.findall(r"`(\w+)`", labels)), text.strip()) for name, kind, labels, text in rows] == [
        (family.name, family.kind, family.labels, family.description) for family in FAMILIES
    ]
