"""Signing out in a real browser: frames that are waited for, with scripts and without, and pages that notice."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import requests

from tests.browser.clients import Complaints, Relying, fill_in
from tests.browser.signing_out import App, running_app
from tests.browser.test_accessibility import LOOKS, RULES, axe  # noqa: F401  the same rules for these pages
from tests.interop.conftest import node_project  # noqa: F401  axe-core comes with the Node project
from tests.interop.registry import Account, RegisteredClient, create_account, create_client
from tests.support.servers import Server, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server(tmp_path_factory.mktemp("signing-out"), "serve") as running:
        yield running


@pytest.fixture(scope="module")
def ada(server: Server) -> Account:
    return create_account(server, "Ada Lovelace")


class Apps:
    """Applications with a client each, which end with the test."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server, self.stack = server, stack

    def __call__(self, *, has_front: bool = True, **options: Any) -> tuple[App, RegisteredClient]:
        app = self.stack.enter_context(running_app(frame=self.server.url("/oauth/check-session"), **options))
        uris = ["--post-logout-redirect-uri", app.signed_out_uri]
        uris += ["--frontchannel-logout-uri", app.front_uri] if has_front else []
        return app, create_client(self.server, "web", *uris, redirect_uri=app.callback_uri)


@pytest.fixture
def apps(server: Server) -> Iterator[Apps]:
    with ExitStack() as stack:
        yield Apps(server, stack)


def sign_in(page: "Page", server: Server, client: RegisteredClient, account: Account, app: App) -> dict[str, str]:
    """Signs in at the application; returns its ID token, sid and session_state."""
    relying = Relying(server, client)
    page.goto(relying.url())
    if page.locator("#username").count():
        fill_in(page, account.email, account.password)
    page.click("#consent-approve")
    page.wait_for_selector("#arrived")
    answer = app.callbacks[-1]
    form = {"grant_type": "authorization_code", "code": answer["code"], "code_verifier": relying.verifier}
    form |= {"redirect_uri": client.redirect_uri}
    pair = (client.client_id, client.client_secret)
    tokens = requests.post(server.url("/oauth/token"), data=form, auth=pair, timeout=10).json()
    return {"id_token": tokens["id_token"], "session_state": answer.get("session_state", "")}


def logout_url(server: Server, hint: str, app: App) -> str:
    query = {"id_token_hint": hint, "post_logout_redirect_uri": app.signed_out_uri, "state": "s" * 128}
    return f"{server.url('/logout')}?{urlencode(query)}"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
@pytest.mark.spec("Front-Channel Logout 1.0 §2")
def test_page_goes_on_when_all_frames_have_loaded(
    chromium: "Browser", server: Server, ada: Account, apps: Apps, scripts: bool
) -> None:
    context = chromium.new_context(java_script_enabled=scripts)
    complaints = Complaints()
    complaints.listen(context)
    page = context.new_page()
    (slow, first), (quick, second) = apps(front_seconds=1.5), apps()
    hint = sign_in(page, server, first, ada, slow)["id_token"]
    sign_in(page, server, second, ada, quick)
    page.goto(logout_url(server, hint, slow), wait_until="commit")
    page.wait_for_url(f"{slow.signed_out_uri}?state={'s' * 128}", timeout=45_000)
    assert slow.returns == [{"state": "s" * 128}]
    assert slow.answered[0] < slow.returned[0]
    for app in (slow, quick):
        (told,) = app.fronts
        assert sorted(told) == ["iss", "sid"]
        assert told["iss"] == server.issuer
    page.goto(Relying(server, first).url(prompt="none"))
    assert slow.callbacks[-1]["error"] == "login_required"
    context.close()
    assert complaints.found == []


def test_page_goes_on_when_a_frame_never_loads(
    browser_context: "BrowserContext", server: Server, ada: Account, apps: Apps
) -> None:
    page = browser_context.new_page()
    app, client = apps(front_seconds=None)
    hint = sign_in(page, server, client, ada, app)["id_token"]
    began = time.monotonic()
    page.goto(logout_url(server, hint, app), wait_until="commit")
    page.wait_for_url(f"{app.signed_out_uri}**", timeout=45_000)
    assert time.monotonic() - began > 4


def test_person_is_asked_and_comes_back_when_the_app_shows_no_id_token(
    browser_context: "BrowserContext", server: Server, ada: Account, apps: Apps
) -> None:
    complaints = Complaints()
    complaints.listen(browser_context)
    page = browser_context.new_page()
    app, client = apps(has_front=False)
    sign_in(page, server, client, ada, app)
    query = {"client_id": client.client_id, "post_logout_redirect_uri": app.signed_out_uri}
    page.goto(f"{server.url('/logout')}?{urlencode(query)}")
    page.click("#logout-confirm")
    page.wait_for_url(app.signed_out_uri)
    assert complaints.found == []


@pytest.mark.spec("RP-Initiated Logout 1.0 §2")
def test_form_of_the_app_signs_out_when_it_is_posted_across_sites(
    browser_context: "BrowserContext", server: Server, ada: Account, apps: Apps
) -> None:
    """The browser sends no cookie with such a POST; it does with the GET that follows."""
    page = browser_context.new_page()
    app, client = apps(has_front=False)
    hint = sign_in(page, server, client, ada, app)["id_token"]
    page.goto(f"{app.origin}/")
    page.evaluate(
        """([action, fields]) => {
            const form = Object.assign(document.createElement("form"), {action, method: "post"});
            for (const [name, value] of Object.entries(fields))
                form.append(Object.assign(document.createElement("input"), {type: "hidden", name, value}));
            document.body.append(form);
            form.submit();
        }""",
        [server.url("/logout"), {"id_token_hint": hint, "post_logout_redirect_uri": app.signed_out_uri}],
    )
    page.wait_for_url(app.signed_out_uri)
    page.goto(server.url("/"))
    assert "You are signed in" not in (page.text_content("body") or "")


def answer_to(page: "Page", message: str) -> str:
    """What the frame says to a message of the application's page."""
    page.evaluate("document.getElementById('answer').textContent = ''")
    page.evaluate("(message) => ask(message)", message)
    page.wait_for_function("document.getElementById('answer').textContent !== ''")
    return page.text_content("#answer") or ""


@pytest.mark.spec("Session Management 1.0 §3.1", "Session Management 1.0 §3.2")
def test_app_notices_when_the_person_signs_out_in_another_tab(
    browser_context: "BrowserContext", server: Server, ada: Account, apps: Apps
) -> None:
    complaints = Complaints()
    complaints.listen(browser_context)
    page = browser_context.new_page()
    # On http the cookie is of our own site, as this one is.
    app, client = apps(has_front=False, host="localhost")
    known = f"{client.client_id} {sign_in(page, server, client, ada, app)['session_state']}"
    page.goto(f"{app.origin}/watching")
    assert answer_to(page, known) == "unchanged"
    assert answer_to(page, known.replace(client.client_id, "another")) == "changed"
    for message in ("", "nonsense", client.client_id, f"{known} more", known[:-1] + "-"):
        assert answer_to(page, message) == "error", message
    other = browser_context.new_page()
    other.goto(server.url("/logout"))
    assert answer_to(page, known) == "unchanged"
    other.click("#logout-confirm")
    other.wait_for_selector("#logged-out")
    assert answer_to(page, known) == "changed"
    assert complaints.found == []


def test_session_state_is_worth_nothing_to_a_page_of_another_origin(
    browser_context: "BrowserContext", server: Server, ada: Account, apps: Apps
) -> None:
    page = browser_context.new_page()
    app, client = apps(has_front=False, host="localhost")
    another, _ = apps(has_front=False, host="localhost")
    known = f"{client.client_id} {sign_in(page, server, client, ada, app)['session_state']}"
    page.goto(f"{another.origin}/watching")
    assert answer_to(page, known) == "changed"


def test_frame_says_error_when_the_browser_keeps_its_cookie_from_it(
    browser_context: "BrowserContext", server: Server, ada: Account, apps: Apps
) -> None:
    """The page is of another site (127.0.0.1, not localhost), and a Lax cookie is not there in its frames."""
    page = browser_context.new_page()
    app, client = apps(has_front=False)
    known = f"{client.client_id} {sign_in(page, server, client, ada, app)['session_state']}"
    page.goto(f"{app.origin}/watching")
    assert answer_to(page, known) == "error"


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_of_signing_out_is_accessible_when_seen(
    chromium: "Browser",
    server: Server,
    ada: Account,
    apps: Apps,
    axe: str,  # noqa: F811
    look: str,
    tmp_path: Path,
) -> None:
    context = chromium.new_context(**LOOKS[look])
    page = context.new_page()
    (app, client), (other, second) = apps(front_seconds=None), apps(front_seconds=None)
    sign_in(page, server, client, ada, app)
    sign_in(page, server, second, ada, other)
    faults: list[str] = []

    def check(name: str) -> None:
        page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
        page.evaluate(axe)
        found = page.evaluate("(rules) => axe.run(document, {runOnly: rules, iframes: false})", RULES)
        faults.extend(f"{name}: {fault['id']} {fault['nodes'][0]['html']}" for fault in found["violations"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name

    query = {"client_id": client.client_id, "post_logout_redirect_uri": app.signed_out_uri}
    page.goto(f"{server.url('/logout')}?{urlencode({**query, 'post_logout_redirect_uri': 'https://evil.test/'})}")
    check("error")
    page.goto(f"{server.url('/logout')}?{urlencode(query)}")
    check("asked")
    page.click("#logout-confirm", no_wait_after=True)
    page.wait_for_selector("#frontchannel-continue")
    check("frames")
    page.goto(f"{server.url('/logout')}?{urlencode(query)}")
    page.wait_for_selector("#go-on")
    check("onward")
    context.close()
    assert faults == []
