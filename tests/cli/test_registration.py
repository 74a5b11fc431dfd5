"""`gatepost registration`: initial access tokens, for people and for programs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Cli


def test_token_is_good_for_one_client_and_a_week_when_nothing_is_said(cli: Cli) -> None:
    made = cli.json("registration", "create", "a partner")
    assert (made["label"], made["uses_left"]) == ("a partner", 1)
    assert made["expires_at"] is not None
    assert re.fullmatch(r"iat_[0-9A-Za-z]{43}", made["initial_access_token"])
    (listed,) = cli.json("registration", "list")
    assert listed == {name: value for name, value in made.items() if name != "initial_access_token"}
    assert [row.details["label"] for row in cli.audit_rows("initial_access_token.created")] == ["a partner"]


def test_token_has_the_uses_and_the_time_that_are_said(cli: Cli) -> None:
    made = cli.json("registration", "create", "x", "--uses", "5", "--expires-in", "60")
    assert made["uses_left"] == 5
    made = cli.json("registration", "create", "x", "--unlimited", "--never-expires")
    assert (made["uses_left"], made["expires_at"]) == (None, None)


def test_client_is_registered_with_the_token_that_was_made(cli: Cli) -> None:
    token = cli.json("registration", "create", "a partner")["initial_access_token"]
    with cli.gatepost(is_prepared=True, registration="token") as gatepost:
        document = {"redirect_uris": ["https://app.example/cb"]}
        headers = {"Authorization": f"Bearer {token}"}
        answers = [gatepost.browser().post("/oauth/register", json=document, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 401]
    assert cli.json("registration", "list")[0]["uses_left"] == 0


def test_token_is_shown_once_and_listed_for_people(cli: Cli) -> None:
    assert "gatepost registration create" in cli.ok("registration", "list")
    text = cli.ok("registration", "create", "a partner")
    token = re.search(r"iat_\w{43}", text)
    assert token is not None
    listed = cli.ok("registration", "list")
    assert listed.splitlines()[0].split() == ["id", "label", "uses_left", "created_at", "expires_at"]
    assert "a partner" in listed
    assert token[0] not in listed


def test_token_is_gone_when_it_is_revoked(cli: Cli) -> None:
    made = cli.json("registration", "create", "a partner")
    assert cli.json("registration", "revoke", made["id"])["revoked"] is True
    assert cli.json("registration", "list") == []
    assert cli.fault("registration", "revoke", made["id"]).startswith("There is no initial access token")
    assert len(cli.audit_rows("initial_access_token.revoked")) == 1


def test_refusal_names_the_label_when_it_is_none(cli: Cli) -> None:
    assert cli.fault("registration", "create", " ").startswith("label: The label has 1 to 100")


@pytest.mark.parametrize("options", [("--uses", "0"), ("--expires-in", "0"), ("--uses", "many")])
def test_option_is_a_usage_error_when_its_value_is_none_of_ours(cli: Cli, options: tuple[str, ...]) -> None:
    assert cli.run("registration", "create", "x", *options).exit_code == 2
