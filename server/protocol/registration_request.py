"""What a client says of itself when it registers: read member by member, unknown ones ignored (RFC 7591 §2, §3.1).

A member that is null counts as absent (RFC 7592 §2.2). What is refused for its meaning, not for its type, is
`domain/client_checks.py`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from server.domain import scopes
from server.domain.client_registration import ClientMetadata
from server.domain.policy.client_metadata import APPLICATION_TYPES, MEMBERS, ClientType, grant_types_for
from server.infra.compact import InvalidToken, decode_object
from server.protocol.errors import InvalidClientMetadata

STATEMENT: Final = "software_statement"
_DEFAULT_METHOD: Final = "client_secret_basic"


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _is_switch(value: object) -> bool:
    return isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_Kind = Callable[[object], bool]

_KINDS: Final[Mapping[str, _Kind]] = (
    dict.fromkeys(MEMBERS, _is_text)
    | dict.fromkeys(("grant_types", "response_types", "redirect_uris", "post_logout_redirect_uris"), _is_list)
    | dict.fromkeys(("contacts", "request_uris", "default_acr_values"), _is_list)
    | dict.fromkeys(("require_auth_time", "backchannel_logout_session_required"), _is_switch)
    | dict.fromkeys(("frontchannel_logout_session_required",), _is_switch)
    | {"default_max_age": _is_number, "jwks": _is_object}
)


def decode_document(body: bytes) -> dict[str, Any]:
    """The JSON object of a request's body.

    Raises:
        InvalidClientMetadata: when it is none, has a member twice, or is nested too deeply.
    """
    try:
        return decode_object(body)
    except InvalidToken as error:
        raise InvalidClientMetadata(
            "The body must be a JSON object with each member once, nested 32 deep at most."
        ) from error


def metadata_of(document: Mapping[str, Any], client_id: str) -> ClientMetadata:
    """What the document asks for, with the defaults of the specification and those of a client that nobody knows.

    Args:
        document: the request's, with what its software statement says in it.
        client_id: the client's id, which is its name too when it gives none.

    Raises:
        InvalidClientMetadata: when a member has the wrong type.
    """
    asked = _members_of(document)
    method = asked.setdefault("token_endpoint_auth_method", _DEFAULT_METHOD)
    client_type = _type_of(asked.pop("application_type", "web"), method)
    _fill_in_flows(asked)
    # Nobody vouches for the client, so the person is asked for everything; and may be asked for all that is standard.
    asked.setdefault("scope", scopes.format_scopes(scopes.PERSONAL))
    return ClientMetadata(
        client_name=asked.pop("client_name", None) or client_id,
        client_type=client_type,
        client_id=client_id,
        # OpenID clients on servers of their own may rely on the nonce instead (RFC 9700 §2.1.1).
        require_pkce=client_type != "web",
        # What an ID token says beside who signed in, userinfo says too, to whoever has an access token.
        id_token_claims="lean",
        registered_dynamically=True,
        **asked,
    )


def _members_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members that we know, each of its type."""
    asked = {name: document[name] for name in MEMBERS if document.get(name) is not None}
    for name, value in asked.items():
        if not _KINDS[name](value):
            raise InvalidClientMetadata(f"{name} has the wrong type.")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}


def _fill_in_flows(asked: dict[str, Any]) -> None:
    """Without a word of grant types it is authorization_code, or what the response types need (RFC 7591 §2)."""
    if "grant_types" not in asked:
        asked["grant_types"] = tuple(sorted(grant_types_for(asked.get("response_types", ())))) or _ONLY_CODE


_ONLY_CODE: Final = ("authorization_code",)


def _type_of(application_type: str, method: str) -> ClientType:
    if application_type not in APPLICATION_TYPES:
        raise InvalidClientMetadata("application_type must be web or native.")
    if application_type == "native":
        return "native"
    return "spa" if method == "none" else "web"
