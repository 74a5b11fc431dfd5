"""A relying party as the OpenID Foundation's conformance suite plays it: its requests, its browser, and what it checks.

It knows Gatepost by its discovery document alone, and holds every flow to all of `checks`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal
from urllib.parse import parse_qsl, quote_plus, urlencode, urljoin, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from server.domain.conformance_seed import ConformanceCredentials
from server.domain.demo_seed import EMAIL
from tests.conformance import checks
from tests.conformance.pages import Page, read_page
from tests.support.application import Gatepost
from tests.support.flow import basic

BASE = "https://suite.test:8443/test/a/gatepost"
CALLBACK = f"{BASE}/callback"
FORM = "application/x-www-form-urlencoded"
#: Which answers mean that the person would have had to do something (OpenID Connect Core §3.1.2.6).
NOT_WITHOUT_PAGES = ("login_required", "interaction_required", "account_selection_required", "consent_required")


@cache
def private_key(kid: str) -> RSAKey:
    """A key of the client's own, made once for all tests."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"}, auto_kid=False)


def key_set(*keys: RSAKey) -> dict[str, Any]:
    """The public halves as a JWK Set."""
    return {"keys": [key.as_dict(private=False) for key in keys]}


@dataclass(frozen=True)
class Variant:
    """What a plan is run with."""

    response_type: str = "code"
    response_mode: Literal["form_post"] | None = None
    registration: Literal["dynamic", "static"] = "dynamic"
    auth_method: str = "client_secret_basic"

    @property
    def words(self) -> frozenset[str]:
        """The parts of the response type."""
        return frozenset(self.response_type.split())

    @property
    def gives_access_token(self) -> bool:
        """Whether the flow ends with an access token."""
        return self.words != {"id_token"}

    @property
    def grant_types(self) -> list[str]:
        """What a client registers for it (OpenID Connect Registration §2)."""
        from_front = ["implicit"] if self.words & {"id_token", "token"} else []
        return [*(["authorization_code"] if "code" in self.words else []), *from_front]

    def __str__(self) -> str:
        mode = f"-{self.response_mode}" if self.response_mode else ""
        return f"{self.response_type.replace(' ', '+')}{mode}-{self.registration}"


@dataclass(frozen=True)
class Landing:
    """Where the browser ended: on one of Gatepost's pages, or on its way to somebody else."""

    status: int
    page: Page
    left_for: str | None = None
    form: dict[str, str] | None = None


class Browser:
    """The suite's browser: it signs in, allows everything, and remembers which pages it was shown."""

    def __init__(self, op: Provider) -> None:
        self.op, self.client = op, op.gatepost.browser()
        self.pages: list[str] = []

    def go(self, url: str, method: str = "GET", data: Mapping[str, str] | None = None) -> Landing:
        """Opens `url` and follows redirects as far as they stay at Gatepost."""
        response = self.client.open(url, method=method, data=data)
        for _ in range(12):
            location = response.headers.get("Location")
            if location is None:
                return self._arrive(url, response)
            assert response.status_code in {302, 303}, response.status_code
            url = urljoin(url, location)
            if not self.op.owns(url):
                return Landing(response.status_code, Page(url), left_for=url)
            response = self.client.get(url)
        raise AssertionError(f"redirects go round in circles at {url}")

    def _arrive(self, url: str, response: TestResponse) -> Landing:
        page = read_page(url, response.text)
        self.pages.append(urlsplit(url).path)
        outward = [form for form in page.forms if not self.op.owns(form.action)]
        if outward:
            # It posts itself where scripts run, and has a button where they do not.
            assert outward[0].method == "post"
            assert outward[0].buttons
            return Landing(response.status_code, page, left_for=outward[0].action, form=outward[0].fields)
        return Landing(response.status_code, page)

    def walk(self, landing: Landing) -> Landing:
        """Does what the pages ask until there is nothing to do, or the browser leaves for the client."""
        for _ in range(6):
            if landing.left_for or landing.status != 200:
                return landing
            if "login-submit" in self._buttons(landing):
                landing = self.press(landing, "login-submit", username=EMAIL, password=self.op.credentials.password)
            elif "consent-approve" in self._buttons(landing):
                landing = self.press(landing, "consent-approve")
            else:
                return landing
        raise AssertionError(f"the pages go round in circles at {landing.page.url}")

    def press(self, landing: Landing, button: str, **fields: str) -> Landing:
        """Presses a button, having filled in `fields`."""
        form = landing.page.form_with(button)
        name, value = form.buttons[button]
        pressed = {name: value} if name else {}
        return self.go(form.action, "POST", {**form.fields, **fields, **pressed})

    @staticmethod
    def _buttons(landing: Landing) -> set[str]:
        return {button for form in landing.page.forms for button in form.buttons}


@dataclass
class Provider:
    """Gatepost as the suite meets it: by its discovery document."""

    gatepost: Gatepost
    credentials: ConformanceCredentials
    metadata: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        response = self.http("GET", f"{self.gatepost.settings.issuer}/.well-known/openid-configuration")
        assert response.status_code == 200
        assert checks.is_json(response)
        self.metadata = response.get_json()
        assert self.metadata["issuer"] == self.gatepost.settings.issuer
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            checks.check_https(self.metadata[name])

    @property
    def issuer(self) -> str:
        """The issuer identifier."""
        return str(self.metadata["issuer"])

    def keys(self) -> dict[str, Any]:
        """The JWKS as it is now."""
        response = self.http("GET", self.metadata["jwks_uri"])
        assert response.status_code == 200
        document: dict[str, Any] = response.get_json()
        checks.check_keys(document)
        return document

    def owns(self, url: str) -> bool:
        """Whether an address is Gatepost's."""
        return f"{url}/".startswith(f"{self.issuer}/")

    def http(self, method: str, url: str, **request: Any) -> TestResponse:
        """A request without a browser."""
        return self.gatepost.app.test_client(use_cookies=False).open(url, method=method, **request)

    def browser(self) -> Browser:
        """A new browser, with nothing in it."""
        return Browser(self)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.gatepost.clock.advance(seconds)

    def now(self) -> float:
        """The time."""
        return self.gatepost.clock.now().timestamp()

    def userinfo(self, access_token: str, how: Literal["GET", "POST header", "POST body"] = "GET") -> TestResponse:
        """A request to the UserInfo endpoint (RFC 6750 §2)."""
        url, bearer = self.metadata["userinfo_endpoint"], {"Authorization": f"Bearer {access_token}"}
        if how == "GET":
            return self.http("GET", url, headers=bearer)
        if how == "POST header":
            return self.http("POST", url, headers=bearer)
        return self.http("POST", url, data={"access_token": access_token})

    def claims(self, access_token: str) -> dict[str, Any]:
        """What UserInfo tells."""
        response = self.userinfo(access_token)
        assert response.status_code == 200, response.text
        assert checks.is_json(response)
        claims: dict[str, Any] = response.get_json()
        checks.check_claim_types(claims, self.now())
        return claims

    def post_registration(self, metadata: Mapping[str, Any]) -> TestResponse:
        """A registration request (RFC 7591 §3.1)."""
        return self.http("POST", self.metadata["registration_endpoint"], json=metadata)


@dataclass
class Outcome:
    """What a successful flow ended with."""

    answer: dict[str, str]
    #: The claims of the ID token: the token endpoint's, or else the front channel's.
    claims: dict[str, Any]
    id_token: str
    header: dict[str, Any]
    tokens: dict[str, Any]
    access_token: str | None
    userinfo: dict[str, Any] | None


@dataclass
class RelyingParty:
    """One registered client."""

    op: Provider
    variant: Variant
    registration: dict[str, Any]
    key: RSAKey | None = None
    #: The algorithm of its ID tokens.
    algorithm: str = "RS256"

    @property
    def client_id(self) -> str:
        """Its identifier."""
        return str(self.registration["client_id"])

    def request(self, **changes: str | None) -> dict[str, str]:
        """An authorization request as the suite sends it; None leaves a parameter out."""
        found: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.registration["redirect_uris"][0],
            "scope": "openid",
            "state": secrets.token_urlsafe(8),
            "nonce": secrets.token_urlsafe(8),
            "response_type": self.variant.response_type,
            "response_mode": self.variant.response_mode,
            **changes,
        }
        return {name: value for name, value in found.items() if value is not None}

    def visit(self, browser: Browser | None = None, **changes: str | None) -> Exchange:
        """Sends the request by GET, and walks on as far as it goes."""
        return self.send(self.request(**changes), browser)

    def send(self, request: dict[str, str], browser: Browser | None = None, method: str = "GET") -> Exchange:
        """Sends this very request, and walks on as far as it goes."""
        browser = browser or self.op.browser()
        browser.pages.clear()
        endpoint = self.op.metadata["authorization_endpoint"]
        if method == "GET":
            landing = browser.go(f"{endpoint}?{urlencode(request)}")
        else:
            landing = browser.go(endpoint, "POST", request)
        return Exchange(self, request, browser, browser.walk(landing))

    def authenticated(self, form: Mapping[str, str], **claims: Any) -> dict[str, Any]:
        """Headers and body of a request to the token endpoint; `claims` change those of an assertion."""
        method = self.registration.get("token_endpoint_auth_method", self.variant.auth_method)
        assert method in self.op.metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if method == "client_secret_basic":
            secret = quote_plus(self.registration["client_secret"])
            return {"headers": basic(quote_plus(self.client_id), secret), "data": dict(form)}
        if method == "client_secret_post":
            own = {"client_id": self.client_id, "client_secret": self.registration["client_secret"]}
            return {"data": {**form, **own}}
        assert method == "private_key_jwt"
        own = {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self.assertion(**claims),
        }
        return {"data": {**form, **own}}

    def assertion(self, **changes: Any) -> str:
        """A client assertion (RFC 7523 §3), for the token endpoint."""
        assert self.key is not None
        now = int(self.op.now())
        claims = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.op.metadata["token_endpoint"],
            "jti": secrets.token_urlsafe(16),
            "iat": now,
            "exp": now + 60,
            **changes,
        }
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def post_token(self, form: Mapping[str, str], **claims: Any) -> TestResponse:
        """A request to the token endpoint."""
        return self.op.http("POST", self.op.metadata["token_endpoint"], **self.authenticated(form, **claims))

    def redeem(self, code: str, redirect_uri: str, **more: str) -> TestResponse:
        """Redeems a code."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, **more}
        return self.post_token(form)

    def refresh(self, refresh_token: str, **more: str) -> TestResponse:
        """Refreshes."""
        return self.post_token({"grant_type": "refresh_token", "refresh_token": refresh_token, **more})

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A JWT of the client's: a request object, say."""
        assert self.key is not None
        return jwt.encode({"alg": "RS256", "kid": self.key.kid, **header}, dict(claims), self.key)

    def userinfo_in_id_token(self) -> bool:
        """Whether the claims of a scope stand in the ID token, there being no access token (Core §5.4)."""
        return not self.variant.gives_access_token


@dataclass
class Exchange:
    """One authorization request, and where the browser was when it was done."""

    rp: RelyingParty
    request: dict[str, str]
    browser: Browser
    landing: Landing

    @property
    def pages(self) -> Sequence[str]:
        """The paths of the pages that were shown, besides one that posts itself to the client."""
        endpoint = urlsplit(self.rp.op.metadata["authorization_endpoint"]).path
        return [page for page in self.browser.pages if not page.startswith(endpoint)]

    def error_page(self) -> Page:
        """The page that names the fault, shown at the authorization endpoint."""
        assert self.landing.left_for is None, self.landing.left_for
        assert 400 <= self.landing.status < 500
        assert "error-page" in self.landing.page.ids
        assert urlsplit(self.landing.page.url).path == urlsplit(self.rp.op.metadata["authorization_endpoint"]).path
        assert len(self.landing.page.text) > 30
        return self.landing.page

    def answer(self, mode: str | None = None) -> dict[str, str]:
        """The parameters of the response, which came as the response mode says and nowhere else."""
        expected = self.request["redirect_uri"]
        assert self.landing.left_for is not None, (self.landing.status, self.landing.page.text[:500])
        default = "query" if self.request.get("response_type") == "code" else "fragment"
        mode = mode or self.request.get("response_mode") or default
        if mode == "form_post":
            assert self.landing.form is not None
            assert self.landing.left_for == expected
            return self.landing.form
        assert self.landing.form is None
        parts, registered = urlsplit(self.landing.left_for), urlsplit(expected)
        assert parts[:3] == registered[:3]
        if mode == "fragment":
            assert parts.query == registered.query
            return dict(parse_qsl(parts.fragment, keep_blank_values=True, strict_parsing=True))
        assert not parts.fragment
        assert parts.query.startswith(registered.query), "a registered query parameter is lost"
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        return dict(pairs[len(parse_qsl(registered.query)) :])

    def refused(self, *errors: str, mode: str | None = None) -> dict[str, str]:
        """The error that was sent to the client."""
        answer = self.answer(mode)
        checks.check_error_answer(answer, self.request, self.rp.op.issuer, errors)
        return answer

    def code(self) -> str:
        """The code of a successful answer."""
        answer = self.answer()
        assert "error" not in answer, answer
        checks.check_secret(answer["code"])
        return answer["code"]

    def succeed(self, *, asked: Sequence[str] = (), **token_form: str) -> Outcome:
        """Everything that is checked of a flow that works; `asked` are claims that may stand in the ID token."""
        answer, words = self.answer(), self.rp.variant.words
        assert "error" not in answer, answer
        assert answer.get("state") == self.request.get("state")
        assert answer["iss"] == self.rp.op.issuer
        front, keys = None, self.rp.op.keys()
        for word, name in (("code", "code"), ("token", "access_token"), ("id_token", "id_token")):
            assert (word in words) == (name in answer), (name, answer)
        if "token" in words:
            assert answer["token_type"].lower() == "bearer"
            checks.check_secret(answer["access_token"])
            checks.check_expires_in(int(answer["expires_in"]))
        if "id_token" in words:
            front = self._id_token(answer["id_token"], keys, asked)
            checks.check_hash(front[1], "at_hash", answer.get("access_token", ""), required="token" in words)
            checks.check_hash(front[1], "c_hash", answer.get("code", ""), required="code" in words)
        if "code" in words:
            return self._redeem(answer, front, keys, asked, token_form)
        assert front is not None
        access_token = answer.get("access_token")
        userinfo = self._userinfo(access_token, front[1]) if access_token else None
        return Outcome(answer, front[1], answer["id_token"], front[0], {}, access_token, userinfo)

    def _redeem(
        self,
        answer: dict[str, str],
        front: tuple[dict[str, Any], dict[str, Any]] | None,
        keys: Mapping[str, Any],
        asked: Sequence[str],
        form: Mapping[str, str],
    ) -> Outcome:
        checks.check_secret(answer["code"])
        tokens = checks.check_token_response(self.rp.redeem(answer["code"], self.request["redirect_uri"], **form))
        header, claims = self._id_token(tokens["id_token"], keys, asked)
        checks.check_hash(claims, "at_hash", tokens["access_token"], required=False)
        checks.check_hash(claims, "c_hash", answer["code"], required=False)
        if front is not None:
            assert (front[1]["iss"], front[1]["sub"]) == (claims["iss"], claims["sub"])
        userinfo = self._userinfo(tokens["access_token"], claims)
        if "access_token" in answer:
            self._userinfo(answer["access_token"], claims)
        return Outcome(answer, claims, tokens["id_token"], header, tokens, tokens["access_token"], userinfo)

    def _id_token(
        self, token: str, keys: Mapping[str, Any], asked: Sequence[str]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        header, payload = checks.verify(token, keys, self.rp.algorithm)
        claims = json.loads(payload)
        now = self.rp.op.gatepost.clock.now()
        checks.check_id_token(claims, self.rp.op.issuer, self.rp.client_id, self.request.get("nonce"), now)
        if not self.rp.userinfo_in_id_token():
            assert set(claims) <= checks.ID_TOKEN_CLAIMS.union(asked), "claims that nobody asked for"
        return header, claims

    def _userinfo(self, access_token: str, claims: Mapping[str, Any]) -> dict[str, Any] | None:
        if "userinfo_signed_response_alg" in self.rp.registration:
            return None
        told = self.rp.op.claims(access_token)
        assert told["sub"] == claims["sub"]
        return told
