"""Requests as the protocol sees them: framework-neutral, strictly decoded, each parameter once.

RFC 6749 §3.1 and §3.2: parameters must not repeat, empty ones count as absent, unknown ones are ignored. Parameters of
a POST come from its body alone, those of a GET from its query.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final
from urllib.parse import unquote_plus

from authlib.oauth2 import OAuth2Request
from authlib.oauth2.rfc6749.requests import OAuth2Payload

from server.domain.unit_of_work import UnitOfWork
from server.protocol.errors import InvalidRequest

#: What a body must be (RFC 6749 Appendix B).
FORM: Final = "application/x-www-form-urlencoded"
_MAXIMUM_PARAMETERS: Final = 100
#: RFC 8707 §2 and RFC 8693 §2.1 let these stand several times.
_REPEATABLE: Final = frozenset({"resource", "audience"})


class Parameters(OAuth2Payload):
    """The decoded parameters of one request."""

    def __init__(self, values: Mapping[str, list[str]]) -> None:
        self._values = {name: [value for value in found if value] for name, found in values.items()}
        self._values = {name: found for name, found in self._values.items() if found}

    @classmethod
    def decode_bytes(cls, encoded: bytes) -> Parameters:
        """Decodes a form's bytes.

        Raises:
            InvalidRequest: as `decode`.
        """
        try:
            return cls.decode(encoded.decode())
        except UnicodeDecodeError as error:
            raise InvalidRequest("The parameters are not valid UTF-8.") from error

    @classmethod
    def decode(cls, encoded: str) -> Parameters:
        """Decodes `application/x-www-form-urlencoded` text.

        Raises:
            InvalidRequest: when it is not UTF-8 or has more than 100 parameters.
        """
        if encoded.count("&") >= _MAXIMUM_PARAMETERS:
            raise InvalidRequest("There are too many parameters.")
        values: dict[str, list[str]] = {}
        try:
            for pair in encoded.split("&"):
                name, _, value = pair.partition("=")
                values.setdefault(_decoded(name), []).append(_decoded(value))
        except ValueError as error:
            raise InvalidRequest("The parameters are not valid form-encoded UTF-8.") from error
        return cls(values)

    @cached_property
    def data(self) -> dict[str, str]:
        """Each parameter's first value."""
        return {name: found[0] for name, found in self._values.items()}

    @property
    def datalist(self) -> dict[str, list[str]]:
        """Each parameter's values."""
        return self._values

    def get(self, name: str) -> str | None:
        """The first value of `name`, or None."""
        found = self._values.get(name)
        return found[0] if found else None

    def is_repeated(self, name: str) -> bool:
        """Whether `name` stands more than once."""
        return len(self._values.get(name, ())) > 1

    def check_not_repeated(self) -> None:
        """Refuses repeated parameters.

        Raises:
            InvalidRequest: when any parameter that may stand once stands twice.
        """
        for name in self._values:
            if name not in _REPEATABLE and self.is_repeated(name):
                raise InvalidRequest("A parameter is included more than once.")


def _decoded(text: str) -> str:
    """Percent-decoded; most names and values need no decoding.

    Raises:
        ValueError: when it is not UTF-8.
    """
    return unquote_plus(text, errors="strict") if "%" in text or "+" in text else text


class ProtocolRequest(OAuth2Request):
    """One request to a protocol endpoint, with the unit of work it is served in."""

    headers: Mapping[str, str]
    payload: Parameters
    #: Set by client authentication (a `RegisteredClient`) and by the grants (what was presented).
    client: Any
    authorization_code: Any
    refresh_token: Any

    def __init__(
        self, work: UnitOfWork, method: str, uri: str, headers: Mapping[str, str], parameters: Parameters
    ) -> None:
        # Authlib's constructor asks each request anew whether its URL is https or loopback; the issuer was asked once.
        self.method, self.uri, self.headers = method, uri, headers
        self.client = self.auth_method = self.user = self.credential = None
        self.authorization_code = self.refresh_token = None
        self._body = self._scope = None
        self.work = work
        self.payload = self.parameters = parameters

    @property
    def args(self) -> dict[str, str | None]:
        """The parameters of a GET."""
        return dict(self.parameters.data) if self.method == "GET" else {}

    @property
    def form(self) -> dict[str, str]:
        """The parameters of a POST's body."""
        return self.parameters.data if self.method == "POST" else {}
