"""The gate before every page: who gets in, who is told why not, and that nothing typed is lost on the way."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from server.domain import invitations, memberships, organizations, roles
from server.domain.browsers import Browser
from server.domain.policy.role_permissions import MANAGEMENT_NAMES, ROLES
from server.domain.sessions import Session
from server.web.dashboard.map import PAGES
from server.web.dashboard.page import FormRefused, Page, check_all
from server.web.dashboard.shell import INSIDE
from tests.support.application import PASSWORD, Gatepost
from tests.support.flow import form_fields
from tests.web.dashboard.conftest import Acme, Visitor, sign_in

INNER = [page for page in PAGES if page.path.startswith(INSIDE)]
OUTER = [page for page in PAGES if not page.path.startswith(INSIDE)]
POSTS = [page for page in INNER if page.methods == ("POST",)]


def name_of(page: Page) -> str:
    return page.endpoint


@pytest.fixture
def ids(acme: Acme) -> dict[str, str]:
    """Something of each kind that paths name."""
    key_id = acme.make_key()
    with acme.gatepost.work() as work:
        role = roles.create_role(work, acme.organization, "auditor", ["api-keys:read"], maker_rights=None)
        invitation, _ = invitations.invite(work, acme.organization, "eve@example.com", "member", None)
        membership = memberships.find_membership(work, acme.organization.id, acme.people["member"].id)
        assert membership is not None
        return {
            "key_id": key_id,
            "role_id": role.id,
            "invitation_id": invitation.id,
            "membership_id": membership.id,
        }


def path_of(page: Page, visitor: Visitor, ids: dict[str, str]) -> str:
    tail = page.path.removeprefix(INSIDE) if page in INNER else page.path
    for name, value in ids.items():
        tail = tail.replace(f"<{name}>", value)
    assert "<" not in tail
    return visitor.path() + tail if page in INNER else tail


def ask(page: Page, visitor: Visitor, path: str) -> int:
    if page.methods == ("GET",):
        return visitor.browser.get(path).status_code
    return visitor.browser.post(path, data={"csrf_token": "none"}).status_code


def is_allowed(role: str, permission: str | None) -> bool:
    """What the table of roles says, without asking the rules."""
    return permission is None or role == "owner" or permission in ROLES[role].permissions


# The table ---------------------------------------------------------------------------------------------------------


def test_every_page_has_a_name_of_its_own_and_a_known_permission() -> None:
    assert len({page.endpoint for page in PAGES}) == len(PAGES)
    assert {page.permission for page in PAGES} - {None} <= set(MANAGEMENT_NAMES)


@pytest.mark.parametrize("page", [page for page in PAGES if page.methods == ("POST",)], ids=name_of)
def test_form_comes_back_when_its_post_is_refused(page: Page) -> None:
    assert page.again is not None
    shown = [each for each in PAGES if each.methods == ("GET",) and each.answer is page.again]
    assert shown
    # Whoever may see the form may send it, unless it also shows what many may see.
    assert page.endpoint == "dashboard.change_settings" or shown[0].permission == page.permission
    assert shown[0].is_dangerous == page.is_dangerous


@pytest.mark.parametrize("page", POSTS, ids=name_of)
def test_pages_that_change_who_may_do_what_ask_for_a_recent_sign_in(page: Page) -> None:
    assert page.is_dangerous or page.endpoint == "dashboard.change_settings"


# Who gets in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_nobody_gets_in_without_signing_in(page: Page, acme: Acme, ids: dict[str, str]) -> None:
    visitor = Visitor(acme.gatepost, acme.gatepost.browser(), "")
    path = path_of(page, visitor, ids)
    answer = visitor.browser.open(path, method=page.methods[0])
    target = urlsplit(answer.headers["Location"])
    assert answer.status_code == 303
    assert target.path == "/login"
    assert parse_qs(target.query)["next"] == [path]


@pytest.mark.parametrize("page", INNER, ids=name_of)
def test_organization_is_not_found_when_one_is_no_member(page: Page, acme: Acme, ids: dict[str, str]) -> None:
    visitor = sign_in(acme.gatepost, "ada@example.com")
    with acme.gatepost.work() as work:
        organizations.create_organization(work, "Ada's", owner=acme.gatepost.add_user("x@example.com"))
    assert ask(page, visitor, path_of(page, visitor, ids)) == 404
    visitor.slug = "no-such"
    assert ask(page, visitor, path_of(page, visitor, ids)) == 404


@pytest.mark.parametrize("role", ROLES)
def test_role_gets_exactly_where_its_permissions_lead(role: str, acme: Acme, ids: dict[str, str]) -> None:
    visitor = acme.sign_in(role)
    got = {page.endpoint: ask(page, visitor, path_of(page, visitor, ids)) for page in INNER}
    # A refused token is a later step than a refused role: its answer is a form.
    expected = {
        page.endpoint: 200 if is_allowed(role, page.permission) and page.methods == ("GET",) else 403 for page in INNER
    }
    assert got == expected
    denied = [page for page in POSTS if not is_allowed(role, page.permission)]
    for page in denied:
        answer = visitor.browser.post(path_of(page, visitor, ids))
        assert "Your role does not include" in answer.text
        assert "<form" not in answer.text


@pytest.mark.parametrize("role", ROLES)
def test_navigation_leads_only_where_the_role_gets_in(role: str, acme: Acme) -> None:
    visitor = acme.sign_in(role)
    overview = visitor.get()
    links = set(re.findall(rf'href="({visitor.path()}[^"?]*)', overview.text))
    assert visitor.path("members") in links
    for link in links - {visitor.path(name) for name in ("applications", "applications/new", "audit-log")}:
        assert visitor.browser.get(link).status_code == 200, link


def test_environment_is_not_found_when_it_is_neither_live_nor_test(acme: Acme) -> None:
    assert acme.sign_in().browser.get("/dashboard/acme/staging/api-keys").status_code == 404


@pytest.mark.parametrize("what", ["organization", "membership", "user"])
def test_nothing_is_shown_when_suspended(what: str, acme: Acme) -> None:
    visitor = acme.sign_in("admin")
    with acme.gatepost.work() as work:
        if what == "organization":
            organization = organizations.get_organization(work, "acme")
            organizations.suspend_organization(work, organization)
        elif what == "membership":
            membership = memberships.find_membership(work, acme.organization.id, acme.people["admin"].id)
            assert membership is not None
            memberships.suspend_membership(work, membership)
    if what == "user":
        acme.gatepost.change_user("admin@example.com", disabled_at=acme.gatepost.clock.now())
    for path in ("", "api-keys", "members/invite"):
        answer = visitor.browser.get(visitor.path(path).rstrip("/"))
        assert answer.status_code == (303 if what == "user" else 403)
        assert what == "user" or "suspended" in answer.text
        assert "API keys" not in answer.text


def test_role_counts_at_once_when_it_is_lowered(acme: Acme) -> None:
    visitor = acme.sign_in("admin")
    form = visitor.get("members", "invite")
    acme.give_own_role("admin", "watcher", "users:read")
    answer = visitor.submit(form, visitor.path("members", "invite"), email="eve@example.com", role="member")
    assert answer.status_code == 403
    assert "invitation.created" not in acme.gatepost.audit_events()


# Step-up -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [page for page in INNER if page.is_dangerous], ids=name_of)
@pytest.mark.spec("S-07")
def test_recent_sign_in_is_asked_for_when_the_last_is_too_old(page: Page, acme: Acme, ids: dict[str, str]) -> None:
    visitor = acme.sign_in()
    path = path_of(page, visitor, ids)
    form = form_fields(visitor.browser.get(path).text) if page.methods == ("GET",) else {}
    acme.gatepost.clock.advance(901)
    if page.methods == ("GET",):
        answer = visitor.browser.get(path)
        target = urlsplit(answer.headers["Location"])
        assert target.path == "/login"
        assert parse_qs(target.query) == {"next": [path], "confirm": ["1"]}
        assert form != {}
    else:
        before = acme.gatepost.audit_events()
        shown = next(each for each in PAGES if each.answer is page.again and each.methods == ("GET",))
        acme.gatepost.clock.advance(-901)
        form = form_fields(visitor.browser.get(path_of(shown, visitor, ids)).text)
        acme.gatepost.clock.advance(901)
        answer = visitor.browser.post(path, data=form)
        assert answer.status_code == 403
        assert "It has been a while since you signed in" in answer.text
        assert acme.gatepost.audit_events() == before


def test_typed_form_is_kept_and_goes_through_when_one_confirms_in_another_tab(acme: Acme) -> None:
    visitor = acme.sign_in()
    form = visitor.get("roles", "new")
    acme.gatepost.clock.advance(901)
    typed = {"name": "auditor", "description": "Looks & learns", "permissions": "audit:read"}
    refused = visitor.submit(form, visitor.path("roles", "new"), **typed)
    link = re.search(r'href="(/login\?[^"]+)" target="_blank"', refused.text)
    assert link
    assert refused.status_code == 403
    assert 'value="Looks &amp; learns"' in refused.text
    tab = visitor.browser.get(link[1].replace("&amp;", "&"))
    confirmed = visitor.submit(tab, "/login", username=visitor.email, password=PASSWORD)
    assert confirmed.headers["Location"] == "/dashboard/confirmed"
    assert "close this tab" in visitor.browser.get("/dashboard/confirmed").text
    # The cookie was replaced, so the form's token is stale: the form comes again, and then goes through.
    second = visitor.submit(refused, visitor.path("roles", "new"), **typed)
    assert second.status_code == 403
    assert 'value="Looks &amp; learns"' in second.text
    third = visitor.submit(second, visitor.path("roles", "new"), **typed)
    assert third.status_code == 303


# Forms of others ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", POSTS, ids=name_of)
def test_nothing_happens_when_the_token_is_missing_or_another_forms(
    page: Page, acme: Acme, ids: dict[str, str]
) -> None:
    visitor, other = acme.sign_in(), acme.sign_in("admin")
    path = path_of(page, visitor, ids)
    before = acme.gatepost.audit_events()
    foreign = form_fields(
        visitor.get("settings").text if page.path != f"{INSIDE}/settings" else visitor.get("members", "invite").text
    )
    for fields in ({}, {"csrf_token": ""}, foreign, form_fields(other.get("members", "invite").text)):
        answer = visitor.browser.post(path, data={**fields, "email": "eve@example.com", "role": "member"})
        assert answer.status_code == 403
        assert "out of date" in answer.text
    assert acme.gatepost.audit_events() == before


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_form_is_not_shown_as_ours_when_it_comes_from_another_site(headers: dict[str, str], acme: Acme) -> None:
    visitor = acme.sign_in()
    form = visitor.get("roles", "new")
    visitor.headers = headers
    answer = visitor.submit(form, visitor.path("roles", "new"), name="auditor", permissions="audit:read")
    assert answer.status_code == 403
    assert "<form" not in answer.text
    assert "role.created" not in acme.gatepost.audit_events()


def test_token_is_of_one_person_when_several_are_signed_in_on_a_browser(acme: Acme) -> None:
    visitor = acme.sign_in()
    login = form_fields(visitor.browser.get("/login").text)
    visitor.browser.post("/login", data={**login, "username": "admin@example.com", "password": PASSWORD})
    form = visitor.get("settings")
    with acme.gatepost.work() as work:
        owners = select(Session).where(Session.user_id == acme.people["owner"].id)
        session = work.db.scalars(owners).one()
        # As the account chooser does; the cookie stays the same.
        work.db.get_one(Browser, session.browser_id).current_session_id = session.id
    assert "The owner" in visitor.get("settings").text
    answer = visitor.submit(form, visitor.path("settings"), name="Taken over", slug="acme")
    assert answer.status_code == 403
    assert "organization.updated" not in acme.gatepost.audit_events()


def test_nul_is_refused_before_any_query_when_sent(acme: Acme) -> None:
    """PostgreSQL takes none in a text."""
    visitor = acme.sign_in()
    form = visitor.get("members", "invite")
    answer = visitor.submit(form, visitor.path("members", "invite"), email="eve@example.com", role="member\0")
    assert answer.status_code == 400
    assert 'id="role-error"' in answer.text
    for path in ("members/%00", "api-keys/key_%00", "roles/x%00"):
        answer = visitor.browser.get(visitor.path(path))
        assert answer.status_code == 404
        assert "There is nothing at this address." in answer.text


def test_form_makes_nothing_when_it_does_not_say_which_it_is(acme: Acme) -> None:
    visitor = acme.sign_in()
    form = {**form_fields(visitor.get("api-keys", "new").text), "form_id": ""}
    form |= {"name": "Night job", "kind": "standard", "permissions": "entities:read", "expires": "90"}
    answer = visitor.browser.post(visitor.path("api-keys"), data=form)
    assert answer.status_code == 409
    assert 'value="Night job"' in answer.text
    assert form_fields(answer.text)["form_id"] != ""
    assert "api_key.created" not in acme.gatepost.audit_events()


# The page around ---------------------------------------------------------------------------------------------------


def test_page_is_kept_by_no_cache_and_holds_its_forms_to_this_site(acme: Acme) -> None:
    answer = acme.sign_in().get("api-keys", "new")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"


def test_frame_stands_under_the_issuers_path_when_it_has_one(make_gatepost: object) -> None:
    from tests.web.dashboard.conftest import SCOPES, make_acme

    gatepost: Gatepost = make_gatepost(issuer="http://localhost:8000/tenant", scopes=SCOPES)  # type: ignore[operator]
    acme = make_acme(gatepost)
    browser = gatepost.browser()
    login = form_fields(browser.get("/tenant/login").text)
    form = {**login, "username": "owner@example.com", "password": PASSWORD}
    assert browser.post("/tenant/login", data=form).status_code == 303
    page = browser.get("/tenant/dashboard/acme/live/members/invite")
    links = re.findall(r'(?:href|action|src)="(/[^"]*)"', page.text)
    assert links
    assert [link for link in links if not link.startswith("/tenant/")] == []
    sent = browser.post(
        "/tenant/dashboard/acme/live/members/invite",
        data={**form_fields(page.text), "email": "eve@example.com", "role": "member"},
    )
    assert sent.status_code == 200
    assert acme.gatepost.audit_events().count("invitation.created") == 1


def test_everything_is_checked_before_a_form_is_refused() -> None:
    from server.domain.errors import Invalid

    def refuse(field: str) -> None:
        raise Invalid(field, f"No {field}.")

    with pytest.raises(FormRefused) as refusal:
        check_all(lambda: refuse("name"), lambda: None, lambda: refuse("email"), lambda: refuse("name"))
    assert refusal.value.errors == {"name": "No name.", "email": "No email."}
    check_all(lambda: None)
