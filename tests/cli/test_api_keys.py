"""`gatepost api-keys`: every command, for people and for programs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


@pytest.fixture
def acme(cli: Cli) -> str:
    return str(cli.json("organizations", "create", "Acme")["slug"])


def create(cli: Cli, acme: str, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = cli.json("api-keys", "create", acme, "CI", "--permission", "users:read", *options)
    return made


def test_key_is_made_and_shown_once(cli: Cli, acme: str) -> None:
    made = create(cli, acme)
    assert re.fullmatch(r"gp_live_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}", made["key"])
    shown = cli.json("api-keys", "show", made["id"])
    assert shown["key"] == f"{made['key'][:18]}…{made['key'][-4:]}"
    assert (shown["name"], shown["permissions"], shown["state"]) == ("CI", ["users:read"], "active")
    assert made["key"][18:40] not in cli.ok("api-keys", "list", acme)
    (row,) = cli.audit_rows("api_key.created")
    assert (row.actor_kind, row.details["key_id"]) == ("operator", made["id"])


def test_every_option_finds_its_place(cli: Cli, acme: str) -> None:
    made = create(
        cli, acme, "--environment", "test", "--kind", "restricted", "--description", "builds", "--expires-in", "12h",
        "--ip", "192.0.2.0/24", "--ip", "2001:db8::1", "--rate-limit", "7", "--permission", "audit:read",
    )  # fmt: skip
    shown = cli.json("api-keys", "show", made["id"])
    assert made["key"].startswith("gp_rk_test_")
    assert shown["permissions"] == ["audit:read", "users:read"]
    assert (shown["environment"], shown["kind"], shown["description"]) == ("test", "restricted", "builds")
    assert (shown["ip_allow_list"], shown["rate_limit_per_minute"]) == (["192.0.2.0/24", "2001:db8::1"], 7)
    assert cli.json("api-keys", "list", acme) == []
    assert [row["id"] for row in cli.json("api-keys", "list", acme, "--environment", "test")] == [made["id"]]


def test_key_lives_as_long_as_said(cli: Cli, acme: str) -> None:
    assert create(cli, acme, "--never-expires")["expires_at"] is None
    made = create(cli, acme, "--expires-in", "365d")
    lives = datetime.fromisoformat(made["expires_at"]) - datetime.fromisoformat(made["created_at"])
    assert abs(lives - timedelta(days=365)) < timedelta(minutes=1)


@pytest.mark.parametrize("span", ["soon", "-1d", "1w", "1.5h", ""])
def test_span_is_refused_when_it_is_none(cli: Cli, acme: str, span: str) -> None:
    result = cli.run("api-keys", "create", acme, "CI", "--permission", "users:read", "--expires-in", span)
    assert result.exit_code == 2
    assert "is no length of time such as 30d" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["create", "nobody", "CI", "--permission", "users:read"], "There is no organization nobody."),
        (["create", "{acme}", "CI", "--permission", "no:such"], "permissions: There is no permission no:such"),
        (["create", "{acme}", "", "--permission", "users:read"], "name: A name has 1 to 100"),
        (["show", "key_unknown"], "There is no API key key_unknown."),
        (["rotate", "key_unknown"], "There is no API key key_unknown."),
        (["revoke", "key_unknown"], "There is no API key key_unknown."),
        (["revoke-all", "--yes"], "Say whose keys end"),
    ],
)
def test_fault_is_a_sentence(cli: Cli, acme: str, arguments: list[str], sentence: str) -> None:
    assert cli.fault("api-keys", *(each.format(acme=acme) for each in arguments)).startswith(sentence)


def test_key_is_rotated_once(cli: Cli, acme: str) -> None:
    old = create(cli, acme)
    new = cli.json("api-keys", "rotate", old["id"], "--overlap", "1h")
    assert (new["old_id"], new["state"]) == (old["id"], "active")
    assert new["key"] != old["key"]
    assert cli.json("api-keys", "show", old["id"])["state"] == "being_replaced"
    assert cli.fault("api-keys", "rotate", old["id"]).startswith("Another key has taken this one's place")
    newest = cli.json("api-keys", "rotate", new["id"], "--overlap", "0")
    assert cli.json("api-keys", "show", newest["old_id"])["state"] == "key_expired"


def test_key_is_revoked(cli: Cli, acme: str) -> None:
    made = create(cli, acme)
    for _ in range(2):
        revoked = cli.json("api-keys", "revoke", made["id"], "--reason", "laptop lost")
        assert (revoked["state"], revoked["revoked_reason"]) == ("key_revoked", "laptop lost")
    assert len(cli.audit_rows("api_key.revoked")) == 1


@pytest.mark.spec("K-16")
def test_keys_are_revoked_together(cli: Cli, acme: str) -> None:
    for environment in ("live", "live", "test"):
        create(cli, acme, "--environment", environment)
    assert cli.json("api-keys", "revoke-all", acme, "--created-after", "2999-01-01", "--yes") == {"revoked": 0}
    assert cli.run("api-keys", "revoke-all", acme, stdin="n\n").exit_code == 1
    assert cli.json("api-keys", "revoke-all", acme, "--environment", "live", "--yes") == {"revoked": 2}
    assert cli.json("api-keys", "revoke-all", "--prefix", "gp_test_", "--yes") == {"revoked": 1}
    assert [row.details["count"] for row in cli.audit_rows("api_keys.revoked")] == [0, 2, 1]


@pytest.mark.spec("K-16")
def test_report_lists_keys_that_end_soon(cli: Cli, acme: str) -> None:
    assert cli.ok("api-keys", "report", acme) == "No key ends soon, and all are used.\n"
    soon = create(cli, acme, "--expires-in", "5d")
    create(cli, acme)
    assert [(row["why"], row["id"]) for row in cli.json("api-keys", "report", acme)] == [("expiring", soon["id"])]
    assert cli.json("api-keys", "report", acme, "--expiring", "4") == []
