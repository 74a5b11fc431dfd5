"""Redirect URIs: what may be registered, and what matches at authorization.

RFC 6749 §3.1.2, RFC 8252 §7 and §8.4, RFC 9700 §2.1 and §4.1: comparison is of the raw strings; the only exception
is the port of a native client's loopback address.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from server.domain.errors import Invalid

MAXIMUM_CHARACTERS: Final = 2000
_ALLOWED: Final = re.compile(r"[A-Za-z0-9\-._~:/?\[\]@!$&'()+,;=%]+")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.\-]*")
_HOST: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9\-]*[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9\-]*[a-z0-9])?)*")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_DOT_SEGMENT: Final = re.compile(r"(?:^|/)(?:\.|%2e){1,2}(?:;|/|$|%2f)", re.IGNORECASE)
_ENCODED_DELIMITER: Final = re.compile(r"%(?:2f|5c|23|[01][0-9a-f]|7f)", re.IGNORECASE)
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: RFC 8252 §7.3 frees the port of loopback *addresses*; `localhost` may be resolved elsewhere (§8.3) and stays exact.
_LOOPBACK_ADDRESS: Final = re.compile(
    r"(?P<origin>http://(?:127\.0\.0\.1|\[::1\]))(?::(?P<port>[0-9]+))?(?P<rest>[/?].*)?", re.DOTALL
)


def check_registrable(uri: str, *, native: bool, local_http: bool, field: str = "redirect_uris") -> None:
    """Refuses a redirect URI that no client of this kind may register.

    Args:
        uri: the URI as the developer wrote it.
        native: whether the client is an application on the person's device.
        local_http: whether every client may use http on loopback: only where the issuer itself is on localhost.
        field: the metadata member that the error names.

    Raises:
        Invalid: with the precise reason, in a sentence for the developer.
    """
    fault = _fault(uri, native=native, local_http=local_http)
    if fault is not None:
        raise Invalid(field, fault)


def _fault(uri: str, *, native: bool, local_http: bool) -> str | None:
    fault = _fault_of_characters(uri)
    if fault is not None:
        return fault
    scheme, colon, rest = uri.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme):
        return "A redirect URI is absolute and begins with its scheme in lower case, such as https."
    if scheme in {"https", "http"}:
        return _fault_of_web_uri(scheme, rest, http_allowed=native or local_http)
    if not native:
        return "Only native apps may use a private-use scheme; use https."
    if "." not in scheme:
        return "A private-use scheme is a domain name you own in reverse, such as com.example.app."
    if rest.startswith("//") or not rest.startswith("/"):
        return "After a private-use scheme stands a single slash, as in com.example.app:/callback."
    return _fault_of_path(rest)


def _fault_of_characters(uri: str) -> str | None:
    if not uri or len(uri) > MAXIMUM_CHARACTERS:
        return f"A redirect URI has 1 to {MAXIMUM_CHARACTERS} characters."
    if "#" in uri:
        return "A redirect URI has no fragment."
    if "*" in uri:
        return "Wildcards are not supported: register each redirect URI."
    if not _ALLOWED.fullmatch(uri) or _BAD_PERCENT.search(uri):
        return "A redirect URI has only the characters of RFC 3986; write other characters percent-encoded."
    return None


def _fault_of_web_uri(scheme: str, rest: str, *, http_allowed: bool) -> str | None:
    authority, slash, path = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or "?" in authority or not authority:
        return "A redirect URI names a host, and a path after it: https://app.example.com/callback."
    if "@" in authority:
        return "A redirect URI holds no user name or password."
    host, port = _split_authority(authority)
    if not _is_host(host):
        return "The host is not valid; write it in lower case, and international names in punycode."
    if port is not None and (not _PORT.fullmatch(port) or int(port) > 65535):
        return "The port is a number from 1 to 65535 without leading zeros."
    if scheme == "http" and not (host in _LOOPBACK and http_allowed):
        return "http is only allowed for localhost, and only for native apps; use https."
    return _fault_of_path(slash + path)


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return _HOST.fullmatch(host) is not None
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    # A zone id (%eth0) names an interface of this machine, not a place.
    return host.endswith("]") and host == host.lower() and "%" not in host


def _split_authority(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        return host + bracket, rest[1:] if rest.startswith(":") else (rest or None)
    host, colon, port = authority.partition(":")
    return host, port if colon else None


def _fault_of_path(path: str) -> str | None:
    if "[" in path or "]" in path:
        return "Square brackets belong around an IPv6 address only; write them percent-encoded elsewhere."
    only_path = path.partition("?")[0]
    if _DOT_SEGMENT.search(only_path) or _ENCODED_DELIMITER.search(only_path):
        return "The path has no . or .. segments and no encoded slashes, backslashes or control characters."
    return None


def is_registered(uri: str, registered: Iterable[str], *, native: bool) -> bool:
    """Whether a presented redirect URI is one of the registered ones, compared as raw strings (RFC 9700 §4.1.3)."""
    known = tuple(registered)
    if uri in known:
        return True
    return native and any(_differs_in_loopback_port_only(uri, candidate) for candidate in known)


def _differs_in_loopback_port_only(presented: str, registered: str) -> bool:
    left, right = _LOOPBACK_ADDRESS.fullmatch(presented), _LOOPBACK_ADDRESS.fullmatch(registered)
    if left is None or right is None:
        return False
    port = left["port"]
    if port is not None and (not _PORT.fullmatch(port) or int(port) > 65535):
        return False
    return left["origin"] == right["origin"] and left["rest"] == right["rest"]


def describe_target(uri: str) -> tuple[str, str]:
    """Where a redirect leads, for a person: `(kind, words)`, kind being web, loopback or private."""
    parts = urlsplit(uri)
    if parts.scheme not in {"https", "http"}:
        return "private", parts.scheme
    if f"[{parts.hostname}]" in _LOOPBACK or parts.hostname in _LOOPBACK:
        return "loopback", "an app on this computer"
    return "web", f"{parts.scheme}://{parts.netloc}"


def origin_of(uri: str) -> str:
    """The origin of a URI as browsers write it (RFC 6454 §6.2); a private-use scheme has none."""
    parts = urlsplit(uri)
    if parts.scheme not in _DEFAULT_PORTS or parts.hostname is None:
        return "null"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_default = parts.port in {None, _DEFAULT_PORTS[parts.scheme]}
    return f"{parts.scheme}://{host}" if is_default else f"{parts.scheme}://{host}:{parts.port}"
