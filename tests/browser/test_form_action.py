"""The browser's own behaviour that the walks rely on: a policy with `form-action` silently stops a redirect to an app.

Were this ever to change in Chromium, the walks would prove less than they say, and this test would tell.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.clients import Complaints

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.browser

PAGE = (
    b'<!doctype html><link rel="icon" href="data:,"><form method="post" action="/go"><button id="allow">Allow</button>'
)
TARGET = "com.example.notebook:/callback?code=c"


@contextmanager
def consent_page(policy: str) -> Iterator[str]:
    """A page under the given policy whose form's answer redirects to an app."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(303)
            self.send_header("Location", TARGET)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Says nothing: a test's output is the test's."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("policy", "leaves"),
    [
        ("default-src 'none'; img-src data:", True),
        ("default-src 'none'; img-src data:; form-action 'self'", False),
        ("default-src 'none'; img-src data:; form-action 'self' https://app.example", False),
    ],
    ids=["without form-action", "form-action self", "form-action with another origin"],
)
@pytest.mark.spec("C-06")
def test_browser_follows_the_form_to_the_app_only_when_the_policy_has_no_form_action(
    browser_context: "BrowserContext", policy: str, leaves: bool
) -> None:
    complaints = Complaints()
    complaints.listen(browser_context)
    with consent_page(policy) as url:
        page = browser_context.new_page()
        page.goto(url)
        with page.expect_event("requestfailed") as stopped:
            page.click("#allow")
        page.wait_for_timeout(300)
        deadline = time.monotonic() + 30
        while not leaves and not complaints.found and time.monotonic() < deadline:
            page.wait_for_timeout(100)
    assert stopped.value.url.startswith("com.example.notebook:") is leaves
    assert (complaints.found == []) is leaves
