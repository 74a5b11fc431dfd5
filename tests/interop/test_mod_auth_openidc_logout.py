"""mod_auth_openidc signing people out: when they leave here, when they leave there, and when its page notices.

Apache is reached as localhost, the server's own site: on http the cookie that the session frame reads is bound to it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.browser.clients import fill_in
from tests.interop.apache import CALLBACK, Apache, running_apache
from tests.interop.person import Person, forms_of
from tests.interop.registry import Account, create_account, create_client
from tests.interop.test_mod_auth_openidc import leave_to_sign_in, sign_in
from tests.support.ports import free_port
from tests.support.servers import Server, start_server

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.interop

#: Puts the two frames into an app's page, as the module's manual shows them.
WATCH = """(callback) => {
    for (const name of ["op", "rp"]) {
        const frame = Object.assign(document.createElement("iframe"), {title: name, id: `openidc-${name}`});
        frame.src = `${callback}?session=iframe_${name}&poll=500`;
        document.body.append(frame);
    }
}"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("", "sqlite"), id="root"),
        pytest.param(("/auth/v1", "postgres"), id="path-postgres", marks=pytest.mark.postgres),
    ],
)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that may call what runs on this machine."""
    issuer_path, kind = request.param
    database_url = request.getfixturevalue("postgres").create_database() if kind == "postgres" else None
    with start_server(
        tmp_path_factory.mktemp("logout"),
        "serve",
        issuer_path=issuer_path,
        database_url=database_url,
        workers=2,
        settings={"GATEPOST_OUTBOUND_ALLOW_LOOPBACK": "true"},
    ) as running:
        yield running


@pytest.fixture(scope="module")
def person_account(server: Server) -> Account:
    return create_account(server)


@pytest.fixture(scope="module")
def apache(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    port = free_port()
    origin = f"http://localhost:{port}"
    client = create_client(
        server,
        "web",
        "--backchannel-logout-uri",
        f"{origin}{CALLBACK}?logout=backchannel",
        "--post-logout-redirect-uri",
        f"{origin}/goodbye",
        "--post-logout-redirect-uri",
        f"{origin}/protected/watching",
        redirect_uri=f"{origin}{CALLBACK}",
    )
    with running_apache(tmp_path_factory.mktemp("apache"), server, client, port) as running:
        yield replace(running, origin=origin)


def is_signed_in(apache: Apache, person: Person) -> bool:
    """Whether Apache still knows the person."""
    return person.request("GET", f"{apache.origin}/protected/").status_code == 200


def sign_out_here(server: Server, person: Person) -> requests.Response:
    """The person signs out at the server itself."""
    url = server.url("/logout")
    page = person.request("GET", url)
    (form,) = (form for form in forms_of(page.text) if form.has("logout-confirm"))
    return person.submit(url, form, "logout-confirm")[1]


@pytest.mark.spec("Back-Channel Logout 1.0 §2.6")
def test_apache_forgets_the_person_when_they_sign_out_at_the_server(
    apache: Apache, server: Server, person_account: Account
) -> None:
    leaving, staying = sign_in(apache, person_account), sign_in(apache, create_account(server, "Grace Hopper"))
    assert sign_out_here(server, leaving).status_code == 303
    deadline = time.monotonic() + 60
    while is_signed_in(apache, leaving):
        assert time.monotonic() < deadline, apache.error_log.read_text()
        time.sleep(0.2)
    assert "oauth/authorize" in leave_to_sign_in(apache, leaving)
    assert is_signed_in(apache, staying)
    # At the server too: the next visit asks for the password.
    assert "/login" in person_walks_to(leaving, leave_to_sign_in(apache, leaving))


def person_walks_to(person: Person, url: str) -> str:
    """Where the authorization request leads first."""
    answer = person.request("GET", url)
    return answer.headers.get("Location", "")


@pytest.mark.spec("RP-Initiated Logout 1.0 §2", "RP-Initiated Logout 1.0 §3")
def test_apache_signs_the_person_out_at_the_server_too_when_they_sign_out_of_the_app(
    apache: Apache, server: Server, person_account: Account
) -> None:
    person = sign_in(apache, person_account)
    goodbye = f"{apache.origin}/goodbye"
    asked = person.request("GET", apache.hook("logout", goodbye)).headers["Location"]
    assert asked.startswith(server.url("/logout?"))
    query = parse_qs(urlsplit(asked).query)
    assert query["post_logout_redirect_uri"] == [goodbye]
    assert "id_token_hint" in query
    answer = person.request("GET", asked)
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, goodbye)
    assert not is_signed_in(apache, person)
    assert "You are signed in" not in person.request("GET", server.url("/")).text


@pytest.mark.browser
@pytest.mark.spec("Session Management 1.0 §3.1", "Session Management 1.0 §3.2")
def test_apache_s_page_notices_when_the_person_signs_out_in_another_tab(
    browser_context: "BrowserContext", apache: Apache, server: Server, person_account: Account
) -> None:
    watching = f"{apache.origin}/protected/watching"
    page = browser_context.new_page()
    page.goto(watching)
    fill_in(page, person_account.email, person_account.password)
    page.wait_for_load_state("load")
    if page.locator("#consent-approve").count():
        page.click("#consent-approve")
    page.wait_for_url(f"{watching}**")
    answers: list[str] = []
    page.on("console", lambda message: answers.append(message.text))
    page.evaluate(WATCH, f"{apache.origin}{CALLBACK}")
    wait_until(page, lambda: any("receiveMessage: unchanged" in text for text in answers), answers)
    assert not any("receiveMessage: changed" in text for text in answers)
    other = browser_context.new_page()
    other.goto(server.url("/logout"))
    other.click("#logout-confirm")
    other.wait_for_selector("#logged-out")
    # The page asks Apache to sign out, Apache the server, and the server sends it back: to sign in again.
    wait_until(page, lambda: any("receiveMessage: changed" in text for text in answers), answers)
    page.wait_for_selector("#username")


def wait_until(page: "Page", is_so: Callable[[], bool], answers: list[str]) -> None:
    """Lets the browser go on until it is so."""
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, answers
        page.wait_for_timeout(100)
