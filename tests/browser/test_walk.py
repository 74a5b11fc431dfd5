"""A real browser through the pages: what a test client cannot see, above all what Chromium refuses to do.

`form-action` in a page's policy would block the redirect to the client on every hop, and only a browser shows it
(a console error, no request). So each walk ends at an application and leaves the console silent.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.clients import Application, Complaints, Relying, application, fill_in
from tests.interop.registry import Account, RegisteredClient, create_account, create_client
from tests.support.servers import Server, start_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_server(tmp_path_factory.mktemp("walk"), "serve", workers=2) as running:
        yield running


@pytest.fixture(scope="module")
def ada(server: Server) -> Account:
    return create_account(server, "Ada Lovelace")


@pytest.fixture(scope="module")
def grace(server: Server) -> Account:
    return create_account(server, "Grace Hopper")


@pytest.fixture(scope="module")
def app() -> Iterator[Application]:
    with application() as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Server, app: Application) -> RegisteredClient:
    return create_client(server, redirect_uri=app.callback_uri)


@pytest.fixture
def complaints(browser_context: "BrowserContext") -> Complaints:
    heard = Complaints()
    heard.listen(browser_context)
    return heard


@pytest.fixture
def page(browser_context: "BrowserContext", complaints: Complaints) -> "Page":
    return browser_context.new_page()


def arrive(page: "Page", app: Application) -> dict[str, str]:
    """Waits until the browser is back in the application; returns the response parameters."""
    page.wait_for_selector("#arrived")
    return app.received[-1].parameters


def sign_in(page: "Page", server: Server, client: RegisteredClient, account: Account, app: Application) -> None:
    """Signs an account in, with consent where it was not given yet."""
    relying = Relying(server, client)
    page.goto(relying.url(prompt="login consent"))
    fill_in(page, account.email, account.password)
    page.click("#consent-approve")
    assert relying.redeem(arrive(page, app))["sub"] == account.subject


def demo_password(server: Server) -> str:
    """The password that `gatepost dev` printed."""
    printed = re.search(r"demo@example\.com\s*/\s*(\S+)", server.log_tail(200))
    assert printed is not None, server.log_tail(200)
    return printed[1]


def test_newcomer_sees_decoded_tokens_when_walking_from_the_try_it_page(
    start: Callable[..., Server], database_url: str, page: "Page", complaints: Complaints
) -> None:
    server = start("dev", database_url=database_url)
    page.goto(server.url("/dev/try"))
    page.click("#try-start")
    page.click("#try-continue")
    assert "Sign in" in page.inner_text("#login-page")
    fill_in(page, "demo@example.com", demo_password(server))
    page.click("#consent-approve")
    page.wait_for_selector("#try-userinfo")
    text = page.text_content("body") or ""
    for word in ("id_token", "access_token", "code_verifier", "demo@example.com", "RS256", "at+jwt", server.issuer):
        assert word in text, word
    assert page.locator(".checks .passed").count() > 0
    assert page.locator(".failed, .refused").count() == 0
    assert complaints.found == []


@pytest.mark.parametrize("kind", ["demo-web", "demo-spa"])
def test_try_it_page_shows_every_further_step_when_its_buttons_are_pressed(
    start: Callable[..., Server], page: "Page", complaints: Complaints, kind: str
) -> None:
    server = start("dev")
    page.goto(server.url("/dev/try"))
    page.check(f"input[name=client][value={kind}]")
    page.click("#try-start")
    page.click("#try-continue")
    fill_in(page, "demo@example.com", demo_password(server))
    page.click("#consent-approve")
    page.wait_for_selector("#try-userinfo")
    steps_of_the_flow = page.locator(".step").count()
    pressed: set[str] = set()
    while left := [value for value in offered_actions(page) if value not in pressed and value != "revoke"]:
        pressed.add(left[0])
        steps = page.locator(".step").count()
        page.click(f"#try-{left[0]}")
        page.wait_for_selector(f"#step-{steps + 1}")
    assert {"refresh", "userinfo"} <= pressed
    assert page.locator(".failed").count() == 0
    page.click("#try-revoke")
    page.wait_for_selector(f"#step-{len(pressed) + steps_of_the_flow + 1}")
    page.click("#try-userinfo")
    assert "401" in page.inner_text(f"#step-{len(pressed) + steps_of_the_flow + 2} .status")
    assert complaints.found == []


def offered_actions(page: "Page") -> list[str]:
    """What the buttons at the end of the try-it page do, once it is there to its end."""
    page.wait_for_load_state("load")
    buttons = page.locator("button[name=do]").all()
    return [value for button in buttons if (value := button.get_attribute("value")) is not None]


def test_code_arrives_when_the_person_signs_in_and_allows(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    relying = Relying(server, client)
    page.goto(relying.url(prompt="consent"))
    assert "Sign in" in page.inner_text("#login-page")
    fill_in(page, ada.email, ada.password)
    page.click("#consent-approve")
    assert relying.redeem(arrive(page, app))["sub"] == ada.subject
    assert app.received[-1].method == "GET"
    assert "Referer" not in app.received[-1].headers
    assert complaints.found == []


@pytest.mark.spec("C-06")
def test_code_arrives_when_the_application_redirects_on_to_a_third_origin(
    server: Server, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    with application(onward=f"{app.origin}/landing") as first:
        relying = Relying(server, create_client(server, redirect_uri=first.callback_uri))
        page.goto(relying.url())
        fill_in(page, ada.email, ada.password)
        page.click("#consent-approve")
        page.wait_for_url(f"{app.origin}/landing")
        assert relying.redeem(first.received[-1].parameters)["sub"] == ada.subject
    assert complaints.found == []


@pytest.mark.spec("OAuth 2.0 Form Post Response Mode §2")
def test_code_arrives_by_post_when_the_client_asks_for_form_post(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    relying = Relying(server, client)
    page.goto(relying.url(response_mode="form_post", prompt="consent"))
    fill_in(page, ada.email, ada.password)
    page.click("#consent-approve")
    assert relying.redeem(arrive(page, app))["sub"] == ada.subject
    assert app.received[-1].method == "POST"
    assert complaints.found == []


def test_code_arrives_by_post_when_the_application_redirects_on_to_a_third_origin(
    server: Server, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    with application(onward=f"{app.origin}/landing") as first:
        relying = Relying(server, create_client(server, redirect_uri=first.callback_uri))
        page.goto(relying.url(response_mode="form_post"))
        fill_in(page, ada.email, ada.password)
        page.click("#consent-approve")
        page.wait_for_url(f"{app.origin}/landing")
        assert relying.redeem(first.received[-1].parameters)["sub"] == ada.subject
    assert complaints.found == []


@pytest.mark.spec("RFC 8252 §7.3")
@pytest.mark.spec("C-06", "AZ-02")
def test_code_arrives_when_a_native_app_listens_on_a_port_of_the_moment(
    server: Server, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    registered = create_client(server, "native", redirect_uri="http://127.0.0.1/callback")
    relying = Relying(server, RegisteredClient(registered.client_id, "", app.callback_uri))
    page.goto(relying.url())
    fill_in(page, ada.email, ada.password)
    page.click("#consent-approve")
    assert relying.redeem(arrive(page, app))["sub"] == ada.subject
    assert complaints.found == []


@pytest.mark.spec("RFC 8252 §7.1")
@pytest.mark.spec("C-06", "AZ-04")
def test_code_leaves_by_the_private_use_scheme_when_a_native_app_has_one(
    server: Server, ada: Account, page: "Page", complaints: Complaints
) -> None:
    native = create_client(server, "native", redirect_uri="com.example.notebook:/callback")
    relying = Relying(server, native)
    page.goto(relying.url())
    fill_in(page, ada.email, ada.password)
    page.wait_for_selector("#consent-approve")
    with page.expect_event("requestfailed") as left:
        page.click("#consent-approve")
    # Chromium hands the URI to the system, which knows no such app here; what counts is that it got that far.
    target = left.value.url
    assert target.startswith("com.example.notebook:/callback?")
    page.wait_for_timeout(300)
    assert [text for text in complaints.found if "CSP" in text or "Content Security Policy" in text] == []


def test_application_reads_access_denied_when_the_person_cancels_the_sign_in(
    server: Server, client: RegisteredClient, app: Application, page: "Page", complaints: Complaints
) -> None:
    relying = Relying(server, client)
    page.goto(relying.url())
    page.click("#login-cancel")
    parameters = arrive(page, app)
    assert parameters["error"] == "access_denied"
    assert parameters["state"] == relying.state
    assert parameters["iss"] == server.issuer
    assert "code" not in parameters
    assert complaints.found == []


def test_application_reads_access_denied_when_the_person_declines_the_consent(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    relying = Relying(server, client)
    page.goto(relying.url(prompt="consent"))
    fill_in(page, ada.email, ada.password)
    page.click("#consent-deny")
    assert arrive(page, app)["error"] == "access_denied"
    assert complaints.found == []


def test_person_may_try_again_when_the_password_was_wrong(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    relying = Relying(server, client)
    page.goto(relying.url(prompt="consent"))
    fill_in(page, ada.email, "not the password")
    page.wait_for_selector("#login-page:has-text('incorrect')")
    assert page.input_value("#username") == ada.email
    fill_in(page, ada.email, ada.password)
    page.click("#consent-approve")
    assert relying.redeem(arrive(page, app))["sub"] == ada.subject
    assert [text for text in complaints.found if "status of 4" not in text] == []


@pytest.mark.spec("OpenID Connect Core 1.0 §3.1.2.1")
def test_person_chooses_when_two_accounts_are_signed_in(
    server: Server,
    client: RegisteredClient,
    ada: Account,
    grace: Account,
    app: Application,
    page: "Page",
    complaints: Complaints,
) -> None:
    sign_in(page, server, client, ada, app)
    relying = Relying(server, client)
    page.goto(relying.url(prompt="select_account consent"))
    page.click("button[name=another]")
    fill_in(page, grace.email, grace.password)
    page.click("#consent-approve")
    assert relying.redeem(arrive(page, app))["sub"] == grace.subject
    for account in (ada, grace):
        relying = Relying(server, client)
        page.goto(relying.url(prompt="select_account"))
        buttons = page.locator("button[name=choose]")
        assert buttons.count() == 2
        buttons.filter(has_text=account.email).click()
        assert relying.redeem(arrive(page, app))["sub"] == account.subject
    assert complaints.found == []


def test_removed_account_is_gone_from_the_browser_when_the_person_removes_it(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    sign_in(page, server, client, ada, app)
    page.goto(Relying(server, client).url(prompt="select_account"))
    page.click("button[name=remove]")
    page.wait_for_function("(email) => !document.body.innerText.includes(email)", arg=ada.email)
    silent = Relying(server, client)
    page.goto(silent.url(prompt="none"))
    assert arrive(page, app)["error"] == "login_required"
    assert complaints.found == []


@pytest.mark.spec("S-11")
def test_person_is_asked_to_sign_in_again_when_signed_out(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    sign_in(page, server, client, ada, app)
    page.goto(server.url("/logout"))
    assert ada.email in page.inner_text("body")
    page.click("#logout-confirm")
    page.wait_for_selector("#logged-out:has-text('Signed out')")
    silent = Relying(server, client)
    page.goto(silent.url(prompt="none"))
    assert arrive(page, app)["error"] == "login_required"
    page.goto(Relying(server, client).url())
    assert page.is_visible("#password") or page.is_visible("button[name=choose]")
    assert complaints.found == []


@pytest.mark.spec("OpenID Connect Core 1.0 §3.1.2.1")
def test_person_confirms_who_they_are_when_the_client_asks_for_prompt_login(
    server: Server, client: RegisteredClient, ada: Account, app: Application, page: "Page", complaints: Complaints
) -> None:
    sign_in(page, server, client, ada, app)
    straight = Relying(server, client)
    page.goto(straight.url())
    before = straight.redeem(arrive(page, app))["auth_time"]
    page.wait_for_timeout(1100)
    relying = Relying(server, client)
    page.goto(relying.url(prompt="login"))
    assert page.is_visible("#login-page")
    fill_in(page, ada.email, ada.password)
    assert relying.redeem(arrive(page, app))["auth_time"] > before
    assert complaints.found == []


@pytest.mark.parametrize("response_mode", ["query", "form_post"])
@pytest.mark.spec("C-10")
def test_whole_way_works_when_scripts_are_off(
    server: Server, ada: Account, app: Application, chromium: "Browser", response_mode: str
) -> None:
    client = create_client(server, redirect_uri=app.callback_uri)
    context = chromium.new_context(java_script_enabled=False)
    try:
        page = context.new_page()
        relying = Relying(server, client)
        page.goto(relying.url(response_mode=response_mode))
        fill_in(page, ada.email, ada.password)
        page.click("#consent-approve")
        if response_mode == "form_post":
            page.get_by_role("button", name="Continue").click()
        assert relying.redeem(arrive(page, app))["sub"] == ada.subject
    finally:
        context.close()


@pytest.mark.spec("RFC 9700 §4.16")
@pytest.mark.spec("AZ-09")
def test_pages_stay_empty_when_another_site_frames_them(
    server: Server, client: RegisteredClient, app: Application, page: "Page"
) -> None:
    page.goto(app.origin)
    url = Relying(server, client).url()
    page.evaluate(
        "(url) => new Promise((done) => { const frame = document.createElement('iframe'); frame.src = url;"
        " frame.onload = done; document.body.append(frame); })",
        url,
    )
    assert all(frame.locator("#username").count() == 0 for frame in page.frames)
