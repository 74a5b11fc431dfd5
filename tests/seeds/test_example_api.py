"""The Example API's guide: client credentials with the secret in the body."""

from collections.abc import Iterator

import pytest

from tests.seeds.guide import Guide, running_guide

pytestmark = [pytest.mark.interop, pytest.mark.slow]


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    with running_guide("example-api", tmp_path_factory.mktemp("example-api")) as guide:
        yield guide


@pytest.fixture(scope="module")
def application(guide: Guide) -> tuple[str, str]:
    """Developer dashboard → register; client id and secret."""
    typed = {"token_endpoint_auth_method": "client_secret_post"}
    return guide.dashboard.register_application("machine", "My application", ["read", "write"], **typed)


def test_token_is_got_and_used_as_the_guide_writes_it(guide: Guide, application: tuple[str, str]) -> None:
    client_id, secret = application
    asked = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, "scope": "read write"}
    answer = guide.send("POST", "/oauth/token", data=asked)
    assert answer.status_code == 200, answer.text
    token = answer.json()
    assert token["token_type"] == "Bearer"
    assert token["access_token"].count(".") == 2, "a JWT"
    assert set(token["scope"].split()) == {"read", "write"}
    me = guide.get("/api/v1/users/me", token["access_token"])
    assert me.status_code == 200, me.text
    assert me.json()["id"] == client_id


def test_wrong_secret_is_invalid_client(guide: Guide, application: tuple[str, str]) -> None:
    asked = {"grant_type": "client_credentials", "client_id": application[0], "client_secret": "wrong"}
    answer = guide.send("POST", "/oauth/token", data=asked)
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"
    assert answer.json()["error_description"]


def test_api_is_unauthorized_without_a_token_and_with_a_broken_one(guide: Guide) -> None:
    for credential in (None, "broken"):
        assert guide.get("/api/v1/users/me", credential).status_code == 401


def test_key_of_the_dashboard_is_taken_as_bearer_too(guide: Guide) -> None:
    key = guide.dashboard.create_key("My key", ["read"])
    assert guide.get("/api/v1/users/me", key).status_code == 200
    assert guide.get("/v1/verify?scope=write", key).status_code == 403
