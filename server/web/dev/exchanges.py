"""One HTTP exchange with this very server: really sent through the whole application, kept to be shown.

The request goes to the WSGI application in this process, so that nothing leaves the machine and no port is needed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlsplit

from werkzeug.test import Client

from server.web.dev import explanations

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_VISIBLE_SECRET_CHARACTERS: Final = 6
_LONGEST_SHOWN: Final = 120
#: Response headers that teach something; the others are the same on every response.
_SHOWN_HEADERS: Final = ("Content-Type", "Cache-Control", "WWW-Authenticate", "Location")


@dataclass(frozen=True)
class DemoClient:
    """A client that `gatepost dev` registers; `secret` is None for a public one."""

    client_id: str
    secret: str | None = field(repr=False)
    redirect_uri: str = ""

    @property
    def is_public(self) -> bool:
        """Whether the client cannot keep a secret (RFC 6749 §2.1)."""
        return self.secret is None


@dataclass(frozen=True)
class Field:
    """A parameter, header or member with what it means."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Exchange:
    """A request and its response; secrets of the client are masked."""

    method: str
    url: str
    headers: tuple[Field, ...]
    form: tuple[Field, ...]
    status: int
    response_headers: tuple[tuple[str, str], ...]
    body: str
    document: Mapping[str, Any]

    @property
    def succeeded(self) -> bool:
        """Whether the status is one of success."""
        return self.status < HTTPStatus.BAD_REQUEST

    @property
    def status_line(self) -> str:
        """The status with its phrase, such as `400 Bad Request`."""
        return f"{self.status} {HTTPStatus(self.status).phrase}"


def shorten(value: str) -> str:
    """A long token by its two ends; it stands whole in the response that brought it."""
    return value if len(value) <= _LONGEST_SHOWN else f"{value[:40]}…{value[-16:]}"


def mask(secret: str) -> str:
    """The first characters of a secret, enough to recognise it by."""
    return secret[:_VISIBLE_SECRET_CHARACTERS] + "…"


class LoopbackClient:
    """Sends requests to the application in this process, at the URLs that discovery names."""

    def __init__(self, application: WSGIApplication, issuer: str) -> None:
        self.issuer = issuer
        self._client = Client(application, use_cookies=False)

    def get(self, url: str, headers: Sequence[Field] = ()) -> Exchange:
        """A GET request with `headers`."""
        return self._send("GET", url, headers, {}, None)

    def post(self, url: str, form: Mapping[str, str], client: DemoClient) -> Exchange:
        """A form posted with the client's own authentication: `client_secret_basic`, or `none` for a public client."""
        if client.is_public:
            form = {**form, "client_id": client.client_id}
        return self._send("POST", url, (), form, client)

    def _send(
        self, method: str, url: str, headers: Sequence[Field], form: Mapping[str, str], client: DemoClient | None
    ) -> Exchange:
        shown, sent = [_shortened(header) for header in headers], {header.name: header.value for header in headers}
        if client is not None and client.secret is not None:
            shown.append(_masked_authorization(client, client.secret))
            sent["Authorization"] = _basic(client.client_id, client.secret)
        parts = urlsplit(url)
        # In an empty context: a nested request would share the outer one's `g`, database session and request id.
        response = Context().run(
            self._client.open,
            parts.path,
            base_url=f"{parts.scheme}://{parts.netloc}",
            query_string=parts.query,
            method=method,
            headers=sent,
            data=dict(form) or None,
        )
        return Exchange(
            method=method,
            url=url,
            headers=tuple(shown),
            form=tuple(Field(name, shorten(value), explanations.parameter(name)) for name, value in form.items()),
            status=response.status_code,
            response_headers=tuple(
                (name, response.headers[name]) for name in _SHOWN_HEADERS if name in response.headers
            ),
            body=_pretty(response.get_data(as_text=True)),
            document=_object(response.get_data(as_text=True)),
        )


def _shortened(header: Field) -> Field:
    return replace(header, value=shorten(header.value))


def _basic(client_id: str, secret: str) -> str:
    """HTTP Basic with both halves form-encoded first (RFC 6749 §2.3.1)."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _masked_authorization(client: DemoClient, secret: str) -> Field:
    value = f"Basic base64({client.client_id}:{mask(secret)})"
    return Field("Authorization", value, "The client's id and secret: proof that the real client asks.")


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _pretty(text: str) -> str:
    document = _object(text)
    return json.dumps(document, indent=2, ensure_ascii=False) if document else text
