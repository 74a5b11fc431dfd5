"""Requests are counted whoever answers them, and the access log tells no more than it should."""

from __future__ import annotations

import json
import logging
from time import perf_counter
from typing import Any

import pytest

from server.infra.logging import configure_logging
from server.infra.metrics import Metrics
from server.web.request_metrics import ENDPOINT, RECEIVED_AT, CountedRequests
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker


def counted(gatepost: Gatepost) -> dict[tuple[str, ...], int]:
    requests = gatepost.runtime.metrics.snapshot().requests
    return {series: int(sum(row[:-1])) for series, row in requests.items()}


@pytest.mark.parametrize(
    ("method", "path", "endpoint", "status"),
    [
        ("GET", "/healthz", "oauth.healthz", "2"),
        ("GET", "/.well-known/jwks.json", "oauth.jwks", "2"),
        ("GET", "/.well-known/openid-configuration", "oauth.openid_configuration", "2"),
        ("POST", "/oauth/token", "oauth.token", "4"),
        ("GET", "/oauth/userinfo", "oauth.userinfo", "4"),
        ("GET", "/nowhere", "unknown", "4"),
        ("PUT", "/oauth/token", "unknown", "4"),
        ("BREW", "/oauth/token", "unknown", "4"),
    ],
)
def test_request_is_counted_once_by_its_endpoint(
    make_gatepost: GatepostMaker, method: str, path: str, endpoint: str, status: str
) -> None:
    gatepost = make_gatepost()
    gatepost.browser().open(path, method=method)
    method = method if method != "BREW" else "other"
    assert counted(gatepost) == {(endpoint, method, status): 1}


def call(application: CountedRequests, **environ: Any) -> list[bytes]:
    return list(application({"REQUEST_METHOD": "GET", **environ}, lambda *_: lambda _: None))


def test_request_is_counted_as_a_fault_when_the_application_raises() -> None:
    metrics = Metrics()

    def application(environ: Any, start_response: Any) -> Any:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        call(CountedRequests(application, metrics))
    assert list(metrics.snapshot().requests) == [("unknown", "GET", "5")]


def test_time_is_counted_from_when_the_whole_request_was_there() -> None:
    metrics = Metrics()

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ[ENDPOINT] = "oauth.token"
        environ[RECEIVED_AT] -= 7.0
        start_response("200 OK", [])
        return []

    call(CountedRequests(application, metrics), **{RECEIVED_AT: perf_counter()})
    (row,) = metrics.snapshot().requests.values()
    assert 7.0 < row[-1] < 8.0


def test_access_log_names_the_endpoint_and_the_request_and_nothing_that_was_sent(
    make_gatepost: GatepostMaker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gatepost = make_gatepost(access_log=True)
    response = gatepost.browser().get("/.well-known/jwks.json?code=SECRET", headers={"User-Agent": "SECRET\x1b[2J"})
    (line,) = [record for record in caplog.records if record.name == "gatepost.access"]
    method, endpoint, status, milliseconds, unit = line.getMessage().split()
    assert (method, endpoint, status, unit) == ("GET", "oauth.jwks", "200", "ms")
    assert float(milliseconds) >= 0
    assert response.headers["X-Request-ID"].startswith("req_")
    assert "SECRET" not in caplog.text


def test_access_line_has_the_id_of_its_request(
    make_gatepost: GatepostMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    gatepost = make_gatepost(access_log=True, log_format="json")
    try:
        configure_logging(gatepost.settings)
        response = gatepost.browser().get("/healthz")
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    documents = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [document for document in documents if document["logger"] == "gatepost.access"]
    assert line["request_id"] == response.headers["X-Request-ID"]


def test_no_access_line_is_written_unless_the_settings_ask_for_it(
    gatepost: Gatepost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    gatepost.browser().get("/healthz")
    assert [record for record in caplog.records if record.name == "gatepost.access"] == []
