"""The one way out: what clients' URLs name is fetched here and nowhere else, and never from where only we can go.

The name is resolved once, every address it has must be public, and the connection goes to one of those very addresses
with the name's own certificate asked for. No redirect is followed, no proxy taken from the environment, nothing sent
but what was asked, and nothing waited for beyond a fixed time and size (OWASP SSRF prevention, RFC 9101 §10.4,
OpenID Connect Registration §9.1).
"""

from __future__ import annotations

import functools
import http.client
import io
import json
import logging
import socket
import ssl
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from server.config import Settings
from server.infra.fetch_budget import FetchBudget
from server.infra.fetch_payer import ANYBODY, FetchFailed, FetchPostponed, Payer
from server.infra.outbound_addresses import Address, FetchRefused, Target, check_fetchable, is_allowed, target_of
from server.infra.outbound_sockets import Deadline, Received, resolve
from server.infra.waiting_room import WaitingRoom

__all__ = ["FetchFailed", "FetchPostponed", "FetchRefused", "OutboundHttp", "Payer", "check_fetchable"]

log = logging.getLogger(__name__)
# Its warnings quote whole URLs and whatever the other side sent for headers.
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)

CONNECT_SECONDS: Final = 2.0
MAXIMUM_BYTES: Final = 65536
#: A name with more addresses than this is not tried with the rest of them.
_ATTEMPTS: Final = 4
_HEADERS: Final = {"User-Agent": "Gatepost", "Accept-Encoding": "identity", "Connection": "close"}
_FAILED: Final = "The URL could not be fetched from."
#: Status line, headers and what chunks add, beside the longest body.
_MAXIMUM_RECEIVED: Final = 1024 * 1024
_UNREACHABLE: Final = (HTTPError, http.client.HTTPException, OSError, ValueError)

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class _Request:
    method: str
    accept: str
    body: bytes | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What every request says, and nothing that would know us: no cookie, no credential, no referrer."""
        kind = {} if self.body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        return {**_HEADERS, "Accept": self.accept, **kind}


class _LimitedResponse(http.client.HTTPResponse):
    """An answer whose status line and headers, too, come in time and are no longer than is received."""

    def __init__(self, sock: socket.socket, *arguments: Any, deadline: Deadline, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(Received(sock, deadline, _MAXIMUM_RECEIVED))


class OutboundHttp:
    """Fetches from URLs that clients name; one instance serves all threads of a process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._budget = FetchBudget()
        self._waiting_room = WaitingRoom()

    def get_json(self, url: str, *, maximum_bytes: int = MAXIMUM_BYTES, payer: Payer = ANYBODY) -> Any:
        """The JSON document at the URL.

        Raises:
            FetchPostponed: as any GET, when the payer has had its share; nothing was sent.
            FetchRefused: when policy rules the URL out; nothing was sent.
            FetchFailed: when it cannot be had, is too long, or is no JSON.
        """
        body = self._get(url, ("application/json", "+json"), maximum_bytes, payer)
        try:
            return json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise FetchFailed("The URL leads to no JSON document.", 200) from error

    def get_text(
        self, url: str, content_types: Collection[str], *, maximum_bytes: int = MAXIMUM_BYTES, payer: Payer = ANYBODY
    ) -> str:
        """The text at the URL, of one of these content types.

        Raises:
            FetchRefused: when policy rules the URL out; nothing was sent.
            FetchFailed: when it cannot be had, is too long, or is of another type.
        """
        try:
            return self._get(url, tuple(content_types), maximum_bytes, payer).decode("utf-8")
        except UnicodeDecodeError as error:
            raise FetchFailed("The URL leads to no text in UTF-8.", 200) from error

    def get_bytes(self, url: str, *, maximum_bytes: int = 2 * MAXIMUM_BYTES, payer: Payer = ANYBODY) -> bytes:
        """What is at the URL, whatever type it says it has.

        Raises:
            FetchRefused: when policy rules the URL out; nothing was sent.
            FetchFailed: when it cannot be had, or is too long.
        """
        return self._get(url, ("*/*",), maximum_bytes, payer)

    def post_form(self, url: str, fields: Mapping[str, str]) -> int:
        """Posts a form; the status of the answer, whose body is not read. Redirects are answers like others.

        It has no budget, takes no place among those who wait, and forgets its failures: the sender's own queue decides
        when to try again.

        Raises:
            FetchRefused: when policy rules the URL out; nothing was sent.
            FetchFailed: when nothing answered.
        """
        target = target_of(url, self._settings)
        request = _Request("POST", "*/*", urlencode(fields).encode("ascii"))
        return self._send(target, request, lambda response: response.status)

    def _get(self, url: str, content_types: tuple[str, ...], maximum_bytes: int, payer: Payer) -> bytes:
        target = target_of(url, self._settings)
        request = _Request("GET", ", ".join(kind for kind in content_types if "/" in kind))
        read = functools.partial(_body, content_types=content_types, maximum_bytes=maximum_bytes)

        def fetch() -> bytes:
            if not self._settings.outbound_allow_loopback:
                self._budget.spend(target.host, payer)
            return self._without_haste(lambda: self._send(target, request, read))

        wanted = (target.scheme, target.authority, target.resource, content_types, maximum_bytes)
        # Whoever waits for the answer to another one's question waits, too.
        with self._waiting_room.place(payer):
            found: bytes = self._budget.share(wanted, fetch)
        return found

    def _without_haste(self, fetch: Callable[[], bytes]) -> bytes:
        """Lets every failure to reach the other side take the time that a silent one takes.

        How soon it fails would tell whether a port is closed or filtered, and whether an inner name exists.
        """
        start = time.monotonic()
        try:
            return fetch()
        except (FetchRefused, FetchFailed) as error:
            is_told = isinstance(error, FetchFailed) and error.status is not None
            if not is_told and not self._settings.outbound_allow_loopback:
                time.sleep(max(0.0, start + CONNECT_SECONDS - time.monotonic()))
            raise

    def _send(self, target: Target, request: _Request, read: Callable[[HTTPResponse], _Answer]) -> _Answer:
        """Sends the request to the first address that takes the connection, and reads what is wanted of the answer."""
        deadline = Deadline(self._settings.outbound_timeout)
        try:
            with closing(self._connect(target, deadline)) as connection:
                headers = {"Host": target.authority, **request.headers}
                connection.timeout = deadline.left()
                connection.request(
                    request.method, target.resource, request.body, headers, preload_content=False, decode_content=False
                )
                with closing(connection.getresponse()) as response:
                    return read(response)
        except _UNREACHABLE as error:
            log.info("fetching from %s failed: %s", target.host, type(error).__name__)
            raise FetchFailed(_FAILED) from error

    def _connect(self, target: Target, deadline: Deadline) -> HTTPConnection:
        """A connection to one of the addresses that were checked; the name is not looked up again."""
        failure: Exception = OSError("the name has no address")
        for address in self._addresses(target, deadline)[:_ATTEMPTS]:
            connection = self._connection(target, str(address), deadline)
            connection.response_class = functools.partial(  # type: ignore[assignment]
                _LimitedResponse, deadline=deadline
            )
            try:
                connection.connect()
            except (HTTPError, OSError, ValueError) as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure

    def _addresses(self, target: Target, deadline: Deadline) -> list[Address]:
        """Where the host is, provided that all of it lies where we may go."""
        if target.literal is not None:
            found = [target.literal]
        else:
            found = resolve(target.host, target.port, deadline.left(CONNECT_SECONDS))
        is_loopback_only = target.scheme == "http"
        if not all(is_allowed(address, self._settings, is_loopback_only=is_loopback_only) for address in found):
            log.warning("fetching from %s was refused: it is not public", target.host)
            raise FetchRefused(_FAILED)
        return found

    def _connection(self, target: Target, address: str, deadline: Deadline) -> HTTPConnection:
        timeout = deadline.left(CONNECT_SECONDS)
        if target.scheme == "http":
            return HTTPConnection(address, target.port, timeout=timeout)
        return HTTPSConnection(
            address, target.port, timeout=timeout, server_hostname=target.host, ssl_context=self._tls
        )

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """The system's authorities and the operator's own; read when first needed, since that takes a while."""
        context = ssl.create_default_context()
        if self._settings.outbound_ca_file is not None:
            context.load_verify_locations(cafile=self._settings.outbound_ca_file)
        context.set_alpn_protocols(["http/1.1"])
        return context


def _body(response: HTTPResponse, *, content_types: tuple[str, ...], maximum_bytes: int) -> bytes:
    if response.status != 200:
        raise FetchFailed("The URL answers with another status than 200.", response.status)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise FetchFailed("The URL answers in an encoding that was not asked for.", 200)
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if not any(_is_of(kind, wanted) for wanted in content_types):
        raise FetchFailed("The URL answers with another content type than is needed.", 200)
    body = response.read(maximum_bytes + 1)
    # Only at its end does an answer that was cut off show that it was.
    if len(body) > maximum_bytes or response.read(1):
        raise FetchFailed("The URL answers with more than is read.", 200)
    return body


def _is_of(kind: str, wanted: str) -> bool:
    """Whether a content type is the wanted one, or has the wanted suffix (RFC 6839)."""
    return wanted in {kind, "*/*"} or (wanted.startswith("+") and kind.endswith(wanted))
