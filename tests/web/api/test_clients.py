"""OAuth applications over the API: registered, changed and given secrets, within what their maker may do."""

import pytest

from tests.support.application import Gatepost
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused

WEB = {"name": "Web", "type": "web", "redirectUris": ["https://app.example.com/cb"]}


def token_of(gatepost: Gatepost, client_id: str, secret: str, **form: str) -> int:
    data = {"grant_type": "client_credentials", **form}
    return gatepost.app.test_client().post("/oauth/token", data=data, auth=(client_id, secret)).status_code


def test_application_is_registered_shown_and_deleted_when_asked(api: Api, session: Session) -> None:
    answer = session.ask("POST", "…/clients", WEB | {"scopes": ["openid", "users:read"], "contacts": ["a@example.com"]})
    assert answer.status_code == 201, answer.text
    made = answer.get_json()
    assert made["clientSecret"].startswith("cs_")
    assert (made["type"], made["environment"], made["scopes"]) == ("web", "live", ["openid", "users:read"])
    shown = session.ask("GET", f"…/clients/{made['id']}").get_json()
    assert [each["hint"] for each in shown["secrets"]] == [made["clientSecret"][-4:]]
    assert made["clientSecret"] not in str(shown)
    assert [each["id"] for each in session.ask("GET", "…/clients").get_json()["data"]] == [made["id"]]
    assert session.ask("GET", "…/clients?environment=test").get_json()["data"] == []
    assert session.ask("DELETE", f"…/clients/{made['id']}").status_code == 204
    refused(session.ask("GET", f"…/clients/{made['id']}"), 404, "not_found")
    assert {"client.created", "client.deleted"} <= set(api.gatepost.audit_events())


def test_operators_clients_are_not_there_when_they_belong_to_nobody(api: Api, session: Session) -> None:
    client, _ = api.gatepost.add_client()
    for method, body in (("GET", None), ("PATCH", {"name": "Mine"}), ("DELETE", None)):
        refused(session.ask(method, f"…/clients/{client.id}", body), 404, "not_found")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (WEB | {"redirectUris": ["http://app.example.com/cb"]}, "redirectUris"),
        (WEB | {"redirectUris": []}, "redirectUris"),
        (WEB | {"name": "Gatepost"}, "clientName"),
        (WEB | {"scopes": ["no:such"]}, "scope"),
        (WEB | {"scopes": ["a b"]}, "scopes"),
        (WEB | {"scopes": ['"']}, "scope"),
        (WEB | {"clientUri": "http://x.example"}, "clientUri"),
        (WEB | {"jwks": {"keys": []}}, "jwks"),
        (WEB | {"contacts": None}, "contacts"),
        (WEB | {"isFirstParty": True}, "isFirstParty"),
        (WEB | {"mayIntrospectAny": True}, "mayIntrospectAny"),
        (WEB | {"id": "chosen"}, "id"),
        ({"name": "M", "type": "machine", "scopes": ["openid"]}, "scope"),
    ],
)
def test_application_is_refused_and_its_fault_named_when_it_is_wrong(
    api: Api, session: Session, body: object, named: str
) -> None:
    assert named in refused(session.ask("POST", "…/clients", body), 400, "invalid_request")["message"]
    assert "client.created" not in api.gatepost.audit_events()


@pytest.mark.spec("K-11")
def test_application_gets_no_more_than_its_maker_has_when_made_or_changed(api: Api, session: Session) -> None:
    key = api.key("clients:write", "clients:read", "users:read", never_expires=True)
    job = {"name": "Job", "type": "machine"}
    refused(api.ask("POST", "…/clients", job | {"scopes": ["users:write"]}, key=key), 403, "forbidden")
    made = api.ask("POST", "…/clients", job | {"scopes": ["users:read"]}, key=key).get_json()
    refused(api.ask("PATCH", f"…/clients/{made['id']}", {"scopes": ["api-keys:write"]}, key=key), 403, "forbidden")
    strong = session.ask("POST", "…/clients", job | {"scopes": ["users:write"]}).get_json()
    path = f"…/clients/{strong['id']}"
    refused(api.ask("POST", f"{path}/secrets", {}, key=key), 403, "forbidden")
    refused(api.ask("PATCH", path, {"name": "Mine"}, key=key), 403, "forbidden")
    refused(api.ask("PATCH", path, {"disabled": False}, key=key), 403, "forbidden")


def test_application_with_more_rights_can_be_taken_away_when_its_end_gains_nobody_anything(
    api: Api, session: Session
) -> None:
    key = api.key("clients:write", "clients:read")
    strong = session.ask("POST", "…/clients", {"name": "Job", "type": "machine", "scopes": ["users:write"]}).get_json()
    path = f"…/clients/{strong['id']}"
    secret = session.ask("GET", path).get_json()["secrets"][0]
    assert api.ask("PATCH", path, {"disabled": True}, key=key).status_code == 200
    refused(api.ask("PATCH", path, {"disabled": False}, key=key), 403, "forbidden")
    assert api.ask("DELETE", f"{path}/secrets/{secret['id']}", key=key).status_code == 204
    assert api.ask("DELETE", path, key=key).status_code == 204


@pytest.mark.parametrize("right", ["is_first_party", "may_introspect_any"])
def test_application_is_not_the_organizations_to_end_when_the_operator_gave_it_special_rights(
    api: Api, session: Session, right: str
) -> None:
    client, _ = api.gatepost.add_client("machine", organization_id=api.organization.id, **{right: True})
    path = f"…/clients/{client.id}"
    secret = session.ask("GET", path).get_json()["secrets"][0]
    for method, target, body in (
        ("PATCH", path, {"disabled": True}),
        ("DELETE", f"{path}/secrets/{secret['id']}", None),
        ("DELETE", path, None),
    ):
        refused(session.ask(method, target, body), 403, "forbidden")
    assert api.gatepost.audit_events().count("api.request.refused") == 3


def test_application_changes_when_members_are_sent(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/clients", WEB).get_json()
    path = f"…/clients/{made['id']}"
    body = {"name": "New", "redirectUris": ["https://new.example.com/cb"], "clientUri": "https://new.example.com"}
    changed = session.ask("PATCH", path, body).get_json()
    assert (changed["name"], changed["redirectUris"], changed["clientUri"]) == tuple(body.values())
    assert changed["clientSecret"] is None
    assert session.ask("PATCH", path, {"clientUri": None}).get_json()["clientUri"] is None
    signing = session.ask("PATCH", path, {"jwtAuthentication": True}).get_json()
    assert signing["clientSecret"] is not None
    refused(session.ask("PATCH", path, {"type": "spa"}), 400, "invalid_request")


def test_secrets_overlap_when_they_are_replaced(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/clients", {"name": "Job", "type": "machine"}).get_json()
    path = f"…/clients/{made['id']}"
    answer = session.ask("POST", f"{path}/secrets", {"overlap": "1h"})
    assert answer.status_code == 201
    new = answer.get_json()["clientSecret"]
    assert token_of(api.gatepost, made["id"], made["clientSecret"]) == 200
    assert token_of(api.gatepost, made["id"], new) == 200
    old = next(
        each for each in session.ask("GET", path).get_json()["secrets"] if each["hint"] == made["clientSecret"][-4:]
    )
    assert session.ask("DELETE", f"{path}/secrets/{old['id']}").status_code == 204
    assert token_of(api.gatepost, made["id"], made["clientSecret"]) == 401
    assert token_of(api.gatepost, made["id"], new) == 200
    refused(session.ask("DELETE", f"{path}/secrets/nothing"), 404, "not_found")
    public = session.ask("POST", "…/clients", WEB | {"type": "spa"}).get_json()
    assert public["clientSecret"] is None
    refused(session.ask("POST", f"…/clients/{public['id']}/secrets", {}), 409, "conflict")


def test_application_stops_at_once_when_it_is_disabled(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/clients", {"name": "Job", "type": "machine"}).get_json()
    for disabled, status in ((True, 401), (False, 200)):
        changed = session.ask("PATCH", f"…/clients/{made['id']}", {"disabled": disabled}).get_json()
        assert (changed["disabledAt"] is not None) is disabled
        assert token_of(api.gatepost, made["id"], made["clientSecret"]) == status
