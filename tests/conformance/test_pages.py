"""What the plans' browser automation holds on to: pages with URLs and ids of their own, and what they remember."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import pytest

from server.domain.demo_seed import EMAIL
from tests.conformance.suite import Browser, Landing, Provider, RelyingParty, Variant
from tests.conformance.variants import run_with

if TYPE_CHECKING:
    from tests.conformance.pages import Page

STATIC = (Variant(registration="static"),)


def at(landing: Landing, path: str, container: str) -> Page:
    """The page at `path`, whose container has `container` as its id."""
    assert landing.status == 200
    assert urlsplit(landing.page.url).path == path
    assert container in landing.page.ids
    return landing.page


def opened(rp: RelyingParty, browser: Browser, **changes: str) -> Landing:
    """The first page of an authorization request."""
    return browser.go(f"{rp.op.metadata['authorization_endpoint']}?{urlencode(rp.request(**changes))}")


@run_with(STATIC)
def test_pages_stand_at_urls_of_their_own_with_the_ids_they_are_known_by(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    login = opened(rp, browser)
    page = at(login, "/login", "login-page")
    assert "Sign in" in page.text
    assert {"username", "password", "login-submit", "login-cancel"} <= page.ids
    consent = browser.press(login, "login-submit", username=EMAIL, password=op.credentials.password)
    page = at(consent, "/consent", "consent-page")
    assert {"consent-approve", "consent-deny"} <= page.ids
    assert browser.press(consent, "consent-approve").left_for
    logout = browser.go(op.metadata["end_session_endpoint"])
    assert "logout-confirm" in at(logout, "/logout", "logout-page").ids
    end = browser.press(logout, "logout-confirm")
    assert "Signed out" in at(end, "/signed-out", "logged-out").text


@run_with(STATIC)
def test_no_page_needs_a_script(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    login = opened(rp, browser)
    consent = browser.press(login, "login-submit", username=EMAIL, password=op.credentials.password)
    browser.press(consent, "consent-approve")
    logout = browser.go(op.metadata["end_session_endpoint"])
    end = browser.press(logout, "logout-confirm")
    assert [landing.page.scripts for landing in (login, consent, logout, end)] == [[]] * 4


@pytest.mark.parametrize("page", ["login", "consent"])
@run_with(STATIC)
def test_cancel_leads_back_to_the_client_on_either_page(op: Provider, rp: RelyingParty, page: str) -> None:
    browser = op.browser()
    landing = opened(rp, browser)
    if page == "consent":
        landing = browser.press(landing, "login-submit", username=EMAIL, password=op.credentials.password)
    landing = browser.press(landing, "login-cancel" if page == "login" else "consent-deny")
    assert landing.left_for is not None
    assert "error=access_denied" in landing.left_for


@run_with(STATIC)
@pytest.mark.spec("OpenID Connect Core §3.1.2.4")
def test_consent_is_remembered_unless_more_or_a_new_one_is_asked_for(op: Provider, rp: RelyingParty) -> None:
    first = rp.visit(scope="openid email")
    assert "/consent" in first.pages
    for scope, changes, is_asked in (
        ("openid email", {}, False),
        ("openid", {}, False),
        ("openid email", {"prompt": "consent"}, True),
        ("openid email phone", {}, True),
        ("openid phone", {}, False),
    ):
        again = rp.visit(op.browser(), scope=scope, **changes)
        assert ("/consent" in again.pages) == is_asked, (scope, changes)
        again.succeed()
