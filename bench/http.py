"""Requests as bytes, and the little of an answer that matters here."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

#: The PKCE pair of every code here (RFC 7636 §4.2).
VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123456789"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class Answer:
    """One response."""

    status: int
    head: bytes
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        document: dict[str, Any] = json.loads(self.body)
        return document

    def header(self, name: str) -> str:
        """The first header of that name, or an empty string."""
        for line in self.head.split(b"\r\n")[1:]:
            found, _, value = line.partition(b":")
            if found.strip().lower() == name.lower().encode():
                return value.strip().decode("latin-1")
        return ""


#: What a connection sends next: given its number and its previous answer, the bytes, or None for nothing more.
Source = Callable[[int, Answer | None], bytes | None]


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A GET request."""
    return _head("GET", port, path, headers or {}) + b"\r\n"


def post(port: int, path: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> bytes:
    """A POST request with a form."""
    body = urlencode(form).encode()
    more = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    return _head("POST", port, path, {**more, **(headers or {})}) + b"\r\n" + body


def basic(client_id: str, secret: str) -> dict[str, str]:
    """The header of client_secret_basic (RFC 6749 §2.3.1)."""
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    """The header that presents an access token (RFC 6750 §2.1)."""
    return {"Authorization": f"Bearer {token}"}


def _head(method: str, port: int, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: localhost:{port}", "Accept: application/json"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), ""]).encode()


def the_same(request: bytes) -> Source:
    """One request, again and again."""
    return lambda _connection, _answer: request


def each_once(requests: list[bytes]) -> Source:
    """Each of these once, from whichever connection is free."""
    left = iter(requests)
    return lambda _connection, _answer: next(left, None)


def each_after_the_other(first: list[bytes], follow: Callable[[Answer], bytes]) -> Source:
    """One chain per connection: what is sent depends on the previous answer, as with refresh tokens that rotate.

    The connection remembers where its chain is, so that the source can be used for one run after another.
    """
    pending = list(first)

    def source(connection: int, answer: Answer | None) -> bytes:
        if answer is not None:
            pending[connection] = follow(answer)
        return pending[connection]

    return source


def shape(answer: Answer) -> str:
    """What an answer holds, for a reader who compares servers: how its tokens are signed, which claims, how long."""
    length = f"{len(answer.body):,} bytes"
    try:
        document: Any = json.loads(answer.body)
    except ValueError:
        return length
    if not isinstance(document, dict):
        return length
    tokens = [f"{name} {_kind(document[name])}" for name in _TOKENS if name in document]
    if tokens:
        return ", ".join([*tokens, length])
    if "active" in document:
        return f"active: {json.dumps(document['active'])}, {len(document)} members, {length}"
    return length


_TOKENS = ("access_token", "id_token", "refresh_token")


def _kind(token: str) -> str:
    """The algorithm and type of a JWT, or that it is none."""
    head = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
        return " ".join(header[name] for name in ("alg", "typ") if name in header)
    except (ValueError, TypeError):
        return "opaque"
