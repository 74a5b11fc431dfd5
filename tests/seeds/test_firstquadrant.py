"""FirstQuadrant's guide: keys with an organization header, wildcard scopes, and sessions refreshed at `/auth`."""

import secrets
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.interop.registry import create_client
from tests.seeds.guide import Guide, running_guide
from tests.seeds.tokens import claims_of

pytestmark = [pytest.mark.interop, pytest.mark.slow]

HEADER = "FirstQuadrant-Organization-ID"
WEB = "firstquadrant-web"
READ = "urn:firstquadrant:*:*:read"
CALLBACK = "https://app.firstquadrant.example/callback"


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    with running_guide("firstquadrant", tmp_path_factory.mktemp("firstquadrant")) as guide:
        yield guide


@pytest.fixture(scope="module")
def organization_id(guide: Guide) -> str:
    found: str = guide.server.run_json("organizations", "show", guide.organization)["id"]
    return found


@pytest.fixture(scope="module", autouse=True)
def web(guide: Guide) -> None:
    """The product's own web app, as its operator registers it."""
    guide.server.run(
        *("clients", "create", "FirstQuadrant", "--client-id", WEB, "--type", "spa", "--first-party"),
        *("--access-token-claims", "rich", "--redirect-uri", CALLBACK, "--refresh-token-policy", "always"),
        *("--scope", f"openid profile email offline_access {READ}"),
    )


@pytest.fixture(scope="module")
def key(guide: Guide) -> str:
    """Settings → API keys → create, name it, choose permissions, copy."""
    return guide.dashboard.create_key("My integration", [READ])


def test_key_begins_as_the_guide_says_and_is_shown_once(guide: Guide, key: str) -> None:
    assert key.startswith("fqa_")
    listed = guide.dashboard.text("live/api-keys")
    assert "My integration" in listed
    assert key not in listed


def test_key_is_sent_with_the_organization(guide: Guide, key: str, organization_id: str) -> None:
    answer = guide.get("/v1/me", key, **{HEADER: organization_id})
    assert answer.status_code == 200
    assert answer.json()["organizations"][0]["id"] == organization_id


def test_wildcard_reaches_every_resource_and_action_but_no_other_permission(
    guide: Guide, key: str, organization_id: str
) -> None:
    def status(scope: str) -> int:
        return guide.get(f"/v1/verify?scope={scope}", key, **{HEADER: organization_id}).status_code

    assert status("urn:firstquadrant:contacts:list:read") == 200
    assert status("urn:firstquadrant:campaigns:get:read") == 200
    assert status("urn:firstquadrant:contacts:create:write") == 403
    assert status("urn:secondquadrant:contacts:list:read") == 403


def test_request_is_refused_when_the_organization_is_missing_or_another(guide: Guide, key: str) -> None:
    missing = guide.get("/v1/me", key)
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    assert HEADER in missing.json()["message"]
    foreign = guide.server.run_json("organizations", "create", "Foreign")["id"]
    for path in ("/v1/me", "/v1/verify"):
        answer = guide.get(path, key, **{HEADER: foreign})
        assert (answer.status_code, answer.json()["error"]) == (403, "forbidden"), path


def test_request_is_unauthorized_when_there_is_no_key(guide: Guide, organization_id: str) -> None:
    answer = guide.get("/v1/me", **{HEADER: organization_id})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("form", ["json", "form"])
def test_person_s_session_is_refreshed_at_auth(guide: Guide, organization_id: str, form: str) -> None:
    verifier = secrets.token_urlsafe(48)
    callback = guide.authorize(WEB, CALLBACK, f"openid profile email {READ}", verifier)
    tokens = requests.post(
        guide.url("/oauth/token"),
        data={
            "grant_type": "authorization_code",
            "client_id": WEB,
            "code": callback.parameters["code"],
            "redirect_uri": CALLBACK,
            "code_verifier": verifier,
        },
        timeout=30,
    ).json()
    assert tokens["expires_in"] == 86400
    refresh_token = tokens["refresh_token"]
    body: dict[str, Any] = (
        {"json": {"refreshToken": refresh_token}} if form == "json" else {"data": {"refresh_token": refresh_token}}
    )
    answer = guide.send("POST", "/auth", **body)
    assert answer.status_code == 200, answer.text
    renewed = answer.json()
    assert renewed["refresh_token"] != refresh_token
    claims = claims_of(renewed["access_token"])
    assert claims["email"] == guide.developer.email
    assert claims["name"] == "Ada Lovelace"
    assert READ in claims["permissions"]
    assert claims["exp"] - claims["iat"] == 86400
    assert (
        guide.get("/v1/me", renewed["access_token"], **{HEADER: organization_id}).json()["email"]
        == guide.developer.email
    )


def test_refresh_is_refused_at_auth_when_the_token_is_another_client_s(guide: Guide) -> None:
    other = create_client(guide.server, "spa", "--refresh-token-policy", "always", redirect_uri=CALLBACK)
    verifier = secrets.token_urlsafe(48)
    callback = guide.authorize(other.client_id, CALLBACK, "openid", verifier)
    tokens = requests.post(
        guide.url("/oauth/token"),
        data={
            "grant_type": "authorization_code",
            "client_id": other.client_id,
            "code": callback.parameters["code"],
            "redirect_uri": CALLBACK,
            "code_verifier": verifier,
        },
        timeout=30,
    ).json()
    answer = guide.send("POST", "/auth", json={"refreshToken": tokens["refresh_token"]})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
