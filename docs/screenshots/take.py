"""Takes the pictures in this folder from a fresh `gatepost dev --reset`: every page in light, in dark and on a phone.

It reads accounts from standard input, one `EMAIL PASSWORD` a line: the demo person that `gatepost dev` prints, then any
others for the account chooser. It drives the installed Chromium through Playwright.

    gatepost users create ada@example.com --name "Ada Lovelace"
    python docs/screenshots/take.py http://localhost:8000
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parent
LARGEST = 150_000
DESKTOP = {"width": 1120, "height": 760}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": DESKTOP},
    "dark": {"color_scheme": "dark", "viewport": DESKTOP},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}


def prepare(page: "Page", issuer: str, prompt: str, *more_scopes: str) -> None:
    """Prepares a request on the try-it page."""
    page.goto(f"{issuer}/dev/try")
    for scope in more_scopes:
        page.check(f"input[name=scope][value={scope}]")
    page.check(f"input[name=prompt][value={prompt}]")
    page.click("#try-start")
    page.wait_for_selector("#try-continue")


def sign_in(page: "Page", email: str, password: str) -> None:
    """Fills in the sign-in page."""
    page.fill("#username", email)
    page.fill("#password", password)
    page.click("#login-submit")
    page.wait_for_selector("#consent-approve")


def pages(page: "Page", issuer: str, accounts: list[list[str]]) -> Iterator[str]:
    """Walks from page to page; yields the name of the picture to take."""
    page.goto(f"{issuer}/dev/try")
    yield "try-it"
    prepare(page, issuer, "login")
    yield "try-it-request"
    page.click("#try-continue")
    page.wait_for_selector("#login-page")
    yield "login"
    sign_in(page, *accounts[0])
    yield "consent"
    page.click("#consent-approve")
    page.wait_for_selector("#step-5")
    page.goto(f"{page.url.split('#')[0]}#step-4")
    yield "try-it-tokens"
    prepare(page, issuer, "consent", "address", "phone")
    page.click("#try-continue")
    page.wait_for_selector("#consent-approve")
    yield "consent-again"
    page.goto(
        f"{issuer}/oauth/authorize?response_type=code&client_id=demo-spa&redirect_uri={issuer}/dev/try/callback"
        f"&scope=openid%20profile&code_challenge={'a' * 43}&code_challenge_method=S256"
    )
    yield "consent-device"
    yield from dashboard_pages(page, issuer)
    for account in accounts[1:]:
        prepare(page, issuer, "select_account")
        page.click("#try-continue")
        page.click("button[name=another]")
        sign_in(page, *account)
    prepare(page, issuer, "select_account")
    page.click("#try-continue")
    page.wait_for_selector("button[name=choose]")
    yield "account-chooser"
    page.goto(f"{issuer}/oauth/authorize?response_type=code&client_id=demo-web&redirect_uri=https://elsewhere.example")
    page.click("summary")
    yield "error"
    page.goto(f"{issuer}/logout")
    yield "sign-out"
    page.click("#logout-confirm")
    page.wait_for_selector("#logged-out")
    yield "signed-out"


def dashboard_pages(page: "Page", issuer: str) -> Iterator[str]:
    """The dashboard of whoever is signed in, after they have made an application and some keys."""
    page.goto(f"{issuer}/dashboard")
    home = page.url
    page.goto(f"{home}/applications/new/web")
    page.fill("#client_name", "Northwind Shop")
    page.fill("#client_uri", "https://shop.example.com")
    page.fill("#redirect_uris", "https://shop.example.com/callback\nhttps://staging.shop.example.com/callback")
    page.click("#application-create")
    page.click("#to-application")
    page.wait_for_selector("#application-page")
    yield "dashboard-application"
    for name in ("Deployment pipeline", "Nightly report", "Office dashboard"):
        page.goto(f"{home}/api-keys/new")
        page.fill("#name", name)
        page.check("input[name=permissions] >> nth=0")
        page.click("main form button.primary")
        page.wait_for_selector(".secret")
    page.goto(f"{home}/api-keys")
    yield "dashboard-keys"
    page.goto(f"{home}/audit-log")
    yield "dashboard-audit-log"


def take(page: "Page", name: str) -> None:
    """Takes the picture of one page in every look."""
    page.wait_for_load_state("load")
    for look, options in LOOKS.items():
        page.emulate_media(color_scheme=options["color_scheme"], reduced_motion="reduce")
        page.set_viewport_size(options["viewport"])
        page.evaluate("location.hash && document.querySelector(location.hash).scrollIntoView()")
        file = FOLDER / f"{name}-{look}.png"
        page.screenshot(path=file, full_page=not name.startswith(("try-it", "dashboard-audit")))
        print(f"{file.name}  {file.stat().st_size // 1024} KiB")
        if file.stat().st_size > LARGEST:
            sys.exit(f"{file.name} is larger than {LARGEST} bytes")


def main(issuer: str) -> None:
    """Takes all pictures."""
    accounts = [line.split() for line in sys.stdin if line.strip()]
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        page = browser.new_page()
        for name in pages(page, issuer, accounts):
            take(page, name)
        browser.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("issuer", nargs="?", default="http://localhost:8000", help="of the running `gatepost dev`")
    main(parser.parse_args().issuer.rstrip("/"))
