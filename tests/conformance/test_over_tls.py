"""`gatepost dev --conformance` as an operator has it: a process of its own, TLS, and the configurations it wrote.

Chromium does what the suite's browser is told to do, on the pages as they are.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from tests.conformance.listener import Listener
from tests.support.components import CHROMIUM_FLAGS, chromium_path
from tests.support.ports import free_port
from tests.support.servers import START_SECONDS, Server, ServerFailed, clean_environment, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: What the suite shows when it has read an authorization response.
COMPLETE = '<!doctype html><title>Suite</title><link rel="icon" href="data:,"><p id="submission_complete">Done'


class TlsServer(Server):
    """A Gatepost that is asked over TLS, trusted by its own authority."""

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.directory / "var" / "conformance"

    def plan(self, name: str = "plan.json") -> dict[str, Any]:
        """One of the configurations that it wrote."""
        document: dict[str, Any] = json.loads((self.folder / name).read_text("utf-8"))
        return document

    def ask(self, path: str, document: Any = None) -> tuple[int, Any]:
        """A request to it, JSON both ways; status and answer."""
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(self.url(path), body, {"Content-Type": "application/json"})
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as error:
            return error.code, json.loads(error.read())

    def wait_until_healthy(self) -> None:
        """Returns when discovery answers."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerFailed(f"the server ended with {self.process.returncode}\n{self.log_tail()}")
            with suppress(OSError, URLError):
                self.ask("/.well-known/openid-configuration")
                return
            time.sleep(0.05)
        raise ServerFailed(f"the server did not answer\n{self.log_tail()}")


@dataclass
class Suite:
    """A running Gatepost, and the suite's web server, whose certificate is from the authority that Gatepost made."""

    server: TlsServer
    web: Listener

    @property
    def base(self) -> str:
        """The suite's URL for the plans."""
        # Not the host of the issuer: for a browser the two are different sites, as they are in truth.
        return f"https://127.0.0.1:{self.web.port}/test/a/gatepost"


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    directory, port = tmp_path_factory.mktemp("over_tls"), free_port()
    issuer = f"https://localhost:{port}"
    environment = clean_environment({"GATEPOST_ISSUER": issuer})
    server = TlsServer(directory, environment, issuer=issuer, port=port, log=directory / "server.log")
    with Listener(directory / "var" / "conformance") as web:
        for name in ("callback", "post_logout_redirect"):
            web.serve(f"/test/a/gatepost/{name}", COMPLETE, "text/html")
        address = f"https://127.0.0.1:{web.port}"
        with running(server, "dev", "--conformance", "--port", str(port), "--suite", address):
            yield Suite(server, web)


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A browser that takes any certificate, as the suite's does."""
    context = chromium.new_context(ignore_https_errors=True)
    context.set_default_timeout(45_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def lasting_page(chromium: Browser, tmp_path: Path) -> Iterator[Page]:
    """The same with a profile in which frames of other sites have cookies, which Debian's Chromium gives to none."""
    preferences = tmp_path / "profile" / "Default" / "Preferences"
    preferences.parent.mkdir(parents=True)
    preferences.write_text(json.dumps({"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}))
    context = chromium.browser_type.launch_persistent_context(
        tmp_path / "profile",
        executable_path=chromium_path(),
        args=list(CHROMIUM_FLAGS),
        ignore_https_errors=True,
    )
    context.set_default_timeout(45_000)
    yield context.new_page()
    context.close()


# ----------------------------------------------------------------------------------------------------------- the wires


@pytest.mark.slow
def test_outbound_requests_reach_the_suite_on_this_machine(suite: Suite) -> None:
    """Trusting the authority that the command made, and nothing else that is new."""
    redirect_uri = f"{suite.base}/callback"
    sector = suite.web.serve("/sector.json", [redirect_uri])
    metadata = {"redirect_uris": [redirect_uri], "sector_identifier_uri": sector, "subject_type": "pairwise"}
    status, registration = suite.server.ask("/oauth/register", metadata)
    assert status == 201, registration
    assert suite.web.requests("/sector.json")


@pytest.mark.slow
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_is_of_a_version_that_the_suite_takes(suite: Suite, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=suite.server.folder / "ca.pem")
    context.minimum_version = context.maximum_version = version
    with urllib.request.urlopen(suite.server.url("/healthz"), timeout=10, context=context) as answer:
        assert answer.status == 200


@pytest.mark.slow
def test_tls_of_an_earlier_version_is_refused(suite: Suite) -> None:
    context = ssl.create_default_context(cafile=suite.server.folder / "ca.pem")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(URLError):
        urllib.request.urlopen(suite.server.url("/healthz"), timeout=10, context=context)


# -------------------------------------------------------------------------------------------------- the suite's browser


class Robot:
    """Does what a plan's configuration says, as the suite's browser does."""

    def __init__(self, suite: Suite, page: Page, module: str = "", plan: str = "plan.json") -> None:
        self.suite, self.page = suite, page
        self.plan = suite.server.plan(plan)
        entries = self.plan["override"].get(module, self.plan)["browser"]
        self.entries = [{**entry, "left": entry.get("match-limit", 1000)} for entry in entries]
        self.done: list[str] = []

    def visit(self, path: str, **parameters: str) -> None:
        """What the module opens, and the first entry that fits and is not used up."""
        url = self.suite.server.url(path) + (f"?{urlencode(parameters)}" if parameters else "")
        (entry, *_) = [entry for entry in self.entries if entry["left"] and fnmatchcase(url, entry["match"])]
        entry["left"] -= 1
        self.page.goto(url)
        for task in entry["tasks"]:
            if fnmatchcase(self.page.url, task["match"]):
                self.done.append(task["task"])
                for command in task["commands"]:
                    self._do(*command)
            else:
                assert task.get("optional"), (task["task"], self.page.url)

    def _do(self, name: str, kind: str, target: str, *more: Any) -> None:
        found = self.page.locator(f"#{target}" if kind == "id" else f"xpath={target}")
        if name == "text":
            found.fill(more[0])
        elif name == "click":
            found.click()
            self.page.wait_for_load_state()
        else:
            assert name == "wait"
            found.wait_for(state="attached", timeout=1000 * more[0])

    def authorize(self, **changes: str) -> dict[str, str]:
        """An authorization request of the plan's client; the response, wherever in the URL it is."""
        parameters = {
            "client_id": self.plan["client"]["client_id"],
            "redirect_uri": f"{self.suite.base}/callback",
            "scope": "openid",
            "state": "a-state",
            "nonce": "a-nonce",
            "response_type": "code id_token",
            **changes,
        }
        self.visit("/oauth/authorize", **parameters)
        parts = urlsplit(self.page.url)
        return dict(parse_qsl(parts.fragment or parts.query))


@pytest.mark.browser
def test_browser_signs_in_and_consents_when_it_does_what_the_plan_says(suite: Suite, page: Page) -> None:
    robot = Robot(suite, page)
    assert {"code", "id_token", "state", "iss", "session_state"} <= set(robot.authorize(prompt="consent"))
    assert robot.done == ["Sign in", "Consent", "Back at the suite"]
    robot.done.clear()
    assert "code" in robot.authorize(prompt="none")
    assert robot.done == ["Back at the suite"]


@pytest.mark.browser
@pytest.mark.parametrize("response_type", ["code", "id_token token"])
def test_browser_posts_the_response_when_that_is_asked_for(suite: Suite, page: Page, response_type: str) -> None:
    suite.web.received.clear()
    Robot(suite, page).authorize(response_type=response_type, response_mode="form_post")
    posted = suite.web.requests("/test/a/gatepost/callback")
    assert [(each.method, each.content_type) for each in posted] == [("POST", "application/x-www-form-urlencoded")]


@pytest.mark.browser
def test_browser_takes_a_picture_of_the_second_sign_in(suite: Suite, page: Page) -> None:
    for module, changes in (("oidcc-prompt-login", {"prompt": "login"}), ("oidcc-max-age-1", {"max_age": "1"})):
        robot = Robot(suite, page, module)
        robot.authorize()
        time.sleep(1.1)
        robot.done.clear()
        robot.authorize(**changes)
        assert robot.done == ["Sign in", "Back at the suite"]
        page.context.clear_cookies()


@pytest.mark.browser
def test_browser_takes_a_picture_of_the_error_page(suite: Suite, page: Page) -> None:
    robot = Robot(suite, page, "oidcc-ensure-registered-redirect-uri")
    robot.authorize(redirect_uri=f"{suite.base}/another")
    assert robot.done == ["The error page"]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("module", "parameters", "done"),
    [
        ("oidcc-rp-initiated-logout-no-params", {}, ["Confirm", "Signed out"]),
        ("oidcc-rp-initiated-logout-only-state", {"state": "a-state"}, ["Confirm", "Signed out"]),
        ("oidcc-rp-initiated-logout-bad-id-token-hint", {"id_token_hint": "a.b.c"}, ["A question, or an error"]),
        ("oidcc-rp-initiated-logout", {"client_id": "conformance-client"}, ["Confirm"]),
    ],
)
def test_browser_signs_out_when_it_does_what_the_plan_says(
    suite: Suite, page: Page, module: str, parameters: dict[str, str], done: list[str]
) -> None:
    robot = Robot(suite, page, module)
    robot.authorize()
    robot.done.clear()
    robot.visit("/logout", **parameters)
    assert robot.done == done


@pytest.mark.browser
def test_clients_are_told_of_a_sign_out_through_both_channels(suite: Suite, page: Page) -> None:
    """With the static clients of the two plans, over TLS, the page waiting for its frames."""
    suite.web.received.clear()
    suite.web.serve("/test/a/gatepost/frontchannel_logout", "<!doctype html><title>Out</title>", "text/html")
    hints = [
        Robot(suite, page, plan=f"plan-{name}.json").authorize()["id_token"] for name in ("backchannel", "frontchannel")
    ]
    redirect = {"post_logout_redirect_uri": f"{suite.base}/post_logout_redirect", "state": "a-state"}
    page.goto(suite.server.url(f"/logout?{urlencode({'id_token_hint': hints[1], **redirect})}"))
    page.wait_for_url(f"{suite.base}/post_logout_redirect?state=a-state")
    deadline = time.monotonic() + 60
    while not suite.web.requests("/test/a/gatepost/backchannel_logout") and time.monotonic() < deadline:
        time.sleep(0.05)
    (told,) = suite.web.requests("/test/a/gatepost/backchannel_logout")
    assert (told.method, told.tls) == ("POST", "TLSv1.3")
    paths = [each.path.rpartition("/")[2] for each in suite.web.received if each.method == "GET"]
    assert paths.index("frontchannel_logout") < paths.index("post_logout_redirect")


@pytest.mark.browser
def test_frame_of_another_site_tells_of_a_sign_out(suite: Suite, lasting_page: Page) -> None:
    """The suite's own automation cannot run this module: its browser has no frames of other sites."""
    page = lasting_page
    frame = suite.server.ask("/.well-known/openid-configuration")[1]["check_session_iframe"]
    answer = Robot(suite, page).authorize()
    page.evaluate(
        """frame => new Promise(done => {
            const element = document.createElement("iframe");
            element.onload = done; element.src = frame; document.body.append(element);
        })""",
        frame,
    )

    def asked() -> str:
        return str(
            page.evaluate(
                """said => new Promise(done => {
                    addEventListener("message", event => done(event.data), {once: true});
                    document.querySelector("iframe").contentWindow.postMessage(said, "*");
                })""",
                f"conformance-client {answer['session_state']}",
            )
        )

    assert asked() == "unchanged"
    other = page.context.new_page()
    other.goto(suite.server.url(f"/logout?{urlencode({'id_token_hint': answer['id_token']})}"))
    other.locator("#logged-out").wait_for()
    assert asked() == "changed"
