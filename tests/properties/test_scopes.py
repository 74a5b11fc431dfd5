"""Scopes as sets: patterns, implication and their intersection beside a plain reading of the same rules (INV-07)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.config import ScopeSetting, Settings
from server.domain import scopes
from server.domain.policy.role_permissions import MANAGEMENT_NAMES, ROLES
from server.domain.policy.scope_grammar import covers, is_pattern, meet
from tests.properties.malformed import repeatable

#: `z` stands in no scope that is made here: what a pattern means beyond what is named.
_WORDS = ("users", "read", "write", "notes", "z")
_SEGMENTS = (*_WORDS, "*")
_NAMES = tuple(":".join(parts) for length in (1, 2, 3) for parts in product(_WORDS, repeat=length))
_EVERYTHING = frozenset({*_NAMES, *MANAGEMENT_NAMES, *scopes.PERSONAL})

scope = st.lists(st.sampled_from(_SEGMENTS[:4] + _SEGMENTS[5:]), min_size=1, max_size=3).map(
    ":".join
) | st.sampled_from(("*", "*:*", *MANAGEMENT_NAMES, "email", "openid"))
some = st.frozensets(scope, max_size=4)
catalogues = st.dictionaries(scope, st.tuples(st.booleans(), st.lists(scope, max_size=3).map(tuple)), max_size=5)
Catalogue = Mapping[str, tuple[bool, tuple[str, ...]]]

repeatedly = repeatable(200, is_repeatable=True)


def settings_of(catalogue: Catalogue) -> Settings:
    entries = {
        name: ScopeSetting(sentence="Do it", sensitive=sensitive, implies=implies)
        for name, (sensitive, implies) in catalogue.items()
    }
    return Settings(_env_file=None, environment="development", scopes=entries)  # type: ignore[call-arg]


def meaning_of(pattern: str) -> frozenset[str]:
    """Every name that is meant, read character by character and not by the code under test."""
    if pattern == "*":
        return _EVERYTHING
    parts = pattern.split(":")
    return frozenset(
        name
        for name in _EVERYTHING
        if len(parts) == name.count(":") + 1
        and all(part in {"*", word} for part, word in zip(parts, name.split(":"), strict=True))
    )


def allowed_by(catalogue: Catalogue, granted: frozenset[str]) -> frozenset[str]:
    """Every name that whoever holds `granted` may use, by the sentences of docs/scopes.md."""
    reserved = frozenset(MANAGEMENT_NAMES) | scopes.PERSONAL
    held, before = {meaning_of(each) for each in granted}, None
    while before != held:
        before = set(held)
        for name, (_, implies) in catalogue.items():
            if name not in reserved and any(meaning_of(name) <= each for each in held):
                held |= {meaning_of(each) - (reserved if is_pattern(each) else set()) for each in implies}
    return frozenset().union(*held)


@repeatedly
@given(one=scope, other=scope, third=scope)
def test_covering_is_a_partial_order(one: str, other: str, third: str) -> None:
    assert covers(one, one)
    assert not (covers(one, other) and covers(other, one)) or one == other
    assert not (covers(one, other) and covers(other, third)) or covers(one, third)


@repeatedly
@given(one=scope, other=scope)
def test_scope_covers_another_exactly_when_it_means_all_of_it(one: str, other: str) -> None:
    # With `z` in no scope, a pattern means a name that no other scope names.
    assert covers(one, other) == (meaning_of(other) <= meaning_of(one))


@repeatedly
@given(one=scope, other=scope, third=scope)
def test_meet_is_the_greatest_scope_below_both(one: str, other: str, third: str) -> None:
    both = meet(one, other)
    assert both == meet(other, one)
    assert (frozenset() if both is None else meaning_of(both)) == meaning_of(one) & meaning_of(other)
    if covers(one, third) and covers(other, third):
        assert both is not None
        assert covers(both, third)


@repeatedly
@given(catalogue=catalogues, granted=some)
def test_rights_allow_what_the_rules_say_and_of_a_pattern_all_or_nothing(
    catalogue: Catalogue, granted: frozenset[str]
) -> None:
    rights = scopes.rights(settings_of(catalogue), granted)
    expected = allowed_by(catalogue, granted)
    assert {name for name in _EVERYTHING if rights.allows(name)} == expected
    for pattern in {*catalogue, *granted, "*", "*:*", "users:*", "*:read", "notes:*:*"}:
        assert not rights.allows(pattern) or meaning_of(pattern) <= expected
    assert rights.allows_all(granted)
    assert not rights.excess(granted)


@repeatedly
@given(catalogue=catalogues, granted=some, bounds=some, asked=some)
def test_within_is_exactly_what_both_sides_allow(
    catalogue: Catalogue, granted: frozenset[str], bounds: frozenset[str], asked: frozenset[str]
) -> None:
    settings = settings_of(catalogue)
    one, other = scopes.rights(settings, granted), scopes.rights(settings, bounds)
    both = one.within(other)
    for name in _EVERYTHING | asked | granted | bounds:
        assert both.allows(name) == (one.allows(name) and other.allows(name)), name
    assert {each for each in granted if other.allows(each)} <= both.granted
    assert both.within(other) == both.within(one) == both


@repeatedly
@given(catalogue=catalogues, granted=some, role=st.sampled_from(sorted(ROLES)), second=st.sampled_from(sorted(ROLES)))
def test_within_a_role_is_exactly_what_both_sides_allow(
    catalogue: Catalogue, granted: frozenset[str], role: str, second: str
) -> None:
    settings = settings_of(catalogue)
    bounds = scopes.rights_of_role(settings, role)
    for one in (scopes.rights(settings, granted), scopes.rights_of_role(settings, second)):
        for left, right in ((one, bounds), (bounds, one)):
            both = left.within(right)
            for name in _EVERYTHING | granted | catalogue.keys():
                assert both.allows(name) == (one.allows(name) and bounds.allows(name)), name
            told = scopes.rights(settings, both.granted)
            for name in scopes.catalogue(settings).keys() - scopes.PERSONAL:
                assert told.allows(name) or is_pattern(name) or not both.allows(name), name


@repeatedly
@given(catalogue=catalogues, implied=st.lists(scope.filter(is_pattern), max_size=4).map(tuple))
def test_implied_pattern_reaches_no_management_permission_and_nothing_about_people(
    catalogue: Catalogue, implied: tuple[str, ...]
) -> None:
    only_patterns = {
        name: (sensitive, tuple(each for each in implies if is_pattern(each)))
        for name, (sensitive, implies) in catalogue.items()
    }
    rights = scopes.rights(settings_of(only_patterns | {"everything": (True, implied)}), {"everything"})
    assert not [name for name in (*MANAGEMENT_NAMES, *scopes.PERSONAL) if rights.allows(name)]
    assert not [scope for scope in ("*", "*:*", "users:*", "*:read") if rights.allows(scope)]


@repeatedly
@given(catalogue=catalogues, asked=some, held=some)
def test_what_is_given_was_asked_and_is_allowed_and_speaks_of_people_only_by_name(
    catalogue: Catalogue, asked: frozenset[str], held: frozenset[str]
) -> None:
    settings = settings_of(catalogue)
    given_ = scopes.covered(settings, asked, held)
    assert asked & held <= given_ <= asked
    assert given_ & scopes.PERSONAL <= held
    assert scopes.rights(settings, held).allows_all(given_)
    assert all(scopes.is_known(settings, each) for each in given_ - held)
    assert scopes.covered(settings, given_, held) == given_


@pytest.mark.parametrize("role", sorted(ROLES))
@repeatedly
@given(catalogue=catalogues)
def test_role_is_as_the_configuration_can_not_change_it(role: str, catalogue: Catalogue) -> None:
    """Whatever scopes a deployment has, roles manage what the table of permissions says, unless a scope names it."""
    silent = {name: (sensitive, ()) for name, (sensitive, _) in catalogue.items()}
    rights = scopes.rights_of_role(settings_of(silent), role)
    managed = {name for name in MANAGEMENT_NAMES if rights.allows(name)}
    permissions = ROLES[role].permissions
    assert managed == (set(MANAGEMENT_NAMES) if "*" in permissions else set(permissions))
