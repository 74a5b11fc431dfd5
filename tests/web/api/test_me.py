"""Who am I: what each kind of credential is told of itself."""

from tests.support.flow import flow_of
from tests.web.api.conftest import Api, Session


def test_key_is_told_its_organization_and_permissions_when_it_asks(api: Api) -> None:
    key, text = api.issue("organizations:read", "api-keys:read")
    for path in ("/v1/me", "/v1/users/me", "/api/v1/me", "/api/v1/users/me"):
        answer = api.ask("GET", path, key=text)
        assert answer.status_code == 200, answer.text
        document = answer.get_json()
        assert document["type"] == "api_key"
        assert document["id"] == key.id
        assert document["name"] == "A key"
        assert document["email"] is None
        assert document["environment"] == "live"
        assert document["permissions"] == ["api-keys:read", "organizations:read"]
        assert [each["id"] for each in document["organizations"]] == [api.organization.id]


def test_person_is_told_name_and_address_when_signed_in(api: Api, session: Session) -> None:
    document = session.ask("GET", "/v1/me").get_json()
    assert document["type"] == "user"
    assert document["id"] == api.owner.id
    assert document["email"] == "ada@example.com"
    assert document["permissions"] is None
    assert [(each["slug"], each["role"]) for each in document["organizations"]] == [("analytical-engines", "owner")]


def test_token_tells_what_its_scopes_allow_when_a_person_granted_it(api: Api) -> None:
    for scope, name, email in (
        ("openid", None, None),
        ("openid profile", "Ada Example", None),
        ("openid email", None, "ada@example.com"),
    ):
        flow = flow_of(api.gatepost, client_id=f"app-{len(scope)}")
        flow.scope = scope
        token = flow.tokens()["access_token"]
        document = api.ask("GET", "/v1/users/me", key=token).get_json()
        assert (document["type"], document["name"], document["email"]) == ("user", name, email)
        assert document["organizations"] == []


def test_application_is_told_its_name_when_it_asks_for_itself(api: Api) -> None:
    flow = flow_of(api.gatepost, "machine")
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    document = api.ask("GET", "/api/v1/users/me", key=token).get_json()
    assert (document["type"], document["id"], document["name"]) == ("client", "sample-machine", "Sample app")
