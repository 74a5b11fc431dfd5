"""May they: organizations, environments and permissions, over every operation of the table."""

import re

import pytest

from server.domain.organizations import get_organization, resume_organization, suspend_organization
from server.web.api.operation import WRITING, Operation, as_template
from server.web.api.operations import OPERATIONS
from tests.support.flow import flow_of
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused

IN_ORGANIZATION = [each for each in OPERATIONS if each.access == "organization"]


def path_of(operation: Operation, organization: str) -> str:
    path = as_template(operation.path).replace("{organization}", organization)
    return "/v1" + re.sub(r"{\w+}", "nothing_at_all", path)


def body_of(operation: Operation) -> dict[str, object] | None:
    samples = {"permissions": ["organizations:read"], "name": "sample", "email": "new@example.com", "all": True}
    if operation.body is None:
        return None
    return {name: samples[name] for name, each in operation.body.model_fields.items() if each.is_required()}


@pytest.mark.parametrize("operation", IN_ORGANIZATION, ids=lambda each: each.name)
def test_operation_is_forbidden_when_the_permission_is_missing(api: Api, operation: Operation) -> None:
    assert operation.permission is not None
    others = sorted({each.permission for each in IN_ORGANIZATION if each.permission} - {operation.permission})
    answer = api.ask(
        operation.method, path_of(operation, api.organization.id), body_of(operation), key=api.key(*others)
    )
    document = refused(answer, 403, "forbidden")
    assert operation.permission in document["message"]
    assert f'error="insufficient_scope", scope="{operation.permission}"' in answer.headers["WWW-Authenticate"]
    (row,) = api.gatepost.audit_rows("api.request.refused")
    assert (row.organization_id, row.details["operation"]) == (api.organization.id, operation.name)
    key = api.key(operation.permission, never_expires=True)
    enough = api.ask(operation.method, path_of(operation, api.organization.id), body_of(operation), key=key)
    assert enough.status_code not in (401, 403) or "more than" in enough.text, enough.text


@pytest.mark.parametrize("operation", IN_ORGANIZATION, ids=lambda each: each.name)
def test_organization_is_not_there_when_it_is_somebody_elses(api: Api, session: Session, operation: Operation) -> None:
    other = api.other_organization()
    for name in (other.id, other.slug, "org_nothing"):
        path, body = path_of(operation, name), body_of(operation)
        with_key = refused(api.ask(operation.method, path, body, key=api.key("*")), 404, "not_found")
        with_session = refused(session.ask(operation.method, path, body), 404, "not_found")
        assert with_key["message"] == with_session["message"]


def test_organization_is_found_when_its_slug_is_named(api: Api) -> None:
    answer = api.ask("GET", f"/v1/organizations/{api.organization.slug}", key=api.key("organizations:read"))
    assert answer.get_json()["id"] == api.organization.id


def test_header_must_name_the_keys_organization_when_it_is_sent(api: Api) -> None:
    key, other = api.key("organizations:read"), api.other_organization()
    for name in (api.organization.id, api.organization.slug):
        assert api.ask("GET", "/v1/me", key=key, headers={"Organization-ID": name}).status_code == 200
    for name in (other.id, other.slug, "nothing", "a b", ""):
        refused(api.ask("GET", "/v1/me", key=key, headers={"Organization-ID": name}), 403, "forbidden")
    assert len(api.gatepost.audit_rows("api.request.refused")) == 5


def test_header_must_be_there_when_the_deployment_demands_it(make_gatepost, make_api) -> None:  # type: ignore[no-untyped-def]
    api: Api = make_api(make_gatepost(organization_header="Acme-Org", organization_header_required=True))
    key = api.key("organizations:read")
    document = refused(api.ask("GET", "/v1/me", key=key), 400, "invalid_request")
    assert "Acme-Org" in document["message"]
    assert api.ask("GET", "/v1/me", key=key, headers={"Acme-Org": api.organization.id}).status_code == 200
    assert Session(api, "ada@example.com").ask("GET", "/v1/me").status_code == 200


@pytest.mark.spec("K-10")
def test_objects_are_not_there_when_they_are_of_the_other_environment(api: Api, session: Session) -> None:
    live, live_text = api.issue("*")
    test, test_text = api.issue("*", environment="test", never_expires=True)
    made = api.ask("POST", "…/clients", {"name": "App", "type": "machine"}, key=test_text).get_json()
    for own, text, foreign, environment in ((live, live_text, test, "live"), (test, test_text, live, "test")):
        assert api.ask("GET", f"…/api-keys/{own.id}", key=text).get_json()["environment"] == environment
        for method, suffix, body in (
            ("GET", "", None),
            ("PATCH", "", {"name": "x"}),
            ("DELETE", "", None),
            ("POST", "/rotate", {}),
            ("GET", "/usage", None),
        ):
            refused(api.ask(method, f"…/api-keys/{foreign.id}{suffix}", body, key=text), 404, "not_found")
        assert [each["id"] for each in api.ask("GET", "…/api-keys", key=text).get_json()["data"]] == [own.id]
        wrong = "live" if environment == "test" else "test"
        refused(api.ask("GET", f"…/api-keys?environment={wrong}", key=text), 404, "not_found")
    assert made["environment"] == "test"
    refused(api.ask("GET", f"…/clients/{made['id']}", key=live_text), 404, "not_found")
    refused(session.ask("GET", f"…/clients/{made['id']}"), 404, "not_found")
    assert session.ask("GET", f"…/clients/{made['id']}?environment=test").status_code == 200


ABOUT_BOTH = [each for each in IN_ORGANIZATION if each.method in WRITING and not each.is_in_environment]


@pytest.mark.spec("K-10")
@pytest.mark.parametrize("operation", ABOUT_BOTH, ids=lambda each: each.name)
def test_nothing_of_both_environments_changes_when_the_credential_is_for_testing(
    api: Api, operation: Operation
) -> None:
    key = api.key("*", environment="test")
    path, body = path_of(operation, api.organization.id), body_of(operation)
    document = refused(api.ask(operation.method, path, body, key=key), 403, "forbidden")
    assert "test credential" in document["message"]
    (row,) = api.gatepost.audit_rows("api.request.refused")
    assert (row.details["reason"], row.details["operation"]) == ("environment", operation.name)
    assert api.ask("GET", "…/members", key=key).status_code == 200


def test_no_organization_is_made_when_a_person_uses_an_application_for_testing(api: Api) -> None:
    flow = flow_of(api.gatepost, scope="openid organizations:write", environment="test")
    token = flow.tokens(scope="openid organizations:write")["access_token"]
    document = refused(api.ask("POST", "/v1/organizations", {"name": "New"}, key=token), 403, "forbidden")
    assert "test credential" in document["message"]


def test_everything_is_forbidden_when_the_organization_is_suspended(api: Api, session: Session) -> None:
    key = api.key("*")
    with api.gatepost.work() as work:
        suspend_organization(work, get_organization(work, api.organization.id))
    refused(api.ask("GET", "…/users", key=key), 401, "unauthorized")
    refused(session.ask("GET", "…/users"), 403, "forbidden")
    with api.gatepost.work() as work:
        resume_organization(work, get_organization(work, api.organization.id))
    assert session.ask("GET", "…/users").status_code == 200


@pytest.mark.spec("K-12")
@pytest.mark.spec("L-06")
@pytest.mark.spec("INV-32")
def test_rights_shrink_at_once_when_the_owner_loses_theirs(api: Api) -> None:
    grace = api.member("grace@example.com", "admin")
    key = api.key("users:read", "api-keys:read", owner=grace)
    assert api.ask("GET", "…/api-keys", key=key).status_code == 200
    owner = api.key("*")
    assert api.ask("PATCH", f"…/members/{grace.id}", {"role": "member"}, key=owner).status_code == 200
    refused(api.ask("GET", "…/api-keys", key=key), 403, "forbidden")
    assert api.ask("GET", "…/users", key=key).status_code == 200
    assert api.ask("PATCH", f"…/members/{grace.id}", {"suspended": True}, key=owner).status_code == 200
    refused(api.ask("GET", "…/users", key=key), 401, "unauthorized")
    assert api.ask("PATCH", f"…/members/{grace.id}", {"suspended": False}, key=owner).status_code == 200
    assert api.ask("GET", "…/users", key=key).status_code == 200
    assert api.ask("DELETE", f"…/users/{grace.id}", key=owner).status_code == 204
    refused(api.ask("GET", "…/users", key=key), 401, "unauthorized")


def test_token_of_a_person_is_bounded_by_scope_and_role_when_it_asks(api: Api) -> None:
    flow = flow_of(api.gatepost, scope="openid users:read api-keys:read organizations:read")
    flow.scope = "openid users:read"
    token = flow.tokens()["access_token"]
    assert api.ask("GET", "…/users", key=token).status_code == 200
    refused(api.ask("GET", "…/api-keys", key=token), 403, "forbidden")
    api.member("grace@example.com", "member")
    flow = flow_of(api.gatepost, client_id="second", scope="openid users:read api-keys:read organizations:read")
    flow.scope, flow.email = "openid users:read api-keys:read organizations:read", "grace@example.com"
    token = flow.tokens()["access_token"]
    assert api.ask("GET", "…/users", key=token).status_code == 200
    refused(api.ask("GET", "…/api-keys", key=token), 403, "forbidden")
    refused(api.ask("GET", f"/v1/organizations/{api.other_organization().id}/users", key=token), 404, "not_found")


def test_application_reaches_its_own_organization_when_it_asks_for_itself(api: Api) -> None:
    owner = api.key("*", never_expires=True)
    made = api.ask(
        "POST", "…/clients", {"name": "Job", "type": "machine", "scopes": ["users:read"]}, key=owner
    ).get_json()
    token = (
        api.gatepost.app.test_client()
        .post("/oauth/token", data={"grant_type": "client_credentials"}, auth=(made["id"], made["clientSecret"]))
        .get_json()["access_token"]
    )
    assert api.ask("GET", "…/users", key=token).status_code == 200
    refused(api.ask("GET", "…/api-keys", key=token), 403, "forbidden")
    refused(api.ask("GET", f"/v1/organizations/{api.other_organization().id}/users", key=token), 404, "not_found")
    # One that the operator registered belongs to no organization.
    flow = flow_of(api.gatepost, "machine", scope="users:read")
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    refused(api.ask("GET", "…/users", key=token), 404, "not_found")
    assert api.ask("GET", "/v1/me", key=token).status_code == 200
