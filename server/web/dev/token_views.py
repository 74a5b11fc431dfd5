"""A token taken apart and verified as a client or an API has to (OpenID Connect Core §3.1.3.7, RFC 9068 §4)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from server.infra import jose
from server.web.dev import explanations
from server.web.dev.exchanges import Field

#: The three parts of a compact JWS (RFC 7515 §3.1).
_PARTS: Final = ("Header", "Claims", "Signature")
_MOMENTS: Final = frozenset({"exp", "iat", "nbf", "auth_time", "updated_at"})


@dataclass(frozen=True)
class Check:
    """One question that must be asked of an answer, and whether it passed."""

    sentence: str
    passed: bool


@dataclass(frozen=True)
class TokenView:
    """A signed token: its three parts as sent, what they say, and what was checked."""

    name: str
    parts: tuple[Field, ...]
    header: tuple[Field, ...]
    claims: tuple[Field, ...]
    checks: tuple[Check, ...]

    @property
    def verified(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True)
class Expectation:
    """What the receiver of a token knows from elsewhere: `claims` must match, `typ` and `access_token` if given."""

    claims: Mapping[str, str]
    now: datetime
    typ: str | None = None
    access_token: str | None = None


def view_token(name: str, token: str, public_keys: Sequence[Mapping[str, Any]], expected: Expectation) -> TokenView:
    """Decodes `token` and checks its signature against the JWKS and its claims against what is expected."""
    try:
        header, claims = jose.peek_header(token), jose.peek_claims(token)
    except jose.InvalidToken:
        return TokenView(name, (), (), (), (Check("It is a signed token (three parts of base64url)", False),))
    checks = [_check_signature(token, header, public_keys), *_check_claims(claims, expected)]
    if expected.typ is not None:
        checks.append(Check(f"typ is {expected.typ}", header.get("typ") == expected.typ))
    if expected.access_token is not None and "at_hash" in claims:
        at_hash = jose.half_hash(expected.access_token, str(header.get("alg")))
        checks.append(Check("at_hash belongs to the access token beside it", claims["at_hash"] == at_hash))
    parts = tuple(Field(part, text, "") for part, text in zip(_PARTS, token.split("."), strict=True))
    return TokenView(name, parts, members(header), members(claims), tuple(checks))


def _check_signature(token: str, header: Mapping[str, Any], public_keys: Sequence[Mapping[str, Any]]) -> Check:
    sentence = f"The signature verifies with key {header.get('kid')} of the JWKS ({header.get('alg')})"
    try:
        jose.verify(token, public_keys)
    except jose.InvalidToken:
        return Check(sentence, False)
    return Check(sentence, True)


def _check_claims(claims: Mapping[str, Any], expected: Expectation) -> Iterable[Check]:
    for name, value in expected.claims.items():
        found = claims.get(name)
        yield Check(f"{name} is {value}", value in found if isinstance(found, list) else found == value)
    expires = claims.get("exp")
    yield Check("exp lies in the future", isinstance(expires, int) and expires > expected.now.timestamp())


def members(document: Mapping[str, Any]) -> tuple[Field, ...]:
    """The members of a JSON object with what each means; moments also as dates."""
    return tuple(Field(name, _shown(name, value), explanations.member(name)) for name, value in document.items())


def _shown(name: str, value: Any) -> str:
    if name in _MOMENTS and isinstance(value, int):
        return f"{value}  ({datetime.fromtimestamp(value, UTC):%d %B %Y, %H:%M:%S} UTC)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
