"""Scopes: the wire string, the catalogue and the sentences for people."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.domain import scopes
from server.domain.claims import CLAIMS_OF_SCOPE, ID_TOKEN_SCOPES
from server.domain.policy.role_permissions import MANAGEMENT_NAMES
from tests.support.application import Gatepost


@pytest.mark.spec("RFC 6749 §3.3")
@pytest.mark.parametrize(
    ("wire", "parsed"),
    [
        (None, set()),
        ("", set()),
        (" ", set()),
        ("openid", {"openid"}),
        ("openid email", {"openid", "email"}),
        ("  email  openid email ", {"openid", "email"}),
        ("openid\temail", {"openid\temail"}),
        ("OpenID openid", {"OpenID", "openid"}),
    ],
)
def test_wire_string_is_a_set_of_tokens_between_spaces(wire: str | None, parsed: set[str]) -> None:
    assert scopes.parse(wire) == parsed


@pytest.mark.parametrize(
    ("wire", "is_good"),
    [
        ("", True),
        ("openid notes:read", True),
        ("a!#~", True),
        ('a"b', False),
        ("a\\b", False),
        ("a\tb", False),
        ("é", False),
    ],
)
def test_wire_string_is_well_formed_when_every_token_is(wire: str, is_good: bool) -> None:
    assert scopes.is_well_formed(wire) is is_good


def test_set_is_written_in_one_order_with_openid_first() -> None:
    assert scopes.format_scopes({"profile", "email", "openid", "aaa"}) == "openid aaa email profile"
    assert scopes.format_scopes([]) == ""
    assert scopes.parse(scopes.format_scopes({"b", "a"})) == {"a", "b"}


def test_catalogue_has_the_standard_and_the_management_scopes_with_a_sentence_each(gatepost: Gatepost) -> None:
    known = scopes.catalogue(gatepost.settings)
    assert {"openid", "profile", "email", "address", "phone", "offline_access"} == scopes.PERSONAL
    assert set(known) == scopes.PERSONAL | set(MANAGEMENT_NAMES)
    for name, scope in known.items():
        assert scope.name == name
        assert scope.sentence[0].isupper()
        assert not scope.sentence.endswith(".")
        assert scope.icon in {"person", "mail", "map-pin", "phone", "clock", "key", "shield", "dot"}
    assert {name for name in scopes.PERSONAL if known[name].sensitive} == {"address", "phone"}


def test_catalogue_has_the_deployments_own_scopes_too(make_gatepost: Callable[..., Gatepost]) -> None:
    known = scopes.catalogue(make_gatepost(scopes={"notes:read": "Read your notes"}).settings)
    assert (known["notes:read"].sentence, known["notes:read"].icon) == ("Read your notes", "key")
    assert "notes:read" not in scopes.PERSONAL
    assert len(known) == 1 + len(scopes.PERSONAL) + len(MANAGEMENT_NAMES)


def test_standard_scope_keeps_its_meaning_when_the_configuration_names_it(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    known = scopes.catalogue(make_gatepost(scopes={"phone": "Harmless"}).settings)
    assert known["phone"].sensitive
    assert known["phone"].sentence != "Harmless"


def test_scopes_that_open_claims_are_known_ones() -> None:
    assert set(CLAIMS_OF_SCOPE) <= scopes.PERSONAL
    assert set(CLAIMS_OF_SCOPE) >= ID_TOKEN_SCOPES
