"""Scopes: the wire string, the catalogue and its sentences, and what holding some allows (RFC 6749 §3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from server.config import Settings
from server.domain.policy.role_permissions import MANAGEMENT, ROLES, Role
from server.domain.policy.scope_grammar import ANY, covers, is_pattern, is_scope_token, meet


@dataclass(frozen=True)
class Scope:
    """One entry of the catalogue."""

    name: str
    sentence: str
    detail: str | None = None
    icon: str = "dot"
    #: Also when what it implies or covers is.
    sensitive: bool = False
    implies: tuple[str, ...] = ()


OPENID: Final = "openid"
OFFLINE_ACCESS: Final = "offline_access"

_STANDARD: Final = (
    Scope(OPENID, "Sign you in", icon="key"),
    Scope("profile", "See your name and profile", "Name, picture, birthday, language and the like", "person"),
    Scope("email", "See your email address", icon="mail"),
    Scope("address", "See your postal address", icon="map-pin", sensitive=True),
    Scope("phone", "See your phone number", icon="phone", sensitive=True),
    Scope(OFFLINE_ACCESS, "Keep this access while you are away", "Also when you are signed out", "clock"),
)
_MANAGEMENT: Final = tuple(
    Scope(permission.name, permission.sentence, icon="shield", sensitive=permission.sensitive)
    for permission in MANAGEMENT
)
#: Scopes that speak about a person and mean nothing without one.
PERSONAL: Final = frozenset(scope.name for scope in _STANDARD)
#: What no implied pattern reaches: a deployment's `admin` is about its API, not about people and organizations.
_RESERVED: Final = PERSONAL | {scope.name for scope in _MANAGEMENT}


def parse(scope: str | None) -> frozenset[str]:
    """The wire string as a set; absent is empty."""
    return frozenset(scope.split(" ")) - {""} if scope else frozenset()


def is_well_formed(scope: str) -> bool:
    """Whether every token of the wire string is one of RFC 6749's characters."""
    return all(is_scope_token(token) for token in scope.split(" ") if token)


def format_scopes(scopes: Iterable[str]) -> str:
    """The set as a wire string, in an order that never changes."""
    return " ".join(sorted(scopes, key=lambda name: (name != OPENID, name)))


@dataclass(frozen=True, eq=False)
class _Catalogue:
    """A deployment's scopes, worked out once; two are the same only when they are one."""

    settings: Settings
    scopes: Mapping[str, Scope]
    #: The deployment's own, which are about its API.
    own: tuple[Scope, ...]
    patterns: tuple[str, ...]
    implying: tuple[Scope, ...]


@dataclass(frozen=True)
class Rights:
    """What whoever holds some scopes may do: these, what their patterns cover, and what they imply.

    Closed downwards and under implication, so that `within` is exact. Made by `rights` and `rights_of_role`.
    """

    granted: frozenset[str]
    _catalogue: _Catalogue = field(repr=False)
    #: Every scope that is allowed by its name: granted or implied.
    _names: frozenset[str] = field(repr=False)
    #: Granted patterns, which reach everything they cover.
    _patterns: frozenset[str] = field(repr=False)
    #: Patterns that reach nothing reserved: those that come with a role, and all that are implied.
    _given: frozenset[str] = field(repr=False)
    _implied: frozenset[str] = field(repr=False)

    def allows(self, required: str) -> bool:
        """Whether `required`, a scope or a pattern, is wholly among them."""
        if required in self._names or any(covers(pattern, required) for pattern in self._patterns):
            return True
        return any(covers(pattern, required) for pattern in self._implied) and not _meets_reserved(required)

    def allows_all(self, required: Iterable[str]) -> bool:
        """Whether every one of `required` is among them."""
        return all(self.allows(scope) for scope in required)

    def excess(self, wanted: Iterable[str]) -> frozenset[str]:
        """Those of `wanted` that are not among them."""
        return frozenset(scope for scope in wanted if not self.allows(scope))

    def within(self, bounds: Rights) -> Rights:
        """What both allow, spelled as it is here wherever `bounds` allows the whole of it."""
        return _within(self, bounds)


def rights(settings: Settings, granted: Iterable[str]) -> Rights:
    """What whoever holds `granted` may do."""
    return _rights(_catalogue_of(settings), frozenset(granted))


def rights_of_role(settings: Settings, role: str, custom: Sequence[str] | None = None) -> Rights:
    """What a role allows: one that every organization has, or with these permissions; an unknown one allows nothing."""
    known = _catalogue_of(settings)
    if custom is not None:
        return _rights(known, frozenset(custom))
    return _rights_of_role(known, ROLES[role]) if role in ROLES else _rights(known, frozenset())


def catalogue(settings: Settings) -> Mapping[str, Scope]:
    """Every scope this deployment knows, by name: its own, the management permissions and the standard ones."""
    return _catalogue_of(settings).scopes


def advertised(settings: Settings) -> list[str]:
    """The names that metadata lists: there are clients that ask for all they read there, so not to manage anything."""
    known = _catalogue_of(settings)
    return [scope.name for scope in (*known.own, *_STANDARD)]


def is_known(settings: Settings, scope: str) -> bool:
    """Whether it is a name of the catalogue, covers one, or is covered by a pattern that stands there."""
    known = _catalogue_of(settings)
    if scope in known.scopes:
        return True
    # A wildcard covers any text, and not every text is a scope.
    if not is_scope_token(scope):
        return False
    is_covered = any(covers(pattern, scope) for pattern in known.patterns)
    return is_covered or (is_pattern(scope) and any(covers(scope, name) for name in known.scopes))


def describe(settings: Settings, name: str) -> Scope:
    """What a person reads about a scope that is known, though perhaps only from a pattern or as one."""
    known = _catalogue_of(settings)
    if name in known.scopes:
        return known.scopes[name]
    wider = [known.scopes[pattern] for pattern in known.patterns if covers(pattern, name)]
    if wider:
        closest = min(wider, key=lambda scope: scope.name.split(":").count(ANY))
        found = replace(closest, name=name, detail=f"Only {name}", implies=())
    elif name == ANY:
        found = Scope(name, "Do everything that can be allowed here, now and later", icon="shield")
    elif is_pattern(name):
        found = Scope(name, "Do all of this, and what is added to it later", name, icon="key")
    else:
        found = Scope(name, name)
    return replace(found, sensitive=_is_sensitive(known, found))


def included(settings: Settings, name: str) -> list[Scope]:
    """The scopes of the catalogue that come with this one, in its order."""
    reach = rights(settings, [name])
    others = (scope for scope in catalogue(settings).values() if scope.name != name and scope.name not in PERSONAL)
    return [scope for scope in others if reach.allows(scope.name)]


def covered(settings: Settings, asked: frozenset[str], held: frozenset[str]) -> frozenset[str]:
    """Those of `asked` that whoever holds `held` may have, in a token or narrowed down from one.

    What speaks about a person is held by its name only: no wildcard hands out an email address.
    """
    if asked <= held:
        return asked
    reach = rights(settings, held)
    return frozenset(
        scope
        for scope in asked
        if scope in held or (scope not in PERSONAL and reach.allows(scope) and is_known(settings, scope))
    )


@lru_cache(maxsize=4096)
def _rights(known: _Catalogue, granted: frozenset[str], given: frozenset[str] = frozenset()) -> Rights:
    """The closure of `granted` and of the patterns `given` with them."""
    patterns = frozenset(scope for scope in granted if is_pattern(scope))
    found = Rights(granted, known, granted, patterns, given, given)
    while True:
        implied = {each for scope in known.implying if found.allows(scope.name) for each in scope.implies}
        grown = replace(
            found,
            _names=found._names | {each for each in implied if not is_pattern(each)},
            _implied=found._implied | {each for each in implied if is_pattern(each)},
        )
        if grown == found:
            return found
        found = grown


@lru_cache(maxsize=64)
def _rights_of_role(known: _Catalogue, role: Role) -> Rights:
    own = [scope for scope in known.own if role.api == "all" or (role.api == "ordinary" and not scope.sensitive)]
    named = {scope.name for scope in own if not _meets_reserved(scope.name)}
    given = {scope.name for scope in own} - named | ({ANY} if role.api == "all" else set())
    return _rights(known, frozenset({*role.permissions, *named}), frozenset(given))


@lru_cache(maxsize=4096)
def _within(one: Rights, bounds: Rights) -> Rights:
    kept = frozenset(scope for scope in one.granted if bounds.allows(scope))
    if kept == one.granted and not one._given:
        return one
    # Where a pattern that reaches nothing reserved has a part in it, the common part reaches nothing reserved either.
    guarded = _meets(one._implied, bounds._implied | bounds._patterns) | _meets(one._patterns, bounds._implied)
    given = frozenset(scope for scope in guarded if is_pattern(scope))
    candidates = one._names | bounds._names | guarded - given | _meets(one._patterns, bounds._patterns)
    # Names that only a given pattern reaches are spelled out too: what is granted is what tokens and pages say.
    stays = _rights(one._catalogue, kept)
    parts = {each for each in candidates if not stays.allows(each) and one.allows(each) and bounds.allows(each)}
    patterns = [each for each in parts if is_pattern(each)]
    parts -= {each for each in parts if any(each != pattern and covers(pattern, each) for pattern in patterns)}
    return _rights(one._catalogue, kept | parts, given)


def _meets(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
    found = (meet(one, other) for one in left for other in right)
    return frozenset(scope for scope in found if scope is not None)


def _meets_reserved(scope: str) -> bool:
    return scope in _RESERVED or (is_pattern(scope) and any(covers(scope, name) for name in _RESERVED))


_COMPILED: Final[dict[int, _Catalogue]] = {}
#: One process has one `Settings`; a test suite has many.
_MAXIMUM_COMPILED: Final = 16


def _catalogue_of(settings: Settings) -> _Catalogue:
    # By identity, which costs nothing: settings do not change, and what is kept here keeps its id.
    known = _COMPILED.get(id(settings))
    if known is None:
        if len(_COMPILED) >= _MAXIMUM_COMPILED:
            _COMPILED.clear()
        known = _COMPILED[id(settings)] = _compile(settings)
    return known


def _compile(settings: Settings) -> _Catalogue:
    # What is standard keeps its meaning, whatever the configuration says.
    own = tuple(
        Scope(name, each.sentence, each.detail, "key", each.sensitive, each.implies)
        for name, each in settings.scopes.items()
        if name not in _RESERVED
    )
    as_written = _catalogue_with(settings, own)
    return _catalogue_with(settings, tuple(replace(scope, sensitive=_is_sensitive(as_written, scope)) for scope in own))


def _catalogue_with(settings: Settings, own: tuple[Scope, ...]) -> _Catalogue:
    scopes = {scope.name: scope for scope in (*own, *_MANAGEMENT, *_STANDARD)}
    return _Catalogue(
        settings,
        MappingProxyType(scopes),
        own,
        patterns=tuple(scope.name for scope in own if is_pattern(scope.name)),
        implying=tuple(scope for scope in own if scope.implies),
    )


def _is_sensitive(known: _Catalogue, scope: Scope) -> bool:
    """Whether it, or anything that comes with it, is marked so."""
    reach = _rights(known, frozenset({scope.name}))
    return scope.sensitive or any(other.sensitive and reach.allows(other.name) for other in known.scopes.values())
