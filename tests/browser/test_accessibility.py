"""Every page a person can meet: clean for axe (WCAG 2.2 AA) in every look, whole at 320 pixels, without scripts too."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.clients import Complaints, fill_in
from tests.interop.conftest import node_project  # noqa: F401  axe-core comes with the Node project
from tests.interop.registry import Account, create_account
from tests.support.servers import Server, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": DESKTOP},
    "dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "phone": {"color_scheme": "light", "viewport": PHONE},
    "dark phone": {"color_scheme": "dark", "viewport": PHONE},
}
CHALLENGE = f"&scope=openid%20profile&code_challenge={'a' * 43}&code_challenge_method=S256"
EVERY_STOP = [
    "home", "try it", "request", "sign in", "sign in refused", "consent", "run", "run continued", "program",
    "account chooser", "confirm", "form post", "consent to a program of the device", "refused client", "sign out",
    "signed out",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server(tmp_path_factory.mktemp("accessibility"), "dev") as running:
        yield running


@pytest.fixture
def account(server: Server) -> Account:
    return create_account(server, "Ada Lovelace")


@pytest.fixture(scope="module")
def axe(node_project: Path) -> str:  # noqa: F811
    return (node_project / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def prepare(page: "Page", server: Server, prompt: str) -> None:
    """Prepares a request on the try-it page and stays in front of it."""
    page.goto(server.url("/dev/try"))
    page.check(f"input[name=prompt][value='{prompt}']")
    page.click("#try-start")
    page.wait_for_selector("#try-continue")


def stops(page: "Page", server: Server, account: Account) -> Iterator[str]:
    """Walks through every page; yields its name while the browser stands on it, stylesheet and all."""
    for walk in (first_stops(page, server, account), later_stops(page, server)):
        for stop in walk:
            page.wait_for_load_state("load")
            yield stop


def first_stops(page: "Page", server: Server, account: Account) -> Iterator[str]:
    """The pages that a newcomer meets, until the tokens are there."""
    page.goto(server.url("/"))
    yield "home"
    page.goto(server.url("/dev/try"))
    yield "try it"
    prepare(page, server, "consent")
    yield "request"
    page.click("#try-continue")
    yield "sign in"
    fill_in(page, account.email, "not the password")
    yield "sign in refused"
    fill_in(page, account.email, account.password)
    page.wait_for_selector("#consent-approve")
    yield "consent"
    page.click("#consent-approve")
    page.wait_for_selector("#try-refresh")
    yield "run"
    for button in ("#try-userinfo", "#try-introspect", "#try-refresh", "#try-replay", "#try-revoke"):
        page.click(button)
    yield "run continued"
    page.goto(server.url("/dev/try"))
    page.click("#try-machine")
    yield "program"


def later_stops(page: "Page", server: Server) -> Iterator[str]:
    """The pages that somebody meets who is signed in already, until signed out."""
    prepare(page, server, "select_account")
    page.click("#try-continue")
    page.wait_for_selector("button[name=choose]")
    yield "account chooser"
    prepare(page, server, "login")
    page.click("#try-continue")
    page.wait_for_selector("#login-page")
    yield "confirm"
    prepare(page, server, "")
    page.goto(f"{page.get_attribute('#try-continue', 'href')}&response_mode=form_post")
    page.wait_for_selector("#form-post")
    yield "form post"
    callback = server.url("/dev/try/callback")
    page.goto(server.url(f"/oauth/authorize?response_type=code&client_id=demo-spa&redirect_uri={callback}{CHALLENGE}"))
    page.wait_for_selector(".notice")
    yield "consent to a program of the device"
    page.goto(server.url("/oauth/authorize?response_type=code&client_id=nobody"))
    page.wait_for_selector("#error-page")
    yield "refused client"
    page.goto(server.url("/logout"))
    yield "sign out"
    page.click("#logout-confirm")
    page.wait_for_selector("#logged-out")
    yield "signed out"


def new_page(chromium: "Browser", **look: Any) -> "Page":
    """A browser of its own that stays on the form_post page instead of leaving it by script."""
    context = chromium.new_context(**look)
    context.set_default_timeout(45_000)
    context.route("**/form_post.js*", lambda route: route.fulfill(content_type="text/javascript", body=""))
    return context.new_page()


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible_when_seen(
    chromium: "Browser", server: Server, account: Account, axe: str, look: str
) -> None:
    page = new_page(chromium, **LOOKS[look])
    complaints = Complaints()
    complaints.listen(page.context)
    seen, faults, titles = [], [], {}
    for stop in stops(page, server, account):
        seen.append(stop)
        titles[stop] = page.title()
        page.evaluate(axe)
        found = page.evaluate("(rules) => axe.run(document, {runOnly: rules})", RULES)
        faults += [f"{stop}: {fault['id']} {node['html']}" for fault in found["violations"] for node in fault["nodes"]]
    page.context.close()
    assert faults == []
    assert seen == EVERY_STOP
    assert len({titles[stop] for stop in EVERY_STOP} - {""}) >= len(EVERY_STOP) - 2, titles
    assert [text for text in complaints.found if "status of 4" not in text] == []


def test_no_page_scrolls_sideways_when_320_pixels_wide(chromium: "Browser", server: Server, account: Account) -> None:
    page = new_page(chromium, viewport={"width": 320, "height": 640})
    widths = {stop: page.evaluate("document.documentElement.scrollWidth") for stop in stops(page, server, account)}
    page.context.close()
    assert {stop: width for stop, width in widths.items() if width > 320} == {}


def test_every_step_works_when_scripts_are_off(chromium: "Browser", server: Server, account: Account) -> None:
    page = new_page(chromium, java_script_enabled=False)
    seen = []
    for stop in stops(page, server, account):
        seen.append(stop)
        assert page.locator("h1").count() == 1, stop
    page.context.close()
    assert seen == EVERY_STOP
