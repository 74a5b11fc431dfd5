"""Figures: what is counted is told, by bounded labels, over all workers and beyond their end."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from server.infra import metrics_exchange
from server.infra.metrics import BUCKETS, FAMILIES, Metrics, from_document, to_document
from server.infra.metrics_exchange import MetricsExchange, folder_of_server


def test_request_is_counted_by_endpoint_method_and_status_class_in_its_bucket() -> None:
    metrics = Metrics()
    for status, seconds in (("200 OK", 0.001), ("201 Created", 0.0011), ("503 Service Unavailable", 60.0)):
        metrics.observe("oauth.token", "POST", status, seconds)
    requests = metrics.snapshot().requests
    fine, faulty = requests["oauth.token", "POST", "2"], requests["oauth.token", "POST", "5"]
    assert fine[:3] == [1, 1, 0]
    assert fine[-1] == pytest.approx(0.0021)
    assert faulty[len(BUCKETS)] == 1
    assert faulty[-1] == 60


@pytest.mark.spec("L-01")
def test_number_of_series_stays_bounded_when_methods_are_made_up() -> None:
    metrics = Metrics()
    for number in range(1000):
        metrics.observe("unknown", f"METHOD{number}", "405 Method Not Allowed", 0.0)
    assert list(metrics.snapshot().requests) == [("unknown", "other", "4")]


def test_nothing_is_lost_when_many_threads_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.observe("oauth.token", "POST", "200 OK", 0.01)
            metrics.issue("client_credentials", "machine")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = metrics.snapshot()
    assert sum(snapshot.requests["oauth.token", "POST", "2"][:-1]) == 8000
    assert snapshot.counts["gatepost_tokens_issued", "client_credentials", "machine"] == 8000


def test_snapshot_is_the_same_after_it_went_through_json() -> None:
    metrics = Metrics()
    metrics.observe("oauth.token", "POST", "200 OK", 0.01)
    metrics.refuse("oauth.token", "invalid_grant")
    metrics.tell("login.failed")
    metrics.watch("gatepost_database_connections", "open", value=lambda: 2)
    metrics.watch("gatepost_database_connections", "open", value=lambda: 3)
    snapshot = metrics.snapshot()
    assert snapshot.gauges == {("gatepost_database_connections", "open"): 5}
    assert from_document(json.loads(json.dumps(to_document(snapshot)))) == snapshot


def test_names_and_labels_are_what_prometheus_takes() -> None:
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        assert family.name.startswith("gatepost_")
        assert not family.name.endswith("_total")


def counted(count: int) -> Metrics:
    metrics = Metrics()
    for _ in range(count):
        metrics.tell("login.failed")
    return metrics


def told(exchange: MetricsExchange) -> list[tuple[int, bool]]:
    return sorted(
        (snapshot.counts.get(("gatepost_audit_events", "login.failed"), 0), is_alive)
        for snapshot, is_alive in exchange.snapshots()
    )


def test_each_worker_reads_the_figures_of_all(tmp_path: Path) -> None:
    one, other = MetricsExchange(tmp_path / "x"), MetricsExchange(tmp_path / "x")
    one.publish(counted(1).snapshot())
    other.publish(counted(2).snapshot())
    one.publish(counted(3).snapshot())
    assert told(one) == told(other) == [(2, True), (3, True)]
    one.close()
    other.close()


def test_counters_of_an_ended_worker_stay_and_its_gauges_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = MetricsExchange(tmp_path / "x"), MetricsExchange(tmp_path / "x")
    one.publish(counted(1).snapshot())
    monkeypatch.setattr(metrics_exchange, "GONE_SECONDS", 0.0)
    assert told(other) == [(1, False)]
    one.close()
    assert told(other) == [(1, False)]
    other.close()


def test_first_worker_begins_with_nothing_when_the_folder_is_left_from_before(tmp_path: Path) -> None:
    killed = MetricsExchange(tmp_path / "x")
    killed.publish(counted(1).snapshot())
    os.close(killed._lock)
    first = MetricsExchange(tmp_path / "x")
    assert told(first) == []
    first.publish(counted(2).snapshot())
    second = MetricsExchange(tmp_path / "x")
    assert told(second) == [(2, True)]
    second.close()
    first.close()
    assert not (tmp_path / "x").exists()


def test_damaged_file_is_passed_over(tmp_path: Path) -> None:
    exchange = MetricsExchange(tmp_path / "x")
    exchange.publish(counted(1).snapshot())
    for name, text in (("1-a.json", "{"), ("2-b.json", "{}"), ("3-c.json", "[]"), ("4-d.json", '{"at": "now"}')):
        (tmp_path / "x" / name).write_text(text)
    assert told(exchange) == [(1, True)]
    exchange.close()


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_folder_of_somebody_else_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x").chmod(mode)
    with pytest.raises(PermissionError, match="not a folder of ours alone"):
        MetricsExchange(tmp_path / "x")


def test_link_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "x").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError):
        MetricsExchange(tmp_path / "x")


def test_workers_of_one_server_agree_on_the_folder() -> None:
    assert folder_of_server().name == f"gatepost-metrics-{os.getuid()}-{os.getppid()}"
