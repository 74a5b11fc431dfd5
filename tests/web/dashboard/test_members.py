"""Members on the dashboard: invited, given roles, suspended and removed; nobody touches who may do more than they."""

import re
from collections.abc import Callable

import pytest
from werkzeug.test import TestResponse

from server.domain import invitations, memberships
from server.domain.invitations import Invitation, find_invitation
from server.domain.memberships import Membership
from tests.web.dashboard.conftest import Acme

LINK = re.compile(r'<code id="invitation-link">http://localhost:8000/invitations/([^<]+)</code>')


def member(acme: Acme, role: str) -> Membership | None:
    with acme.gatepost.work() as work:
        return memberships.find_membership(work, acme.organization.id, acme.people[role].id)


def open_invitations(acme: Acme) -> list[Invitation]:
    with acme.gatepost.work() as work:
        return list(invitations.list_invitations(work, acme.organization.id))


def is_good(acme: Acme, token: str) -> bool:
    with acme.gatepost.work() as work:
        found = find_invitation(work, token)
        return found is not None and invitations.state_of(found, work.now) == "open"


def act(acme: Acme, by: str, on: str, what: str = "", **fields: str) -> TestResponse:
    """What comes of it when one member does something to another; the form's page, when that is refused already."""
    visitor, membership = acme.sign_in(by), acme.membership(on)
    path = ("members", membership.id, what) if what else ("members", membership.id)
    form = visitor.get(*path)
    return visitor.submit(form, visitor.path(*path), **fields) if form.status_code == 200 else form


# The list ----------------------------------------------------------------------------------------------------------


def test_list_shows_everybody_and_marks_oneself(acme: Acme) -> None:
    page = acme.sign_in("member").get("members").text
    for role in ("owner", "admin", "developer", "billing", "member"):
        assert f"{role}@example.com" in page
    assert "The member (you)" in page
    assert "Change" not in page
    assert page.count("/members/leave") == 1
    assert "Invite" not in page


def test_admin_sees_no_way_to_change_an_owner(acme: Acme) -> None:
    page = acme.sign_in("admin").get("members").text
    assert acme.membership("member").id in page
    assert acme.membership("owner").id not in page


def test_name_is_text_when_it_looks_like_markup(acme: Acme) -> None:
    acme.gatepost.change_user("member@example.com", name="<script>alert(1)</script>")
    page = acme.sign_in().get("members").text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page


# Inviting ----------------------------------------------------------------------------------------------------------


def test_link_is_shown_once_when_no_mail_is_sent(acme: Acme) -> None:
    visitor = acme.sign_in("admin")
    assert "sends no email" in visitor.get("members", "invite").text
    answer = visitor.fill_in("members", "invite", email="eve@example.com", role="developer")
    shown = LINK.search(answer.text)
    assert shown
    assert answer.headers["Cache-Control"] == "no-store"
    assert is_good(acme, shown[1])
    assert "eve@example.com" in visitor.get("members").text
    assert shown[1] not in visitor.get("members").text
    (row,) = acme.gatepost.audit_rows("invitation.created")
    assert shown[1] not in str(row.details)


def test_link_is_shown_to_nobody_when_it_is_mailed(make: Callable[..., Acme]) -> None:
    acme = make(smtp_url="smtp://localhost:2525", mail_from="id@example.com")
    visitor = acme.sign_in()
    answer = visitor.fill_in("members", "invite", email="eve@example.com", role="member")
    assert answer.headers["Location"] == visitor.path("members") + "?done=invited"
    page = visitor.browser.get(answer.headers["Location"]).text
    assert "on its way" in page
    assert "/invitations/invitation_" not in page
    assert "Send again" in page


@pytest.mark.parametrize(
    ("email", "role", "field"), [("nobody", "member", "email"), ("eve@example.com", "emperor", "role")]
)
def test_nobody_is_invited_when_the_form_holds_what_it_may_not(acme: Acme, email: str, role: str, field: str) -> None:
    answer = acme.sign_in().fill_in("members", "invite", email=email, role=role)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert f'value="{email}"' in answer.text
    assert open_invitations(acme) == []


def test_nobody_is_invited_twice_or_when_a_member_already(acme: Acme) -> None:
    visitor = acme.sign_in()
    visitor.fill_in("members", "invite", email="eve@example.com", role="member")
    for email in ("EVE@example.com", "member@example.com"):
        answer = visitor.fill_in("members", "invite", email=email, role="member")
        assert answer.status_code == 409
        assert f'value="{email}"' in answer.text
    assert len(open_invitations(acme)) == 1


@pytest.mark.spec("K-11")
def test_nobody_is_invited_to_more_than_one_may_do_oneself(acme: Acme) -> None:
    visitor = acme.sign_in("admin")
    form = visitor.get("members", "invite")
    assert 'value="owner"' not in form.text
    answer = visitor.submit(form, visitor.path("members", "invite"), email="eve@example.com", role="owner")
    assert answer.status_code == 403
    assert open_invitations(acme) == []


def test_old_link_opens_nothing_when_a_new_one_is_made(acme: Acme) -> None:
    visitor = acme.sign_in()
    first = LINK.search(visitor.fill_in("members", "invite", email="eve@example.com", role="member").text)
    (invitation,) = open_invitations(acme)
    second = LINK.search(visitor.fill_in("members", "invitations", invitation.id, "resend").text)
    assert first
    assert second
    assert not is_good(acme, first[1])
    assert is_good(acme, second[1])


def test_link_opens_nothing_when_the_invitation_is_withdrawn(acme: Acme) -> None:
    visitor = acme.sign_in()
    shown = LINK.search(visitor.fill_in("members", "invite", email="eve@example.com", role="member").text)
    (invitation,) = open_invitations(acme)
    answer = visitor.fill_in("members", "invitations", invitation.id, "withdraw")
    assert answer.headers["Location"].endswith("?done=withdrawn")
    assert shown
    assert not is_good(acme, shown[1])
    assert "eve@example.com" not in visitor.get("members").text
    assert len(acme.gatepost.audit_rows("invitation.revoked")) == 1


# Changing ----------------------------------------------------------------------------------------------------------


def test_role_is_changed_when_the_form_says_so(acme: Acme) -> None:
    answer = act(acme, "admin", "member", role="developer")
    assert answer.status_code == 303
    changed = member(acme, "member")
    assert changed is not None
    assert changed.role == "developer"
    (row,) = acme.gatepost.audit_rows("membership.role.changed")
    assert row.actor_id == acme.people["admin"].id


@pytest.mark.spec("K-11")
@pytest.mark.parametrize(
    ("by", "on", "role"), [("admin", "member", "owner"), ("admin", "admin", "owner"), ("admin", "owner", "member")]
)
def test_role_stays_when_it_or_the_member_is_above_ones_own(acme: Acme, by: str, on: str, role: str) -> None:
    answer = act(acme, by, on, role=role)
    assert answer.status_code == 403
    assert member(acme, on).role == on  # type: ignore[union-attr]
    assert "membership.role.changed" not in acme.gatepost.audit_events()


@pytest.mark.parametrize("what", ["suspend", "remove"])
def test_admin_cannot_take_an_owner_away(acme: Acme, what: str) -> None:
    assert act(acme, "admin", "owner", what).status_code == 403
    owner = member(acme, "owner")
    assert owner is not None
    assert owner.suspended_at is None


@pytest.mark.parametrize(("what", "fields"), [("", {"role": "member"}), ("suspend", {}), ("remove", {})])
def test_last_owner_stays_when_they_would_take_themselves_away(acme: Acme, what: str, fields: dict[str, str]) -> None:
    answer = act(acme, "owner", "owner", what, **fields)
    assert answer.status_code == 409
    assert "last owner" in answer.text
    owner = member(acme, "owner")
    assert owner is not None
    assert (owner.role, owner.suspended_at) == ("owner", None)


def test_last_owner_cannot_leave(acme: Acme) -> None:
    answer = acme.sign_in().fill_in("members", "leave")
    assert answer.status_code == 409
    assert "last owner" in answer.text
    assert member(acme, "owner") is not None


def test_member_leaves_when_they_say_so(acme: Acme) -> None:
    visitor = acme.sign_in("member")
    answer = visitor.fill_in("members", "leave")
    assert answer.headers["Location"] == "/dashboard?all&done=left"
    assert "You have left" in visitor.browser.get(answer.headers["Location"]).text
    assert member(acme, "member") is None
    assert visitor.get().status_code == 404


def test_member_is_shut_out_and_let_in_again_when_suspended_and_resumed(acme: Acme) -> None:
    visitor = acme.sign_in("developer")
    assert act(acme, "admin", "developer", "suspend").status_code == 303
    assert visitor.get("api-keys").status_code == 403
    assert "Suspended" in acme.sign_in().get("members").text
    assert act(acme, "admin", "developer", "resume").status_code == 303
    assert visitor.get("api-keys").status_code == 200
    events = acme.gatepost.audit_events()
    assert (events.count("membership.suspended"), events.count("membership.resumed")) == (1, 1)


def test_member_is_gone_when_removed(acme: Acme) -> None:
    visitor = acme.sign_in("developer")
    answer = act(acme, "admin", "developer", "remove")
    assert answer.headers["Location"].endswith("/members?done=removed")
    assert member(acme, "developer") is None
    assert visitor.get().status_code == 404
    assert len(acme.gatepost.audit_rows("membership.removed")) == 1


def test_member_of_another_organization_is_not_found(acme: Acme) -> None:
    from server.domain import organizations

    with acme.gatepost.work() as work:
        other = organizations.create_organization(work, "Other", owner=acme.gatepost.add_user("z@example.com"))
        (foreign, _) = memberships.list_memberships(work, other.id)[0]
    visitor = acme.sign_in()
    for what in ("", "suspend", "remove"):
        assert visitor.browser.get(visitor.path("members", foreign.id, what).rstrip("/")).status_code == 404
