"""Claims about a person, by the scope that opens them (OpenID Connect Core §5.1, §5.4)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from server.domain.users import User

CLAIMS_OF_SCOPE: Final[dict[str, tuple[str, ...]]] = {
    "profile": (
        "name",
        "family_name",
        "given_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "updated_at",
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
}
#: The scopes whose claims may stand in an ID token (see the client's `id_token_claims`).
ID_TOKEN_SCOPES: Final = frozenset({"profile", "email"})


def claims_of(user: User, scopes: Iterable[str], single: Iterable[str] = ()) -> dict[str, Any]:
    """The claims that `scopes` open about `user`, and `single` ones; what is not known is absent, never null."""
    known = {
        **user.claims,
        "name": user.name,
        "email": user.email,
        "email_verified": user.email_verified,
        "updated_at": int(user.updated_at.timestamp()),
    }
    names = [*(name for scope in sorted(scopes) for name in CLAIMS_OF_SCOPE.get(scope, ())), *single]
    return {name: known[name] for name in names if known.get(name) not in (None, "")}


#: Every standard claim filled, for the demo user and for conformance runs.
DEMO_CLAIMS: Final[dict[str, Any]] = {
    "given_name": "Demo",
    "family_name": "Person",
    "middle_name": "Quincy",
    "nickname": "Demi",
    "preferred_username": "demo",
    "profile": "https://demo.example/about",
    "picture": "https://demo.example/portrait.png",
    "website": "https://demo.example",
    "gender": "unspecified",
    "birthdate": "1990-04-01",
    "zoneinfo": "Europe/Vienna",
    "locale": "en-GB",
    "phone_number": "+43 1 5550100",
    "phone_number_verified": True,
    "address": {
        "formatted": "1 Gate Lane\n1010 Vienna\nAustria",
        "street_address": "1 Gate Lane",
        "locality": "Vienna",
        "postal_code": "1010",
        "country": "AT",
    },
}
