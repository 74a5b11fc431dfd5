"""Trying an application: the request explained, and the answer that came back."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qsl, urlsplit

import pytest

from server.domain.clients import Client
from tests.support.application import Gatepost
from tests.support.dashboard import Member, member, visible
from tests.support.flow import Flow, basic

CALLBACK = "https://shop.example/callback"


@pytest.fixture
def ada(gatepost: Gatepost) -> Member:
    return member(gatepost)


def register(ada: Member, kind: str, **fields: object) -> tuple[Client, str]:
    defaults: dict[str, object] = {"client_name": "Shop", "permissions": ["openid", "profile"]}
    if kind != "machine":
        defaults["redirect_uris"] = f"{CALLBACK}\nhttps://shop.example/two"
    else:
        defaults["permissions"] = ["clients:read"]
    answer = ada.post("applications", "new", kind, **{**defaults, **fields})
    secret = re.search(r"cs_[0-9A-Za-z]{40,}", answer.text)
    with ada.gatepost.work() as work:
        return next(iter(work.db.query(Client).filter_by(client_name="Shop"))), secret[0] if secret else ""


def request_of(html: str) -> tuple[str, dict[str, str]]:
    found = re.search(r'id="send-request" href="([^"]*)"', html)
    assert found is not None
    url = unescape(found[1])
    return url, dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize("kind", ["web", "spa", "native"])
def test_request_leads_to_a_code_and_the_command_trades_it(ada: Member, kind: str) -> None:
    uris = {"redirect_uris": "http://127.0.0.1/cb"} if kind == "native" else {}
    client, secret = register(ada, kind, **uris)
    page = ada.get("applications", client.id, "test-flow")
    url, parameters = request_of(page.text)
    for name in parameters:
        assert f"<code>{name}</code>" in page.text
    flow = Flow(ada.gatepost, client, secret or None, ada.gatepost.browser())
    answer = flow.walk(flow.browser.get(url.removeprefix("http://localhost:8000")))
    location = answer.headers["Location"]
    explained = ada.submit(page, "applications", client.id, "test-flow", answer=location)
    assert (explained.status_code, "here is the code" in visible(explained.text)) == (200, True)
    assert explained.text.count("As it must be") == 2
    command = unescape(re.search(r'id="trade">(.*?)</code>', explained.text, re.DOTALL)[1])  # type: ignore[index]
    form = dict(re.findall(r"--data-urlencode (?:'?)(\w+)=([^' \n]+)", command))
    assert set(form) == {"code", "redirect_uri", "code_verifier"}
    proof = {"headers": basic(client.id, secret)} if secret else {"data": {"client_id": client.id}}
    data = {"grant_type": "authorization_code", **form, **proof.get("data", {})}
    traded = flow.browser.post("/oauth/token", data=data, headers=proof.get("headers"))
    assert traded.status_code == 200, traded.text
    assert secret == "" or secret not in explained.text


def test_request_is_a_new_one_each_time(ada: Member) -> None:
    client, _ = register(ada, "spa")
    seen = [request_of(ada.get("applications", client.id, "test-flow").text)[1] for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        assert seen[0][name] != seen[1][name]


def test_request_is_what_was_chosen_from_what_is_registered(ada: Member) -> None:
    client, _ = register(ada, "spa")
    for asked, sent in (("https://shop.example/two", "https://shop.example/two"), ("https://evil.example/", CALLBACK)):
        page = ada.get("applications", client.id, "test-flow", redirect_uri=asked, prompt="login")
        _, parameters = request_of(page.text)
        assert (parameters["redirect_uri"], parameters["prompt"]) == (sent, "login")
        assert "evil.example" not in page.text


def test_answer_that_belongs_to_another_request_is_pointed_out(ada: Member) -> None:
    client, _ = register(ada, "spa")
    page = ada.get("applications", client.id, "test-flow")
    address = f"{CALLBACK}?code=cod_x&state=other&iss=https://evil.example"
    answer = ada.submit(page, "applications", client.id, "test-flow", answer=address)
    text = visible(answer.text)
    assert "must refuse it" in text
    assert text.count("Not what was sent") == 2
    assert 'id="trade"' not in answer.text


def test_refusal_is_explained(ada: Member) -> None:
    client, _ = register(ada, "spa")
    page = ada.get("applications", client.id, "test-flow")
    _, parameters = request_of(page.text)
    address = f"{CALLBACK}?error=access_denied&error_description=No&state={parameters['state']}"
    text = visible(ada.submit(page, "applications", client.id, "test-flow", answer=address).text)
    assert "There is no code" in text
    assert "access_denied" in text


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("https://evil.example/?code=1", f"begins with {CALLBACK}"),
        ("", f"begins with {CALLBACK}"),
        (CALLBACK, "neither a code nor an error"),
        (f"{CALLBACK}?state=1", "neither a code nor an error"),
        (f"{CALLBACK}.evil.example?code=1", f"begins with {CALLBACK}"),
        (f"{CALLBACK}&code=1", f"begins with {CALLBACK}"),
        (f"{CALLBACK}[::?code=a", f"begins with {CALLBACK}"),
    ],
)
def test_address_is_refused_when_it_holds_no_answer(ada: Member, address: str, sentence: str) -> None:
    client, _ = register(ada, "spa")
    before = ada.get("applications", client.id, "test-flow")
    answer = ada.submit(before, "applications", client.id, "test-flow", answer=address)
    assert (answer.status_code, sentence in visible(answer.text)) == (400, True)
    assert request_of(answer.text) == request_of(before.text)


@pytest.mark.parametrize(
    ("uri", "address", "is_ours"),
    [
        ("https://a.example", "https://a.example/?code=1", True),
        ("https://a.example", "https://a.example?code=1", True),
        ("https://a.example", "https://a.example.evil.example/?code=1", False),
        ("https://a.example", "https://a.example[::?code=1", False),
        ("https://a.example", "https://a.example\u2100?code=1", False),
        ("https://a.example/?x=1", "https://a.example/?x=1&code=1", True),
        ("https://a.example/?x=1", "https://a.example/?x=12&code=1", False),
        ("https://a.example/cb", "https://a.example/cb#code=1", True),
    ],
)
def test_answer_is_read_from_the_redirect_uri_alone(ada: Member, uri: str, address: str, is_ours: bool) -> None:
    client, _ = register(ada, "spa", redirect_uris=uri)
    page = ada.get("applications", client.id, "test-flow")
    answer = ada.submit(page, "applications", client.id, "test-flow", answer=address)
    assert answer.status_code == (200 if is_ours else 400)


def test_markup_in_an_answer_is_text(ada: Member) -> None:
    client, _ = register(ada, "spa")
    page = ada.get("applications", client.id, "test-flow")
    address = f"{CALLBACK}?code=%3Cscript%3Ealert(1)%3C/script%3E'%3B+rm+-rf&%3Cb%3E=1"
    answer = ada.submit(page, "applications", client.id, "test-flow", answer=address)
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<b>" not in answer.text


def test_machine_is_tried_with_one_command(ada: Member) -> None:
    client, _ = register(ada, "machine")
    page = ada.get("applications", client.id, "test-flow")
    assert "grant_type=client_credentials" in page.text
    answer = ada.browser.post(
        ada.path("applications", client.id, "test-flow"),
        data={"csrf_token": "0", "answer": "https://a.example/?code=1"},
    )
    assert answer.status_code in (403, 409)
