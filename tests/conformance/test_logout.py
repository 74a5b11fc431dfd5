"""The modules of the four logout plans.

Plans: `oidcc-rp-initiated-logout-`, `oidcc-backchannel-rp-initiated-logout-`, `oidcc-frontchannel-rp-initiated-logout-`
and `oidcc-session-management-certification-test-plan`.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from joserfc import jwt

from server.web.outbox_worker import OutboxWorker
from tests.conformance import checks
from tests.conformance.suite import BASE, NOT_WITHOUT_PAGES, Browser, Landing, Outcome, Provider, RelyingParty, Variant
from tests.conformance.test_basic import LONG_STATE, unsigned
from tests.conformance.variants import run_with

if TYPE_CHECKING:
    from tests.conformance.conftest import Registrar
    from tests.conformance.listener import Listener

POST_LOGOUT = f"{BASE}/post_logout_redirect"
BACKCHANNEL_EVENT = {"http://schemas.openid.net/event/backchannel-logout": {}}
#: One of each kind of flow, and both ways to have a client.
VARIANTS = (Variant(), Variant("id_token"), Variant("code id_token token"), Variant(registration="static"))


@dataclass
class SignedIn:
    """A person who is signed in at a client, and may sign out there."""

    rp: RelyingParty
    browser: Browser
    outcome: Outcome

    def end(self, **changes: str | None) -> Landing:
        """Sends the logout request; None leaves a parameter out."""
        found: dict[str, str | None] = {
            "id_token_hint": self.outcome.id_token,
            "post_logout_redirect_uri": POST_LOGOUT,
            "state": LONG_STATE,
            **changes,
        }
        request = {name: value for name, value in found.items() if value is not None}
        self.browser.pages.clear()
        endpoint = self.rp.op.metadata["end_session_endpoint"]
        return self.browser.go(f"{endpoint}?{urlencode(request)}" if request else endpoint)

    def confirmed(self, landing: Landing) -> Landing:
        """Says yes where the page asks."""
        if any("logout-confirm" in form.buttons for form in landing.page.forms):
            return self.browser.press(landing, "logout-confirm")
        return landing

    def is_signed_in(self) -> bool:
        """Whether the person is still known, asked without a page."""
        exchange = self.rp.visit(self.browser, prompt="none")
        if "error" not in exchange.answer():
            exchange.succeed()
            return True
        exchange.refused(*NOT_WITHOUT_PAGES)
        return False


def sign_in(rp: RelyingParty) -> SignedIn:
    """Signs in at the client in a new browser."""
    browser = rp.op.browser()
    return SignedIn(rp, browser, rp.visit(browser).succeed())


@pytest.fixture
def signed_in(op: Provider, variant: Variant, register: Registrar) -> SignedIn:
    """A client with a post-logout redirect URI, and somebody who is signed in there."""
    return sign_in(register(op, variant, post_logout_redirect_uris=[POST_LOGOUT]))


def check_returned(landing: Landing, state: str | None = LONG_STATE) -> None:
    """The browser is back at the client, with the state and nothing else."""
    assert landing.left_for is not None, (landing.status, landing.page.text)
    address, _, query = landing.left_for.partition("?")
    assert address == POST_LOGOUT
    assert dict(parse_qsl(query, strict_parsing=bool(query))) == ({} if state is None else {"state": state})


def check_stayed(landing: Landing) -> None:
    """A page that names the fault, or that asks."""
    assert landing.left_for is None, landing.left_for
    if landing.status == 200:
        assert any("logout-confirm" in form.buttons for form in landing.page.forms)
    else:
        assert 400 <= landing.status < 500
        assert "error-page" in landing.page.ids
        assert len(landing.page.text) > 30


def check_signed_out(signed_in: SignedIn, landing: Landing) -> None:
    """A page says that the person is signed out, after a question perhaps; and so it is."""
    landing = signed_in.confirmed(landing)
    assert landing.left_for is None
    assert landing.status == 200
    assert "logged-out" in landing.page.ids
    assert "Signed out" in landing.page.text
    assert not signed_in.is_signed_in()


# --------------------------------------------------------------------------------------------------------- RP-initiated


@pytest.mark.spec("RP-Initiated Logout 1.0 §2.1")
def test_oidcc_rp_initiated_logout_discovery_endpoint_verification(op: Provider) -> None:
    checks.check_https(op.metadata["end_session_endpoint"])


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §2", "RP-Initiated Logout 1.0 §3")
def test_oidcc_rp_initiated_logout(signed_in: SignedIn) -> None:
    check_returned(signed_in.end())
    assert not signed_in.is_signed_in()


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §3")
def test_oidcc_rp_initiated_logout_no_state(signed_in: SignedIn) -> None:
    check_returned(signed_in.end(state=None), state=None)
    assert not signed_in.is_signed_in()


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §3")
def test_oidcc_rp_initiated_logout_bad_post_logout_redirect_uri(signed_in: SignedIn) -> None:
    check_stayed(signed_in.end(post_logout_redirect_uri=f"{POST_LOGOUT}/another"))


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §3")
def test_oidcc_rp_initiated_logout_query_added_to_post_logout_redirect_uri(signed_in: SignedIn) -> None:
    check_stayed(signed_in.end(post_logout_redirect_uri=f"{POST_LOGOUT}?foo=bar"))


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §4")
def test_oidcc_rp_initiated_logout_modified_id_token_hint(signed_in: SignedIn) -> None:
    check_stayed(signed_in.end(id_token_hint=unsigned(signed_in.outcome.claims)))
    assert signed_in.is_signed_in()


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §4")
def test_oidcc_rp_initiated_logout_bad_id_token_hint(signed_in: SignedIn) -> None:
    rp = signed_in.rp
    assert rp.key is not None
    claims = {**signed_in.outcome.claims, "iss": rp.client_id}
    check_stayed(signed_in.end(id_token_hint=jwt.encode({"alg": "RS256", "kid": rp.key.kid}, claims, rp.key)))
    assert signed_in.is_signed_in()


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_oidcc_rp_initiated_logout_no_id_token_hint(signed_in: SignedIn) -> None:
    check_stayed(signed_in.end(id_token_hint=None))
    assert signed_in.is_signed_in()


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_oidcc_rp_initiated_logout_no_params(signed_in: SignedIn) -> None:
    check_signed_out(signed_in, signed_in.end(id_token_hint=None, post_logout_redirect_uri=None, state=None))


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_oidcc_rp_initiated_logout_no_post_logout_redirect_uri(signed_in: SignedIn) -> None:
    check_signed_out(signed_in, signed_in.end(post_logout_redirect_uri=None))


@run_with(VARIANTS)
@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_oidcc_rp_initiated_logout_only_state(signed_in: SignedIn) -> None:
    check_signed_out(signed_in, signed_in.end(id_token_hint=None, post_logout_redirect_uri=None))


# --------------------------------------------------------------------------------------------------------- back channel


@pytest.mark.spec("Back-Channel Logout 1.0 §2.1")
def test_oidcc_backchannel_logout_discovery_endpoint_verification(op: Provider) -> None:
    checks.check_https(op.metadata["end_session_endpoint"])
    assert op.metadata["backchannel_logout_supported"] is True
    assert op.metadata["backchannel_logout_session_supported"] is True


@pytest.mark.slow
@run_with(VARIANTS[:3])
@pytest.mark.spec("Back-Channel Logout 1.0 §2.4", "Back-Channel Logout 1.0 §2.5")
def test_oidcc_backchannel_rp_initiated_logout(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    path = "/backchannel_logout"
    rp = register(
        trusting_op,
        variant,
        post_logout_redirect_uris=[POST_LOGOUT],
        backchannel_logout_uri=listener.url(path),
        backchannel_logout_session_required=True,
    )
    signed_in = sign_in(rp)
    worker = OutboxWorker(trusting_op.gatepost.runtime, interval_seconds=0.05)
    worker.start()
    try:
        check_returned(signed_in.end())
        request = waited_for(listener, path)
    finally:
        worker.stop()
        worker.join()
    assert (request.method, request.content_type) == ("POST", "application/x-www-form-urlencoded")
    assert request.tls == "TLSv1.3"
    form = dict(parse_qsl(request.body, strict_parsing=True))
    assert set(form) == {"logout_token"}
    check_logout_token(trusting_op, rp, form["logout_token"], signed_in.outcome.claims)
    assert not signed_in.is_signed_in()


def waited_for(listener: Listener, path: str) -> Any:
    """The one request that comes to `path`, within a minute."""
    deadline = time.monotonic() + 60
    while not listener.requests(path) and time.monotonic() < deadline:
        time.sleep(0.02)
    (request,) = listener.requests(path)
    return request


def check_logout_token(op: Provider, rp: RelyingParty, token: str, id_token: dict[str, Any]) -> None:
    """OpenID Connect Back-Channel Logout 1.0 §2.4."""
    header, payload = checks.verify(token, op.keys())
    claims = json.loads(payload)
    assert header.get("typ", "logout+jwt").lower() == "logout+jwt"
    assert claims["iss"] == op.issuer
    assert claims["aud"] in (rp.client_id, [rp.client_id])
    assert abs(claims["iat"] - op.now()) <= checks.MINUTES_5
    assert claims["jti"]
    assert claims["events"] == BACKCHANNEL_EVENT
    assert "nonce" not in claims
    assert (claims["sub"], claims["sid"]) == (id_token["sub"], id_token["sid"])


# -------------------------------------------------------------------------------------------------------- front channel


@pytest.mark.spec("Front-Channel Logout 1.0 §3")
def test_oidcc_frontchannel_logout_discovery_endpoint_verification(op: Provider) -> None:
    checks.check_https(op.metadata["end_session_endpoint"])
    assert op.metadata["frontchannel_logout_supported"] is True
    assert op.metadata["frontchannel_logout_session_supported"] is True


@run_with(VARIANTS[:3])
@pytest.mark.spec("Front-Channel Logout 1.0 §2", "Front-Channel Logout 1.0 §3")
def test_oidcc_frontchannel_rp_initiated_logout(op: Provider, variant: Variant, register: Registrar) -> None:
    """The page loads the client's and goes on afterwards, with a script or without one."""
    uri = f"{BASE}/frontchannel_logout"
    metadata = {"frontchannel_logout_uri": uri, "frontchannel_logout_session_required": True}
    rp = register(op, variant, post_logout_redirect_uris=[POST_LOGOUT], **metadata)
    signed_in = sign_in(rp)
    page = signed_in.end().page
    (frame,) = page.frames
    assert frame.partition("?")[0] == uri
    told = dict(parse_qsl(urlsplit(frame).query, strict_parsing=True))
    assert told == {"iss": op.issuer, "sid": signed_in.outcome.claims["sid"]}
    target = f"{POST_LOGOUT}?{urlencode({'state': LONG_STATE})}"
    assert page.links == [target], "where the script goes when the frames have loaded"
    assert len(page.scripts) == 1
    assert page.refresh is not None
    seconds, _, address = page.refresh.partition(";")
    assert int(seconds) >= 1, "without scripts: time enough for the frames"
    assert address.strip() == f"url={target}"
    assert not signed_in.is_signed_in()


# --------------------------------------------------------------------------------------------------- session management


@pytest.mark.spec("Session Management 1.0 §3.3")
def test_oidcc_session_management_discovery_endpoint_verification(op: Provider) -> None:
    checks.check_https(op.metadata["check_session_iframe"])


@run_with(VARIANTS)
@pytest.mark.spec("Session Management 1.0 §3.2")
def test_oidcc_session_management_rp_initiated_logout(signed_in: SignedIn) -> None:
    """What the frame's script computes in a browser; `test_over_tls.py` has one run it."""
    session_state = signed_in.outcome.answer["session_state"]
    assert frame_says(signed_in, session_state) == "unchanged"
    check_returned(signed_in.end())
    assert frame_says(signed_in, session_state) == "changed"
    assert not signed_in.is_signed_in()


def frame_says(signed_in: SignedIn, session_state: str) -> str:
    """The frame's answer to a page of the client: equal digests of client, origin, browser state and salt."""
    op = signed_in.rp.op
    response = op.http("GET", op.metadata["check_session_iframe"])
    assert response.status_code == 200
    assert "X-Frame-Options" not in response.headers
    assert "frame-ancestors 'none'" not in response.headers["Content-Security-Policy"]
    name = response.text.partition('data-cookie="')[2].partition('"')[0]
    cookie = signed_in.browser.client.get_cookie(name, domain=urlsplit(op.issuer).hostname or "")
    assert cookie is not None
    digest, _, salt = session_state.partition(".")
    parts = urlsplit(BASE)
    told = f"{signed_in.rp.client_id} {parts.scheme}://{parts.netloc} {cookie.value} {salt}"
    return "unchanged" if hashlib.sha256(told.encode()).hexdigest() == digest else "changed"
