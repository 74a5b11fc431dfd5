"""Roles on the dashboard: what they allow, and an organization's own, never above whoever makes them."""

import re

import pytest

from server.domain import memberships, roles
from server.domain.roles import CustomRole
from tests.web.dashboard.conftest import Acme


def own_roles(acme: Acme) -> list[CustomRole]:
    with acme.gatepost.work() as work:
        views = roles.list_roles(work, acme.organization.id)
        return [roles.get_role(work, acme.organization.id, view.id) for view in views if view.id]


def test_list_shows_what_every_role_allows(acme: Acme) -> None:
    page = acme.sign_in("member").get("roles").text
    for words in ("Owner", "Admin", "Developer", "Billing", "Member", "<code>billing:write</code>", "None yet."):
        assert words in page
    assert "Create a role" not in page


def test_role_is_made_with_boxes_and_patterns_when_the_form_says_so(acme: Acme) -> None:
    visitor = acme.sign_in()
    answer = visitor.fill_in(
        "roles", "new", name="release-manager", description="Ships", permissions=["api-keys:read", "entities:read"],
        patterns="boards:*",
    )  # fmt: skip
    assert answer.headers["Location"].endswith("/roles?done=made")
    (role,) = own_roles(acme)
    assert (role.name, role.description) == ("release-manager", "Ships")
    assert sorted(role.permissions) == ["api-keys:read", "boards:*", "entities:read"]
    form = visitor.get("roles", role.id).text
    assert re.search(r'value="api-keys:read" checked', form)
    assert ">boards:*</textarea>" in form
    assert "Release manager" in visitor.get("members", "invite").text
    assert len(acme.gatepost.audit_rows("role.created")) == 1


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"name": "Big Boss"}, 400, 'id="name-error"'),
        ({"name": "owner"}, 409, "There is a role owner already"),
        ({"permissions": []}, 400, 'id="permissions-error"'),
        ({"permissions": "no:such"}, 400, "There is no permission no:such"),
        ({"description": "x" * 301}, 400, 'id="description-error"'),
    ],
)
def test_role_is_not_made_when_the_form_holds_what_it_may_not(
    acme: Acme, fields: dict[str, str | list[str]], status: int, words: str
) -> None:
    typed = {"name": "auditor", "description": "Reads", "permissions": "audit:read", **fields}
    answer = acme.sign_in().fill_in("roles", "new", **typed)
    assert answer.status_code == status
    assert words in answer.text
    assert own_roles(acme) == []


@pytest.mark.spec("K-11")
@pytest.mark.parametrize("wanted", ["organizations:delete", "*", "organizations:*"])
def test_role_allows_no_more_than_whoever_makes_or_changes_it_may(acme: Acme, wanted: str) -> None:
    visitor = acme.sign_in("admin")
    form = visitor.get("roles", "new")
    assert f'value="{wanted}"' not in form.text
    answer = visitor.submit(form, visitor.path("roles", "new"), name="deputy", permissions=wanted)
    assert answer.status_code == 403
    assert 'value="deputy"' in answer.text
    visitor.fill_in("roles", "new", name="deputy", permissions="audit:read")
    (role,) = own_roles(acme)
    answer = visitor.fill_in("roles", role.id, permissions=["audit:read", wanted])
    assert answer.status_code == 403
    assert own_roles(acme)[0].permissions == ["audit:read"]


def test_role_above_ones_own_is_not_changed_or_deleted(acme: Acme) -> None:
    acme.sign_in().fill_in("roles", "new", name="liquidator", permissions="organizations:delete")
    (role,) = own_roles(acme)
    visitor = acme.sign_in("admin")
    assert visitor.get("roles", role.id).status_code == 403
    assert visitor.get("roles", role.id, "delete").status_code == 403


def test_change_counts_at_once_when_saved(acme: Acme) -> None:
    acme.give_own_role("member", "auditor", "audit:read", "api-keys:read")
    member = acme.sign_in("member")
    assert member.get("api-keys").status_code == 200
    (role,) = own_roles(acme)
    answer = acme.sign_in().fill_in("roles", role.id, permissions="audit:read", description="Less")
    assert answer.headers["Location"].endswith("/roles?done=saved")
    assert member.get("api-keys").status_code == 403
    assert len(acme.gatepost.audit_rows("role.updated")) == 1


def test_role_is_deleted_only_when_nobody_has_it(acme: Acme) -> None:
    acme.give_own_role("member", "auditor", "audit:read")
    (role,) = own_roles(acme)
    visitor = acme.sign_in()
    refused = visitor.fill_in("roles", role.id, "delete")
    assert refused.status_code == 409
    assert "Members have the role auditor" in refused.text
    with acme.gatepost.work() as work:
        membership = memberships.find_membership(work, acme.organization.id, acme.people["member"].id)
        assert membership is not None
        memberships.change_role(work, membership, "member")
    assert visitor.fill_in("roles", role.id, "delete").headers["Location"].endswith("/roles?done=deleted")
    assert own_roles(acme) == []
    assert len(acme.gatepost.audit_rows("role.deleted")) == 1


def test_built_in_role_is_no_page(acme: Acme) -> None:
    assert acme.sign_in().get("roles", "owner").status_code == 404
