"""The `claims` parameter: single claims, and where they are to stand (OpenID Connect Core §5.5).

What is not known, or belongs to a scope the client was not registered for, is left out and is no error. Of wishes for
values those count that decide something: the person (`sub`) and the class of authentication (`acr`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from server.domain.claims import CLAIMS_OF_SCOPE
from server.protocol.errors import InvalidRequest

_SCOPE_OF_CLAIM: Final = {claim: scope for scope, claims in CLAIMS_OF_SCOPE.items() for claim in claims}
_MAXIMUM_VALUES: Final = 20
_MAXIMUM_CHARACTERS: Final = 255


@dataclass(frozen=True)
class ClaimsRequest:
    """What was asked for and is known."""

    userinfo: tuple[str, ...] = ()
    id_token: tuple[str, ...] = ()
    #: In the order the client prefers; whether only these will do.
    acr_values: tuple[str, ...] = ()
    is_acr_essential: bool = False
    #: The one person that will do, by the client's `sub` for them.
    subject: str | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that the claims belong to, which is what the person is asked about."""
        return frozenset(_SCOPE_OF_CLAIM[claim] for claim in (*self.userinfo, *self.id_token))

    def as_stored(self) -> dict[str, list[str]] | None:
        """What the grant keeps."""
        stored = {"userinfo": list(self.userinfo), "id_token": list(self.id_token)}
        return stored if any(stored.values()) else None


NO_CLAIMS: Final = ClaimsRequest()


def parse_claims_request(text: str, allowed_scopes: frozenset[str]) -> ClaimsRequest:
    """Reads the parameter.

    Args:
        text: the JSON object.
        allowed_scopes: of whose claims the client may ask for single ones.

    Raises:
        InvalidRequest: when it is none, or a member is not of the form that §5.5 gives it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed() from error
    userinfo, id_token = _members(document, "userinfo"), _members(document, "id_token")
    acr = id_token.get("acr") or {}
    return ClaimsRequest(
        userinfo=_known(userinfo, allowed_scopes),
        id_token=_known(id_token, allowed_scopes),
        acr_values=_values(acr),
        is_acr_essential=acr.get("essential") is True and bool(_values(acr)),
        subject=next(iter(_values(id_token.get("sub") or userinfo.get("sub") or {})), None),
    )


def _members(document: Any, name: str) -> Mapping[str, Mapping[str, Any] | None]:
    if not isinstance(document, dict):
        raise _malformed()
    members = document.get(name)
    if members is None:
        return {}
    if not isinstance(members, dict) or not all(wish is None or _is_wish(wish) for wish in members.values()):
        raise _malformed()
    return members


def _is_wish(wish: Any) -> bool:
    return (
        isinstance(wish, dict)
        and isinstance(wish.get("essential", False), bool)
        and isinstance(wish.get("values", []), list)
    )


def _known(members: Mapping[str, Any], allowed_scopes: frozenset[str]) -> tuple[str, ...]:
    return tuple(claim for claim in sorted(members) if _SCOPE_OF_CLAIM.get(claim) in allowed_scopes)


def _values(wish: Mapping[str, Any]) -> tuple[str, ...]:
    values = wish["values"] if "values" in wish else [wish.get("value")]
    fitting = (value for value in values if isinstance(value, str) and 0 < len(value) <= _MAXIMUM_CHARACTERS)
    return tuple(value for value in fitting if value.isascii() and value.isprintable())[:_MAXIMUM_VALUES]


def _malformed() -> InvalidRequest:
    return InvalidRequest("claims is not a JSON object of the form that OpenID Connect gives it.", parameter="claims")
