"""Scopes: the wire string, the catalogue and the sentences for people."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from server.config import Settings
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


# ------------------------------------------------------------------------------------------------- what they allow

OWN: dict[str, object] = {
    "read": "Read everything",
    "write": {"sentence": "Change everything", "implies": ["read"]},
    "delete": {"sentence": "Delete everything", "sensitive": True},
    "admin": {"sentence": "Administer everything", "implies": ["*"]},
    "urn:example:*:*:read": "Read all your data",
    "urn:example:notes:list:delete": {"sentence": "Delete lists of notes", "sensitive": True},
    "users:read": "Something else than Gatepost's",
}


@pytest.fixture
def settings() -> Settings:
    return settings_with(OWN)


def settings_with(own: dict[str, object]) -> Settings:
    return Settings(_env_file=None, environment="development", scopes=own)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize(
    ("granted", "required", "is_allowed"),
    [
        ("write", "read", True),
        ("read", "write", False),
        ("admin", "delete", True),
        ("admin", "urn:example:notes:list:delete", True),
        ("admin", "urn:example:*:*:*", True),
        ("admin", "users:read", False),
        ("admin", "users:*", False),
        ("admin", "*", False),
        ("admin", "email", False),
        ("urn:example:*:*:read", "urn:example:notes:list:read", True),
        ("urn:example:*:*:read", "urn:example:notes:list:delete", False),
        ("users:*", "users:delete", True),
        ("users:*", "roles:read", False),
        ("*", "organizations:delete", True),
        ("*", "anything", True),
        ("", "read", False),
    ],
)
def test_holder_may_do_what_is_named_covered_or_implied(
    settings: Settings, granted: str, required: str, is_allowed: bool
) -> None:
    rights = scopes.rights(settings, scopes.parse(granted))
    assert rights.allows(required) is is_allowed
    assert rights.allows_all([required]) is is_allowed
    assert rights.excess([required, *rights.granted]) == (set() if is_allowed else {required})


@pytest.mark.parametrize(
    ("granted", "bounds", "left"),
    [
        ("admin", "*", "admin"),
        ("admin", "read", "read"),
        ("admin", "users:*", ""),
        ("write delete", "write", "write"),
        ("users:*", "users:read roles:read", "users:read"),
        ("users:*", "*:read", "users:read"),
        ("*", "users:* read", "users:* read"),
        ("urn:example:*:*:read", "urn:example:notes:*:*", "urn:example:notes:*:read"),
        ("read", "write", "read"),
        ("*", "write", "write read"),
        ("*", "users:* users:read", "users:*"),
    ],
)
def test_what_stays_within_bounds_is_spelled_as_it_was_where_it_stays_whole(
    settings: Settings, granted: str, bounds: str, left: str
) -> None:
    one, other = (scopes.rights(settings, scopes.parse(text)) for text in (granted, bounds))
    assert one.within(other).granted == scopes.parse(left)


@pytest.mark.parametrize(
    ("scope", "is_one"),
    [
        ("read", True),
        ("openid", True),
        ("users:read", True),
        ("users:*", True),
        ("*", True),
        ("urn:example:contacts:list:read", True),
        ("urn:example:contacts:*:read", True),
        ("urn:example:*:*:*", True),
        ("urn:example:contacts:list:write", False),
        ("unheard-of", False),
        ("unheard:*", False),
        ("users:*:*", False),
        ('urn:example:"contacts":list:read', False),
        ("urn:example:contacts\n:list:read", False),
        ("urn:example:conta\tcts:list:read", False),
        ("urn:example:contäcts:list:read", False),
        (f"urn:example:{'a' * 120}:list:read", False),
    ],
)
def test_scope_is_known_when_the_catalogue_names_it_or_a_pattern_of_it_or_in_it(
    settings: Settings, scope: str, is_one: bool
) -> None:
    assert scopes.is_known(settings, scope) is is_one


@pytest.mark.parametrize(
    ("asked", "held", "given"),
    [
        ("read", "write", "read"),
        ("read delete", "write", "read"),
        ("users:read", "users:*", "users:read"),
        ("urn:example:contacts:list:read", "urn:example:*:*:read", "urn:example:contacts:list:read"),
        ("openid email", "openid *", "openid"),
        ("offline_access", "*", ""),
        ("unheard-of", "*", ""),
        ("unheard-of", "unheard-of", "unheard-of"),
        ("*", "read write delete admin", ""),
    ],
)
def test_what_is_asked_is_given_when_it_is_held_and_of_people_only_by_name(
    settings: Settings, asked: str, held: str, given: str
) -> None:
    assert scopes.covered(settings, scopes.parse(asked), scopes.parse(held)) == scopes.parse(given)


def test_scope_is_sensitive_when_something_that_comes_with_it_is(settings: Settings) -> None:
    known = scopes.catalogue(settings)
    own = {name for name in OWN if name != "users:read" and known[name].sensitive}
    assert own == {"delete", "admin", "urn:example:notes:list:delete"}
    wider = scopes.catalogue(settings_with({**OWN, "urn:example:*:*:*": "Everything"}))
    assert wider["urn:example:*:*:*"].sensitive


@pytest.mark.parametrize(
    ("name", "sentence", "detail", "sensitive"),
    [
        ("read", "Read everything", None, False),
        ("openid", "Sign you in", None, False),
        ("urn:example:notes:list:read", "Read all your data", "Only urn:example:notes:list:read", False),
        ("urn:example:notes:*:read", "Read all your data", "Only urn:example:notes:*:read", False),
        ("urn:example:notes:*:*", "Do all of this, and what is added to it later", "urn:example:notes:*:*", True),
        ("roles:*", "Do all of this, and what is added to it later", "roles:*", True),
        ("*", "Do everything that can be allowed here, now and later", None, True),
        ("unheard-of", "unheard-of", None, False),
    ],
)
def test_every_scope_has_a_sentence_also_when_the_catalogue_does_not_name_it(
    settings: Settings, name: str, sentence: str, detail: str | None, sensitive: bool
) -> None:
    found = scopes.describe(settings, name)
    assert (found.name, found.sentence, found.detail, found.sensitive) == (name, sentence, detail, sensitive)


def test_closest_pattern_speaks_for_a_scope_when_several_cover_it() -> None:
    own: dict[str, object] = {"*:*:*": "Everything", "notes:*:*": "All notes", "notes:*:read": "Read notes"}
    named = settings_with(own)
    assert scopes.describe(named, "notes:list:read").sentence == "Read notes"
    assert scopes.describe(named, "notes:list:write").sentence == "All notes"
    assert scopes.describe(named, "files:list:write").sentence == "Everything"


@pytest.mark.parametrize(
    ("name", "included"),
    [
        ("read", []),
        ("write", ["read"]),
        ("roles:*", ["roles:read", "roles:write"]),
        ("urn:example:*:*:delete", ["urn:example:notes:list:delete"]),
        ("admin", ["read", "write", "delete", "urn:example:*:*:read", "urn:example:notes:list:delete"]),
        ("email", []),
    ],
)
def test_what_comes_with_a_scope_is_named_in_the_order_of_the_catalogue(
    settings: Settings, name: str, included: list[str]
) -> None:
    assert [scope.name for scope in scopes.included(settings, name)] == included


def test_management_permission_is_implied_only_when_it_is_named() -> None:
    support = {"sentence": "Help members", "implies": ["users:read", "roles:*"]}
    named = settings_with({**OWN, "support": support})
    for holder in ("support", "admin"):
        rights = scopes.rights(named, {holder})
        assert rights.allows("users:read")
        assert rights.excess(["users:write", "users:*", "roles:read"]) == {"users:write", "users:*", "roles:read"}


def test_management_permission_keeps_its_meaning_when_the_configuration_names_it() -> None:
    named = settings_with({"users:read": {"sentence": "Harmless", "implies": ["*"]}, "notes": "Read your notes"})
    assert scopes.catalogue(named)["users:read"].sentence == "See the members of your organizations"
    assert not scopes.rights(named, {"users:read"}).allows("notes")


def test_metadata_lists_no_management_permission(settings: Settings) -> None:
    advertised = scopes.advertised(settings)
    assert len(advertised) == len(set(advertised))
    assert set(advertised) == (set(OWN) - {"users:read"}) | scopes.PERSONAL


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("owner", ("organizations:delete", "read", "delete", "*"), ()),
        ("admin", ("organizations:write", "delete", "admin", "urn:example:notes:*:*"), ("organizations:delete", "*")),
        ("developer", ("api-keys:write", "delete", "urn:example:*:*:*"), ("users:write", "api-keys:*", "billing:read")),
        ("billing", ("billing:write",), ("read", "urn:example:notes:list:read", "api-keys:read")),
        ("member", ("read", "write", "urn:example:notes:list:read"), ("delete", "admin", "users:write", "*")),
        ("unheard-of", (), ("read", "organizations:read")),
    ],
)
def test_role_allows_its_permissions_and_its_part_of_the_api(
    settings: Settings, role: str, may: tuple[str, ...], may_not: tuple[str, ...]
) -> None:
    rights = scopes.rights_of_role(settings, role)
    assert not rights.excess(may)
    assert rights.excess(may_not) == set(may_not)


def test_what_a_key_with_everything_has_left_within_a_role_is_named(settings: Settings) -> None:
    everything = scopes.rights(settings, ["*"])
    within = everything.within(scopes.rights_of_role(settings, "developer"))
    assert within.granted == scopes.rights_of_role(settings, "developer").granted
    assert within.allows("urn:example:*:*:*")


def test_custom_role_allows_what_it_lists_and_nothing_else(settings: Settings) -> None:
    rights = scopes.rights_of_role(settings, "auditor", ["audit:read", "write"])
    assert rights.allows_all(["audit:read", "write", "read"])
    assert rights.excess(["delete", "organizations:read"]) == {"delete", "organizations:read"}


def test_nothing_is_worked_out_twice_when_the_settings_are_the_same(settings: Settings) -> None:
    assert scopes.catalogue(settings) is scopes.catalogue(settings)
    assert scopes.rights(settings, ["read", "write"]) is scopes.rights(settings, frozenset({"write", "read"}))
    assert scopes.rights_of_role(settings, "member") is scopes.rights_of_role(settings, "member")


def test_every_deployment_has_its_own_catalogue_when_there_are_many_in_a_process() -> None:
    many = [settings_with({f"scope{number}": "Do it"}) for number in range(40)]
    for _ in range(2):
        for number, settings in enumerate(many):
            assert f"scope{number}" in scopes.catalogue(settings)
            assert not scopes.is_known(settings, f"scope{number + 1}")
