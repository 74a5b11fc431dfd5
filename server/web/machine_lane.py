"""The short lane in front of Flask: usual requests to machine endpoints, answered without it.

A token costs little more than its signature only if nothing else is done for it, and Flask does much: routing,
contexts, headers as objects. What a request means is decided by the same protocol ring on both lanes; only its way in
and out is shorter here. Anything unusual goes to Flask. `tests/security/test_two_lanes.py` and
`tests/web/test_machine_lane.py` send requests down both lanes and compare status, headers, body and rows;
`docs/adr/0010-a-short-lane-for-machines.md` says why it is worth it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeAlias

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from server.domain.scopes import OPENID
from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.logging import request_id as logged_request_id
from server.protocol import metadata
from server.protocol.authorization_server import EndpointResponse
from server.protocol.bearer import require_bearer_token
from server.protocol.request import FORM, Parameters, ProtocolRequest
from server.protocol.userinfo import userinfo_response
from server.web.api import verify
from server.web.api.gateway_question import path_below
from server.web.context import Gatepost, anonymous
from server.web.machine_errors import machine_error
from server.web.oauth import cors, well_known
from server.web.request_metrics import ENDPOINT
from server.web.security_headers import ALWAYS, POLICY, STRICT_TRANSPORT

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_VERIFY: Final = "api.verify"
_VERIFIED_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_STATUS_LINES: Final = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}

Endpoint: TypeAlias = Callable[[UnitOfWork, "WSGIEnvironment"], EndpointResponse]


class MachineLane:
    """Wraps a WSGI application, which gets all that is unusual."""

    def __init__(
        self, application: WSGIApplication, gatepost: Gatepost, engine: Engine, maximum_body_bytes: int
    ) -> None:
        self._application, self._gatepost, self._engine = application, gatepost, engine
        self._maximum_body_bytes = maximum_body_bytes
        settings = gatepost.runtime.settings
        endpoints: tuple[tuple[str, str, str, Endpoint], ...] = (
            ("POST", "/oauth/token", "oauth.token", self._token),
            ("POST", "/oauth/introspect", "oauth.introspect", self._introspect),
            ("GET", "/oauth/userinfo", "oauth.userinfo", self._userinfo),
            ("GET", "/.well-known/jwks.json", "oauth.jwks", self._jwks),
            ("GET", "/.well-known/openid-configuration", "oauth.openid_configuration", self._openid_configuration),
            (
                "GET",
                "/.well-known/oauth-authorization-server",
                "oauth.authorization_server",
                self._authorization_server,
            ),
        )
        self._verification = (_VERIFY, verify.verify_request, self._headers_of(_VERIFY))
        self._openid_document = metadata.encode_document(metadata.openid_provider_metadata(settings))
        self._oauth_document = metadata.encode_document(metadata.authorization_server_metadata(settings))
        self._endpoints = {
            (method, settings.issuer_path + path): (name, endpoint, self._headers_of(name))
            for method, path, name, endpoint in endpoints
        }

    def _headers_of(self, name: str) -> Mapping[str, str]:
        """The headers that every answer of the endpoint has."""
        is_strict = self._gatepost.runtime.settings.wants_strict_transport
        return {
            "Content-Type": "application/json",
            "Cache-Control": "no-store",
            "Content-Security-Policy": POLICY,
            **ALWAYS,
            **(cors.READABLE if name in cors.ENDPOINTS else {}),
            **({"Strict-Transport-Security": STRICT_TRANSPORT} if is_strict else {}),
        }

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answers what is usual, and passes everything else on."""
        known = self._endpoints.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if known is None:
            known = self._verification_of(environ)
        elif not _is_usual(environ, self._maximum_body_bytes):
            known = None
        if known is None:
            return self._application(environ, start_response)
        environ[ENDPOINT], endpoint, headers = known
        request_id = "req_" + secrets.new_id()
        logged_request_id.set(request_id)
        try:
            answer = self._answer(environ, endpoint, request_id)
        finally:
            logged_request_id.set("-")
        body = answer.body if isinstance(answer.body, bytes) else metadata.encode_document(answer.body or {})
        fields = {**headers, **dict(answer.headers), "X-Request-ID": request_id, "Content-Length": str(len(body))}
        start_response(_STATUS_LINES[answer.status], list(fields.items()))
        return (body,)

    def _verification_of(self, environ: WSGIEnvironment) -> tuple[str, Endpoint, Mapping[str, str]] | None:
        """A gateway's question about a request of any method and path, whose body nobody reads."""
        path = environ["PATH_INFO"]
        if "/v1/verify" not in path or environ["REQUEST_METHOD"] not in _VERIFIED_METHODS:
            return None
        is_usual = _has_usual_length(environ, self._maximum_body_bytes) and environ.get("QUERY_STRING", "").isascii()
        if not is_usual or path_below(path, self._gatepost.runtime.settings.issuer_path) is None:
            return None
        return self._verification

    def _answer(self, environ: WSGIEnvironment, endpoint: Endpoint, request_id: str) -> EndpointResponse:
        """One unit of work, committed unless it ends in a refusal."""
        runtime = self._gatepost.runtime
        db = Session(self._engine, expire_on_commit=False)
        try:
            work = UnitOfWork.begin(runtime, db, anonymous(environ, runtime.settings, request_id))
            answer = endpoint(work, environ)
            if answer.status < 400 and db.in_transaction():
                db.commit()
        except Exception as error:  # noqa: BLE001  # nothing leaves as a traceback
            is_verification = environ[ENDPOINT] == _VERIFY
            answer = verify.fault_answer(error, request_id) if is_verification else machine_error(error)
        finally:
            # Most requests never use it.
            if db.in_transaction():
                db.close()
        if answer.status >= 400 and isinstance(answer.body, Mapping):
            runtime.metrics.refuse(environ[ENDPOINT], answer.body.get("error", "none"))
        return answer

    def _token(self, work: UnitOfWork, environ: WSGIEnvironment) -> EndpointResponse:
        """RFC 6749 §3.2."""
        return self._gatepost.server.answer_token_request(_posted(work, environ))

    def _introspect(self, work: UnitOfWork, environ: WSGIEnvironment) -> EndpointResponse:
        """RFC 7662."""
        return self._gatepost.server.answer_endpoint("introspection", _posted(work, environ))

    def _userinfo(self, work: UnitOfWork, environ: WSGIEnvironment) -> EndpointResponse:
        """OpenID Connect Core §5.3."""
        verified = require_bearer_token(work, environ.get("HTTP_AUTHORIZATION"), {}, {}, scope=OPENID)
        return userinfo_response(work, verified)

    def _jwks(self, work: UnitOfWork, _environ: WSGIEnvironment) -> EndpointResponse:
        """RFC 7517 §5."""
        return EndpointResponse(200, metadata.jwks_document(work), well_known.cached_for(well_known.JWKS_MAX_AGE))

    def _openid_configuration(self, _work: UnitOfWork, _environ: WSGIEnvironment) -> EndpointResponse:
        """OpenID Connect Discovery §4."""
        return EndpointResponse(200, self._openid_document, well_known.cached_for(well_known.METADATA_MAX_AGE))

    def _authorization_server(self, _work: UnitOfWork, _environ: WSGIEnvironment) -> EndpointResponse:
        """RFC 8414 §3."""
        return EndpointResponse(200, self._oauth_document, well_known.cached_for(well_known.METADATA_MAX_AGE))


def _is_usual(environ: WSGIEnvironment, maximum_body_bytes: int) -> bool:
    """A form of usual size, or no body at all; nothing in the URL."""
    if environ.get("QUERY_STRING"):
        return False
    if not _has_usual_length(environ, maximum_body_bytes):
        return False
    is_post = environ["REQUEST_METHOD"] == "POST"
    return environ.get("CONTENT_TYPE") == FORM if is_post else (environ.get("CONTENT_LENGTH") or "0") == "0"


def _has_usual_length(environ: WSGIEnvironment, maximum_body_bytes: int) -> bool:
    length = environ.get("CONTENT_LENGTH") or "0"
    return length.isascii() and length.isdigit() and len(length) < 6 and int(length) <= maximum_body_bytes


def _posted(work: UnitOfWork, environ: WSGIEnvironment) -> ProtocolRequest:
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    authorization: str | None = environ.get("HTTP_AUTHORIZATION")
    headers = {} if authorization is None else {"Authorization": authorization}
    uri = work.settings.url(environ["PATH_INFO"].removeprefix(work.settings.issuer_path))
    return ProtocolRequest(work, "POST", uri, headers, Parameters.decode_bytes(body))
