"""Host and forwarded headers: the rules H, each seen from outside."""

import itertools

import pytest
from werkzeug.test import TestResponse

from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic, flow_of, jwt_claims

SITE = "https://app.example/cb"
HEADERS = (
    *("X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server"),
    *("X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Forwarded-For", "X-Forwarded-Uri", "X-Forwarded-Path"),
    *("X-Forwarded-Method", "Forwarded", "X-Host", "X-HTTP-Host-Override", "X-Original-Host", "X-Original-URL"),
    *("X-Rewrite-URL", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Client-IP", "X-Script-Name", "X-Url-Scheme"),
    *("Front-End-Https", "Via"),
)
VALUES = (
    *("evil.example", "https://evil.example", "evil.example:443", "localhost:8000@evil.example", "127.0.0.1", "https"),
    *("http", "/evil", "host=evil.example;proto=https", '"><script>', "a, b", "\u00e9\u00ff"),
)


def told(answer: TestResponse) -> tuple[int, bytes, str | None]:
    """All of an answer that could depend on a header."""
    return answer.status_code, answer.get_data(), answer.headers.get("Location")


def test_corpus_is_as_large_as_the_rule_says() -> None:
    assert (len(set(HEADERS)), len(set(VALUES))) == (25, 12)


@pytest.mark.parametrize("proxies", ["", "127.0.0.0/8"], ids=["no proxy", "trusted proxy"])
@pytest.mark.spec("H-01", "INV-15", "TK-28")
def test_answers_are_byte_identical_whatever_host_and_forwarded_headers_say(
    make_gatepost: GatepostMaker, proxies: str
) -> None:
    gatepost = make_gatepost(trusted_proxies=proxies)
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    flow.code()
    paths = ("/.well-known/openid-configuration", "/signed-out")
    silent = flow.parameters(scope="nope")

    def ask(headers: dict[str, str]) -> list[tuple[int, bytes, str | None]]:
        found = [told(flow.browser.get(path, headers=headers)) for path in paths]
        return [*found, told(flow.browser.get("/oauth/authorize", query_string=silent, headers=headers))]

    plain = ask({})
    for name, value in itertools.product(HEADERS, VALUES):
        assert ask({name: value}) == plain, (name, value)


@pytest.mark.spec("H-01", "INV-15")
def test_token_names_the_configured_issuer_whatever_every_header_says(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    machine = flow_of(gatepost, "machine")
    headers = {**dict.fromkeys(HEADERS, "evil.example"), **basic(machine.client.id, machine.secret or "")}
    answer = gatepost.browser().post("/oauth/token", data={"grant_type": "client_credentials"}, headers=headers)
    assert jwt_claims(answer.get_json()["access_token"])["iss"] == ISSUER
    location = flow.browser.get("/oauth/authorize", query_string=flow.parameters(), headers=headers).headers["Location"]
    assert location.startswith("/login?request=")


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "login.example:1", "10.0.0.1"])
@pytest.mark.spec("H-02", "INV-48")
def test_request_is_misdirected_when_it_names_another_host_whatever_it_asks(
    make_gatepost: GatepostMaker, host: str
) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    for method, path in (("GET", "/"), ("POST", "/oauth/token"), ("GET", "/static/gatepost.css"), ("GET", "/nope")):
        answer = gatepost.browser().open(path, method=method, headers={"Host": host})
        assert answer.status_code == 421, path
        assert host not in answer.text
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert gatepost.browser().get("/healthz", headers={"Host": host}).status_code == 200


CHAINS = {
    # proxies, X-Forwarded-For: the address that counts
    ("", "192.0.2.7"): "127.0.0.1",
    ("10.0.0.0/8", "192.0.2.7"): "127.0.0.1",
    ("127.0.0.1/32", "192.0.2.7"): "192.0.2.7",
    ("127.0.0.1/32", "198.51.100.9, 192.0.2.7"): "192.0.2.7",
    ("127.0.0.1/32,10.0.0.0/8", "192.0.2.7, 10.0.0.3"): "192.0.2.7",
}


@pytest.mark.parametrize(("proxies", "sent"), CHAINS)
@pytest.mark.spec("H-03", "B-03")
def test_address_is_what_the_last_trusted_proxy_saw(make_gatepost: GatepostMaker, proxies: str, sent: str) -> None:
    gatepost = make_gatepost(trusted_proxies=proxies)
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    flow.browser.environ_base["HTTP_X_FORWARDED_FOR"] = sent
    flow.code()
    assert gatepost.audit_rows("login.succeeded")[-1].ip == CHAINS[proxies, sent]
