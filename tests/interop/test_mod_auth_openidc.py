"""mod_auth_openidc in a real Apache against a live Gatepost.

Its client has lean ID tokens, so that whatever Apache knows of a person's name and address it read from userinfo.
"""

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.interop.apache import CALLBACK, Apache, running_apache
from tests.interop.person import Callback, Person
from tests.interop.registry import Account, create_client
from tests.support.ports import free_port
from tests.support.servers import Server

pytestmark = pytest.mark.interop


@pytest.fixture(scope="session")
def apache(gatepost: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    port = free_port()
    callback = f"http://127.0.0.1:{port}{CALLBACK}"
    client = create_client(gatepost, "web", "--id-token-claims", "lean", redirect_uri=callback)
    with running_apache(tmp_path_factory.mktemp("apache"), gatepost, client, port) as running:
        yield running


def leave_to_sign_in(apache: Apache, person: Person, path: str = "/protected/") -> str:
    """Opens a protected page; returns the authorization request."""
    answer = person.request("GET", f"{apache.origin}{path}")
    assert answer.status_code == 302, f"{answer.status_code} {answer.text}\n{apache.error_log.read_text()}"
    return answer.headers["Location"]


def walk(apache: Apache, person: Person, *presses: str, extra: str = "") -> Callback:
    """The way up to the callback, which is not opened yet."""
    return person.walk(leave_to_sign_in(apache, person) + extra, apache.callback_uri, presses=presses)


def sign_in(apache: Apache, account: Account) -> Person:
    """The whole way, back to the page that was asked for."""
    person = account.at_a_browser()
    answer = person.request("GET", walk(apache, person).url)
    assert answer.status_code == 302, apache.error_log.read_text()
    assert answer.headers["Location"] == f"{apache.origin}/protected/"
    return person


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_apache_asks_with_pkce_state_and_nonce_when_the_person_opens_a_protected_page(
    apache: Apache, account: Account, gatepost: Server
) -> None:
    url = leave_to_sign_in(apache, account.at_a_browser())
    assert url.startswith(gatepost.url("/oauth/authorize?"))
    query = parse_qs(urlsplit(url).query)
    assert query["code_challenge_method"] == ["S256"]
    assert {"code_challenge", "state", "nonce"} <= set(query)


def test_apache_tells_the_app_who_it_is_when_the_person_signed_in(apache: Apache, account: Account) -> None:
    person = sign_in(apache, account)
    told = apache.headers(person)
    assert told["x-remote-user"] == told["oidc_claim_sub"] == account.subject
    assert told["oidc_claim_email"] == account.email
    assert told["oidc_claim_name"] == "Ada Lovelace"
    session = apache.info(person)
    assert session["userinfo"]["email"] == account.email
    assert "email" not in session["id_token"]
    assert session["id_token"]["sub"] == account.subject


def test_apache_believes_no_header_when_the_person_sends_it(apache: Apache, account: Account) -> None:
    person = sign_in(apache, account)
    forged = {"OIDC_CLAIM_sub": "usr_somebody_else", "X-Remote-User": "usr_somebody_else"}
    answer = person.request("GET", f"{apache.origin}/protected/", headers=forged)
    assert "usr_somebody_else" not in answer.text


@pytest.mark.spec("RFC 6749 §6")
def test_apache_gets_new_tokens_when_the_app_asks_for_them(apache: Apache, account: Account) -> None:
    person = sign_in(apache, account)
    page = f"{apache.origin}/protected/"
    before = apache.info(person)
    answer = person.request("GET", apache.hook("refresh", page, access_token=before["access_token"]))
    assert (answer.status_code, answer.headers["Location"]) == (302, page), apache.error_log.read_text()
    after = apache.info(person)
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    assert claims_of(after["access_token"])["sub"] == account.subject
    assert apache.headers(person)["oidc_access_token"] == after["access_token"]


def test_apache_keeps_the_person_signed_in_when_every_request_refreshes(
    apache: Apache, account: Account, gatepost: Server
) -> None:
    person = sign_in(apache, account)
    tokens = [apache.headers(person, "/protected/fresh/")["oidc_access_token"] for _ in range(4)]
    assert len(set(tokens)) == 4
    bearer = {"Authorization": f"Bearer {tokens[-1]}"}
    assert requests.get(gatepost.url("/oauth/userinfo"), headers=bearer, timeout=10).json()["sub"] == account.subject


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_apache_keeps_the_person_signed_in_when_a_page_s_parts_refresh_at_once(
    apache: Apache, account: Account
) -> None:
    person = sign_in(apache, account)
    cookies = person.session.cookies.get_dict()
    before = apache.info(person)
    hook = apache.hook("refresh", f"{apache.origin}/protected/", access_token=before["access_token"])

    def part(_: int) -> str:
        answer = requests.get(hook, cookies=cookies, allow_redirects=False, timeout=30)
        return answer.headers.get("Location", f"{answer.status_code} {answer.text}")

    with ThreadPoolExecutor(6) as pool:
        answers = set(pool.map(part, range(6)))
    # Whoever comes after the first answer is told that the session has another access token by now.
    late = f"{apache.origin}/protected/?error_code=no_access_token_match"
    assert {f"{apache.origin}/protected/"} <= answers <= {f"{apache.origin}/protected/", late}
    after = apache.info(person)
    assert after["refresh_token"] != before["refresh_token"]
    assert apache.headers(person, "/protected/fresh/")["oidc_access_token"] != after["access_token"]


@pytest.mark.spec("RFC 6749 §4.1.2.1")
@pytest.mark.spec("RFC 9207 §2")
def test_apache_shows_an_error_page_when_the_person_declines(
    apache: Apache, account: Account, gatepost: Server
) -> None:
    person = account.at_a_browser()
    callback = walk(apache, person, "consent-deny", extra="&prompt=consent")
    assert callback.parameters["error"] == "access_denied"
    assert callback.parameters["iss"] == gatepost.issuer
    answer = person.request("GET", callback.url)
    # The module takes an error that carries `iss` for a login begun elsewhere, and its error page says so.
    assert "access_denied" in answer.text or "target_link_uri" in answer.text
    assert "oauth/authorize" in leave_to_sign_in(apache, person), "nobody is signed in"


@pytest.mark.parametrize("name", ["state", "iss", "code"])
def test_apache_signs_nobody_in_when_the_callback_was_tampered_with(
    apache: Apache, account: Account, name: str
) -> None:
    person = account.at_a_browser()
    parameters = {**walk(apache, person).parameters, name: "forged"}
    forged = requests.Request("GET", apache.callback_uri, params=parameters).prepare()
    answer = person.request("GET", str(forged.url))
    assert answer.headers.get("Location") != f"{apache.origin}/protected/"
    assert "oauth/authorize" in leave_to_sign_in(apache, person), "nobody is signed in"


def test_apache_forgets_the_person_when_they_sign_out_of_the_app(
    apache: Apache, account: Account, gatepost: Server
) -> None:
    person = sign_in(apache, account)
    answer = person.request("GET", apache.hook("logout", f"{apache.origin}/goodbye"))
    # It goes on to sign the person out at the server too (test_mod_auth_openidc_logout.py).
    assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (302, gatepost.url("/logout"))
    assert "oauth/authorize" in leave_to_sign_in(apache, person), "nobody is signed in"
