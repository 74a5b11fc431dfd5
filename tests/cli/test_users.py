"""`gatepost users`: every command, for people and for programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from server.config import load_settings
from server.domain.sessions import find_session
from server.domain.users import User, get_user
from server.infra.database import open_session
from server.infra.password_hasher import PasswordHasher
from tests.domain.factories import make_session

if TYPE_CHECKING:
    from tests.cli.conftest import Cli

GRACE = "grace@example.com"


def stored(cli: Cli, email: str) -> User:
    with open_session(load_settings(_env_file=None, database_url=cli.variables["GATEPOST_DATABASE_URL"])) as db:
        return db.scalars(select(User).where(User.email == email)).one()


def has_password(cli: Cli, email: str, password: str) -> bool:
    return PasswordHasher(load_settings(_env_file=None)).verify(stored(cli, email).password_hash, password)


@pytest.mark.spec("P-08")
def test_person_is_added_with_a_random_password_that_is_shown_once(cli: Cli) -> None:
    made = cli.json("users", "create", GRACE, "--name", "Grace Hopper", "--email-verified")
    assert made["id"].startswith("usr_")
    assert (made["email"], made["name"], made["email_verified"], made["is_disabled"]) == (
        GRACE,
        "Grace Hopper",
        True,
        False,
    )
    assert re.fullmatch(r"[0-9A-Za-z]{20}", made["password"])
    assert has_password(cli, GRACE, made["password"])
    assert "password" not in cli.json("users", "show", GRACE)
    assert cli.audit_rows("user.created")[-1].user_id == made["id"]
    assert cli.audit_rows("user.created")[-1].actor_kind == "operator"


@pytest.mark.parametrize("line", ["correct horse battery", "correct horse battery\n", "correct horse battery\r\n"])
def test_person_is_added_with_the_password_from_standard_input(cli: Cli, line: str) -> None:
    made = cli.json("users", "create", GRACE, "--password-stdin", stdin=line)
    assert "password" not in made
    assert has_password(cli, GRACE, "correct horse battery")


def test_password_keeps_its_spaces_and_only_the_first_line_counts(cli: Cli) -> None:
    cli.ok("users", "create", GRACE, "--password-stdin", stdin="  spaces around  \nsecond line\n")
    assert has_password(cli, GRACE, "  spaces around  ")


def test_every_standard_claim_is_filled_when_asked_for(cli: Cli) -> None:
    cli.ok("users", "create", GRACE, "--demo-claims")
    assert stored(cli, GRACE).claims["address"]["country"] == "AT"
    cli.ok("users", "create", "alan@example.com")
    assert stored(cli, "alan@example.com").claims == {}


def test_person_is_shown_as_lines_for_people(cli: Cli) -> None:
    text = cli.ok("users", "create", GRACE)
    assert re.search(rf"^email +{GRACE}$", text, re.MULTILINE)
    assert re.search(r"^email_verified +no$", text, re.MULTILINE)
    assert re.search(r"^name$", text, re.MULTILINE) or re.search(r"^name +$", text, re.MULTILINE)
    assert re.search(r"^password +[0-9A-Za-z]{20}$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (("nobody",), None, "email: This is not an email address."),
        ((GRACE, "--name", "two\nlines"), None, "name: A name has"),
        ((GRACE, "--password-stdin"), "short\n", "password: Use 15 characters or more."),
        ((GRACE, "--password-stdin"), "", "password: Use 15 characters or more."),
        ((GRACE, "--password-stdin"), "x" * 1025, "password: Use at most 1024 bytes."),
        ((GRACE, "--password-stdin"), "grace.grace.2026", "password: Don't build it from your name"),
        ((GRACE, "--password-stdin"), "abcabcabcabcabcabc", "password: This is easy to guess."),
        (("ADA@example.com",), None, "There is a user with the address ADA@example.com already."),
    ],
)
def test_person_is_refused_with_the_reason(
    cli: Cli, arguments: tuple[str, ...], stdin: str | None, sentence: str
) -> None:
    assert cli.fault("users", "create", *arguments, stdin=stdin).startswith(sentence)
    assert len(cli.json("users", "list")) == 1


@pytest.mark.parametrize(
    "command", [["users", "create", GRACE], ["users", "set-password", "ada@example.com"]], ids=" ".join
)
def test_password_is_refused_when_standard_input_is_not_text(cli: Cli, command: list[str]) -> None:
    cli.fault(*command, "--password-stdin", stdin=b"\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc\n")


def test_list_says_how_to_begin_when_there_is_nobody(cli: Cli) -> None:
    cli.ok("users", "delete", "ada@example.com", "--yes")
    assert "gatepost users create EMAIL" in cli.ok("users", "list")
    assert cli.json("users", "list") == []


def test_list_is_a_table_for_people_and_complete_for_programs(cli: Cli) -> None:
    cli.ok("users", "create", GRACE)
    head, *rows = cli.ok("users", "list").splitlines()
    assert head.split() == ["id", "email", "email_verified", "name", "created_at", "is_disabled"]
    assert len(rows) == 2
    assert {document["email"] for document in cli.json("users", "list")} == {"ada@example.com", GRACE}
    assert "argon2" not in cli.ok("users", "list", "--json")


def test_person_is_named_by_address_or_id(cli: Cli) -> None:
    by_address = cli.json("users", "show", "ADA@example.com")
    assert cli.json("users", "show", by_address["id"]) == by_address
    assert re.search(r"^name +Ada Example$", cli.ok("users", "show", by_address["id"]), re.MULTILINE)


def test_new_password_replaces_the_old_one(cli: Cli) -> None:
    made = cli.json("users", "set-password", "ada@example.com")
    assert has_password(cli, "ada@example.com", made["password"])
    cli.ok("users", "set-password", "ada@example.com", "--password-stdin", stdin="another password\n")
    assert has_password(cli, "ada@example.com", "another password")
    assert not has_password(cli, "ada@example.com", made["password"])
    assert len(cli.audit_rows("user.password.changed")) == 3


@pytest.mark.parametrize(("options", "is_over"), [((), True), (("--keep-signed-in",), False)])
@pytest.mark.spec("INV-29")
def test_new_password_ends_what_was_signed_in_unless_told_otherwise(
    cli: Cli, options: tuple[str, ...], is_over: bool
) -> None:
    with cli.gatepost() as gatepost, gatepost.work() as work:
        _, session = make_session(work, get_user(work, "ada@example.com"))
    cli.ok("users", "set-password", "ada@example.com", *options)
    with cli.gatepost() as gatepost, gatepost.work() as work:
        found = find_session(work, session.id)
        assert found is not None
        assert (found.ended_at is not None) is is_over
    assert len(cli.audit_rows("session.ended")) == is_over


def test_new_password_is_refused_with_the_reason(cli: Cli) -> None:
    sentence = cli.fault("users", "set-password", "ada@example.com", "--password-stdin", stdin="short\n")
    assert sentence.startswith("password: Use 15 characters or more.")


def test_person_is_suspended_and_let_in_again(cli: Cli) -> None:
    assert cli.json("users", "disable", "ada@example.com")["is_disabled"] is True
    assert re.search(r"^is_disabled +yes$", cli.ok("users", "disable", "ada@example.com"), re.MULTILINE)
    assert cli.json("users", "enable", "ada@example.com")["is_disabled"] is False
    assert re.search(r"^is_disabled +no$", cli.ok("users", "enable", "ada@example.com"), re.MULTILINE)
    assert len(cli.audit_rows("user.disabled")) == len(cli.audit_rows("user.enabled")) == 1


def test_person_is_removed_when_the_operator_is_sure(cli: Cli) -> None:
    assert cli.run("users", "delete", "ada@example.com", stdin="n\n").exit_code == 1
    assert len(cli.json("users", "list")) == 1
    removed = cli.json("users", "delete", "ada@example.com", "--yes")
    assert (removed["email"], removed["deleted"]) == ("ada@example.com", True)
    assert cli.json("users", "list") == []
    assert [row.user_id for row in cli.audit_rows("user.deleted")] == [removed["id"]]


@pytest.mark.parametrize("command", ["show", "set-password", "disable", "enable", "delete"])
@pytest.mark.parametrize("name", ["nobody@example.com", "usr_nobody", "nobody"])
def test_command_says_so_when_there_is_no_such_person(cli: Cli, command: str, name: str) -> None:
    sure = ["--yes"] if command == "delete" else []
    assert cli.fault("users", command, name, *sure) == f"There is no user {name}."
