"""Qamaq's guide: keys of an organization with permissions on entities and boards; 401 and 403."""

from collections.abc import Iterator

import pytest

from tests.seeds.guide import Guide, running_guide

pytestmark = [pytest.mark.interop, pytest.mark.slow]


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guide]:
    with running_guide("qamaq", tmp_path_factory.mktemp("qamaq")) as guide:
        yield guide


@pytest.fixture(scope="module")
def key(guide: Guide) -> str:
    """Configurations → API keys."""
    return guide.dashboard.create_key("Boards", ["entities:read", "boards:write"])


def test_key_is_tied_to_its_organization(guide: Guide, key: str) -> None:
    assert key.startswith("qmq_")
    told = guide.get("/v1/verify?scope=boards:write", key)
    organization = guide.server.run_json("organizations", "show", guide.organization)
    assert told.headers["X-Auth-Organization"] == organization["id"]
    foreign = guide.server.run_json("organizations", "create", "Foreign")
    assert guide.get(f"/v1/organizations/{foreign['slug']}", key).status_code == 404
    assert guide.get(f"/v1/verify?organization={foreign['id']}", key).status_code == 403


def test_permissions_are_those_that_were_ticked(guide: Guide, key: str) -> None:
    statuses = {
        scope: guide.get(f"/v1/verify?scope={scope}", key).status_code
        for scope in ("entities:read", "entities:write", "boards:read", "boards:write")
    }
    assert statuses == {"entities:read": 200, "entities:write": 403, "boards:read": 403, "boards:write": 200}


@pytest.mark.parametrize("credential", [None, "", "qmq_mistyped", "Bearer", "qmq_" + "0" * 32 + "_000000"])
def test_answer_is_401_when_the_key_is_missing_or_malformed(guide: Guide, credential: str | None) -> None:
    answer = guide.get("/v1/verify", credential)
    assert (answer.status_code, answer.json()["error"]) == (401, "unauthorized")


def test_use_is_shown(guide: Guide, key: str) -> None:
    assert guide.get("/v1/verify", key).status_code == 200
    assert "Boards" in guide.dashboard.text("live/api-keys")
    assert "Boards" in guide.server.run("api-keys", "list", guide.organization)
