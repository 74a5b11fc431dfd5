"""Hostile input at what OpenID Connect adds: registration, request objects, assertions, signing out.

Nothing is a fault of ours, nothing of the input comes back but what was registered, and every refusal is one that its
specification names. The same endpoints are fuzzed by `test_any_bytes.py`.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwk
from werkzeug.test import TestResponse

from server.domain.policy.client_metadata import MEMBERS, OWN_MEMBERS
from tests.properties.oracle import breaches, faults_logged
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic
from tests.support.relying_party import (
    ASSERTION_TYPE,
    CALLBACK,
    RelyingParty,
    answer_in,
    encrypted_to_server,
    party_of,
    public_keys,
    register,
    relying_party,
    signed,
    signing_key,
)
from tests.support.stored_pages import StoredPages

pytestmark = pytest.mark.slow

MARK = "zq9hostile"
PAGE = "https://app.example/request.jwt"
GOODBYE = "https://app.example/bye"
DEEP = json.loads("[" * 400 + "]" * 400)
ODD: tuple[object, ...] = (
    *(None, True, 5, -1, 10**30, 1.5, "", MARK, f'{MARK}"\\', f"{MARK}é💥", f"{MARK}\0", f"{MARK}\r\nX: 1", "\ud800"),
    *([], [5], [None], [[]], [{}], {}, {MARK: MARK}, {"keys": 5}, {"keys": [5]}, {"keys": [{}]}, DEEP),
    *([MARK] * 300, [f"https://{MARK}.example/"] * 2, f"https://{MARK}.example/#{MARK}", f"http://{MARK}.example"),
    *(f"javascript:{MARK}", f"https://u:p@{MARK}.example/", "https://[::1", "https://x:99999/", "x" * 40_000),
)
REFUSALS = {"invalid_client_metadata", "invalid_redirect_uri", "invalid_software_statement", "invalid_request"}


@pytest.fixture
def provider(make_gatepost: GatepostMaker) -> Gatepost:
    gatepost = make_gatepost(registration="open", registration_per_hour=100_000)
    StoredPages().put_into(gatepost)
    return gatepost


@pytest.fixture
def client(provider: Gatepost) -> RelyingParty:
    return relying_party(provider, request_uris=[PAGE], post_logout_redirect_uris=[GOODBYE])


def sound(response: TestResponse) -> TestResponse:
    """The answer, which keeps to what every answer keeps to."""
    assert breaches(response, (CALLBACK, GOODBYE)) == []
    assert MARK not in f"{response.headers}{response.text}"
    return response


# Registration (RFC 7591 §3.2.2) -----------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [*MEMBERS, *OWN_MEMBERS, "software_statement", "client_id", "client_secret"])
@pytest.mark.spec("INV-41", "TK-17", "RFC 7591 §2", "RFC 7591 §3.2.2", "TK-24", "TK-29", "L-05")
def test_member_is_taken_refused_or_ignored_when_it_holds_anything(provider: Gatepost, member: str) -> None:
    for value in ODD:
        document = {"redirect_uris": [CALLBACK], "client_name": "Sound", member: value}
        with faults_logged() as faults:
            response = provider.browser().post("/oauth/register", json=document)
        assert faults == [], value
        if response.status_code == 201:
            told = response.get_json()
            assert told["client_id"] != MARK
            assert not told.get("is_first_party")
            assert not told.get("may_introspect_any")
        else:
            assert response.status_code in {400, 413}, (value, response.status_code)
            assert response.mimetype == "application/json"
            assert response.get_json()["error"] in REFUSALS
            sound(response)
        assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("member", OWN_MEMBERS)
@pytest.mark.spec("INV-41", "TK-17", "RFC 7591 §5", "TK-24", "INV-30")
def test_client_gets_no_rights_of_the_operators_when_it_asks_for_them(provider: Gatepost, member: str) -> None:
    plain = relying_party(provider).client
    for value in (True, False, "full", "always", "machine", "EdDSA"):
        response = register(provider, **{member: value})
        if response.status_code == 201:
            assert getattr(party_of(provider, response).client, member) == getattr(plain, member), value


BODIES = (
    b"",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"{",
    b'{"redirect_uris":',
    b"\xff\xfe{",
    b"\xef\xbb\xbf{}",
    b'{"redirect_uris":["https://app.example/cb"],"redirect_uris":["https://evil.example/"]}',
    b'{"a":NaN}',
    b'{"default_max_age":' + b"9" * 5000 + b"}",
    b"[" * 60_000,
    b'{"a":' * 10_000,
    b'{"client_name":"\\ud800"}',
    b'{"client_name":"' + b"x" * 70_000 + b'"}',
    b"redirect_uris=https%3A%2F%2Fapp.example%2Fcb",
    b"{}" + b"\0" * 100,
)


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain", "", "é"])
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.spec("INV-41", "TK-17", "RFC 7591 §3.1")
def test_registration_is_refused_when_the_body_is_no_object(provider: Gatepost, body: bytes, kind: str) -> None:
    response = provider.browser().post("/oauth/register", data=body, content_type=kind)
    assert response.status_code in {400, 413, 415}
    assert response.get_json()["error"] in REFUSALS
    sound(response)


TOKENS = ("", "x", "rat_x", MARK, "a.b.c", "é", "Basic", "x" * 5000, "\t")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("token", TOKENS, ids=range(len(TOKENS)))
@pytest.mark.spec("INV-41", "TK-17", "RFC 7592 §2", "RFC 7592 §3", "INV-06")
def test_registration_is_not_shown_or_changed_when_the_token_is_not_its_own(
    provider: Gatepost, client: RelyingParty, method: str, token: str
) -> None:
    other = relying_party(provider)
    path = f"/oauth/register/{client.client.id}"
    document = {**client.registration, "client_name": MARK}
    for value in (f"Bearer {token}", f"Bearer {other.registration['registration_access_token']}", f"DPoP {token}"):
        headers = {"Authorization": value.encode().decode("latin-1")}
        response = sound(provider.browser().open(path, method=method, json=document, headers=headers))
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    own = {"Authorization": f"Bearer {client.registration['registration_access_token']}"}
    assert provider.browser().get(path, headers=own).get_json()["client_name"] == client.registration["client_name"]


@pytest.mark.parametrize("client_id", ["x", "..", MARK, "%00", "é", "x" * 3000, "usr_x", "sample-web"])
@pytest.mark.spec("INV-41", "TK-17", "RFC 7592 §2.1", "INV-06")
def test_registration_of_another_client_is_unknown_when_its_id_is_asked_for(
    provider: Gatepost, client: RelyingParty, client_id: str
) -> None:
    provider.add_client()
    headers = {"Authorization": f"Bearer {client.registration['registration_access_token']}"}
    for method in ("GET", "PUT", "DELETE"):
        response = sound(
            provider.browser().open(f"/oauth/register/{client_id}", method=method, json={}, headers=headers)
        )
        assert response.status_code in {401, 404}, client_id


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "other"},
        {"client_secret": MARK},
        {"redirect_uris": 5},
        {"redirect_uris": []},
        {"response_types": [MARK]},
        {"jwks": {"keys": [{"kty": "oct", "k": "AA"}]}},
        {"jwks": public_keys(), "jwks_uri": "https://app.example/jwks.json"},
        {"jwks_uri": "https://10.0.0.1/jwks.json"},
        {"scope": 5},
    ],
)
@pytest.mark.spec("INV-41", "TK-17", "RFC 7592 §2.2")
def test_registration_stays_as_it_was_when_its_replacement_is_refused(
    client: RelyingParty, changes: dict[str, Any]
) -> None:
    path = f"/oauth/register/{client.client.id}"
    headers = {"Authorization": f"Bearer {client.registration['registration_access_token']}"}
    hidden = {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
    document = {name: value for name, value in client.registration.items() if name not in hidden}
    response = client.browser.put(path, json={**document, **changes}, headers=headers)
    assert sound(response).status_code == 400
    now = client.browser.get(path, headers=headers).get_json()
    assert {name: now[name] for name in document if name != "client_secret"} == {
        name: value for name, value in document.items() if name != "client_secret"
    }


# Request objects (OpenID Connect Core §6, RFC 9101) ---------------------------------------------------------------


def refused(client: RelyingParty, token: str, **outer: str | None) -> None:
    """The token is answered with an error, on our own page or at the registered URI."""
    with faults_logged() as faults:
        response = client.browser.post("/oauth/authorize", data=client.by_reference(token, **outer))
    assert faults == []
    sound(response)
    if "Location" in response.headers:
        assert not response.headers["Location"].startswith("/"), "it was taken"
        assert answer_in(response)["error"] in {
            "invalid_request_object",
            "invalid_request",
            "request_not_supported",
            "invalid_scope",
            "unsupported_response_type",
        }
    else:
        assert response.status_code in {400, 413}


BAD_CLAIMS: tuple[Mapping[str, Any], ...] = (
    *({name: value} for name in ("aud", "iss") for value in (5, MARK, [MARK], {}, [5], "")),
    *({name: value} for name in ("exp", "nbf", "iat") for value in (MARK, [], {}, "1", True)),
    *({"exp": value} for value in (1, 0, -1)),
    {"nbf": 99999999999},
    {"client_id": "other"},
    {"client_id": 5},
    {"response_type": "id_token"},
    {"response_type": 5},
    {"response_type": ["code"]},
    {"redirect_uri": 5},
    {"redirect_uri": f"https://{MARK}.example/"},
    {"redirect_uri": [CALLBACK]},
    {"scope": 5},
    {"scope": ["openid"]},
    {"scope": {"openid": True}},
    {"state": 10**40},
    {"nonce": ["x"]},
    {"prompt": {"none": 1}},
    {"prompt": ["none"]},
    {"max_age": "x"},
    {"max_age": -1},
    {"max_age": 1.5},
    {"claims": "{"},
    {"claims": []},
    {"claims": {"userinfo": 5}},
    {"code_challenge": 5},
    {"code_challenge_method": "plain"},
    {"request": "x"},
    {"request_uri": PAGE},
    {"sub": "CLIENT"},
)


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=range(len(BAD_CLAIMS)))
@pytest.mark.spec("INV-41", "TK-17", "OpenID Connect Core §6.1", "RFC 9101 §6.3", "AZ-28")
def test_request_object_is_refused_when_one_claim_is_wrong(client: RelyingParty, claims: dict[str, Any]) -> None:
    changes = {name: client.client.id if value == "CLIENT" else value for name, value in claims.items()}
    refused(client, client.request_object(changes=changes))


@pytest.mark.spec("INV-41", "TK-17", "OpenID Connect Core §6.1", "AZ-28")
def test_request_object_is_taken_when_nothing_is_wrong(client: RelyingParty) -> None:
    """The other side of all that is refused here."""
    assert client.send(client.by_reference(client.request_object())).headers["Location"].startswith("/")
    sealed = encrypted_to_server(client.gatepost, client.request_object(), "RSA-OAEP-256", "A256GCM")
    assert client.send(client.by_reference(sealed)).headers["Location"].startswith("/")


PAYLOADS = (
    b"",
    b"{",
    b"[]",
    b"null",
    b"5",
    b"\xff",
    b'{"a":NaN}',
    b"[" * 6000,
    b'{"a":' * 2000,
    b'{"scope":1,"scope":2}',
)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
@pytest.mark.spec("INV-41", "TK-17", "RFC 9101 §4", "AZ-28")
def test_request_object_is_refused_when_its_payload_is_no_object(client: RelyingParty, payload: bytes) -> None:
    refused(client, signed(payload, "RS256", "oauth-authz-req+jwt"))


BAD_HEADERS: tuple[dict[str, Any], ...] = (
    {"crit": ["exp"]},
    {"crit": []},
    {"b64": False, "crit": ["b64"]},
    {"jwk": {"kty": "oct", "k": "AA"}},
    {"jku": f"https://{MARK}.example/jwks.json"},
    {"x5u": f"https://{MARK}.example/x"},
    {"x5c": ["AA"]},
    {"zip": "DEF"},
    {"kid": MARK},
    {"kid": 5},
    {"typ": "at+jwt"},
    {"typ": "logout+jwt"},
    {"typ": 5},
    {"cty": "x" * 30_000},
)


@pytest.mark.parametrize("header", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
@pytest.mark.spec("INV-41", "TK-17", "RFC 8725 §3", "RFC 7515 §4.1", "AZ-28", "F-01")
def test_request_object_is_refused_when_its_header_asks_for_more(client: RelyingParty, header: dict[str, Any]) -> None:
    pages = StoredPages().put_into(client.gatepost)
    claims = {**client.parameters(), "aud": client.gatepost.settings.issuer, "exp": client.seconds() + 60}
    refused(client, signed_by_hand({"alg": "RS256", "kid": "signs-RS256", "typ": "JWT", **header}, claims))
    assert pages.asked == []


@pytest.mark.spec("INV-41", "TK-17", "RFC 8725 §3.2", "AZ-28")
def test_request_object_is_refused_when_it_is_not_signed_by_the_client(client: RelyingParty) -> None:
    claims = {**client.parameters(), "aud": client.gatepost.settings.issuer}
    foreign = jwk.RSAKey.generate_key(2048, {"kid": "signs-RS256"})
    refused(client, signed(claims, "RS256", "JWT", foreign))
    refused(client, signed(claims, "HS256", "JWT", jwk.OctKey.import_key(client.secret or "x" * 32)))
    # The public key as an HMAC secret: the oldest confusion there is.
    refused(client, signed_by_hand({"alg": "HS256", "kid": "signs-RS256", "typ": "JWT"}, claims))
    token = client.request_object()
    head, body, signature = token.split(".")
    unsigned = _base64url(b'{"alg":"none"}')
    for broken in (
        f"{unsigned}.{body}.",
        f"{unsigned}.{body}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{signature[:-4]}",
        f"{head}.{body}.{signature}.",
        f"{head}.{body[:-1]}.{signature}",
        f"{head}==.{body}.{signature}",
        f" {token}",
        f"{token}\n",
        token[: len(token) // 2],
        "x" * 60_000,
        MARK,
    ):
        refused(client, broken)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_by_hand(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token that no library would make: with any header, or with the public key for a secret."""
    head = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
    key = signing_key("RS256")
    if header["alg"] == "HS256":
        return f"{head}.{_base64url(hmac.digest(key.as_pem(private=False), head.encode(), 'sha256'))}"
    private: Any = key.private_key
    return f"{head}.{_base64url(private.sign(head.encode(), PKCS1v15(), SHA256()))}"


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "dir"},
        {"alg": "RSA1_5"},
        {"alg": "none"},
        {"alg": "PBES2-HS256+A128KW", "p2s": "AAAA", "p2c": 2**31},
        {"enc": "none"},
        {"zip": "DEF"},
        {"kid": MARK},
        {"crit": ["exp"]},
        {"epk": {"kty": "EC"}},
        {"alg": 5},
    ],
)
@pytest.mark.spec("INV-41", "TK-17", "RFC 8725 §3.1", "RFC 7516 §4.1", "AZ-28")
def test_encrypted_request_object_is_refused_when_its_header_was_changed(
    client: RelyingParty, change: dict[str, Any]
) -> None:
    sealed = encrypted_to_server(client.gatepost, client.request_object(), "RSA-OAEP-256", "A128CBC-HS256")
    head, *rest = sealed.split(".")
    header = {"alg": "RSA-OAEP-256", "enc": "A128CBC-HS256", "cty": "JWT", **change}
    refused(client, ".".join([_base64url(json.dumps(header).encode()), *rest]))
    for place in range(4):
        parts = [head, *rest]
        parts[place + 1] = parts[place + 1][::-1]
        refused(client, ".".join(parts))
    refused(client, encrypted_to_server(client.gatepost, MARK, "RSA-OAEP-256", "A128CBC-HS256"))


@pytest.mark.parametrize(
    "page",
    ["", MARK, "<html>", "{}", "a.b.c", "x" * 60_000, "é\0", None],
)
@pytest.mark.spec("INV-41", "TK-17", "OpenID Connect Core §6.2", "AZ-28", "F-07")
def test_request_uri_is_refused_when_it_leads_to_anything_else(client: RelyingParty, page: str | None) -> None:
    StoredPages({PAGE: page} if page is not None else {}).put_into(client.gatepost)
    sent = {"client_id": client.client.id, "response_type": "code", "scope": "openid", "request_uri": PAGE}
    response = sound(client.send({**sent, "redirect_uri": CALLBACK, "state": "s"}))
    if "Location" in response.headers:
        assert answer_in(response)["error"] in {"invalid_request_uri", "invalid_request_object"}
    else:
        assert response.status_code == 400
    assert sound(client.send(sent)).status_code in {303, 400}


URIS = (
    "",
    MARK,
    "urn:x",
    "file:///etc/passwd",
    "http://127.0.0.1/x",
    f"{PAGE}#other",
    f"{PAGE}?x",
    PAGE.upper(),
    "//x",
)


@pytest.mark.parametrize("uri", [*URIS, "https://[::1", "\0", "é", "x" * 50_000], ids=range(len(URIS) + 4))
@pytest.mark.spec("INV-41", "TK-17", "OpenID Connect Core §6.2", "AZ-28", "F-01")
def test_request_uri_is_not_even_fetched_when_it_was_not_registered(client: RelyingParty, uri: str) -> None:
    pages = StoredPages({PAGE: client.request_object()}).put_into(client.gatepost)
    sent = {**client.parameters(), "request_uri": uri}
    response = client.browser.post("/oauth/authorize", data=sent)
    assert pages.asked == []
    if response.headers.get("Location", "").startswith("/"):
        assert uri == "", "a parameter without a value counts as left out (RFC 6749 §3.1)"
    else:
        sound(response)
        assert response.status_code in {303, 400, 413}


# Client assertions (RFC 7521 §4.2, RFC 7523 §3) -------------------------------------------------------------------


ASSERTION_CHANGES: tuple[dict[str, Any], ...] = (
    *({name: None} for name in ("iss", "sub", "aud", "exp", "jti")),
    *({name: value} for name in ("iss", "sub", "aud") for value in (5, MARK, [], {}, [5], "")),
    *({name: value} for name in ("exp", "nbf", "iat") for value in (MARK, [], {}, True, 10**400)),
    *({"jti": value} for value in (5, [], {}, "", None)),
    {"exp": 1},
    {"exp": 10**12},
    {"nbf": 10**11},
    {"iat": 10**11},
)


@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt"])
@pytest.mark.parametrize("changes", ASSERTION_CHANGES, ids=range(len(ASSERTION_CHANGES)))
@pytest.mark.spec("INV-41", "TK-17", "RFC 7523 §3", "TK-07")
def test_assertion_is_refused_when_one_claim_is_wrong(provider: Gatepost, method: str, changes: dict[str, Any]) -> None:
    client = relying_party(provider, token_endpoint_auth_method=method)
    for path in ("token", "introspect", "revoke"):
        form = {"client_assertion": client.assertion(**changes), "client_assertion_type": ASSERTION_TYPE}
        data = {"grant_type": "refresh_token", "refresh_token": "rt_x", "token": "x", **form}
        response = sound(provider.browser().post(f"/oauth/{path}", data=data))
        assert response.status_code in {400, 401}
        assert response.get_json()["error"] in {"invalid_client", "invalid_request"}


@pytest.mark.spec("INV-41", "TK-17", "RFC 7521 §4.2", "TK-06", "TK-07")
def test_client_is_not_known_when_its_assertion_comes_in_another_way(provider: Gatepost) -> None:
    client = relying_party(provider, token_endpoint_auth_method="private_key_jwt")
    with_secret = relying_party(provider)
    fresh = client.assertion
    token = {"grant_type": "refresh_token", "refresh_token": "rt_x"}
    proof = {"client_assertion_type": ASSERTION_TYPE}
    for form, headers in (
        ({**proof, "client_assertion": fresh(), "client_id": with_secret.client.id}, {}),
        ({**proof, "client_assertion": fresh(), "client_secret": "x"}, {}),
        ({**proof, "client_assertion": fresh()}, basic(with_secret.client.id, with_secret.secret or "")),
        ({"client_assertion": fresh()}, {}),
        ({"client_assertion": fresh(), "client_assertion_type": MARK}, {}),
        ({**proof}, {}),
        ({**proof, "client_assertion": MARK}, {}),
        ({**proof, "client_assertion": "é\0"}, {}),
        ({**proof, "client_assertion": "a.b.c.d.e"}, {}),
        ({**proof, "client_assertion": fresh("RS256")[:-3]}, {}),
        ({"client_id": client.client.id}, {}),
        ({"client_id": client.client.id, "client_secret": MARK}, {}),
    ):
        response = sound(provider.browser().post("/oauth/token", data={**token, **form}, headers=headers))
        assert response.status_code in {400, 401}, form
        assert response.get_json()["error"] in {"invalid_client", "invalid_request"}, form
    twice = urlencode([*token.items(), *proof.items(), ("client_assertion", fresh()), ("client_assertion", fresh())])
    kind = "application/x-www-form-urlencoded"
    response = sound(provider.browser().post("/oauth/token", data=twice, content_type=kind))
    assert response.get_json()["error"] == "invalid_request"


# Signing out, and the page that watches the session ---------------------------------------------------------------


HINTS = ("", MARK, "a.b.c", "é\0", "x" * 40_000, "eyJhbGciOiJub25lIn0.e30.", "e30.e30.e30", ".....", "[" * 500)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("hint", HINTS, ids=range(len(HINTS)))
@pytest.mark.spec(
    "INV-41", "TK-17", "OpenID Connect RP-Initiated Logout §2", "OpenID Connect RP-Initiated Logout §4", "TK-31", "C-09"
)
def test_nobody_is_sent_away_or_signed_out_when_the_hint_is_nothing_of_ours(
    client: RelyingParty, method: str, hint: str
) -> None:
    client.tokens()
    for more in ({}, {"client_id": client.client.id}, {"client_id": MARK}, {"state": MARK, "logout_hint": MARK}):
        sent = {"id_token_hint": hint, "post_logout_redirect_uri": GOODBYE, **more}
        arguments = {"query_string": sent} if method == "GET" else {"data": sent}
        response = client.walk(client.browser.open("/logout", method=method, **arguments))
        assert response.status_code in {200, 400, 403, 413}
        assert MARK not in re.sub(r'<input\b[^>]*type="hidden"[^>]*>', "", response.text)
        assert f"url={GOODBYE}" not in response.text
    assert "code" in answer_in(client.authorize(prompt="none")), "still signed in"


GOODBYES = (
    *("", MARK, f"{GOODBYE}/", f"{GOODBYE}?x=1", f"{GOODBYE}#x", f"{GOODBYE}%00", "https://app.example/by", "//evil"),
    *(CALLBACK, "https://evil.example/", f"https://app.example@{MARK}.example/bye", "javascript:x", "/", "\0", "é"),
)


@pytest.mark.parametrize("uri", GOODBYES, ids=range(len(GOODBYES)))
@pytest.mark.spec("INV-41", "TK-17", "OpenID Connect RP-Initiated Logout §3", "TK-31", "C-09", "INV-19")
def test_nobody_is_sent_where_the_client_did_not_register_when_they_sign_out(client: RelyingParty, uri: str) -> None:
    hint = str(client.tokens()["id_token"])
    response = client.browser.get("/logout", query_string={"id_token_hint": hint, "post_logout_redirect_uri": uri})
    assert "Location" not in response.headers or response.headers["Location"].startswith("/")
    assert response.status_code in {200, 303, 400}
    if uri:
        assert f'url={uri}"' not in response.text
        assert f'href="{uri}"' not in response.text or uri == "/"


@pytest.mark.parametrize("query", ["", "client_id=%00", "x=%ff", f"{MARK}={MARK}", "origin=https://evil.example"])
@pytest.mark.spec("INV-41", "TK-17", "OpenID Connect Session Management §3.3")
def test_session_page_is_the_same_when_anything_is_asked_of_it(provider: Gatepost, query: str) -> None:
    plain = provider.browser().get("/oauth/check-session")
    asked = provider.browser().get(f"/oauth/check-session?{query}")
    assert (asked.status_code, asked.data) == (200, plain.data)
    assert sound(provider.browser().post("/oauth/check-session", data={"x": MARK})).status_code == 405
