"""What may a client of this type do, unless told otherwise? (RFC 7591 §2, RFC 9700)"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ClientType = Literal["web", "spa", "native", "machine", "device"]
CLIENT_TYPES: Final[tuple[ClientType, ...]] = ("web", "spa", "native", "machine", "device")
GRANT_TYPES: Final = ("authorization_code", "refresh_token", "client_credentials")
AUTH_METHODS: Final = ("client_secret_basic", "client_secret_post", "none")


@dataclass(frozen=True)
class ClientDefaults:
    """The safe start for one type of client."""

    token_endpoint_auth_method: str
    grant_types: tuple[str, ...]
    response_types: tuple[str, ...]
    scope: str
    application_type: Literal["web", "native"] = "web"


_CODE: Final = ("authorization_code", "refresh_token")
_SIGN_IN: Final = "openid profile email offline_access"

DEFAULTS: Final[dict[ClientType, ClientDefaults]] = {
    "web": ClientDefaults("client_secret_basic", _CODE, ("code",), _SIGN_IN),
    "spa": ClientDefaults("none", _CODE, ("code",), _SIGN_IN),
    "native": ClientDefaults("none", _CODE, ("code",), _SIGN_IN, "native"),
    "machine": ClientDefaults("client_secret_basic", ("client_credentials",), (), ""),
    # The device grant itself arrives with its endpoint; until then such a client can only be registered.
    "device": ClientDefaults("none", ("refresh_token",), (), _SIGN_IN, "native"),
}
