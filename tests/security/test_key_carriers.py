"""A key is taken from the Authorization header, behind `Bearer`, and from nowhere else (K-13)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.altered import altered
from tests.support.deployment import GatepostMaker
from tests.support.gateway import API_SCOPES, Gateway

ENDPOINTS = ("/v1/verify", "/v1/me")


@pytest.fixture
def gateway(make_gatepost: GatepostMaker) -> Gateway:
    return Gateway(make_gatepost(scopes=API_SCOPES))


def carriers_refused(gateway: Gateway) -> list[str]:
    """Where keys were found, as the audit log has it; no key stands in it."""
    gateway.gatepost.clock.advance(60)
    gateway.flush_usage()
    rows = gateway.gatepost.audit_rows("api_key.carrier.refused")
    return [str(row.details["carrier"]) for row in rows for _ in range(int(row.details.get("count", 1)))]


def is_refused(answer: TestResponse) -> bool:
    body: dict[str, Any] = answer.get_json()
    return (
        answer.status_code == 401
        and body["error"] == "unauthorized"
        and sorted(body) == ["error", "message", "request_id"]
        and answer.headers["WWW-Authenticate"].startswith("Bearer ")
    )


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.spec("K-13")
def test_key_is_taken_from_the_header(gateway: Gateway, path: str) -> None:
    _, key = gateway.key()
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert gateway.ask(None, path=path, headers={"Authorization": f"{scheme} {key}"}).status_code == 200
    for other in (f"Token {key}", f"ApiKey {key}", key, f"Bearer: {key}", f"Bearer,{key}", f"Bearer {key},{key}"):
        assert is_refused(gateway.ask(None, path=path, headers={"Authorization": other})), other.replace(key, "KEY")


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("name", ["access_token", "api_key", "key", "token", "q", "Authorization"])
@pytest.mark.parametrize("has_header", [False, True])
@pytest.mark.spec("K-13")
def test_key_in_the_query_is_refused_and_leaves_a_row(gateway: Gateway, path: str, name: str, has_header: bool) -> None:
    _, key = gateway.key()
    query = f"{name}={key}"
    answer = (
        gateway.ask(key if has_header else None, headers={"X-Original-URI": f"/users?page=2&{query}"})
        if path == "/v1/verify"
        else gateway.ask(key if has_header else None, query, path=path)
    )
    assert is_refused(answer)
    assert "URL" in answer.get_json()["message"]
    assert carriers_refused(gateway) == ["query"]


@pytest.mark.spec("K-13")
def test_key_in_the_gateway_s_own_query_is_no_requirement(gateway: Gateway) -> None:
    _, key = gateway.key()
    assert gateway.ask(None, f"access_token={key}").status_code == 400
    assert gateway.ask(None, f"access_token={key}", path="/v1/verify/users").status_code == 401
    assert carriers_refused(gateway) == ["query"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.spec("K-13")
def test_key_as_a_password_is_refused_and_leaves_a_row(gateway: Gateway, path: str) -> None:
    _, key = gateway.key()
    for pair in (f"orders:{key}", f"{key}:", f":{key}"):
        value = "Basic " + base64.b64encode(pair.encode()).decode()
        assert is_refused(gateway.ask(None, path=path, headers={"Authorization": value}))
    assert carriers_refused(gateway) == ["basic"] * 3
    for odd in ("Basic", "Basic ===", "Basic eDp5", "Basic \xff", "basic " + "A" * 5000):
        assert is_refused(gateway.ask(None, path=path, headers={"Authorization": odd}))
    assert carriers_refused(gateway) == ["basic"] * 3


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.spec("K-13")
def test_key_in_a_cookie_is_refused_and_leaves_a_row(gateway: Gateway, path: str) -> None:
    _, key = gateway.key()
    for cookie in (f"api_key={key}", f'a=b; gatepost="{key}"', f"a=b;api_key={key};c=d"):
        assert is_refused(gateway.ask(None, path=path, headers={"Cookie": cookie}))
    assert carriers_refused(gateway) == ["cookie"] * 3


@pytest.mark.parametrize("name", ["X-API-Key", "API-Key", "X-Auth-Token", "X-Gatepost-Key", "Proxy-Authorization"])
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.spec("K-13")
def test_key_in_another_header_opens_nothing(gateway: Gateway, path: str, name: str) -> None:
    _, key = gateway.key()
    for value in (key, f"Bearer {key}"):
        assert is_refused(gateway.ask(None, path=path, headers={name: value}))


@pytest.mark.spec("K-13")
def test_key_in_the_body_opens_nothing(gateway: Gateway) -> None:
    _, key = gateway.key()
    for name in ("access_token", "api_key", "token"):
        assert is_refused(gateway.ask(None, method="POST", data={name: key}))
        assert is_refused(gateway.ask(None, method="POST", json={name: key}))
        organizations = {"path": "/v1/organizations", "method": "POST"}
        assert is_refused(gateway.ask(None, data={name: key}, **organizations))
        assert is_refused(gateway.ask(None, json={name: key}, **organizations))


@pytest.mark.spec("K-13")
def test_flood_of_keys_in_the_wrong_place_leaves_two_rows_a_minute(gateway: Gateway) -> None:
    _, key = gateway.key()
    for _ in range(50):
        assert is_refused(gateway.ask(None, headers={"Cookie": f"a={key}"}))
    assert len(gateway.gatepost.audit_rows("api_key.carrier.refused")) == 1
    assert carriers_refused(gateway) == ["cookie"] * 50
    rows = gateway.gatepost.audit_rows("api_key.carrier.refused")
    assert [row.details.get("count") for row in rows] == [None, 49]
    assert {row.ip for row in rows} == {"127.0.0.1"}


@pytest.mark.spec("K-13", "K-04")
def test_refused_key_stands_in_no_row_and_no_answer(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    key_row, key = gateway.key()
    basic = "Basic " + base64.b64encode(f"x:{key}".encode()).decode()
    answers = [
        gateway.ask(None, headers={"X-Original-URI": f"/users?api_key={key}"}),
        gateway.ask(None, headers={"X-Forwarded-Uri": f"/users?api_key={key}"}),
        gateway.ask(None, f"api_key={key}", path="/v1/me"),
        gateway.ask(None, headers={"Authorization": basic}),
        gateway.ask(None, headers={"Cookie": f"a={key}"}),
        gateway.ask(key, "scope=audit:read"),
        gateway.ask(altered(key)),
    ]
    secret = key.removeprefix(key_row.prefix)[len(key_row.public_id) :]
    rows = [json.dumps(row.details, default=str) + str(row.user_agent) for row in gateway.gatepost.audit_rows()]
    said = [answer.text + str(answer.headers) for answer in answers]
    assert not [text for text in [*rows, *said, caplog.text] if secret[:12] in text or basic in text]
