"""Valid requests to every endpoint of a deployment in use, as parts that a test then changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.properties.wire import WireRequest
from tests.support.application import Gatepost
from tests.support.flow import VERIFIER, Flow, basic, flow_of, form_fields
from tests.support.relying_party import ASSERTION_TYPE, public_keys, relying_party, signed
from tests.support.stored_pages import StoredPages

Pairs = list[tuple[str, str]]
FORM = "application/x-www-form-urlencoded"
#: Converters of the URL map, and something that fits them.
_SAMPLES = {"request_id": "0" * 22, "path": "gatepost.css"}
REQUEST_URI = "https://party.example/request.jwt"
GOODBYE = "https://party.example/bye"


@dataclass
class Parts:
    """A request before it is put on the wire. Values are text; `raw_query` and `raw_body` are appended as they are.

    A `document` is the body, as JSON; with `sign` it is the claims of a token that is one more parameter.
    """

    method: str
    path: str
    query: Pairs = field(default_factory=list)
    form: Pairs = field(default_factory=list)
    headers: Pairs = field(default_factory=list)
    raw_query: str = ""
    raw_body: bytes = b""
    document: dict[str, Any] | None = None
    sign: Callable[[dict[str, Any]], tuple[str, str]] | None = None

    def on_the_wire(self, peer: str) -> WireRequest:
        """The request, encoded as clients do."""
        sent = [self.sign(self.document)] if self.document is not None and self.sign is not None else []
        is_in_form = self.method == "POST"
        query = urlencode([*self.query, *([] if is_in_form else sent)], errors="replace")
        query = "&".join(text for text in (query, self.raw_query) if text)
        body, kind = urlencode([*self.form, *(sent if is_in_form else [])], errors="replace").encode(), FORM
        if self.document is not None and self.sign is None:
            body, kind = json.dumps(self.document).encode() + body, "application/json"
        body += self.raw_body
        headers = list(self.headers)
        if body and not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("Content-Type", kind))
        return WireRequest(self.method, quote_path(self.path), query, tuple(headers), body, peer)


def quote_path(path: str) -> str:
    """A path as WSGI has it: bytes as Latin-1."""
    return path.encode("utf-8", "replace").decode("latin-1")


class World:
    """One deployment, somebody signed in, and everything that their clients hold."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        algorithms = {"id_token_signed_response_alg": "ES256", "access_token_signed_response_alg": "ES256"}
        self.web = flow_of(gatepost, refresh_token_policy="always", **algorithms)
        self.spa = flow_of(gatepost, "spa", redirect_uris=("https://app.example/cb?tenant=one",), **algorithms)
        self.machine = flow_of(gatepost, "machine", scope="notes:read", may_introspect_any=True, **algorithms)
        self.party = relying_party(
            gatepost,
            redirect_uris=["https://party.example/cb"],
            post_logout_redirect_uris=[GOODBYE],
            request_uris=[REQUEST_URI],
            token_endpoint_auth_method="private_key_jwt",
            token_endpoint_auth_signing_alg="ES256",
            id_token_signed_response_alg="ES256",
            authorization_signed_response_alg="ES256",
        )
        StoredPages({REQUEST_URI: self.party.request_object("ES256")}).put_into(gatepost)
        self.spa.browser = self.party.browser = self.web.browser
        self.renew()
        self.cookie = str(self.web.browser.get_cookie("gatepost").value)  # type: ignore[union-attr]
        flows = (self.web, self.spa, self.party)
        self.redirect_uris = (*(uri for flow in flows for uri in flow.client.redirect_uris), GOODBYE)
        self.requests = 0

    @classmethod
    def begin(cls, folder: Path, **settings: Any) -> World:
        """A new deployment where anybody may register clients, and what is in use there."""
        limits = {"registration_per_hour": 10_000_000, "registration_maximum": 10_000_000}
        wanted = {"registration": "open", **limits, "scopes": {"notes:read": "Read your notes"}, **settings}
        gatepost = Gatepost(folder, **wanted)
        gatepost.add_user()
        return cls(gatepost)

    def routes(self) -> list[tuple[str, str]]:
        """Every path of the application's URL map with each method it takes."""
        found = set()
        for rule in self.gatepost.app.url_map.iter_rules():
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: _SAMPLES.get(match[1], "x"), rule.rule)
            found |= {(method, path) for method in rule.methods or ()}
        return sorted(found)

    def next_peer(self) -> str:
        """Another address for each request, so that no limit on one network hides what lies behind it."""
        self.requests += 1
        number = self.requests
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    def renew(self) -> None:
        """Puts new codes and tokens in the place of what a valid request has spent, and spends some."""
        self.spent_code = self.web.code()
        self.spent_token = str(self.web.redeem(self.spent_code).get_json()["refresh_token"])
        self.web.refresh(self.spent_token)
        self.tokens, self.code = self.web.tokens(), self.web.code()
        self.party_code = self.party.code(scope="openid")
        self.party_hint = self.party.answer(scope="openid", response_type="id_token")["id_token"]

    def page(self, path: str, **changes: str | None) -> dict[str, str]:
        """The hidden fields of the page at `path`, of a request that has come that far."""
        return form_fields(self.web.open_page(path, self.web.authorize(**changes)).text)

    def cookies(self) -> Pairs:
        """The header of the browser that is signed in."""
        return [("Cookie", f"gatepost={self.cookie}")]

    def authentication(self, flow: Flow | None = None) -> Pairs:
        """The header of a confidential client."""
        flow = flow or self.web
        return list(basic(flow.client.id, flow.secret or "").items())


def _pairs(values: dict[str, str]) -> Pairs:
    return list(values.items())


def _authorize(world: World, method: str) -> Parts:
    hint = {"id_token_hint": str(world.tokens["id_token"]), "max_age": "3600", "prompt": "none", "login_hint": "ada"}
    pairs = _pairs({**world.web.parameters(), **hint})
    in_query = method == "GET"
    return Parts(method, "/oauth/authorize", pairs if in_query else [], [] if in_query else pairs, world.cookies())


def _public_authorize(world: World) -> Parts:
    return Parts("GET", "/oauth/authorize", _pairs(world.spa.parameters(response_mode="form_post")))


def _resume(world: World) -> Parts:
    location = world.web.authorize(prompt="consent").headers["Location"]
    return Parts("GET", f"/oauth/authorize/resume/{location.partition('=')[2]}", headers=world.cookies())


def _redeem(world: World) -> Parts:
    form = {"grant_type": "authorization_code", "code": world.code, "code_verifier": VERIFIER}
    form["redirect_uri"] = world.web.client.redirect_uris[0]
    return Parts("POST", "/oauth/token", form=_pairs(form), headers=world.authentication())


def _refresh(world: World) -> Parts:
    form = {"grant_type": "refresh_token", "refresh_token": world.tokens["refresh_token"], "scope": "openid email"}
    return Parts("POST", "/oauth/token", form=_pairs(form), headers=world.authentication())


def _machine(world: World) -> Parts:
    form = {"grant_type": "client_credentials", "scope": "notes:read"}
    return Parts("POST", "/oauth/token", form=_pairs(form), headers=world.authentication(world.machine))


def _about_token(world: World, endpoint: str, kind: str) -> Parts:
    form = {"token": world.tokens[kind], "token_type_hint": kind}
    headers = world.authentication(world.machine if endpoint == "introspect" else world.web)
    return Parts("POST", f"/oauth/{endpoint}", form=_pairs(form), headers=headers)


def _userinfo(world: World, method: str) -> Parts:
    if method == "GET":
        return Parts("GET", "/oauth/userinfo", headers=[("Authorization", f"Bearer {world.tokens['access_token']}")])
    return Parts("POST", "/oauth/userinfo", form=[("access_token", world.tokens["access_token"])])


def _login(world: World) -> Parts:
    fields = world.page("/login", prompt="login")
    fields |= {"username": "ada@example.com", "password": "not her password", "decision": "sign_in"}
    return Parts("POST", "/login", form=_pairs(fields), headers=world.cookies())


def _consent(world: World) -> Parts:
    fields = world.page("/consent", prompt="consent") | {"decision": "allow"}
    return Parts("POST", "/consent", form=_pairs(fields), headers=world.cookies())


def _select_account(world: World) -> Parts:
    fields = world.page("/select-account", prompt="select_account") | {"choose": "x", "another": "1"}
    return Parts("POST", "/select-account", form=_pairs(fields), headers=world.cookies())


def _logout(world: World) -> Parts:
    fields = form_fields(world.web.browser.get("/logout").text) | {"decision": "stay"}
    return Parts("POST", "/logout", form=_pairs(fields), headers=world.cookies())


def _authorize_for_tokens(world: World) -> Parts:
    wanted = {
        "response_type": "code id_token token",
        "response_mode": "form_post.jwt",
        "scope": "openid",
        "claims": '{"id_token":{"acr":{"values":["1"]},"auth_time":null},"userinfo":{"sub":null}}',
        "acr_values": "1 2",
        "ui_locales": "en de",
        "claims_locales": "en",
        "display": "popup",
    }
    return Parts("GET", "/oauth/authorize", _pairs(world.party.parameters(**wanted)), headers=world.cookies())


def _authorize_by_object(world: World, method: str) -> Parts:
    beside = _pairs({"client_id": world.party.client.id, "response_type": "code", "scope": "openid"})
    claims: dict[str, Any] = {
        **world.party.parameters(scope="openid"),
        "iss": world.party.client.id,
        "aud": [world.gatepost.settings.issuer],
        "exp": world.party.seconds() + 300,
        "max_age": 3600,
        "claims": {"userinfo": {"sub": None}},
    }
    in_query = method == "GET"
    return Parts(
        method,
        "/oauth/authorize",
        beside if in_query else [],
        [] if in_query else beside,
        world.cookies(),
        document=claims,
        sign=lambda changed: ("request", signed(changed, "ES256", "oauth-authz-req+jwt")),
    )


def _authorize_by_reference(world: World) -> Parts:
    sent = {"client_id": world.party.client.id, "response_type": "code", "scope": "openid", "request_uri": REQUEST_URI}
    return Parts("GET", "/oauth/authorize", _pairs(sent), headers=world.cookies())


def _redeem_with_assertion(world: World) -> Parts:
    form = {"grant_type": "authorization_code", "code": world.party_code, "code_verifier": VERIFIER}
    form |= {"redirect_uri": world.party.client.redirect_uris[0], "client_assertion_type": ASSERTION_TYPE}
    claims: dict[str, Any] = {
        "iss": world.party.client.id,
        "sub": world.party.client.id,
        "aud": world.gatepost.settings.issuer,
        "jti": f"{world.requests}-{world.party_code}",
        "iat": world.party.seconds(),
        "exp": world.party.seconds() + 60,
    }
    return Parts(
        "POST",
        "/oauth/token",
        form=_pairs(form),
        document=claims,
        sign=lambda changed: ("client_assertion", signed(changed, "ES256", "JWT")),
    )


def _metadata() -> dict[str, Any]:
    return {
        "client_name": "A new one",
        "redirect_uris": ["https://new.example/cb", "https://new.example/other?x=1"],
        "post_logout_redirect_uris": ["https://new.example/bye"],
        "grant_types": ["authorization_code", "implicit", "refresh_token"],
        "response_types": ["code", "code id_token"],
        "application_type": "web",
        "contacts": ["ada@example.com"],
        "client_uri": "https://new.example/",
        "logo_uri": "https://new.example/logo.png",
        "policy_uri": "https://new.example/policy",
        "jwks": public_keys(),
        "subject_type": "pairwise",
        "token_endpoint_auth_method": "client_secret_basic",
        "id_token_signed_response_alg": "ES256",
        "id_token_encrypted_response_alg": "ECDH-ES",
        "id_token_encrypted_response_enc": "A128GCM",
        "userinfo_signed_response_alg": "EdDSA",
        "request_object_signing_alg": "PS256",
        "request_uris": ["https://new.example/request.jwt#1"],
        "default_max_age": 3600,
        "require_auth_time": True,
        "default_acr_values": ["1"],
        "initiate_login_uri": "https://new.example/login",
        "backchannel_logout_uri": "https://new.example/backchannel",
        "backchannel_logout_session_required": True,
        "frontchannel_logout_uri": "https://new.example/frontchannel",
        "scope": "openid email",
        "software_id": "x",
        "software_version": "1",
        "client_name#de": "Eine neue",
    }


def _managed(world: World, method: str) -> Parts:
    """A request about a registration of its own, which nobody misses when it is gone."""
    # In the sector that it will be in: a pairwise client stays in its own.
    told = relying_party(world.gatepost, redirect_uris=_metadata()["redirect_uris"]).registration
    headers = [("Authorization", f"Bearer {told['registration_access_token']}")]
    parts = Parts(method, f"/oauth/register/{told['client_id']}", headers=headers)
    if method == "PUT":
        parts.document = {**_metadata(), "client_id": told["client_id"], "client_secret": told["client_secret"]}
    return parts


def _sign_out_with_hint(world: World, method: str) -> Parts:
    """From a browser where nobody is signed in, so that the one that is stays so."""
    sent = {
        "id_token_hint": str(world.party_hint),
        "client_id": world.party.client.id,
        "post_logout_redirect_uri": GOODBYE,
        "state": "a state",
        "logout_hint": "ada",
        "ui_locales": "en",
    }
    in_query = method == "GET"
    return Parts(method, "/logout", _pairs(sent) if in_query else [], [] if in_query else _pairs(sent))


def _page(path: str) -> Callable[[World], Parts]:
    return lambda world: Parts("GET", path, headers=world.cookies())


VALID: dict[str, Callable[[World], Parts]] = {
    "authorize": lambda world: _authorize(world, "GET"),
    "authorize by POST": lambda world: _authorize(world, "POST"),
    "authorize of a public client": _public_authorize,
    "resume": _resume,
    "redeem": _redeem,
    "refresh": _refresh,
    "client_credentials": _machine,
    "introspect an access token": lambda world: _about_token(world, "introspect", "access_token"),
    "introspect a refresh token": lambda world: _about_token(world, "introspect", "refresh_token"),
    "revoke": lambda world: _about_token(world, "revoke", "access_token"),
    "userinfo": lambda world: _userinfo(world, "GET"),
    "userinfo by POST": lambda world: _userinfo(world, "POST"),
    "login": _login,
    "consent": _consent,
    "select account": _select_account,
    "logout": _logout,
    "authorize for tokens": _authorize_for_tokens,
    "authorize by a request object": lambda world: _authorize_by_object(world, "GET"),
    "authorize by a posted request object": lambda world: _authorize_by_object(world, "POST"),
    "authorize by request_uri": _authorize_by_reference,
    "redeem with an assertion": _redeem_with_assertion,
    "register": lambda world: Parts("POST", "/oauth/register", document=_metadata()),
    "read a registration": lambda world: _managed(world, "GET"),
    "replace a registration": lambda world: _managed(world, "PUT"),
    "delete a registration": lambda world: _managed(world, "DELETE"),
    "sign out with a hint": lambda world: _sign_out_with_hint(world, "GET"),
    "sign out with a posted hint": lambda world: _sign_out_with_hint(world, "POST"),
    "session check": _page("/oauth/check-session"),
    "logo": lambda world: Parts("GET", f"/client-logo/{world.party.client.id}"),
    "home": _page("/"),
    "logout page": _page("/logout"),
    "login page": _page("/login"),
    "keys": _page("/.well-known/jwks.json"),
    "discovery": _page("/.well-known/openid-configuration"),
    "metadata": _page("/.well-known/oauth-authorization-server"),
    "static": _page("/static/gatepost.css"),
}


def _with(parts: Parts, name: str, value: str) -> Parts:
    parts.form = [(known, value if known == name else old) for known, old in parts.form]
    return parts


#: Requests with what was used before: other ways through the server than those of `VALID`.
SPENT: dict[str, Callable[[World], Parts]] = {
    "redeem a spent code": lambda world: _with(_redeem(world), "code", world.spent_code),
    "refresh with a spent token": lambda world: _with(_refresh(world), "refresh_token", world.spent_token),
    "introspect a spent token": lambda world: _with(
        _about_token(world, "introspect", "refresh_token"), "token", world.spent_token
    ),
}
