"""AccessIQ's guide: keys made over the API, expiry, rotation with an overlap, a sandbox, SCIM keys, and OAuth."""

import secrets
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from tests.seeds.guide import Guide, running_guide
from tests.seeds.tokens import claims_of, header_of

pytestmark = [pytest.mark.interop, pytest.mark.slow]

CALLBACK = "https://app.example.com/callback"


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    with running_guide("accessiq", tmp_path_factory.mktemp("accessiq")) as guide:
        yield guide


@pytest.fixture(scope="module")
def key(guide: Guide) -> str:
    """The first key, from the dashboard; it may make others."""
    granted = ["users:read", "users:delete", "audit:read", "idp:write"]
    return guide.dashboard.create_key("Provisioning", granted, patterns=["api-keys:*"])


def days_of(made: dict[str, Any]) -> int:
    """How many days the key lives."""
    lifetime = datetime.fromisoformat(made["expiresAt"]) - datetime.fromisoformat(made["createdAt"])
    return round(lifetime / timedelta(days=1))


@pytest.fixture(scope="module")
def keys(guide: Guide) -> str:
    return f"/v1/organizations/{guide.organization}/api-keys"


def test_key_is_made_over_the_api_as_the_guide_writes_it(guide: Guide, key: str, keys: str) -> None:
    asked = {"name": "CI pipeline", "permissions": ["users:read", "users:delete", "idp:write"], "expiresIn": "30d"}
    answer = guide.send("POST", keys, key, json=asked)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert {"id", "name", "key", "permissions", "createdAt", "expiresAt"} <= set(made)
    assert made["key"].startswith("ak_live_")
    assert sorted(made["permissions"]) == sorted(asked["permissions"])
    assert days_of(made) == 30
    listed = guide.get(keys, key).json()["data"]
    assert {each["name"] for each in listed} >= {"CI pipeline", "Provisioning"}
    assert made["key"] not in guide.get(keys, key).text


def test_key_lives_a_year_when_the_guide_asks_for_365_days(guide: Guide, keys: str) -> None:
    root = guide.server.run_json(
        *("api-keys", "create", guide.organization, "Root", "--permission", "api-keys:*"),
        *("--permission", "users:read", "--never-expires"),
    )["key"]
    made = guide.send("POST", keys, root, json={"name": "a", "permissions": ["users:read"], "expiresIn": "365d"}).json()
    assert days_of(made) == 365


def test_users_are_listed_with_a_key_that_may_read_them(guide: Guide, key: str) -> None:
    answer = guide.get(f"/v1/organizations/{guide.organization}/users", key)
    assert answer.status_code == 200
    assert [each["email"] for each in answer.json()["data"]] == [guide.developer.email]
    assert guide.get("/v1/users/me", key).json()["type"] == "api_key"


def test_rotation_overlaps_and_revocation_is_immediate(guide: Guide, key: str, keys: str) -> None:
    old = guide.send("POST", keys, key, json={"name": "Worker", "permissions": ["users:read"]}).json()
    answer = guide.send("POST", f"{keys}/{old['id']}/rotate", key, json={"overlap": "24h"})
    assert answer.status_code == 201, answer.text
    new = answer.json()
    assert new["key"] != old["key"]
    assert [guide.get("/v1/me", each["key"]).status_code for each in (old, new)] == [200, 200]
    deleted = guide.send("DELETE", f"{keys}/{old['id']}", key)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [guide.get("/v1/me", each["key"]).status_code for each in (old, new)] == [401, 200]


def test_allowed_addresses_are_kept_to(guide: Guide, key: str, keys: str) -> None:
    asked = {"name": "Elsewhere", "permissions": ["users:read"], "ipAllowList": ["203.0.113.0/24"]}
    elsewhere = guide.send("POST", keys, key, json=asked).json()
    assert guide.get("/v1/me", elsewhere["key"]).status_code == 401
    changed = guide.send("PATCH", f"{keys}/{elsewhere['id']}", key, json={"ipAllowList": ["127.0.0.0/8", "::1"]})
    assert changed.status_code == 200, changed.text
    assert guide.get("/v1/me", elsewhere["key"]).status_code == 200


def test_sandbox_is_a_world_of_its_own(guide: Guide, key: str, keys: str) -> None:
    sandbox = guide.dashboard.create_key("Sandbox", ["users:read"], patterns=["api-keys:*"], environment="test")
    assert sandbox.startswith("ak_test_")
    assert guide.get("/v1/verify?environment=test", sandbox).status_code == 200
    assert guide.get("/v1/verify?environment=live", sandbox).status_code == 401
    assert [each["name"] for each in guide.get(keys, sandbox).json()["data"]] == ["Sandbox"]
    live_id = guide.get(keys, key).json()["data"][0]["id"]
    assert guide.get(f"{keys}/{live_id}", sandbox).status_code == 404


def test_scim_key_opens_scim_alone(guide: Guide) -> None:
    scim = guide.dashboard.create_key("Directory", kind="scim")
    assert scim.startswith("scim_")
    directory = {"X-Original-URI": "/scim/v2/Users", "X-Original-Method": "GET"}
    assert guide.get("/v1/verify", scim, **directory).status_code == 200
    assert guide.get("/v1/verify", scim, **{**directory, "X-Original-URI": "/v1/users"}).status_code in (401, 403)
    assert guide.get("/v1/me", scim).status_code == 401


def test_app_gets_tokens_by_the_authorization_code_flow(guide: Guide) -> None:
    typed = {"redirect_uris": CALLBACK, "token_endpoint_auth_method": "client_secret_post"}
    scopes = ["openid", "profile", "email", "offline_access", "users:read"]
    client_id, secret = guide.dashboard.register_application("web", "My app", scopes, **typed)
    verifier = secrets.token_urlsafe(48)
    callback = guide.authorize(client_id, CALLBACK, " ".join(scopes), verifier)
    client = {"client_id": client_id, "client_secret": secret}
    code = {"code": callback.parameters["code"], "redirect_uri": CALLBACK, "code_verifier": verifier}
    answer = requests.post(
        guide.url("/oauth/token"), data={"grant_type": "authorization_code", **client, **code}, timeout=30
    )
    assert answer.status_code == 200, answer.text
    tokens = answer.json()
    assert tokens["expires_in"] == 3600
    assert header_of(tokens["access_token"])["alg"] == "RS256"
    assert tokens["refresh_token"].startswith("rt_")
    me = guide.get("/v1/users/me", tokens["access_token"])
    assert me.json()["email"] == guide.developer.email
    refreshed = requests.post(
        guide.url("/oauth/token"),
        data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **client},
        timeout=30,
    )
    assert refreshed.status_code == 200, refreshed.text
    assert claims_of(refreshed.json()["access_token"])["client_id"] == client_id
