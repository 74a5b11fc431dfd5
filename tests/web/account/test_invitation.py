"""The page behind an invitation's link: who may accept, that opening it uses nothing up, and new accounts."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from server.domain import invitations, organizations
from server.domain.invitations import Invitation
from server.domain.memberships import find_membership, get_membership, list_memberships, remove_member
from server.domain.organizations import Organization
from server.domain.outgoing_mail import OutgoingMail, lease_next
from server.domain.roles import create_role, delete_role, get_role
from server.domain.users import get_user
from tests.support.application import PASSWORD, Gatepost
from tests.support.flow import form_fields

ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"


@pytest.fixture
def acme(gatepost: Gatepost) -> Organization:
    with gatepost.work() as work:
        return organizations.create_organization(work, "Acme", owner=get_user(work, ADA))


def invite(gatepost: Gatepost, organization: Organization, email: str = BOB, role: str = "developer") -> str:
    """The path of a new invitation's link."""
    with gatepost.work() as work:
        _, token = invitations.invite(work, organization, email, role, get_user(work, ADA))
    assert token is not None
    return f"/invitations/{token}"


def sign_in(gatepost: Gatepost, email: str) -> FlaskClient:
    browser = gatepost.browser()
    page = browser.get("/login")
    answer = browser.post("/login", data={**form_fields(page.text), "username": email, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


def accept(browser: FlaskClient, path: str, **fields: str) -> TestResponse:
    return browser.post(path, data={**form_fields(browser.get(path).text), **fields})


def roles_in(gatepost: Gatepost, organization: Organization) -> dict[str, str]:
    with gatepost.work() as work:
        return {user.email: membership.role for membership, user in list_memberships(work, organization.id)}


def stored(gatepost: Gatepost) -> Invitation:
    with gatepost.work() as work:
        return work.db.scalars(select(Invitation)).one()


def test_page_says_who_invites_to_what_as_what_when_opened(gatepost: Gatepost, acme: Organization) -> None:
    page = gatepost.browser().get(invite(gatepost, acme))
    assert page.status_code == 200
    for said in ("Ada Example", ADA, "Acme", "Developer", BOB):
        assert said in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


def test_nothing_is_used_up_when_a_scanner_opens_the_link(gatepost: Gatepost, acme: Organization) -> None:
    path = invite(gatepost, acme)
    for _ in range(3):
        assert gatepost.browser().get(path).status_code == 200
        assert gatepost.browser().head(path).status_code == 200
    assert stored(gatepost).accepted_at is None
    assert list(roles_in(gatepost, acme)) == [ADA]


def test_person_joins_when_signed_in_as_the_one_invited(gatepost: Gatepost, acme: Organization) -> None:
    bob = gatepost.add_user(BOB, name="Bob")
    browser = sign_in(gatepost, BOB)
    answer = accept(browser, invite(gatepost, acme))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard")
    assert roles_in(gatepost, acme) == {ADA: "owner", BOB: "developer"}
    (row,) = gatepost.audit_rows("invitation.accepted")
    assert (row.actor_kind, row.actor_id, row.user_id, row.organization_id) == ("user", bob.id, bob.id, acme.id)
    assert len(gatepost.audit_rows("membership.added")) == 2


def test_second_half_of_a_double_click_leads_to_the_same_place(gatepost: Gatepost, acme: Organization) -> None:
    gatepost.add_user(BOB)
    browser, path = sign_in(gatepost, BOB), invite(gatepost, acme)
    fields = form_fields(browser.get(path).text)
    answers = [browser.post(path, data=fields) for _ in range(2)]
    assert [answer.headers.get("Location") for answer in answers] == ["/dashboard", "/dashboard"]
    assert len(gatepost.audit_rows("invitation.accepted")) == 1


def test_person_is_sent_to_sign_in_when_the_address_has_an_account(gatepost: Gatepost, acme: Organization) -> None:
    gatepost.add_user(BOB)
    browser, path = gatepost.browser(), invite(gatepost, acme)
    page = browser.get(path)
    assert 'name="password"' not in page.text
    assert f"/login?next={path.replace('/', '%2F')}" in page.text
    login = browser.get(f"/login?next={path}")
    answer = browser.post("/login", data={**form_fields(login.text), "username": BOB, "password": PASSWORD})
    assert answer.headers["Location"] == path
    assert accept(browser, path).headers["Location"] == "/dashboard"


def test_nobody_takes_over_an_account_by_its_invitation(gatepost: Gatepost, acme: Organization) -> None:
    browser, path = gatepost.browser(), invite(gatepost, acme)
    # From when the page still showed a form.
    fields = form_fields(browser.get(path).text)
    gatepost.add_user(BOB)
    page = browser.post(path, data={**fields, "name": "Mallory", "password": "a password of mine, long"})
    assert page.status_code == 200
    assert "There is an account with this address." in page.text
    assert list(roles_in(gatepost, acme)) == [ADA]
    assert sign_in(gatepost, BOB) is not None
    with gatepost.work() as work:
        assert get_user(work, BOB).name == "Ada Example"


def test_page_says_so_when_signed_in_as_somebody_else(gatepost: Gatepost, acme: Organization) -> None:
    for email in (BOB, EVE):
        gatepost.add_user(email)
    browser, path = sign_in(gatepost, EVE), invite(gatepost, acme)
    page = browser.get(path)
    assert EVE in page.text
    assert f"The invitation is for <bdi>{BOB}</bdi>" in page.text
    assert "invitation-accept" not in page.text


def test_somebody_else_does_not_join_when_they_post_all_the_same(gatepost: Gatepost, acme: Organization) -> None:
    gatepost.add_user(EVE)
    eve, path = sign_in(gatepost, EVE), invite(gatepost, acme)
    # A token of her own, from when the page still showed a form.
    fields = form_fields(eve.get(path).text)
    gatepost.add_user(BOB)
    page = eve.post(path, data={**fields, "password": "a password of mine, long"})
    assert page.status_code == 200
    assert "Use another account" in page.text
    assert list(roles_in(gatepost, acme)) == [ADA]
    assert stored(gatepost).accepted_at is None
    assert sign_in(gatepost, BOB) is not None


def test_new_person_joins_signed_in_when_they_make_an_account(gatepost: Gatepost, acme: Organization) -> None:
    browser, path = gatepost.browser(), invite(gatepost, acme)
    assert 'autocomplete="new-password"' in browser.get(path).text
    answer = accept(browser, path, name="Bob  Builder", password=PASSWORD)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard")
    with gatepost.work() as work:
        bob = get_user(work, BOB)
    # The link was shown to Ada, so it proves no mailbox.
    assert (bob.name, bob.email_verified) == ("Bob Builder", False)
    assert roles_in(gatepost, acme)[BOB] == "developer"
    assert "Bob Builder" in browser.get("/").text
    assert sign_in(gatepost, BOB) is not None
    for event in ("user.created", "user.password.changed", "invitation.accepted"):
        assert [row.user_id for row in gatepost.audit_rows(event)].count(bob.id) == 1


def test_address_is_verified_when_the_link_was_mailed(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(smtp_url="smtp://localhost")
    with gatepost.work() as work:
        acme = organizations.create_organization(work, "Acme", owner=get_user(work, ADA))
        _, token = invitations.invite(work, acme, BOB, "developer", get_user(work, ADA))
        assert token is None
    with gatepost.work() as work:
        leased = lease_next(work)
    assert leased is not None
    assert leased.message is not None
    (link,) = (line for line in leased.message.text.splitlines() if line.startswith("http"))
    path = link.removeprefix(gatepost.settings.issuer)
    assert accept(gatepost.browser(), path, password=PASSWORD).status_code == 303
    with gatepost.work() as work:
        assert get_user(work, BOB).email_verified


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": "short"}, "Use 15 characters or more."),
        ({"password": ""}, "Use 15 characters or more."),
        ({"password": PASSWORD, "name": "x" * 201}, "A name has 1 to 200 printable characters."),
        ({}, "Use 15 characters or more."),
    ],
)
def test_form_comes_back_with_what_was_typed_when_it_is_refused(
    gatepost: Gatepost, acme: Organization, fields: dict[str, str], said: str
) -> None:
    browser, path = gatepost.browser(), invite(gatepost, acme)
    answer = accept(browser, path, **{"name": "Bob", **fields})
    assert answer.status_code == 400
    assert said in answer.text
    assert "<title>Error:" in answer.text
    assert f'value="{fields.get("name", "Bob")}"' in answer.text
    assert PASSWORD not in answer.text
    with gatepost.work() as work:
        assert [user.email for _, user in list_memberships(work, acme.id)] == [ADA]
    assert stored(gatepost).accepted_at is None
    assert len(gatepost.audit_rows("user.created")) == 1
    assert accept(browser, path, name="Bob", password=PASSWORD).status_code == 303


def test_form_from_elsewhere_of_another_browser_or_for_another_invitation_is_refused(
    gatepost: Gatepost, acme: Organization
) -> None:
    gatepost.add_user(BOB)
    browser, path = sign_in(gatepost, BOB), invite(gatepost, acme)
    fields = form_fields(browser.get(path).text)
    assert browser.post(path, data={}).status_code == 403
    assert browser.post(path, data=fields, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post(path, data=fields, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post(path, data=form_fields(gatepost.browser().get(path).text)).status_code == 403
    assert gatepost.browser().post(path, data=fields).status_code == 403
    other = invite(gatepost, acme, "carl@example.com")
    assert browser.post(path, data=form_fields(browser.get(other).text)).status_code == 403
    assert list(roles_in(gatepost, acme)) == [ADA]
    assert browser.post(path, data=fields).headers["Location"] == "/dashboard"


@pytest.mark.parametrize("token", ["invitation_nothing", "x", "invitation_%00", "%ff", "invitation_" + "a" * 3000])
def test_page_says_so_when_there_is_no_such_invitation(gatepost: Gatepost, token: str) -> None:
    browser = gatepost.browser()
    browser.get("/login")
    page = browser.get(f"/invitations/{token}")
    assert page.status_code == 404
    assert "This invitation isn’t valid" in page.text
    assert browser.post(f"/invitations/{token}").status_code in {403, 404}


def test_page_says_what_became_of_it_when_it_is_over(gatepost: Gatepost, acme: Organization) -> None:
    browser, path = gatepost.browser(), invite(gatepost, acme)
    fields = form_fields(browser.get(path).text)

    def both(said: str, status: int) -> None:
        for page in (browser.get(path), browser.post(path, data={**fields, "password": PASSWORD})):
            assert (page.status_code, said in page.text) == (status, True), page.text
        assert list(roles_in(gatepost, acme)) == [ADA]

    with gatepost.work() as work:
        organizations.suspend_organization(work, organizations.get_organization(work, acme.id))
    both("This organization is suspended", 403)
    with gatepost.work() as work:
        organizations.resume_organization(work, organizations.get_organization(work, acme.id))
        invitations.revoke_invitation(work, work.db.scalars(select(Invitation)).one())
    both("This invitation was taken back", 410)
    path = invite(gatepost, acme)
    fields = form_fields(browser.get(path).text)
    gatepost.clock.advance(7 * 86400)
    both("This invitation has expired", 410)
    path = invite(gatepost, acme)
    assert accept(browser, path, password=PASSWORD).status_code == 303
    page = gatepost.browser().get(path)
    assert (page.status_code, "This invitation was used" in page.text) == (410, True)


def test_reason_is_said_on_the_page_when_the_inviter_may_no_longer_invite(
    gatepost: Gatepost, acme: Organization
) -> None:
    path = invite(gatepost, acme)
    gatepost.add_user(EVE)
    with gatepost.work() as work:
        eve = get_user(work, EVE)
        organizations_owner = get_membership(work, acme.id, get_user(work, ADA).id)
        invitation, token = invitations.invite(work, acme, EVE, "owner", get_user(work, ADA))
        assert token is not None
        invitations.accept_invitation(work, invitation, eve)
        remove_member(work, organizations_owner)
    browser = gatepost.browser()
    answer = accept(browser, path, password=PASSWORD)
    assert answer.status_code == 400
    assert "Whoever invited you can no longer do so." in answer.text
    with gatepost.work() as work:
        assert find_membership(work, acme.id, eve.id) is not None
    assert list(roles_in(gatepost, acme)) == [EVE]
    assert gatepost.browser().get(path).status_code == 200


def test_reason_is_said_on_the_page_when_the_role_is_gone(gatepost: Gatepost, acme: Organization) -> None:
    gatepost.add_user(BOB)
    with gatepost.work() as work:
        create_role(work, acme, "releaser", ["users:read"], maker_rights=None)
    browser, path = sign_in(gatepost, BOB), invite(gatepost, acme, role="releaser")
    with gatepost.work() as work:
        delete_role(work, get_role(work, acme.id, "releaser"))
    answer = accept(browser, path)
    assert answer.status_code == 400
    assert "The role releaser no longer exists." in answer.text
    assert stored(gatepost).accepted_at is None


def test_no_token_reaches_the_audit_log_or_the_mail_table_in_clear(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(smtp_url="smtp://localhost")
    with gatepost.work() as work:
        acme = organizations.create_organization(work, "Acme", owner=get_user(work, ADA))
        invitations.invite(work, acme, BOB, "developer", None)
        (queued,) = work.db.scalars(select(OutgoingMail)).all()
    assert "invitation_" not in queued.message_encrypted
    assert all("invitation_" not in str(row.details).replace("invitation_id", "") for row in gatepost.audit_rows())


def test_one_account_is_made_when_the_form_is_sent_many_times_at_once(database_url: str, tmp_path: Path) -> None:
    gatepost = Gatepost(tmp_path, database_url=database_url)
    gatepost.add_user()
    with gatepost.work() as work:
        acme = organizations.create_organization(work, "Acme", owner=get_user(work, ADA))
    path = invite(gatepost, acme)
    browsers = [gatepost.browser() for _ in range(4)]
    forms = [form_fields(browser.get(path).text) for browser in browsers]

    def join(number: int) -> int:
        return browsers[number].post(path, data={**forms[number], "password": PASSWORD}).status_code

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(pool.map(join, range(4)))
    assert statuses == [303, 410, 410, 410]
    assert roles_in(gatepost, acme) == {ADA: "owner", BOB: "developer"}
    assert len(gatepost.audit_rows("invitation.accepted")) == 1
    gatepost.close()
