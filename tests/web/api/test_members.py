"""People of an organization over the API, and what nobody may give: more than they have."""

import pytest

from server.domain.policy.role_permissions import ROLES
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused


@pytest.mark.spec("INV-40")
def test_people_are_listed_page_by_page_when_there_are_many(api: Api, session: Session) -> None:
    for number in range(4):
        api.gatepost.clock.advance(1)
        api.member(f"person{number}@example.com", "member")
    seen, cursor = [], ""
    while True:
        page = session.ask("GET", f"…/users?limit=2{cursor}").get_json()
        seen += [each["email"] for each in page["data"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == ["ada@example.com", *(f"person{number}@example.com" for number in range(4))]
    members = session.ask("GET", "…/members").get_json()["data"]
    assert [each["email"] for each in members] == seen
    assert all(each["id"].startswith("mem_") and each["userId"].startswith("usr_") for each in members)


def test_person_is_found_by_either_id_when_asked_for(api: Api, session: Session) -> None:
    grace = api.member("grace@example.com", "developer")
    user = session.ask("GET", f"…/users/{grace.id}").get_json()
    member = session.ask("GET", f"…/members/{grace.id}").get_json()
    assert (user["id"], user["role"], member["userId"]) == (grace.id, "developer", grace.id)
    assert session.ask("GET", f"…/members/{member['id']}").get_json() == member
    other = api.other_organization()
    refused(session.ask("GET", f"…/users/{other.id}"), 404, "not_found")


def test_stranger_is_not_found_when_they_are_of_another_organization(api: Api, session: Session) -> None:
    api.other_organization("mallory@example.net")
    with api.gatepost.work() as work:
        from server.domain.users import get_user

        mallory = get_user(work, "mallory@example.net")
    for method, body in (("GET", None), ("PATCH", {"role": "owner"}), ("DELETE", None)):
        refused(session.ask(method, f"…/members/{mallory.id}", body), 404, "not_found")


@pytest.mark.parametrize("role", sorted(ROLES))
def test_admin_gives_no_more_than_they_have_when_they_change_roles(api: Api, role: str) -> None:
    api.member("admin@example.com", "admin")
    grace = api.member("grace@example.com", "member")
    answer = Session(api, "admin@example.com").ask("PATCH", f"…/members/{grace.id}", {"role": role})
    if role == "owner":
        refused(answer, 403, "forbidden")
        assert "membership.role.changed" not in api.gatepost.audit_events()
    else:
        assert answer.get_json()["role"] == role


def test_admin_cannot_touch_an_owner_when_there_is_another(api: Api) -> None:
    api.member("second@example.com", "owner")
    api.member("admin@example.com", "admin")
    admin = Session(api, "admin@example.com")
    refused(admin.ask("PATCH", f"…/members/{api.owner.id}", {"role": "member"}), 403, "forbidden")
    refused(admin.ask("PATCH", f"…/members/{api.owner.id}", {"suspended": True}), 403, "forbidden")
    refused(admin.ask("DELETE", f"…/users/{api.owner.id}"), 403, "forbidden")


def test_last_owner_stays_when_they_would_leave(api: Api, session: Session) -> None:
    refused(session.ask("DELETE", f"…/members/{api.owner.id}"), 409, "conflict")
    refused(session.ask("PATCH", f"…/members/{api.owner.id}", {"role": "member"}), 409, "conflict")
    refused(session.ask("PATCH", f"…/members/{api.owner.id}", {"suspended": True}), 409, "conflict")


def test_unknown_role_is_refused_when_it_is_given(api: Api, session: Session) -> None:
    grace = api.member("grace@example.com", "member")
    refused(session.ask("PATCH", f"…/members/{grace.id}", {"role": "king"}), 400, "invalid_request")


def test_invitation_leads_to_a_link_when_no_mail_is_sent(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/invitations", {"email": "new@example.com", "role": "developer"})
    assert made.status_code == 201
    invitation = made.get_json()
    assert invitation["state"] == "open"
    assert api.gatepost.browser().get(invitation["link"].removeprefix("http://localhost:8000")).status_code == 200
    refused(session.ask("POST", "…/invitations", {"email": "new@example.com"}), 409, "conflict")
    (listed,) = session.ask("GET", "…/invitations").get_json()["data"]
    assert (listed["id"], listed["link"]) == (invitation["id"], None)
    again = session.ask("POST", f"…/invitations/{invitation['id']}/resend").get_json()
    assert again["link"] not in (None, invitation["link"])
    assert session.ask("DELETE", f"…/invitations/{invitation['id']}").status_code == 204
    assert session.ask("GET", "…/invitations").get_json()["data"] == []
    refused(session.ask("POST", f"…/invitations/{invitation['id']}/resend"), 409, "conflict")
    refused(session.ask("DELETE", "…/invitations/inv_nothing"), 404, "not_found")


def test_nobody_is_invited_to_more_than_the_inviter_has(api: Api) -> None:
    api.member("admin@example.com", "admin")
    admin = Session(api, "admin@example.com")
    refused(admin.ask("POST", "…/invitations", {"email": "x@example.com", "role": "owner"}), 403, "forbidden")
    refused(admin.ask("POST", "…/invitations", {"email": "no address"}), 400, "invalid_request")
    key = api.key("users:write", "users:read")
    refused(api.ask("POST", "…/invitations", {"email": "x@example.com", "role": "admin"}, key=key), 403, "forbidden")
    refused(api.ask("POST", "…/invitations", {"email": "x@example.com"}, key=key), 403, "forbidden")
    assert "invitation.created" not in api.gatepost.audit_events()


def test_role_is_made_changed_and_removed_when_nobody_has_it(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/roles", {"name": "auditor", "permissions": ["audit:read"], "description": "Looks."})
    assert made.status_code == 201, made.text
    role = made.get_json()
    assert (role["isBuiltIn"], role["permissions"]) == (False, ["audit:read"])
    grace = api.member("grace@example.com", "auditor")
    assert Session(api, "grace@example.com").ask("GET", "…/audit-events").status_code == 200
    changed = session.ask("PATCH", f"…/roles/{role['id']}", {"permissions": ["users:read"]}).get_json()
    assert changed["permissions"] == ["users:read"]
    refused(Session(api, "grace@example.com").ask("GET", "…/audit-events"), 403, "forbidden")
    refused(session.ask("DELETE", f"…/roles/{role['id']}"), 409, "conflict")
    assert session.ask("PATCH", f"…/members/{grace.id}", {"role": "member"}).status_code == 200
    assert session.ask("DELETE", f"…/roles/{role['id']}").status_code == 204
    names = [each["name"] for each in session.ask("GET", "…/roles").get_json()["data"]]
    assert names == list(ROLES)


def test_role_has_no_more_than_its_maker_when_it_is_made_or_changed(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/roles", {"name": "small", "permissions": ["users:read"]}).get_json()
    api.member("admin@example.com", "admin")
    admin = Session(api, "admin@example.com")
    body = {"name": "great", "permissions": ["organizations:delete"]}
    refused(admin.ask("POST", "…/roles", body), 403, "forbidden")
    refused(admin.ask("PATCH", f"…/roles/{made['id']}", {"permissions": ["*"]}), 403, "forbidden")
    refused(admin.ask("PATCH", "…/roles/member", {"permissions": ["users:read"]}), 409, "conflict")
    refused(admin.ask("DELETE", "…/roles/owner"), 409, "conflict")
    refused(admin.ask("DELETE", "…/roles/nothing"), 404, "not_found")
