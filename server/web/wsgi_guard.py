"""The outermost door: requests that HTTP parsers read in different ways, or that are meant for another name, stop here.

RFC 9112 §3.2: a request with no `Host`, or with two, is refused. RFC 9112 §6.3: one with Transfer-Encoding beside
Content-Length could smuggle another. The production server joins repeated headers with a comma and drops Content-Length
when both are there, so any Transfer-Encoding is refused: every OAuth client sends a length.

RFC 9110 §15.5.20: a request for a name that is not ours is misdirected. No URL is ever built from `Host`; refusing it
keeps foreign names out of caches and logs, and ends DNS rebinding.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from server.config import LOOPBACK_HOSTS, Settings
from server.web.security_headers import ALWAYS, POLICY

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEALTH: Final = ("/healthz", "/readyz")
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
_BAD: Final = ("400 Bad Request", "Bad request.")
_PLAIN_HTTP: Final = ("400 Bad Request", "This server is reached over https only.")
_MISDIRECTED: Final = (
    "421 Misdirected Request",
    "This host name is neither the issuer's (GATEPOST_ISSUER) nor one of GATEPOST_ALLOWED_HOSTS.",
)


class WsgiGuard:
    """Wraps a WSGI application; one instance a process."""

    def __init__(self, application: WSGIApplication, settings: Settings) -> None:
        self._application = application
        self._known_hosts = _known_hosts(settings)
        self._any_port_names = LOOPBACK_HOSTS.union({"[::1]"}, settings.allowed_hosts)
        self._health_paths = frozenset({*_HEALTH, *(settings.issuer_path + path for path in _HEALTH)})
        self._proxies = tuple(ipaddress.ip_network(proxy, strict=False) for proxy in settings.trusted_proxies)
        self._is_https = settings.is_https
        self._has_warned = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Refuses, or passes the request on."""
        refusal = self._refusal(environ)
        if refusal is None:
            return self._application(environ, start_response)
        status, sentence = refusal
        body = f"{sentence}\n".encode()
        headers = [
            *ALWAYS.items(),
            ("Content-Security-Policy", POLICY),
            ("Cache-Control", "no-store"),
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        if status.startswith("405"):
            headers.append(("Allow", ", ".join(sorted(_METHODS))))
        start_response(status, headers)
        return [body]

    def _refusal(self, environ: WSGIEnvironment) -> tuple[str, str] | None:
        host = environ.get("HTTP_HOST", "")
        if not host or "," in host:
            return _BAD
        if "HTTP_TRANSFER_ENCODING" in environ:
            return "411 Length Required", _BAD[1]
        if environ["REQUEST_METHOD"] not in _METHODS:
            return "405 Method Not Allowed", _BAD[1]
        if environ["PATH_INFO"] in self._health_paths:
            # Probes name the address they reach, and speak plain http behind every proxy.
            return None
        if host not in self._known_hosts and not self._is_known(host):
            return _MISDIRECTED
        if "HTTP_X_FORWARDED_FOR" in environ and not self._proxies:
            self._warn_of_proxy()
        if self._is_https and environ.get("HTTP_X_FORWARDED_PROTO") == "http" and self._is_trusted(environ):
            return _PLAIN_HTTP
        return None

    def _is_known(self, host: str) -> bool:
        """The slow way: other spellings, any port of a name that is allowed without one, and this machine's names."""
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        return host.lower() in self._known_hosts or match[1].lower() in self._any_port_names

    def _is_trusted(self, environ: WSGIEnvironment) -> bool:
        try:
            peer = ipaddress.ip_address(environ.get("REMOTE_ADDR", ""))
        except ValueError:
            return False
        return any(peer in network for network in self._proxies)

    def _warn_of_proxy(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "X-Forwarded-For was sent, but no proxy is trusted: limits and the audit log see the proxy's address. "
                "Name its network in GATEPOST_TRUSTED_PROXIES."
            )


def _known_hosts(settings: Settings) -> frozenset[str]:
    issuer = urlsplit(settings.issuer)
    default_port = 443 if settings.is_https else 80
    spellings = {issuer.netloc}
    if issuer.port in (None, default_port):
        name = issuer.netloc.removesuffix(f":{default_port}")
        spellings = {name + port for port in ("", f":{default_port}")}
    return frozenset({*spellings, *settings.allowed_hosts})
