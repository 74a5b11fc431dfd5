"""`gatepost organizations`: companies, their members, roles and invitations, and what deleting one removes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from server.domain.invitations import find_invitation
from server.domain.memberships import list_memberships
from server.domain.organizations import find_organization

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

ADA, BOB = "ada@example.com", "bob@example.com"


@pytest.fixture
def acme(cli: Cli) -> str:
    """The id of an organization that Ada owns."""
    return str(cli.json("organizations", "create", "Acme GmbH", "--owner", ADA)["id"])


def roles_in(cli: Cli, organization: str) -> dict[str, str]:
    return {row["email"]: row["role"] for row in cli.json("organizations", "members", organization)}


def test_organization_is_made_with_its_owner(cli: Cli) -> None:
    made = cli.json("organizations", "create", "Acme GmbH", "--owner", ADA)
    assert (made["slug"], made["name"], made["is_suspended"]) == ("acme-gmbh", "Acme GmbH", False)
    assert roles_in(cli, made["id"]) == {ADA: "owner"}
    assert cli.json("organizations", "create", "Other", "--slug", "the-other")["slug"] == "the-other"
    assert [row["name"] for row in cli.json("organizations", "list")] == ["Acme GmbH", "Other"]
    assert [row.actor_kind for row in cli.audit_rows("organization.created")] == ["operator", "operator"]


def test_list_says_how_to_begin_when_there_is_none(cli: Cli) -> None:
    assert "gatepost organizations create NAME" in cli.ok("organizations", "list")
    assert cli.json("organizations", "list") == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "", "--owner", ADA), "name: A name has 1 to 200 printable characters."),
        (("create", "Acme", "--slug", "A B"), "slug: A slug has"),
        (("create", "Acme", "--slug", "acme-gmbh"), "There is an organization with the slug acme-gmbh already."),
        (("create", "Acme", "--owner", "nobody"), "There is no user nobody."),
        (("show", "nothing"), "There is no organization nothing."),
        (("invite", "acme-gmbh", "nobody"), "email: This is not an email address."),
        (("invite", "acme-gmbh", BOB, "--role", "king"), "role: The organization has no role king."),
        (("add-member", "acme-gmbh", ADA), "This person is a member of the organization already."),
        (("remove-member", "acme-gmbh", ADA), "This is the organization's last owner."),
        (("set-role", "acme-gmbh", ADA, "member"), "This is the organization's last owner."),
        (("create-role", "acme-gmbh", "Releaser", "users:read"), "name: A role's name has"),
        (("create-role", "acme-gmbh", "releaser", "shout"), "permissions: There is no permission shout."),
        (("delete-role", "acme-gmbh", "owner"), "The organization has no role owner of its own."),
        (("revoke-invitation", "acme-gmbh", "inv_nothing"), "The organization has no invitation inv_nothing."),
    ],
)
def test_command_says_what_is_wrong(cli: Cli, acme: str, arguments: tuple[str, ...], sentence: str) -> None:
    assert cli.fault("organizations", *arguments).startswith(sentence)
    assert roles_in(cli, acme) == {ADA: "owner"}


def test_organization_is_renamed(cli: Cli, acme: str) -> None:
    assert cli.json("organizations", "update", "acme-gmbh", "--name", "Acme", "--slug", "acme")["slug"] == "acme"
    assert cli.json("organizations", "show", "acme")["id"] == acme
    cli.fault("organizations", "show", "acme-gmbh")


def test_organization_is_suspended_and_resumed(cli: Cli, acme: str) -> None:
    for _ in range(2):
        assert cli.json("organizations", "suspend", acme)["is_suspended"] is True
    assert re.search(r"^is_suspended +no$", cli.ok("organizations", "resume", "acme-gmbh"), re.MULTILINE)
    assert len(cli.audit_rows("organization.suspended")) == len(cli.audit_rows("organization.resumed")) == 1


def test_member_comes_changes_and_goes(cli: Cli, acme: str) -> None:
    cli.ok("users", "create", BOB)
    assert cli.json("organizations", "add-member", acme, BOB)["role"] == "member"
    assert cli.json("organizations", "set-role", acme, BOB, "admin")["role"] == "admin"
    assert roles_in(cli, acme) == {ADA: "owner", BOB: "admin"}
    assert cli.json("organizations", "remove-member", acme, BOB)["removed"] is True
    assert roles_in(cli, acme) == {ADA: "owner"}
    assert cli.fault("organizations", "remove-member", acme, BOB).startswith("The organization has no member usr_")


def test_link_is_shown_once_where_no_mail_is_configured(cli: Cli, acme: str) -> None:
    made = cli.json("organizations", "invite", acme, BOB, "--role", "developer")
    assert (made["state"], made["is_mailed"]) == ("open", False)
    with cli.gatepost() as gatepost, gatepost.work() as work:
        found = find_invitation(work, made["link"].rpartition("/")[2])
        assert found is not None
        assert (found.id, found.invited_by) == (made["id"], None)
    (listed,) = cli.json("organizations", "invitations", acme)
    assert "link" not in listed
    assert listed["email"] == BOB
    assert cli.json("organizations", "revoke-invitation", acme, made["id"])["state"] == "revoked"
    assert "No invitation waits." in cli.ok("organizations", "invitations", acme)


def test_link_is_shown_to_nobody_where_mail_is_configured(cli: Cli, acme: str) -> None:
    cli.variables["GATEPOST_SMTP_URL"] = "smtp://localhost"
    made = cli.json("organizations", "invite", acme, BOB)
    assert made["is_mailed"] is True
    assert "link" not in made


def test_roles_are_listed_made_and_removed(cli: Cli, acme: str) -> None:
    made = cli.json("organizations", "create-role", acme, "releaser", "users:read", "roles:read")
    assert made["permissions"] == ["roles:read", "users:read"]
    listed = {row["name"]: row for row in cli.json("organizations", "roles", acme)}
    assert list(listed) == ["owner", "admin", "developer", "billing", "member", "releaser"]
    assert [row["is_built_in"] for row in listed.values()] == [True] * 5 + [False]
    assert cli.json("organizations", "delete-role", acme, "releaser")["deleted"] is True
    assert "releaser" not in cli.ok("organizations", "roles", acme)


def test_deleting_says_beforehand_what_goes_and_does_it_when_the_operator_is_sure(cli: Cli, acme: str) -> None:
    said = cli.json("organizations", "show", acme)["deleting"]
    assert "1 membership ends; the people keep their accounts." in said
    refused = cli.run("organizations", "delete", acme, stdin="n\n")
    assert refused.exit_code == 1
    assert all(sentence in refused.stderr for sentence in said)
    assert cli.json("organizations", "show", acme)["id"] == acme
    removed = cli.json("organizations", "delete", acme, "--yes")
    assert (removed["deleted"], removed["removed"]) == (True, said)
    assert cli.json("organizations", "list") == []
    cli.ok("audit", "verify")
    with cli.gatepost() as gatepost, gatepost.work() as work:
        assert find_organization(work, acme) is None
        assert list_memberships(work, acme) == []


def test_person_who_is_removed_is_told_of_in_the_same_way(cli: Cli, acme: str) -> None:
    assert cli.fault("users", "delete", ADA, "--yes").startswith(f"{ADA} is the last owner of Acme GmbH.")
    cli.ok("organizations", "delete", acme, "--yes")
    refused = cli.run("users", "delete", ADA, stdin="n\n")
    assert "The account goes, with name, address and password" in refused.stderr
    assert "No memberships end." in cli.json("users", "delete", ADA, "--yes")["removed"]
    cli.ok("audit", "verify")
