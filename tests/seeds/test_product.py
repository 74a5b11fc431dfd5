"""The [Product] guide: secret and restricted keys, PKCE, client credentials, JWTs that clients sign, three errors."""

import secrets
import time
from collections.abc import Iterator

import pytest
import requests

from tests.seeds.guide import Guide, running_guide
from tests.seeds.tokens import sign_hs256

pytestmark = [pytest.mark.interop, pytest.mark.slow]

CALLBACK = "https://yourapp.example/callback"


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    with running_guide("product", tmp_path_factory.mktemp("product")) as guide:
        yield guide


@pytest.fixture(scope="module")
def signer(guide: Guide) -> tuple[str, str]:
    """An app with a client id and a secret that it also signs with."""
    return guide.dashboard.register_application("machine", "Signer", ["read", "write"], jwt_authentication="yes")


def test_keys_begin_as_the_guide_says(guide: Guide) -> None:
    assert guide.dashboard.create_key("Server", ["read"]).startswith("sk_live_")
    assert guide.dashboard.create_key("Sandbox", ["read"], environment="test").startswith("sk_test_")
    assert guide.dashboard.create_key("Widget", ["orders:read"], kind="restricted").startswith("rk_")


def test_key_says_who_it_is(guide: Guide) -> None:
    key = guide.dashboard.create_key("Server", ["read", "write"])
    answer = guide.get("/api/v1/me", key)
    assert answer.status_code == 200
    assert sorted(answer.json()["permissions"]) == ["read", "write"]


@pytest.mark.parametrize(
    ("granted", "allowed", "refused"),
    [
        ("read", ["read", "orders:read"], ["write", "orders:write", "delete", "admin"]),
        ("write", ["write", "orders:write"], ["read", "orders:delete"]),
        ("admin", ["admin", "read", "write", "delete", "orders:delete"], []),
        ("orders:read", ["orders:read"], ["read", "orders:write"]),
    ],
)
def test_scopes_reach_as_far_as_the_guide_says(
    guide: Guide, granted: str, allowed: list[str], refused: list[str]
) -> None:
    key = guide.dashboard.create_key("Scoped", [granted])
    assert [guide.get(f"/v1/verify?scope={scope}", key).status_code for scope in allowed] == [200] * len(allowed)
    assert [guide.get(f"/v1/verify?scope={scope}", key).status_code for scope in refused] == [403] * len(refused)


def test_errors_are_those_of_the_guide(guide: Guide) -> None:
    limited = guide.dashboard.create_key("Limited", ["orders:read"], kind="restricted", rate_limit="2")
    answers = {
        401: guide.get("/api/v1/me"),
        403: guide.get("/v1/verify?scope=admin", guide.dashboard.create_key("Reader", ["read"])),
        429: [guide.get("/v1/verify", limited) for _ in range(3)][-1],
    }
    for (status, answer), error in zip(answers.items(), ("unauthorized", "forbidden", "rate_limited"), strict=True):
        assert answer.status_code == status
        assert set(answer.json()) == {"error", "message", "request_id"}
        assert answer.json()["error"] == error
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert int(answers[429].headers["Retry-After"]) > 0


def test_app_signs_people_in_with_pkce_and_refreshes_with_offline_access_alone(guide: Guide) -> None:
    scopes = ["openid", "profile", "offline_access", "read"]
    client_id, secret = guide.dashboard.register_application("web", "Your app", scopes, redirect_uris=CALLBACK)
    for asked, is_refreshable in (("openid read", False), ("openid read offline_access", True)):
        verifier = secrets.token_urlsafe(48)
        callback = guide.authorize(client_id, CALLBACK, asked, verifier)
        code = {"code": callback.parameters["code"], "redirect_uri": CALLBACK, "code_verifier": verifier}
        answer = requests.post(
            guide.url("/oauth/token"),
            data={"grant_type": "authorization_code", **code},
            auth=(client_id, secret),
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
        assert ("refresh_token" in answer.json()) is is_refreshable
        assert guide.get("/v1/verify?scope=orders:read", answer.json()["access_token"]).status_code == 200


def test_server_gets_a_token_with_client_credentials(guide: Guide, signer: tuple[str, str]) -> None:
    answer = requests.post(
        guide.url("/oauth/token"), data={"grant_type": "client_credentials", "scope": "read"}, auth=signer, timeout=30
    )
    assert answer.status_code == 200, answer.text
    assert guide.get("/api/v1/me", answer.json()["access_token"]).json()["id"] == signer[0]


def test_client_signs_its_own_jwt_with_its_secret(guide: Guide, signer: tuple[str, str]) -> None:
    client_id, secret = signer
    now = int(time.time())
    claims = {"iss": client_id, "sub": "user_123", "aud": guide.server.issuer, "iat": now, "exp": now + 3600}
    token = sign_hs256(secret, claims)
    assert guide.get("/api/v1/me", token).status_code == 200
    assert guide.get("/v1/verify?scope=orders:read", token).status_code == 200
    refused = {
        "an hour and a second": sign_hs256(secret, {**claims, "exp": now + 3601}),
        "another's secret": sign_hs256("cs_" + secret[:2:-1], claims),
        "another audience": sign_hs256(secret, {**claims, "aud": "https://elsewhere.example"}),
        "over": sign_hs256(secret, {**claims, "iat": now - 600, "exp": now - 300}),
        "no such client": sign_hs256(secret, {**claims, "iss": "nobody"}),
    }
    assert {name: guide.get("/api/v1/me", each).status_code for name, each in refused.items()} == dict.fromkeys(
        refused, 401
    )
    once = sign_hs256(secret, {**claims, "jti": secrets.token_hex(8)})
    assert [guide.get("/api/v1/me", once).status_code for _ in range(2)] == [200, 401]


def test_client_made_jwt_is_traded_for_an_access_token(guide: Guide, signer: tuple[str, str]) -> None:
    client_id, secret = signer
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": guide.server.issuer, "iat": now, "exp": now + 600}
    asked = {
        "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "assertion": sign_hs256(secret, {**claims, "jti": secrets.token_hex(8)}),
    }
    answer = guide.send("POST", "/oauth/token", data=asked)
    assert answer.status_code == 200, answer.text
    assert guide.get("/api/v1/me", answer.json()["access_token"]).status_code == 200


def test_key_is_rotated_as_the_guide_says_create_deploy_verify_revoke(guide: Guide) -> None:
    keys = f"/v1/organizations/{guide.organization}/api-keys"
    old = guide.dashboard.create_key("Service", ["read"])
    new = guide.dashboard.create_key("Service", ["read"])
    assert [guide.get("/api/v1/me", key).status_code for key in (old, new)] == [200, 200]
    manager = guide.dashboard.create_key("Manager", [], patterns=["api-keys:*", "read"])
    old_id = guide.get("/api/v1/me", old).json()["id"]
    assert guide.send("DELETE", f"{keys}/{old_id}", manager).status_code == 204
    assert [guide.get("/api/v1/me", key).status_code for key in (old, new)] == [401, 200]


@pytest.mark.timeout(400)
def test_authentication_failures_are_logged(guide: Guide) -> None:
    key = guide.dashboard.create_key("Soon gone", ["read"])
    key_id = guide.get("/api/v1/me", key).json()["id"]
    guide.server.run("api-keys", "revoke", key_id)
    assert guide.get("/api/v1/me", key).status_code == 401
    # Refusals are written down once a minute.
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if key_id in guide.server.run("audit", "tail", "--event", "api_key.refused"):
            return
        time.sleep(2)
    pytest.fail("the refusal was not logged")
