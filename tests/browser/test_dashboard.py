"""The dashboard in a real browser: clean for axe in every look, whole at 320 pixels, by keyboard, without scripts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.clients import Complaints, fill_in
from tests.browser.test_accessibility import LOOKS, RULES
from tests.interop.conftest import node_project  # noqa: F401  axe-core comes with the Node project
from tests.interop.registry import Account, create_account
from tests.support.servers import Server, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

#: Where each look of each page is put as a picture, for people to look at; by default nowhere.
SCREENSHOTS = os.environ.get("GATEPOST_TEST_SCREENSHOTS")
EVERY_STOP = [
    "no organization", "new organization", "overview", "organization menu", "no keys", "new key", "new key refused",
    "key shown once", "keys", "key", "edit key", "rotate key", "successor shown once", "key being replaced",
    "revoke key", "key revoked", "ended keys", "members", "invite", "invite refused", "link shown once",
    "members invited", "withdraw", "member", "last owner stays", "leave", "roles", "new role", "own roles", "role",
    "delete role", "settings", "delete organization", "delete refused", "test environment", "not found", "chooser",
    "confirmed",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server(tmp_path_factory.mktemp("dashboard"), "dev") as running:
        yield running


@pytest.fixture
def account(server: Server) -> Account:
    return create_account(server, "Ada Lovelace")


@pytest.fixture(scope="module")
def axe(node_project: Path) -> str:  # noqa: F811
    return (node_project / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def stops(page: Page, server: Server, account: Account) -> Iterator[str]:
    """Walks through every page; yields its name while the browser stands on it, stylesheet and all."""
    first = (organization_stops(page, server, account), key_stops(page))
    for walk in (*first, member_stops(page, account), last_stops(page, server)):
        for stop in walk:
            page.wait_for_load_state("load")
            yield stop


def section(page: Page, label: str) -> None:
    """Goes to a section by the navigation, and waits until all of its page is there."""
    page.click(f"nav.sections a:text-is('{label}')")
    page.wait_for_load_state("load")


def organization_stops(page: Page, server: Server, account: Account) -> Iterator[str]:
    page.goto(server.url("/dashboard"))
    fill_in(page, account.email, account.password)
    page.wait_for_selector("#organizations-page")
    yield "no organization"
    page.click("main a.button")
    yield "new organization"
    page.fill("#name", "Donaudampfschifffahrtsgesellschaft für Binnenverkehr")
    page.click("#submit")
    page.wait_for_selector("#overview-page")
    yield "overview"
    page.click(".organizations > summary")
    yield "organization menu"
    page.click(".organizations > summary")


def key_stops(page: Page) -> Iterator[str]:
    section(page, "API keys")
    page.wait_for_selector("#api-keys-page")
    yield "no keys"
    page.click("main a.button")
    yield "new key"
    page.fill("#name", "Night job")
    page.fill("#rate_limit_per_minute", "many")
    page.fill("#patterns", "users:read")
    page.click("#submit")
    page.wait_for_selector("#problem")
    yield "new key refused"
    page.fill("#rate_limit_per_minute", "")
    page.click("#submit")
    page.wait_for_selector("#created-api-key-page")
    yield "key shown once"
    section(page, "API keys")
    yield "keys"
    page.click("a.name:has-text('Night job')")
    page.wait_for_selector("#api-key-page")
    yield "key"
    page.click("main a:text-is('Edit')")
    yield "edit key"
    page.click("#submit")
    page.click("main a:text-is('Rotate')")
    yield "rotate key"
    page.click("#submit")
    page.wait_for_selector("#created-api-key-page")
    yield "successor shown once"
    section(page, "API keys")
    page.click("tr:has-text('Being replaced') a.name")
    yield "key being replaced"
    page.click("#revoke")
    page.wait_for_selector("#question-page")
    yield "revoke key"
    page.click("#submit")
    page.wait_for_selector("#api-key-page")
    yield "key revoked"
    section(page, "API keys")
    page.click(".tabs a:has-text('Ended')")
    yield "ended keys"


def member_stops(page: Page, account: Account) -> Iterator[str]:
    section(page, "Members")
    page.wait_for_selector("#members-page")
    yield "members"
    page.click("#primary-action")
    yield "invite"
    page.fill("#email", account.email)
    page.click("#submit")
    page.wait_for_selector("#problem")
    yield "invite refused"
    page.fill("#email", "maximiliane.hohenstaufen@verwaltungsgesellschaft.example")
    page.click("#submit")
    page.wait_for_selector("#invitation-link-page")
    yield "link shown once"
    section(page, "Members")
    yield "members invited"
    page.click("a:has-text('Withdraw')")
    yield "withdraw"
    page.click("#submit")
    page.wait_for_selector("#members-page")
    page.click("a:has-text('Change')")
    page.wait_for_selector("#member-page")
    yield "member"
    page.check("input[name=role][value=member]")
    page.click("#submit")
    page.wait_for_selector("#problem")
    yield "last owner stays"
    section(page, "Settings")
    page.click("a:text-is('Leave…')")
    yield "leave"


def last_stops(page: Page, server: Server) -> Iterator[str]:
    section(page, "Roles")
    page.wait_for_selector("#roles-page")
    yield "roles"
    page.click("#primary-action")
    yield "new role"
    page.fill("#name", "release-manager")
    page.check("input[name=permissions][value='audit:read']")
    page.click("#submit")
    page.wait_for_selector("#roles-page")
    yield "own roles"
    page.click("main h3 a")
    page.wait_for_selector("#role-page")
    yield "role"
    page.click("a:text-is('Delete…')")
    yield "delete role"
    section(page, "Settings")
    page.wait_for_selector("#settings-page")
    yield "settings"
    page.click("#delete")
    page.wait_for_selector("#question-page")
    yield "delete organization"
    page.fill("#typed_name", "Something else")
    page.click("#submit")
    page.wait_for_selector("#problem")
    yield "delete refused"
    page.click(".environments a:text-is('Test')")
    page.wait_for_selector(".sandbox")
    yield "test environment"
    page.goto(server.url("/dashboard/nobody/live"))
    page.wait_for_selector("#refused-page")
    yield "not found"
    page.goto(server.url("/dashboard?all"))
    page.wait_for_selector("#organizations-page")
    yield "chooser"
    page.goto(server.url("/dashboard/confirmed"))
    page.wait_for_selector("#confirmed-page")
    yield "confirmed"


def new_page(chromium: Browser, **look: Any) -> Page:
    context = chromium.new_context(**look)
    context.set_default_timeout(45_000)
    return context.new_page()


def take_picture(page: Page, stop: str, look: str) -> None:
    if SCREENSHOTS:
        name = f"dashboard-{stop}-{look}.png".replace(" ", "-")
        page.screenshot(path=Path(SCREENSHOTS) / name, full_page=True)


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible_when_seen(
    chromium: Browser, server: Server, account: Account, axe: str, look: str
) -> None:
    page = new_page(chromium, **LOOKS[look])
    complaints = Complaints()
    complaints.listen(page.context)
    seen, faults = [], []
    for stop in stops(page, server, account):
        seen.append(stop)
        take_picture(page, stop, look)
        assert page.title().startswith("Error: ") == (stop.endswith(("refused", "stays")) or stop == "not found"), stop
        page.evaluate(axe)
        found = page.evaluate("(rules) => axe.run(document, {runOnly: rules})", RULES)
        faults += [f"{stop}: {fault['id']} {node['html']}" for fault in found["violations"] for node in fault["nodes"]]
    page.context.close()
    assert faults == []
    assert seen == EVERY_STOP
    assert [text for text in complaints.found if "status of 4" not in text] == []


@pytest.mark.parametrize("direction", ["ltr", "rtl"])
def test_no_page_scrolls_sideways_when_320_pixels_wide(
    chromium: Browser, server: Server, account: Account, direction: str
) -> None:
    page = new_page(chromium, viewport={"width": 320, "height": 640})
    widths = {}
    for stop in stops(page, server, account):
        page.evaluate("(direction) => document.documentElement.dir = direction", direction)
        widths[stop] = page.evaluate("document.documentElement.scrollWidth")
        take_picture(page, stop, f"320-{direction}")
    page.context.close()
    assert {stop: width for stop, width in widths.items() if width > 320} == {}


def test_every_step_works_when_scripts_are_off(chromium: Browser, server: Server, account: Account) -> None:
    page = new_page(chromium, java_script_enabled=False)
    seen = []
    for stop in stops(page, server, account):
        seen.append(stop)
        assert page.locator("h1").count() == 1, stop
        assert page.locator("[data-copy]:visible").count() == 0, stop
    page.context.close()
    assert seen == EVERY_STOP


def at_new_key(chromium: Browser, server: Server, account: Account, **look: Any) -> Page:
    """A browser in front of the form for a new key."""
    page = new_page(chromium, **look)
    for stop in organization_stops(page, server, account):
        assert stop in EVERY_STOP
    section(page, "API keys")
    page.click("main a.button")
    page.wait_for_selector("#new-api-key-page")
    return page


def test_everything_is_reached_when_only_the_keyboard_is_used(
    chromium: Browser, server: Server, account: Account
) -> None:
    page = at_new_key(chromium, server, account)
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "new-api-key-page"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(f"{focused}.id"))
        # Within a date, the browser itself shows where one is.
        is_seen = page.evaluate(f"getComputedStyle({focused}).outlineStyle") != "none"
        assert is_seen or reached[-1] == "expires_on", reached
        if reached[-1] == "submit":
            break
    wanted = ["name", "description", "patterns", "expires", "expires_on", "ip_allow_list", "rate_limit_per_minute"]
    assert [each for each in dict.fromkeys(reached) if each in {*wanted, "submit"}] == [*wanted, "submit"]
    page.focus(".organizations > summary")
    page.keyboard.press("Enter")
    assert page.locator(".organizations[open]").count() == 1
    page.keyboard.press("Escape")
    assert page.locator(".organizations[open]").count() == 0
    assert page.evaluate(f"{focused}.matches('.organizations > summary')")
    page.context.close()


def test_what_is_wrong_is_read_first_when_a_form_comes_back(
    chromium: Browser, server: Server, account: Account
) -> None:
    page = at_new_key(chromium, server, account)
    page.fill("#name", "Night job")
    page.fill("#ip_allow_list", "300.1.1.1")
    page.click("#submit")
    page.wait_for_selector("#problem")
    page.wait_for_function("document.activeElement.id === 'problem'")
    page.click("#problem a:text-is('Allowed addresses')")
    page.wait_for_function("document.activeElement.id === 'ip_allow_list'")
    described = page.get_attribute("#ip_allow_list", "aria-describedby")
    assert described == "ip_allow_list-hint ip_allow_list-error"
    assert page.get_attribute("#ip_allow_list", "aria-invalid") == "true"
    assert page.input_value("#name") == "Night job"
    page.context.close()


def test_key_is_in_the_clipboard_when_copied(chromium: Browser, server: Server, account: Account) -> None:
    page = at_new_key(chromium, server, account, permissions=["clipboard-read", "clipboard-write"])
    page.fill("#name", "Night job")
    page.fill("#patterns", "users:read")
    page.click("#submit")
    page.click(".secret [data-copy]")
    page.wait_for_selector(".secret .copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.text_content("#api-key")
    assert page.text_content("[role=status]") == "Copied."
    page.context.close()


def test_key_is_not_shown_again_when_the_browser_goes_back_or_reloads(
    chromium: Browser, server: Server, account: Account
) -> None:
    from playwright.sync_api import Error

    page = at_new_key(chromium, server, account)
    page.fill("#name", "Night job")
    page.fill("#patterns", "users:read")
    page.click("#submit")
    key = page.text_content("#api-key")
    assert key
    page.click("#key-kept")
    page.wait_for_selector("#api-key-page")
    assert key not in page.content()
    # The answer to the POST was kept by no cache: the browser would have to send the form again.
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()
    # The browser's own page about that is on its way still.
    page.wait_for_function("document.readyState === 'complete'")
    assert key not in (page.text_content("body") or "")
    page.goto(server.url("/dashboard"))
    section(page, "API keys")
    page.wait_for_selector("#api-keys-page tbody tr")
    assert page.locator("tbody tr").count() == 1
    page.context.close()
