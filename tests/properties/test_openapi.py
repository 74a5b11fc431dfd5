"""schemathesis over the OpenAPI document, against a live server on PostgreSQL, as three different callers.

What it finds is whatever the document does not promise: an answer of 5xx, a status or a body that is not described,
malformed data that is accepted or well-formed data that is not, a method without `Allow`, an operation that answers
without the credential it demands.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from server.infra import secrets
from tests.conftest import ServerStarter
from tests.support.flow import form_fields
from tests.support.servers import Server

PASSWORD = "correct horse battery staple"
#: Of each phase and operation; the coverage phase goes through all of its own beside them. `make trust-openapi` has 15.
EXAMPLES = int(os.environ.get("OPENAPI_EXAMPLES", "2"))


#: Where data that fits the schema may still be refused, as no schema can say what is asked: that a permission or a role
#: exists, that a network is one, that one moment is before another. What is accepted there has tests of its own.
RULES_BEYOND_THE_SCHEMA = (
    "POST /v1/organizations",
    "PATCH /v1/organizations/{organization}",
    "PATCH /v1/organizations/{organization}/members/{member_id}",
    "POST /v1/organizations/{organization}/invitations",
    "POST /v1/organizations/{organization}/roles",
    "PATCH /v1/organizations/{organization}/roles/{role_id}",
    "POST /v1/organizations/{organization}/api-keys",
    "POST /v1/organizations/{organization}/api-keys/revoke",
    "POST /v1/organizations/{organization}/api-keys/{key_id}/rotate",
    "PATCH /v1/organizations/{organization}/api-keys/{key_id}",
    "POST /v1/organizations/{organization}/clients",
    "POST /v1/organizations/{organization}/clients/{client_id}/secrets",
    "PATCH /v1/organizations/{organization}/clients/{client_id}",
    "GET /v1/organizations/{organization}/audit-events",
    "GET /v1/organizations/{organization}/audit-events/export",
)
PAGED = ("/v1/organizations", *(f"/v1/organizations/{{organization}}/{name}" for name in (
    "users", "members", "invitations", "api-keys", "clients"
)))  # fmt: skip


@dataclass(frozen=True)
class World:
    """A live server with organizations, and the three ways to ask it."""

    server: Server
    #: What the paths name: random ids are never there.
    names: dict[str, str]
    #: An organization that may be deleted while the test runs.
    doomed: str
    callers: dict[str, dict[str, str]]


@pytest.fixture
def world(start: ServerStarter, postgres_url: str) -> World:
    server = start(
        "serve", database_url=postgres_url, settings={"GATEPOST_API_REQUESTS_PER_MINUTE": "1000000"}, workers=2
    )
    server.run("users", "create", "ada@example.com", "--name", "Ada", "--password-stdin", stdin=f"{PASSWORD}\n")
    organization = server.run_json("organizations", "create", "Engines", "--owner", "ada@example.com", "--json")["id"]
    doomed = server.run_json("organizations", "create", "Doomed", "--owner", "ada@example.com", "--json")["id"]
    permissions = ("organizations:read", "users:read", "api-keys:read")
    options = [part for permission in permissions for part in ("--permission", permission)]
    key = server.run_json("api-keys", "create", organization, "Reader", *options, "--json")["key"]
    owner = signed_in(server)
    callers = {"nobody": {}, "key": {"Authorization": f"Bearer {key}"}, "owner": owner}
    return World(server, {"organization": organization, **things_in(server, organization, owner)}, doomed, callers)


def things_in(server: Server, organization: str, headers: dict[str, str]) -> dict[str, str]:
    """One of everything in the organization, by the names that the paths call them."""

    def make(path: str, body: dict[str, object]) -> dict[str, str]:
        url = server.url(f"/v1/organizations/{organization}/{path}")
        answer = requests.post(url, json=body, headers=headers, timeout=10)
        assert answer.status_code == 201, answer.text
        return answer.json()  # type: ignore[no-any-return]

    server.run("users", "create", "grace@example.com", "--name", "Grace", "--password-stdin", stdin=f"{PASSWORD}\n")
    server.run("organizations", "add-member", organization, "grace@example.com")
    members = requests.get(server.url(f"/v1/organizations/{organization}/members"), headers=headers, timeout=10).json()[
        "data"
    ]
    grace = next(each for each in members if each["email"] == "grace@example.com")
    return {
        "key_id": make("api-keys", {"name": "k", "permissions": ["users:read"]})["id"],
        "client_id": make("clients", {"name": "Job", "type": "machine"})["id"],
        "role_id": make("roles", {"name": "auditor", "permissions": ["audit:read"]})["id"],
        "invitation_id": make("invitations", {"email": "new@example.com"})["id"],
        "member_id": grace["id"],
        "user_id": grace["userId"],
    }


def signed_in(server: Server) -> dict[str, str]:
    """The headers of Ada's session at our own pages."""
    browser = requests.Session()
    form = form_fields(browser.get(server.url("/login"), timeout=10).text)
    data = {**form, "username": "ada@example.com", "password": PASSWORD, "decision": "sign_in"}
    answer = browser.post(server.url("/login"), data=data, timeout=10, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    cookie = browser.cookies["gatepost"]
    return {"Cookie": f"gatepost={cookie}", "X-CSRF-Token": secrets.keyed_digest(cookie, "csrf:api")}


def configuration(world: World) -> str:
    """schemathesis's own, in TOML."""
    cursor = base64.urlsafe_b64encode(json.dumps(["2020-01-01T00:00:00+00:00", ""]).encode()).decode().rstrip("=")
    lines = ["[parameters]", *(f'"path.{name}" = "{value}"' for name, value in world.names.items())]
    for operation in RULES_BEYOND_THE_SCHEMA:
        lines += ["[[operations]]", f'include-name = "{operation}"', "[operations.checks.positive_data_acceptance]"]
        lines += ['expected-statuses = ["2xx", 400, 401, 403, 404, 409, 429]']
    for path in PAGED:
        lines += ["[[operations]]", f'include-name = "GET {path}"', f'parameters = {{ "query.cursor" = "{cursor}" }}']
    lines += ["[[operations]]", 'include-name = "DELETE /v1/organizations/{organization}"']
    lines += [f'parameters = {{ "path.organization" = "{world.doomed}" }}']
    return "\n".join(lines)


def run(world: World, caller: str, directory: Path, *options: str) -> tuple[int, str]:
    """One run of schemathesis; its exit code and what it printed."""
    config = directory / "schemathesis.toml"
    config.write_text(configuration(world), encoding="utf-8")
    headers = [part for name, value in world.callers[caller].items() for part in ("--header", f"{name}: {value}")]
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run",
        world.server.url("/v1/openapi.json"), "--checks", "all", "--max-examples", str(EXAMPLES), "--seed", "1",
        "--continue-on-failure", *headers, *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=1500, check=False)
    return done.returncode, done.stdout + done.stderr


#: The endpoints beside `/v1` are told by the names of their parameters alone: what may stand in them is said by the
#: specifications, not by a schema.
BESIDE = ("--include-path-regex", "^/(?!v1)", "--exclude-checks", "positive_data_acceptance,negative_data_rejection")


@pytest.mark.postgres
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("caller", ["nobody", "key", "owner"])
def test_server_keeps_what_the_document_promises_when_anybody_asks(world: World, caller: str, tmp_path: Path) -> None:
    for options in (("--include-path-regex", "^/v1"), BESIDE):
        code, printed = run(world, caller, tmp_path, *options)
        assert code == 0, printed[-20_000:]
        assert " passed" in printed
    log = world.server.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "unhandled fault" not in log
