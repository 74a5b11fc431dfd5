"""Takes the pictures in this folder from a running `gatepost dev`: every page in light, in dark and on a phone.

    python docs/screenshots/take.py http://localhost:8000 demo@example.com

It asks for the password that `gatepost dev` printed, and drives the installed Chromium through Playwright.
"""

import getpass
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


def prepare(page: "Page", issuer: str, prompt: str) -> None:
    """Prepares a request on the try-it page."""
    page.goto(f"{issuer}/dev/try")
    page.check(f"input[name=prompt][value='{prompt}']")
    page.click("#try-start")


def pages(page: "Page", issuer: str, email: str, password: str) -> Iterator[str]:
    """Walks from page to page; yields the name of the picture to take."""
    page.goto(f"{issuer}/dev/try")
    yield "try-it"
    prepare(page, issuer, "consent")
    yield "try-it-request"
    page.click("#try-continue")
    yield "login"
    page.fill("#username", email)
    page.fill("#password", password)
    page.click("#login-submit")
    page.wait_for_selector("#consent-approve")
    yield "consent"
    page.click("#consent-approve")
    page.wait_for_selector("#step-4")
    page.goto(f"{page.url.split('#')[0]}#step-4")
    yield "try-it-tokens"
    prepare(page, issuer, "select_account")
    page.click("#try-continue")
    yield "account-chooser"
    page.goto(f"{issuer}/oauth/authorize?response_type=code&client_id=demo-web&redirect_uri=https://elsewhere.example")
    yield "error"
    page.goto(f"{issuer}/logout")
    page.click("#logout-confirm")
    yield "signed-out"


def take(issuer: str, email: str, password: str) -> None:
    """Takes every picture in every look."""
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for look, options in LOOKS.items():
            page = browser.new_page(reduced_motion="reduce", **options)
            for name in pages(page, issuer, email, password):
                file = FOLDER / f"{name}-{look}.png"
                page.screenshot(path=file, full_page=not name.startswith("try-it"))
                size = file.stat().st_size
                print(f"{file.name}  {size // 1024} KiB")
                if size > LARGEST:
                    sys.exit(f"{file.name} is larger than {LARGEST} bytes")
            page.close()
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    take(sys.argv[1].rstrip("/"), sys.argv[2], getpass.getpass("Password: ") if sys.stdin.isatty() else input())
