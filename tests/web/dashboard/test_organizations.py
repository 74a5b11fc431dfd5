"""Organizations on the dashboard: chosen, made, renamed and deleted."""

from collections.abc import Callable

import pytest

from server.domain import organizations
from server.domain.organizations import Organization
from tests.support.application import Gatepost
from tests.web.dashboard.conftest import Acme, sign_in


def found(gatepost: Gatepost, slug: str) -> Organization | None:
    with gatepost.work() as work:
        return organizations.find_organization(work, slug)


def test_first_organization_is_made_by_whoever_has_none(acme: Acme) -> None:
    visitor = sign_in(acme.gatepost, "ada@example.com")
    empty = visitor.browser.get("/dashboard")
    assert "No organization yet" in empty.text
    form = visitor.browser.get("/dashboard/organizations/new")
    answer = visitor.submit(form, "/dashboard/organizations/new", name="Bücher & Söhne")
    assert answer.headers["Location"] == "/dashboard/bucher-sohne/live"
    page = visitor.browser.get(answer.headers["Location"])
    assert "Bücher &amp; Söhne" in page.text
    assert "Your role here: Owner." in page.text
    assert visitor.browser.get("/dashboard").headers["Location"] == "/dashboard/bucher-sohne/live"
    (row,) = acme.gatepost.audit_rows("organization.created")[1:]
    assert row.actor_kind == "user"


def test_name_is_asked_for_again_when_it_cannot_be_one(acme: Acme) -> None:
    visitor = acme.sign_in("member")
    form = visitor.browser.get("/dashboard/organizations/new")
    answer = visitor.submit(form, "/dashboard/organizations/new", name=" ")
    assert answer.status_code == 400
    assert 'id="name-error"' in answer.text


def test_one_chooses_when_there_are_several(acme: Acme) -> None:
    with acme.gatepost.work() as work:
        organizations.create_organization(work, "Second", owner=work.db.merge(acme.people["owner"]))
        suspended = organizations.create_organization(work, "Third", owner=work.db.merge(acme.people["owner"]))
        organizations.suspend_organization(work, suspended)
    page = acme.sign_in().browser.get("/dashboard")
    assert page.status_code == 200
    assert 'href="/dashboard/acme/live"' in page.text
    assert 'href="/dashboard/second/live"' in page.text
    assert "Owner · suspended" in page.text


def test_overview_counts_what_is_in_this_environment(acme: Acme) -> None:
    acme.make_key("One")
    acme.make_key("Two", environment="test")
    acme.make_key("Three", environment="test")
    visitor = acme.sign_in()
    assert '<span class="figure">1</span>' in visitor.get().text
    assert "Test environment" not in visitor.get().text
    visitor.environment = "test"
    assert '<span class="figure">2</span>' in visitor.get().text
    assert "Test environment" in visitor.get().text


def test_other_environment_is_one_press_away_in_the_same_section(acme: Acme) -> None:
    key_id = acme.make_key()
    page = acme.sign_in().get("api-keys", key_id)
    assert 'href="/dashboard/acme/test/api-keys"' in page.text


def test_organization_is_renamed_in_words_and_addresses_when_saved(acme: Acme) -> None:
    visitor = acme.sign_in("admin")
    answer = visitor.fill_in("settings", name="Acme Robotics", slug="acme-robotics")
    assert answer.headers["Location"] == "/dashboard/acme-robotics/live/settings?done=saved"
    assert "Saved." in visitor.browser.get(answer.headers["Location"]).text
    assert visitor.get("settings").status_code == 404
    assert visitor.browser.get(f"/dashboard/{acme.organization.id}/live/settings").status_code == 200
    (row,) = acme.gatepost.audit_rows("organization.updated")
    assert row.actor_id == acme.people["admin"].id


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"slug": "Not This"}, 400, 'id="slug-error"'),
        ({"slug": "organizations"}, 400, 'id="slug-error"'),
        ({"name": "\n"}, 400, 'id="name-error"'),
        ({"slug": "taken"}, 409, "There is an organization with the slug taken already"),
    ],
)
def test_organization_keeps_its_name_when_the_new_one_cannot_be(
    acme: Acme, fields: dict[str, str], status: int, words: str
) -> None:
    with acme.gatepost.work() as work:
        organizations.create_organization(work, "Taken")
    visitor = acme.sign_in()
    answer = visitor.fill_in("settings", **{"name": "New name", "slug": "acme", **fields})
    assert answer.status_code == status
    assert words in answer.text
    organization = found(acme.gatepost, "acme")
    assert organization is not None
    assert organization.name == "Acme"
    # The frame says what it is called, the form what was typed.
    assert '<bdi class="current">Acme</bdi>' in answer.text


def test_settings_are_shown_without_a_form_when_the_role_may_only_look(acme: Acme) -> None:
    page = acme.sign_in("member").get("settings")
    assert page.status_code == 200
    assert "<form" not in page.text
    assert "settings/delete" not in page.text
    assert acme.organization.id in page.text


def test_organization_goes_with_what_was_named_when_its_name_is_typed(acme: Acme) -> None:
    acme.make_key()
    visitor = acme.sign_in()
    question = visitor.get("settings", "delete")
    assert "1 API key stops" in question.text
    assert "5 memberships end" in question.text
    for typed in ("", "acme", "Other"):
        refused = visitor.submit(question, visitor.path("settings", "delete"), typed_name=typed)
        assert refused.status_code == 400
        assert 'id="typed_name-error"' in refused.text
        assert found(acme.gatepost, "acme") is not None
    answer = visitor.submit(question, visitor.path("settings", "delete"), typed_name="Acme")
    assert answer.headers["Location"] == "/dashboard?all&done=deleted"
    assert "The organization is deleted." in visitor.browser.get(answer.headers["Location"]).text
    assert found(acme.gatepost, "acme") is None
    assert visitor.get().status_code == 404
    assert len(acme.gatepost.audit_rows("organization.deleted")) == 1


def test_organization_cannot_be_deleted_by_an_admin(acme: Acme) -> None:
    visitor = acme.sign_in("admin")
    assert "settings/delete" not in visitor.get("settings").text
    assert visitor.get("settings", "delete").status_code == 403


def test_person_makes_no_organization_where_the_operator_alone_does(make: Callable[..., Acme]) -> None:
    acme = make(organization_creation="operator")
    visitor = acme.sign_in()
    for page in ("/dashboard?all", f"/dashboard/{acme.organization.slug}/live"):
        assert "organizations/new" not in visitor.browser.get(page).text
    assert visitor.browser.get("/dashboard/organizations/new").status_code == 403
    with acme.gatepost.work() as work:
        assert [each.slug for each in organizations.list_organizations(work)] == [acme.organization.slug]
