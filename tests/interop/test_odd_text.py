"""Text that databases, parsers and templates trip over: never a 5xx, and `state` comes back as it was sent."""

import secrets
from urllib.parse import quote, urlencode, urljoin

import pytest
import requests

from tests.interop.person import Person, challenge_of, forms_of
from tests.interop.registry import SCOPE, Account, RegisteredClient, create_account
from tests.support.servers import Server

pytestmark = pytest.mark.interop

TEXTS = {
    "NUL": "a\0b",
    "emoji": "🗝️ clé",
    "right to left": "\u202eevil\u202c",
    "quotes": "\"'`<script>alert(1)</script>",
    "template": "{{ 7 * 7 }}{% raw %}",
    "statement": "' OR 1=1 --",
    "control characters": "\r\nSet-Cookie: a=b\r\n\r\n\x7f\x1b[31m",
    "percent": "%00%0a%2f+ &=#",
    "noncharacter": "\ufffe\U0010ffff",
    "long": "x" * 2000,
}


@pytest.fixture(scope="module")
def person(gatepost: Server) -> Person:
    return create_account(gatepost, "Odd Text").at_a_browser()


def authorization_query(client: RegisteredClient, verifier: str, **extra: str) -> str:
    query = {"response_type": "code", "client_id": client.client_id, "redirect_uri": client.redirect_uri}
    query |= {"scope": SCOPE, "code_challenge": challenge_of(verifier), "code_challenge_method": "S256", **extra}
    return urlencode(query)


@pytest.mark.spec("RFC 6749 §4.1.2")
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_state_comes_back_unchanged_when_it_is_odd(
    gatepost: Server, web_client: RegisteredClient, person: Person, text: str
) -> None:
    query = authorization_query(web_client, secrets.token_urlsafe(48), state=text)
    parameters = person.walk(f"{gatepost.url('/oauth/authorize')}?{query}", web_client.redirect_uri).parameters
    assert parameters["state"] == text
    assert set(parameters) == {"code", "state", "iss", "session_state"}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("name", ["nonce", "login_hint", "acr_values", "ui_locales", "claims", "display", "scope", "x"])
def test_authorization_request_is_answered_when_a_parameter_is_odd(
    gatepost: Server, web_client: RegisteredClient, person: Person, name: str, text: str
) -> None:
    query = authorization_query(web_client, secrets.token_urlsafe(48), **{name: text})
    answer = person.request("GET", f"{gatepost.url('/oauth/authorize')}?{query}")
    while "Location" in answer.headers and not answer.headers["Location"].startswith(web_client.redirect_uri):
        answer = person.request("GET", urljoin(answer.url, answer.headers["Location"]))
    assert answer.status_code < 500
    assert "Set-Cookie: a=b" not in str(answer.headers)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("name", ["grant_type", "code", "refresh_token", "client_id", "client_secret", "code_verifier"])
def test_token_request_is_refused_when_a_parameter_is_odd(gatepost: Server, name: str, text: str) -> None:
    form = {"grant_type": "authorization_code", "client_id": "somebody", name: text}
    answer = requests.post(gatepost.url("/oauth/token"), data=form, timeout=10)
    assert answer.status_code in {400, 401}
    assert answer.json()["error"]
    basic = requests.post(
        gatepost.url("/oauth/token"), data={"grant_type": "client_credentials"}, auth=(quote(text), "x"), timeout=10
    )
    assert basic.status_code in {400, 401}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_sign_in_is_refused_when_the_username_is_odd(
    gatepost: Server, web_client: RegisteredClient, account: Account, text: str
) -> None:
    person = account.at_a_browser()
    query = authorization_query(web_client, secrets.token_urlsafe(48))
    first = person.request("GET", f"{gatepost.url('/oauth/authorize')}?{query}")
    while "Location" in first.headers:
        first = person.request("GET", urljoin(first.url, first.headers["Location"]))
    form = next(form for form in forms_of(first.text) if form.has("login-submit"))
    _, answer = person.submit(first.url, form, "login-submit", username=text, password=text)
    assert answer.status_code < 500
    assert "<script>alert" not in answer.text
    username = next(i for form in forms_of(answer.text) for i in form.inputs if i.get("id") == "username")
    assert username.get("value") != "49", "the page evaluated what was typed"
