"""`session_state`, computed again as the frame computes it."""

import hashlib
from dataclasses import dataclass

import pytest

from server.domain.browsers import Browser
from server.domain.redirect_uris import origin_of
from server.protocol.session_management import browser_state, session_state


@dataclass
class SomeBrowser:
    secret_digest: str = "d" * 64
    current_session_id: str | None = "a-session"


def some_browser(**values: str | None) -> Browser:
    return SomeBrowser(**values)  # type: ignore[return-value, arg-type]


@pytest.mark.spec("Session Management 1.0 §3.2")
def test_state_holds_for_client_origin_and_browser_together() -> None:
    browser = some_browser()
    told, _, salt = session_state("app", "https://app.example/cb?x=1", browser).partition(".")
    message = f"app https://app.example {browser_state(browser)} {salt}"
    assert told == hashlib.sha256(message.encode()).hexdigest()
    assert len(salt) >= 22


def test_state_differs_each_time_and_has_no_space() -> None:
    states = {session_state("app", "https://app.example/cb", some_browser()) for _ in range(20)}
    assert len(states) == 20
    assert not any(" " in state for state in states)


@pytest.mark.parametrize("change", [{"secret_digest": "e" * 64}, {"current_session_id": None}])
def test_browser_state_changes_with_the_cookie_and_with_the_session(change: dict[str, str | None]) -> None:
    assert browser_state(some_browser(**change)) != browser_state(some_browser())
    assert browser_state(None) not in {browser_state(some_browser(**change)), browser_state(some_browser())}


def test_browser_state_does_not_show_what_it_comes_from() -> None:
    browser = some_browser()
    assert browser.secret_digest not in browser_state(browser)
    assert "a-session" not in browser_state(browser)


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://app.example/cb", "https://app.example"),
        ("https://app.example:443/cb", "https://app.example"),
        ("https://app.example:8443/cb?a=b", "https://app.example:8443"),
        ("http://localhost:9000/cb", "http://localhost:9000"),
        ("http://127.0.0.1/cb", "http://127.0.0.1"),
        ("http://[::1]:9000/cb", "http://[::1]:9000"),
        ("com.example.app:/cb", "null"),
    ],
)
@pytest.mark.spec("RFC 6454 §6.2")
def test_origin_is_written_as_browsers_write_it(uri: str, origin: str) -> None:
    assert origin_of(uri) == origin
