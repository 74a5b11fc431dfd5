"""What a request may look like: unknown members, other types, other methods, and everything that is no JSON."""

import base64
import json

import pytest

from tests.web.api.conftest import Api
from tests.web.api.test_authentication import refused

NOW = "2026-11-22T12:00:00+00:00"
#: What is no place in a list, or none that a database could look for.
FORGED = (
    ["0001-01-01T00:00:00+23:59", "x"],
    ["9999-12-31T23:59:59-23:59", "x"],
    [NOW, "\ud800"],
    [NOW, "\x00"],
    [NOW, "a b"],
    [NOW, 7],
    [7, "x"],
    [NOW],
    {},
)


def forged(position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


@pytest.fixture
def key(api: Api) -> str:
    return api.key("*")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"name": "k"}, "permissions: this is missing."),
        ({"name": "k", "permissions": ["a"], "expires_in": "1d"}, "expires_in: there is no such member."),
        ({"name": "k", "permissions": ["a"], "rateLimitPerMinute": "5"}, "rateLimitPerMinute"),
        ({"name": 7, "permissions": ["a"]}, "name"),
        ({"name": "k", "permissions": "a"}, "permissions"),
        ({"name": "k", "permissions": [1]}, "permissions.0"),
        ({"name": "k\x00", "permissions": ["a"]}, "name"),
        ({"name": "k" * 101, "permissions": ["a"]}, "name"),
        ({"name": "k", "permissions": ["organizations:read"], "expiresIn": "soon"}, "expiresIn"),
        ({"name": "k", "permissions": ["organizations:read"], "expiresIn": "99999d"}, "expiresIn"),
        ({"name": "k", "permissions": ["organizations:read"], "expiresIn": "0"}, "expiresAt"),
        ({"name": "k", "permissions": ["no:such"]}, "permissions"),
        ({"name": "k", "permissions": ["organizations:read"], "ipAllowList": ["here"]}, "ipAllowList"),
        ([], "object"),
        ("text", "object"),
    ],
)
def test_body_is_refused_and_its_fault_named_when_it_is_wrong(api: Api, key: str, body: object, named: str) -> None:
    document = refused(api.ask("POST", "…/api-keys", body, key=key), 400, "invalid_request")
    assert named in document["message"]


@pytest.mark.parametrize(
    "sent", [b"{", b"", b"\xff\xfe", b'{"name": "\\ud800"}', b"[" * 5000, b"{}garbage", b'{"a": NaN}']
)
def test_body_is_refused_when_it_is_no_json(api: Api, key: str, sent: bytes) -> None:
    answer = api.ask("POST", "…/api-keys", key=key, data=sent, content_type="application/json")
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_body_is_refused_when_it_is_of_another_type(api: Api, key: str, content_type: str) -> None:
    body = b'{"name": "k", "permissions": ["organizations:read"]}'
    refused(api.ask("POST", "…/api-keys", key=key, data=body, content_type=content_type), 415, "invalid_request")


def test_body_is_refused_when_it_is_too_large(api: Api, key: str) -> None:
    body = {"name": "k", "permissions": ["x" * 70_000]}
    refused(api.ask("POST", "…/api-keys", body, key=key), 413, "invalid_request")


def test_body_is_refused_when_there_should_be_none(api: Api, key: str) -> None:
    refused(api.ask("GET", "/v1/me", {"a": 1}, key=key), 400, "invalid_request")


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=ten", "limit=1_0", "limit=1.0", "limit=1&limit=2", "page=2", "environment=prod",
     "cursor=x", "cursor=%FF", "cursor=bnVsbA", "cursor=WyJ4Iiwib25lIl0", "cursor=" + "x" * 501,
     *(f"cursor={forged(position)}" for position in FORGED)],
)  # fmt: skip
def test_query_is_refused_when_it_is_wrong(api: Api, key: str, query: str) -> None:
    refused(api.ask("GET", f"…/api-keys?{query}", key=key), 400, "invalid_request")


def test_query_is_refused_when_it_is_no_text(api: Api, key: str) -> None:
    answer = api.gatepost.app.test_client().get(
        "/v1/me", environ_overrides={"QUERY_STRING": "a=\xff"}, headers={"Authorization": f"Bearer {key}"}
    )
    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing", "/api/v1/nothing", "/v1/me/x"])
def test_path_is_not_found_when_nothing_stands_there(api: Api, key: str, path: str) -> None:
    refused(api.ask("GET", path, key=key), 404, "not_found")


@pytest.mark.parametrize("name", ["%00", "%0a", "a%20b", "%F0%9F%92%A9", "..%2f", "x" * 101, "%FF"])
@pytest.mark.parametrize("path", ["/v1/organizations/{}", "…/api-keys/{}", "…/users/{}", "…/clients/{}", "…/roles/{}"])
def test_argument_is_not_found_when_it_cannot_be_an_id(api: Api, key: str, path: str, name: str) -> None:
    method = "PATCH" if "roles" in path else "GET"
    body = {} if method == "PATCH" else None
    refused(api.ask(method, path.format(name), body, key=key), 404, "not_found")


def test_method_is_refused_and_others_named_when_the_path_has_another(api: Api, key: str) -> None:
    answer = api.ask("PUT", "…/api-keys", {}, key=key)
    refused(answer, 405, "invalid_request")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS", "POST"}
    assert api.ask("OPTIONS", "…/api-keys").headers["Allow"]
    head = api.ask("HEAD", "…/api-keys", key=key)
    assert (head.status_code, head.data) == (200, b"")


def test_post_of_a_path_leaves_nothing_when_it_is_refused(api: Api, key: str) -> None:
    before = api.gatepost.audit_events()
    api.ask("POST", "…/api-keys", {"name": "k", "permissions": ["no:such"]}, key=key)
    assert api.gatepost.audit_events() == before


def test_fault_of_ours_is_told_as_one_when_a_view_breaks(api: Api, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from server.web.api import dispatch

    def broken(*_: object) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr(dispatch, "admit", broken)
    api.gatepost.app.testing = False
    try:
        document = refused(api.ask("GET", "/v1/me", key=key), 500, "server_error")
    finally:
        api.gatepost.app.testing = True
    assert "fault" not in document["message"]
