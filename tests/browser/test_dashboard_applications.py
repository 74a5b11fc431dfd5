"""Applications and the audit log in a browser: clean for axe in every look, whole at 320 pixels, by keyboard alone, and
without scripts."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.browser.test_accessibility import LOOKS, RULES
from tests.interop.conftest import node_project  # noqa: F401  axe-core comes with the Node project
from tests.interop.registry import Account, create_account
from tests.support.servers import Server, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

CALLBACK = "https://shop.example/callback"
EVERY_STOP = [
    "no application", "types", "form", "refused form", "secret", "application", "two secrets", "end secret", "logo",
    "refused logo", "application with logo", "change", "quick start", "try it", "answer", "disable", "disabled",
    "delete", "machine", "list", "audit log", "refused search", "nothing found", "test environment",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    scopes = {"orders:read": "Read your orders", "orders:write": {"sentence": "Change your orders", "sensitive": True}}
    settings = {"GATEPOST_SCOPES": json.dumps(scopes)}
    with start_server(tmp_path_factory.mktemp("applications"), "serve", settings=settings) as running:
        yield running


@pytest.fixture
def home(server: Server) -> tuple[Account, str]:
    """Somebody, and the address of their new organization."""
    account = create_account(server)
    name = "Rechtsschutzversicherungsgesellschaften & Söhne"
    made = server.run_json("organizations", "create", name, "--owner", account.email)
    return account, server.url(f"/dashboard/{made['slug']}/live")


@pytest.fixture(scope="module")
def axe(node_project: Path) -> str:  # noqa: F811
    return (node_project / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def picture() -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", (300, 300), "teal").save(file, "PNG")
    return {"name": "logo.png", "mimeType": "image/png", "buffer": file.getvalue()}


def sign_in(page: Page, account: Account, home: str) -> None:
    page.goto(home)
    page.fill("#username", account.email)
    page.fill("#password", account.password)
    page.click("#login-submit")
    page.wait_for_url(home)


def stops(page: Page, account: Account, home: str) -> Iterator[str]:
    """Walks through every page of an application's life; yields its name while the browser stands on it."""
    sign_in(page, account, home)
    for walk in (beginning, middle, end):
        for stop in walk(page, home):
            page.wait_for_load_state("load")
            yield stop


def beginning(page: Page, home: str) -> Iterator[str]:
    page.goto(f"{home}/applications")
    yield "no application"
    page.click("text=Register an application")
    yield "types"
    page.click("#type-web")
    yield "form"
    page.fill("#client_name", "Shop")
    page.fill("#redirect_uris", "http://shop.example/callback\nhttps://*.shop.example/")
    page.click("#application-create")
    page.wait_for_selector("#redirect_uris-error")
    yield "refused form"
    page.fill("#redirect_uris", CALLBACK)
    page.click("#application-create")
    page.wait_for_selector("#client-secret")
    yield "secret"
    page.click("#to-application")
    page.wait_for_selector("#application-page")
    yield "application"
    page.click("#new-secret")
    page.click("#secret-create")
    page.click("#to-application")
    page.wait_for_selector("text=Being replaced")
    yield "two secrets"
    page.click("a[href$='/end'] >> nth=0")
    page.wait_for_selector("#question-page")
    yield "end secret"
    page.click("text=Cancel")


def middle(page: Page, home: str) -> Iterator[str]:
    here = page.url.partition("?")[0]
    page.click("#logo")
    yield "logo"
    page.set_input_files("input#logo", files=[{**picture(), "buffer": b"<svg/>"}])
    page.click("#logo-save")
    page.wait_for_selector("#logo-error")
    yield "refused logo"
    page.set_input_files("input#logo", files=[picture()])
    page.click("#logo-save")
    page.wait_for_selector(".tile img")
    yield "application with logo"
    page.click("#edit")
    yield "change"
    page.goto(here)
    page.click("#quick-start")
    page.click("nav.tabs a[href$='=go']")
    page.wait_for_selector("text=sign_in.go")
    yield "quick start"
    page.goto(here)
    page.click("#test-flow")
    yield "try it"
    state = page.get_attribute("input[name=state]", "value")
    page.fill("#answer", f"{CALLBACK}?code=cod_x&state={state}")
    page.click("#explain")
    page.wait_for_selector("#trade")
    yield "answer"
    page.goto(here)
    page.click("#disable")
    yield "disable"
    page.click("#submit")
    page.wait_for_selector("#enable")
    yield "disabled"
    page.click("#delete")
    yield "delete"


def end(page: Page, home: str) -> Iterator[str]:
    page.goto(f"{home}/applications/new/machine")
    page.fill("#client_name", "Nightly export")
    page.check("input[value='orders:write']")
    page.click("#application-create")
    page.click("#to-application")
    page.goto(f"{page.url.partition('?')[0]}/test-flow")
    yield "machine"
    page.goto(f"{home}/applications")
    yield "list"
    page.goto(f"{home}/audit-log")
    page.click(".log summary >> nth=0")
    yield "audit log"
    page.fill("#where", "the office")
    page.click("#search")
    page.wait_for_selector("#where-error")
    yield "refused search"
    page.fill("#where", "198.51.100.1")
    page.click("#search")
    page.wait_for_selector("text=Nothing found")
    yield "nothing found"
    page.goto(f"{home.removesuffix('/live')}/test/applications")
    yield "test environment"


def new_page(chromium: Browser, **look: Any) -> Page:
    context = chromium.new_context(**look)
    context.set_default_timeout(45_000)
    return context.new_page()


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_accessible_when_seen(chromium: Browser, home: tuple[Account, str], axe: str, look: str) -> None:
    page = new_page(chromium, **LOOKS[look])
    seen, faults, complaints, titles = [], [], [], set()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    for stop in stops(page, *home):
        seen.append(stop)
        titles.add(page.title())
        page.evaluate(axe)
        found = page.evaluate("(rules) => axe.run(document, {runOnly: rules})", RULES)
        faults += [f"{stop}: {fault['id']} {node['html']}" for fault in found["violations"] for node in fault["nodes"]]
    page.context.close()
    assert faults == []
    assert seen == EVERY_STOP
    assert len(titles) >= 15
    assert [text for text in complaints if "status of 4" not in text] == []


def test_no_page_scrolls_sideways_when_320_pixels_wide(chromium: Browser, home: tuple[Account, str]) -> None:
    page = new_page(chromium, viewport={"width": 320, "height": 640})
    widths = {stop: page.evaluate("document.documentElement.scrollWidth") for stop in stops(page, *home)}
    page.context.close()
    assert {stop: width for stop, width in widths.items() if width > 320} == {}


def test_every_step_works_when_scripts_are_off(chromium: Browser, home: tuple[Account, str]) -> None:
    page = new_page(chromium, java_script_enabled=False)
    seen = []
    for stop in stops(page, *home):
        seen.append(stop)
        assert page.locator("h1").count() == 1, stop
    page.context.close()
    assert seen == EVERY_STOP


def test_log_is_exported_in_both_forms_one_after_the_other(chromium: Browser, home: tuple[Account, str]) -> None:
    account, address = home
    page = new_page(chromium)
    sign_in(page, account, address)
    page.goto(f"{address}/audit-log")
    names = []
    for button in ("#export-csv", "#export-ndjson", "#export-csv"):
        with page.expect_download() as download:
            page.click(button)
        names.append(download.value.suggested_filename.rpartition(".")[2])
        assert "organization.created" in Path(download.value.path()).read_text("utf-8")
    page.context.close()
    assert names == ["csv", "ndjson", "csv"]


def press_until(page: Page, wanted: str, most: int = 80) -> None:
    """Tab until the element is focused, as somebody without a mouse does."""
    for _ in range(most):
        if page.evaluate("(wanted) => document.activeElement?.matches(wanted)", wanted):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by the keyboard")


def test_application_is_registered_by_keyboard_alone(chromium: Browser, home: tuple[Account, str]) -> None:
    account, address = home
    page = new_page(chromium)
    sign_in(page, account, address)
    page.goto(f"{address}/applications/new")
    press_until(page, "#type-spa")
    page.keyboard.press("Enter")
    page.wait_for_selector("#application-create")
    press_until(page, "#client_name")
    page.keyboard.type("Shop")
    press_until(page, "#redirect_uris")
    page.keyboard.type("https://shop.example/*")
    press_until(page, "#application-create")
    page.keyboard.press("Enter")
    page.wait_for_selector("#redirect_uris-error")
    page.wait_for_function("document.activeElement.id === 'problem'")
    press_until(page, "#redirect_uris")
    page.keyboard.press("Control+A")
    page.keyboard.type(CALLBACK)
    press_until(page, "#application-create")
    page.keyboard.press("Enter")
    page.wait_for_selector("#application-page")
    page.context.close()
