"""nginx asks `/v1/verify` by auth_request, configured by the text of docs/verification.md, before an API of its own."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.interop.nginx import Nginx, running_nginx
from tests.support.altered import altered
from tests.support.ports import free_port
from tests.support.servers import Server, start_server

pytestmark = pytest.mark.interop

SCOPES = {"users:read": "See users", "users:delete": "Remove users", "audit:read": "See what happened"}
SCOPES |= {"audit:*:*": "See one thing"}
IDENTITY = ("type", "subject", "organization", "environment", "scope", "key-id", "client-id", "user-id", "email")


@dataclass
class Site:
    """The API behind its gateway, as a client meets it."""

    nginx: Nginx
    gatepost: Server
    organization: str

    def key(self, *options: str) -> tuple[str, str]:
        """The id and the text of a new key."""
        made = self.gatepost.run_json("api-keys", "create", "acme", "Orders", *options)
        return made["id"], made["key"]

    def ask(self, key: str | None, path: str = "/users/7", method: str = "GET", **options: Any) -> requests.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        headers |= options.pop("headers", {})
        return requests.request(method, self.nginx.origin + path, headers=headers, timeout=10, **options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = {"GATEPOST_SCOPES": json.dumps(SCOPES), "GATEPOST_TRUSTED_PROXIES": "127.0.0.1/32"}
    port = free_port()
    with (
        start_server(tmp_path_factory.mktemp("gatepost"), settings=settings, workers=2) as gatepost,
        running_nginx(tmp_path_factory.mktemp("nginx"), port, gatepost.port) as nginx,
    ):
        organization = gatepost.run_json("organizations", "create", "Acme", "--slug", "acme")["id"]
        yield Site(nginx, gatepost, organization)


def refusal(answer: requests.Response, status: int, error: str) -> dict[str, Any]:
    """The guides' body, whose request id is the header's."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert sorted(body) == ["error", "message", "request_id"]
    assert body["error"] == error
    assert body["request_id"] == answer.headers["X-Request-ID"]
    return body


def test_api_is_told_who_asks_when_the_key_is_good(site: Site) -> None:
    key_id, key = site.key("--permission", "users:read")
    answer = site.ask(key)
    assert answer.status_code == 200, site.nginx.error_log.read_text()
    told = {name: value for name, value in answer.json()["headers"].items() if name.startswith("x-auth-")}
    assert told == {
        "x-auth-type": "api_key",
        "x-auth-subject": key_id,
        "x-auth-organization": site.organization,
        "x-auth-environment": "live",
        "x-auth-scope": "users:read",
        "x-auth-key-id": key_id,
    }
    assert "authorization" not in answer.json()["headers"]


@pytest.mark.spec("K-13")
def test_api_believes_no_identity_when_the_client_sends_it(site: Site) -> None:
    key_id, key = site.key("--permission", "users:read")
    forged = {f"X-Auth-{name.title()}": "forged" for name in IDENTITY} | {"X_Auth_Subject": "forged"}
    answer = site.ask(key, headers=forged)
    assert answer.json()["headers"]["x-auth-subject"] == key_id
    assert "forged" not in answer.text


def test_client_gets_the_guides_body_when_it_sends_no_key_or_a_wrong_one(site: Site) -> None:
    none = site.ask(None)
    assert refusal(none, 401, "unauthorized")["message"].startswith("Send an API key")
    assert none.headers["WWW-Authenticate"] == f'Bearer realm="{site.gatepost.issuer}"'
    _, key = site.key("--permission", "users:read")
    refusal(site.ask(altered(key)), 401, "unauthorized")
    refusal(site.ask(key, headers={"Authorization": "Basic eDp5"}), 401, "unauthorized")


def test_client_gets_the_guides_body_when_a_scope_is_missing(site: Site) -> None:
    _, key = site.key("--permission", "audit:read")
    refusal(site.ask(key), 403, "forbidden")
    assert site.ask(key, "/other").status_code == 200


def test_scope_of_the_method_is_asked_for(site: Site) -> None:
    _, reader = site.key("--permission", "users:read")
    _, remover = site.key("--permission", "users:*")
    refusal(site.ask(reader, method="DELETE"), 403, "forbidden")
    refusal(site.ask(reader, method="DELETE", headers={"X-Original-Method": "GET"}), 403, "forbidden")
    refusal(site.ask(reader, method="DELETE", headers={"X_Original_Method": "GET"}), 403, "forbidden")
    refusal(site.ask(remover, method="DELETE", headers={"X-Forwarded-Method": "GET"}), 400, "invalid_request")
    assert site.ask(remover, method="DELETE").status_code == 200


def test_client_gets_the_guides_body_and_is_told_how_long_to_wait_when_it_is_over_its_limit(site: Site) -> None:
    _, key = site.key("--permission", "users:read", "--rate-limit", "3")
    answers = [site.ask(key) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refusal(answers[-1], 429, "rate_limited")
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60
    assert "Retry-After" not in answers[0].headers


@pytest.mark.spec("K-10")
def test_sandbox_has_keys_of_its_own(site: Site) -> None:
    _, live = site.key("--permission", "users:read")
    _, test = site.key("--permission", "users:read", "--environment", "test")
    refusal(site.ask(test), 401, "unauthorized")
    refusal(site.ask(live, "/sandbox/x"), 401, "unauthorized")
    assert site.ask(test, "/sandbox/x").json()["headers"]["x-auth-environment"] == "test"
    refusal(site.ask(test, headers={"X-Required-Environment": "test"}), 401, "unauthorized")


@pytest.mark.spec("K-09")
def test_allow_list_sees_the_client_and_not_what_it_says_of_itself(site: Site) -> None:
    _, here = site.key("--permission", "users:read", "--ip", "127.0.0.1")
    _, elsewhere = site.key("--permission", "users:read", "--ip", "192.0.2.0/24")
    assert site.ask(here).status_code == 200
    forged = {"X-Forwarded-For": "192.0.2.7", "X-Real-IP": "192.0.2.7", "Forwarded": "for=192.0.2.7"}
    refusal(site.ask(elsewhere, headers=forged), 401, "unauthorized")


@pytest.mark.spec("K-13")
def test_key_in_the_url_opens_nothing(site: Site) -> None:
    _, key = site.key("--permission", "users:read")
    refusal(site.ask(None, f"/users/7?api_key={key}"), 401, "unauthorized")
    refusal(site.ask(key, f"/users/7?page=2&api_key={key}"), 401, "unauthorized")
    assert "api_key.carrier.refused" in site.gatepost.run("audit", "tail", "--json")


def test_key_opens_nothing_from_the_moment_it_is_revoked(site: Site) -> None:
    key_id, key = site.key("--permission", "users:read")
    assert site.ask(key).status_code == 200
    site.gatepost.run("api-keys", "revoke", key_id)
    refusal(site.ask(key), 401, "unauthorized")


def test_api_gets_method_query_and_body_as_they_were_sent(site: Site) -> None:
    _, key = site.key("--permission", "users:read")
    got = site.ask(key, "/users/7?a=b&c=%2F", "POST", data="hello").json()
    assert (got["method"], got["path"], got["body"]) == ("POST", "/users/7?a=b&c=%2F", "hello")
    chunked = site.ask(key, method="PUT", data=iter([b"hel", b"lo"])).json()
    assert (chunked["method"], chunked["body"]) == ("PUT", "hello")


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_api_s_own_errors_are_its_own(site: Site, status: int) -> None:
    _, key = site.key("--permission", "users:read")
    answer = site.ask(key, f"/users/{status}")
    assert (answer.status_code, answer.json()["path"]) == (status, f"/users/{status}")


def test_many_permissions_fit_into_one_header(site: Site) -> None:
    options = [part for number in range(99) for part in ("--permission", f"audit:{number:03}:{'x' * 60}")]
    _, key = site.key("--permission", "users:read", *options)
    assert len(site.ask(key).json()["headers"]["x-auth-scope"]) > 6000


def test_question_itself_cannot_be_asked_from_outside(site: Site) -> None:
    _, key = site.key("--permission", "users:read")
    assert site.ask(key, "/_gatepost").status_code == 404


def test_nothing_passes_when_gatepost_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = taken.getsockname()[1]
        with running_nginx(tmp_path_factory.mktemp("nginx"), free_port(), nobody) as nginx:
            answer = requests.get(f"{nginx.origin}/users", headers={"Authorization": "Bearer x"}, timeout=10)
    assert answer.status_code == 503
    assert sorted(answer.json()) == ["error", "message", "request_id"]
    assert answer.json()["error"] == "temporarily_unavailable"
