"""Organizations over the API: to see them, make one, change and delete it."""

from tests.support.flow import flow_of
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused


def test_person_sees_all_of_theirs_when_they_list_them(api: Api, session: Session) -> None:
    made = session.ask("POST", "/v1/organizations", {"name": "Second Works", "slug": "second"})
    assert made.status_code == 201
    assert made.get_json()["slug"] == "second"
    api.other_organization()
    listed = session.ask("GET", "/v1/organizations").get_json()
    assert {each["slug"] for each in listed["data"]} == {"analytical-engines", "second"}
    first = session.ask("GET", "/v1/organizations?limit=1").get_json()
    rest = session.ask("GET", f"/v1/organizations?limit=1&cursor={first['nextCursor']}").get_json()
    assert rest["nextCursor"] is None
    assert {each["slug"] for each in first["data"] + rest["data"]} == {"analytical-engines", "second"}


def test_maker_is_the_owner_when_an_organization_is_made(api: Api, session: Session) -> None:
    made = session.ask("POST", "/v1/organizations", {"name": "Second Works"}).get_json()
    members = session.ask("GET", f"/v1/organizations/{made['id']}/members").get_json()["data"]
    assert [(each["userId"], each["role"]) for each in members] == [(api.owner.id, "owner")]
    (row,) = [each for each in api.gatepost.audit_rows("organization.created") if each.organization_id == made["id"]]
    assert (row.actor_kind, row.actor_id) == ("user", api.owner.id)


def test_key_makes_no_organization_when_it_belongs_to_one(api: Api) -> None:
    refused(api.ask("POST", "/v1/organizations", {"name": "More"}, key=api.key("*")), 403, "forbidden")
    listed = api.ask("GET", "/v1/organizations", key=api.key("organizations:read")).get_json()
    assert [each["id"] for each in listed["data"]] == [api.organization.id]


def test_token_makes_no_organization_when_it_lacks_the_scope(api: Api) -> None:
    flow = flow_of(api.gatepost, scope="openid organizations:read organizations:write")
    flow.scope = "openid organizations:read"
    token = flow.tokens()["access_token"]
    refused(api.ask("POST", "/v1/organizations", {"name": "More"}, key=token), 403, "forbidden")
    assert api.ask("GET", "/v1/organizations", key=token).status_code == 200
    flow.scope = "openid organizations:write"
    token = flow.tokens(prompt="consent")["access_token"]
    assert api.ask("POST", "/v1/organizations", {"name": "More"}, key=token).status_code == 201
    refused(api.ask("GET", "/v1/organizations", key=token), 403, "forbidden")


def test_nobody_makes_one_when_the_operator_alone_does(make_gatepost, make_api) -> None:  # type: ignore[no-untyped-def]
    api = make_api(make_gatepost(organization_creation="operator"))
    refused(Session(api, "ada@example.com").ask("POST", "/v1/organizations", {"name": "More"}), 403, "forbidden")


def test_name_and_slug_change_when_they_are_sent(api: Api, session: Session) -> None:
    api.other_organization()
    assert session.ask("PATCH", "…", {"name": "Difference Engines"}).get_json()["name"] == "Difference Engines"
    assert session.ask("PATCH", "…", {"slug": "engines"}).get_json()["slug"] == "engines"
    assert session.ask("PATCH", "…", {}).status_code == 200
    refused(session.ask("PATCH", "…", {"slug": "other-works"}), 409, "conflict")
    refused(session.ask("PATCH", "…", {"slug": "No Slug"}), 400, "invalid_request")
    assert session.ask("GET", "/v1/organizations/engines").status_code == 200


def test_nothing_of_it_is_left_when_an_organization_is_deleted(api: Api, session: Session) -> None:
    key = api.key("*")
    admin = api.key("organizations:read", "organizations:write")
    refused(api.ask("DELETE", "…", key=admin), 403, "forbidden")
    assert session.ask("DELETE", "…").status_code == 204
    refused(session.ask("GET", "…"), 404, "not_found")
    refused(api.ask("GET", "/v1/me", key=key), 401, "unauthorized")
    assert "organization.deleted" in api.gatepost.audit_events()
