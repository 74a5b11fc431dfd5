"""An application is no way around its maker: it outlives no key, and may no more than whoever made it may now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from server.domain.deletion import delete_user
from server.domain.memberships import change_role, get_membership, remove_member, suspend_membership
from server.domain.users import get_user
from tests.protocol.client_authentication.assertions import signed_with_secret
from tests.support.application import ISSUER, Gatepost
from tests.support.flow import basic
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused

JOB = {"name": "Job", "type": "machine", "scopes": ["users:read", "organizations:read", "api-keys:write"]}
DEVELOPER = "grace@example.com"


def token_for(api: Api, client: dict[str, Any]) -> str:
    """An access token of the application's own."""
    data = {"grant_type": "client_credentials"}
    headers = basic(client["id"], client["clientSecret"])
    answer = api.gatepost.browser().post("/oauth/token", data=data, headers=headers)
    return str(answer.get_json()["access_token"])


def own_token(api: Api, client: dict[str, Any], subject: str | None = None) -> str:
    """One that the application signs itself."""
    now = int(api.gatepost.clock.now().timestamp())
    claims = {"iss": client["id"], "sub": subject or client["id"], "aud": ISSUER, "iat": now, "exp": now + 600}
    return signed_with_secret(claims, client["clientSecret"])


def exchanged(api: Api, key: str) -> str:
    """The token that the key is exchanged for."""
    form = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": key,
        "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key",
    }
    return str(api.gatepost.browser().post("/oauth/token", data=form).get_json()["access_token"])


@pytest.fixture
def made(api: Api) -> dict[str, Any]:
    """An application that a developer made."""
    developer = api.member(DEVELOPER, "developer")
    key = api.key("clients:write", *JOB["scopes"], role="developer", owner=developer, never_expires=True)
    answer = api.ask("POST", "…/clients", {**JOB, "jwtAuthentication": True}, key=key)
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


@pytest.mark.spec("K-11")
def test_nothing_that_proves_an_application_is_made_when_the_key_ends(api: Api, session: Session) -> None:
    ends = api.key("*", expires_at=api.gatepost.clock.now() + timedelta(hours=1))
    client = session.ask("POST", "…/clients", JOB).get_json()
    path = f"…/clients/{client['id']}"
    rows = len(api.gatepost.audit_events())
    for key in (ends, exchanged(api, ends), exchanged(api, api.key("*", never_expires=True))):
        for method, target, body in (
            ("POST", "…/clients", JOB),
            ("POST", f"{path}/secrets", {}),
            ("PATCH", path, {"jwtAuthentication": True}),
            ("PATCH", path, {"jwks": {"keys": []}}),
            ("PATCH", path, {"jwksUri": "https://jobs.example.com/jwks"}),
            ("PATCH", path, {"tokenEndpointAuthMethod": "private_key_jwt"}),
            ("PATCH", path, {"redirectUris": ["https://jobs.example.com/cb"]}),
            ("PATCH", path, {"scopes": ["users:write"]}),
        ):
            message = refused(api.ask(method, target, body, key=key), 403, "forbidden")["message"]
            assert "outlives" in message, (method, target, body)
        assert api.ask("PATCH", path, {"name": "Night", "disabled": False}, key=key).status_code == 200
    assert len(session.ask("GET", path).get_json()["secrets"]) == 1
    assert api.gatepost.audit_events()[rows:].count("api.request.refused") == 24
    assert "client.created" not in api.gatepost.audit_events()[rows:]


def demote(api: Api) -> None:
    with api.gatepost.work() as work:
        user = get_user(work, DEVELOPER)
        change_role(work, get_membership(work, api.organization.id, user.id), "billing")


def suspend(api: Api) -> None:
    with api.gatepost.work() as work:
        suspend_membership(work, get_membership(work, api.organization.id, get_user(work, DEVELOPER).id))


def remove(api: Api) -> None:
    with api.gatepost.work() as work:
        remove_member(work, get_membership(work, api.organization.id, get_user(work, DEVELOPER).id))


def disable(api: Api) -> None:
    api.gatepost.change_user(DEVELOPER, disabled_at=api.gatepost.clock.now())


def delete(api: Api) -> None:
    with api.gatepost.work() as work:
        delete_user(work, get_user(work, DEVELOPER))


@pytest.mark.spec("K-12")
@pytest.mark.parametrize("end", [suspend, remove, disable, delete], ids=lambda each: each.__name__)
def test_application_may_nothing_when_its_maker_is_gone(
    api: Api, made: dict[str, Any], end: Callable[[Api], None]
) -> None:
    credentials = (token_for(api, made), own_token(api, made))
    for credential in credentials:
        assert api.ask("GET", "…/users", key=credential).status_code == 200
    end(api)
    for credential in (*credentials, token_for(api, made)):
        refused(api.ask("GET", "…/users", key=credential), 404, "not_found")
        new = {"name": "For ever", "permissions": ["users:read"], "expiresIn": "never"}
        refused(api.ask("POST", "…/api-keys", new, key=credential), 404, "not_found")
        assert api.ask("GET", "/v1/organizations", key=credential).get_json()["data"] == []
        named = {"Organization-ID": api.organization.id}
        refused(api.ask("GET", "/v1/me", key=credential, headers=named), 403, "forbidden")
    assert "api.request.refused" in api.gatepost.audit_events()


@pytest.mark.spec("K-12")
def test_application_may_what_its_maker_may_when_their_role_changes(api: Api, made: dict[str, Any]) -> None:
    token = token_for(api, made)
    demote(api)
    assert api.ask("GET", "…/users", key=token).status_code == 200
    new = {"name": "For ever", "permissions": ["users:read"], "expiresIn": "never"}
    for credential in (token, own_token(api, made)):
        refused(api.ask("POST", "…/api-keys", new, key=credential), 403, "forbidden")


@pytest.mark.spec("K-11")
@pytest.mark.spec("K-12")
def test_key_is_the_makers_when_their_application_makes_it(api: Api, made: dict[str, Any]) -> None:
    new = {"name": "Made by a job", "permissions": ["users:read"], "expiresIn": "never"}
    answer = api.ask("POST", "…/api-keys", new, key=token_for(api, made)).get_json()
    with api.gatepost.work() as work:
        assert answer["ownerId"] == get_user(work, DEVELOPER).id
    assert api.ask("GET", "…/users", key=answer["key"]).status_code == 200
    remove(api)
    refused(api.ask("GET", "…/users", key=answer["key"]), 401, "unauthorized")


@pytest.mark.spec("K-11")
def test_application_is_the_makers_when_their_application_makes_it(api: Api) -> None:
    developer = api.member(DEVELOPER, "developer")
    key = api.key("clients:write", "users:read", role="developer", owner=developer, never_expires=True)
    child: dict[str, Any] = {"name": "Job", "type": "machine", "scopes": ["clients:write", "users:read"]}
    made = api.ask("POST", "…/clients", child, key=key).get_json()
    grandchild = api.ask("POST", "…/clients", child, key=token_for(api, made)).get_json()
    token = token_for(api, grandchild)
    assert api.ask("GET", "…/users", key=token).status_code == 200
    remove(api)
    refused(api.ask("GET", "…/users", key=token), 404, "not_found")


def test_application_is_bounded_by_nobody_when_the_operator_made_it(api: Api) -> None:
    client, secret = api.gatepost.add_client(
        "machine", scope="users:read api-keys:write", organization_id=api.organization.id
    )
    token = token_for(api, {"id": client.id, "clientSecret": secret})
    assert api.ask("GET", "…/users", key=token).status_code == 200
    new = {"name": "Operator's", "permissions": ["users:read"], "expiresIn": "never"}
    assert api.ask("POST", "…/api-keys", new, key=token).get_json()["ownerId"] is None


def test_requests_count_as_one_clients_when_it_changes_the_subject(
    make_gatepost: Callable[..., Gatepost], make_api: Callable[[Gatepost], Api]
) -> None:
    api = make_api(make_gatepost(api_requests_per_minute=3))
    key = api.key("*", never_expires=True)
    body = {"name": "Job", "type": "machine", "scopes": ["api-keys:write", "users:read"], "jwtAuthentication": True}
    client = api.ask("POST", "…/clients", body, key=key).get_json()
    tokens = [own_token(api, client, f"worker-{number}") for number in range(5)]
    assert [api.ask("GET", "/v1/me", key=token).status_code for token in tokens] == [200, 200, 200, 429, 429]
    api.gatepost.clock.advance(60)
    # Each subject is somebody of its own to `Idempotency-Key`.
    new = {"name": "k", "permissions": ["users:read"]}
    once = {"Idempotency-Key": "again"}
    made = [
        api.ask("POST", "…/api-keys", new, key=own_token(api, client, subject), headers=once).get_json()["id"]
        for subject in ("worker-1", "worker-2", "worker-1")
    ]
    assert made[0] == made[2] != made[1]
