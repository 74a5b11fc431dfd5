"""Every kind of token is good for its own purpose only, and only byte for byte as it was issued.

Forgeries and tokens of the wrong kind are presented wherever the server takes a token; each must be refused, and none
may take effect: a forged copy of an access token must not even revoke the genuine one.
"""

import base64
import hmac
import json
import secrets
import string
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
import requests
from joserfc.jwk import RSAKey

from tests.interop.person import Person, challenge_of
from tests.interop.registry import SCOPE, Account, RegisteredClient, create_account, create_client
from tests.support.servers import Server

pytestmark = [pytest.mark.interop, pytest.mark.spec("RFC 8725 §2.8")]

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
SIGNED_OUT = "https://app.example/signed-out"


def b64(data: bytes | dict[str, Any]) -> str:
    """Base64url without padding, of bytes or of an object as JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(segment: str) -> bytes:
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


@dataclass
class Wallet:
    """One person's tokens at one client, and the means to present them."""

    server: Server
    client: RegisteredClient
    account: Account
    person: Person
    access_token: str
    id_token: str
    refresh_token: str

    def post(self, path: str, **form: str) -> requests.Response:
        """One form as the client."""
        pair = (self.client.client_id, self.client.client_secret)
        return requests.post(self.server.url(path), data=form, auth=pair, timeout=10, allow_redirects=False)

    def is_active(self, token: str) -> bool:
        """What introspection says; it never answers anything but 200."""
        answer = self.post("/oauth/introspect", token=token)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document["active"] is True or document == {"active": False}
        return bool(document["active"])

    def authorize(self, **extra: str) -> tuple[dict[str, str], str]:
        """One authorization response for the signed-in person, and the code's verifier."""
        verifier = secrets.token_urlsafe(48)
        query = {"response_type": "code", "client_id": self.client.client_id, "scope": SCOPE, "state": "s"}
        query |= {"redirect_uri": self.client.redirect_uri, "code_challenge_method": "S256"}
        query |= {"code_challenge": challenge_of(verifier), **extra}
        url = f"{self.server.url('/oauth/authorize')}?{urlencode(query)}"
        return dict(self.person.walk(url, self.client.redirect_uri).parameters), verifier

    def code(self) -> tuple[str, str]:
        """A fresh code and its verifier."""
        parameters, verifier = self.authorize()
        return parameters["code"], verifier

    def redeem(self, code: str, verifier: str) -> requests.Response:
        """The answer to an authorization code grant."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.client.redirect_uri}
        return self.post("/oauth/token", **form, code_verifier=verifier)


def open_wallet(server: Server, account: Account, client: RegisteredClient) -> Wallet:
    wallet = Wallet(server, client, account, account.at_a_browser(), "", "", "")
    tokens = wallet.redeem(*wallet.code()).json()
    wallet.access_token, wallet.id_token = tokens["access_token"], tokens["id_token"]
    wallet.refresh_token = tokens["refresh_token"]
    return wallet


@pytest.fixture(scope="module")
def wallet(gatepost: Server) -> Wallet:
    client = create_client(gatepost, "web", "--post-logout-redirect-uri", SIGNED_OUT)
    return open_wallet(gatepost, create_account(gatepost), client)


def flipped(segment: str, position: float) -> str:
    """The segment with one bit of one byte turned."""
    raw = bytearray(unb64(segment))
    raw[min(int(len(raw) * position), len(raw) - 1)] ^= 1
    return b64(bytes(raw))


def with_loose_tail(segment: str) -> str | None:
    """Another spelling of the same bytes: set bits that the encoding does not use. None where all bits are used."""
    unused = {0: 0, 2: 4, 3: 2}[len(segment) % 4]
    return segment[:-1] + ALPHABET[ALPHABET.index(segment[-1]) | 1] if unused else None


def forgeries(token: str, typ: str, server: Server, client: RegisteredClient) -> dict[str, str]:
    """Everything a forger could make of one genuine JWT without the private key."""
    header, payload, signature = token.split(".")
    head, claims = json.loads(unb64(header)), json.loads(unb64(payload))
    published = requests.get(server.url("/.well-known/jwks.json"), timeout=10).json()["keys"]
    public = RSAKey.import_key(next(key for key in published if key["kid"] == head["kid"]))
    stranger = RSAKey.generate_key(2048)
    later = {**claims, "exp": claims["exp"] + 86400}
    made = {
        "alg none": f"{b64({**head, 'alg': 'none'})}.{payload}.",
        "alg nOnE": f"{b64({**head, 'alg': 'nOnE'})}.{payload}.",
        "alg none, signature kept": f"{b64({**head, 'alg': 'none'})}.{payload}.{signature}",
        "alg empty": f"{b64({**head, 'alg': ''})}.{payload}.",
        "alg null": f"{b64({**head, 'alg': None})}.{payload}.{signature}",
        "alg a list": f"{b64({**head, 'alg': ['RS256']})}.{payload}.{signature}",
        "alg missing": f"{b64({'typ': typ, 'kid': head['kid']})}.{payload}.{signature}",
        "alg RS512": f"{b64({**head, 'alg': 'RS512'})}.{payload}.{signature}",
        "header not JSON": f"{b64(b'nonsense')}.{payload}.{signature}",
        "header a list": f"{b64(b'[]')}.{payload}.{signature}",
        "header with a second alg": f"{b64(unb64(header)[:-1] + b',' + bytes([34]) + b'alg')}.{payload}.{signature}",
        "kid unknown": f"{b64({**head, 'kid': 'nobody'})}.{payload}.{signature}",
        "kid a path": f"{b64({**head, 'kid': '../../../dev/null'})}.{payload}.{signature}",
        "kid a statement": f"{b64({**head, 'kid': chr(39) + ' OR 1=1 --'})}.{payload}.{signature}",
        "kid a list": f"{b64({**head, 'kid': [head['kid']]})}.{payload}.{signature}",
        "kid missing": f"{b64({'alg': 'RS256', 'typ': typ})}.{payload}.{signature}",
        "typ altered": f"{b64({**head, 'typ': 'JOSE'})}.{payload}.{signature}",
        "expiry altered": f"{header}.{b64(later)}.{signature}",
        "subject altered": f"{header}.{b64({**claims, 'sub': 'usr_somebody_else'})}.{signature}",
        "payload not an object": f"{header}.{b64(b'[1]')}.{signature}",
        "payload empty": f"{header}..{signature}",
        "signature empty": f"{header}.{payload}.",
        "signature cut": f"{header}.{payload}.{signature[:-4]}",
        "signature twice": f"{token}{signature}",
        "signature zero": f"{header}.{payload}.{b64(bytes(256))}",
        "padded": f"{token}==",
        "standard alphabet": f"{header}.{payload}.{signature.replace('-', '+').replace('_', '/')}*",
        "extra segment": f"{token}.{signature}",
        "two segments": f"{header}.{payload}",
        "five segments": f"{header}.{payload}.{signature}.{payload}.{signature}",
        "dots": "..",
        "JSON serialisation": json.dumps({"payload": payload, "protected": header, "signature": signature}),
        "upper case": token.upper(),
        "only a header": header,
        "very long": f"{header}.{payload}.{'A' * 9000}",
    }
    for name, segment in (("header", header), ("payload", payload), ("signature", signature)):
        for position in (0.0, 0.5, 1.0):
            parts = [flipped(part, position) if part is segment else part for part in (header, payload, signature)]
            made[f"{name} bit flipped at {position}"] = ".".join(parts)
        loose = with_loose_tail(segment)
        if loose is not None:
            made[f"{name} with a loose tail"] = ".".join(
                loose if part is segment else part for part in (header, payload, signature)
            )
    body = json.dumps(claims)
    for name, secret in (
        ("public key as PEM", public.as_pem(private=False)),
        ("public key as DER", public.as_der(private=False)),
        ("modulus", unb64(str(public.as_dict(private=False)["n"]))),
        ("client secret", client.client_secret.encode()),
        ("kid", str(head["kid"]).encode()),
    ):
        signing_input = f"{b64({**head, 'alg': 'HS256'})}.{b64(body.encode())}"
        digest = hmac.digest(secret, signing_input.encode(), "sha256")
        made[f"HS256 under the {name}"] = f"{signing_input}.{b64(digest)}"
    own = stranger.as_dict(private=False)
    for name, extra in (
        ("our kid", {}),
        ("a key of its own in the header", {"jwk": own}),
        ("no kid but its own key", {"jwk": own, "kid": None}),
        ("a key set elsewhere", {"jku": "http://127.0.0.1:1/jwks.json"}),
        ("a certificate elsewhere", {"x5u": "http://127.0.0.1:1/cert.pem"}),
    ):
        merged = {key: value for key, value in {**head, **extra}.items() if value is not None}
        made[f"signed by a stranger with {name}"] = signed_raw(merged, body, stranger)
    return {name: forged for name, forged in made.items() if forged != token}


def signed_raw(header: dict[str, Any], body: str, key: RSAKey) -> str:
    """RS256 over exactly this header, whatever a careful library thinks of it."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    signing_input = f"{b64(header)}.{b64(body.encode())}"
    assert key.private_key is not None
    return f"{signing_input}.{b64(key.private_key.sign(signing_input.encode(), PKCS1v15(), SHA256()))}"


@pytest.fixture(scope="module")
def not_access_tokens(wallet: Wallet) -> dict[str, str]:
    """Forged access tokens, and genuine tokens of other kinds."""
    made = forgeries(wallet.access_token, "at+jwt", wallet.server, wallet.client)
    made["ID token"] = wallet.id_token
    made["authorization code"] = wallet.code()[0]
    made["client secret"] = wallet.client.client_secret
    made["empty"] = ""
    return made


@pytest.fixture(scope="module")
def not_id_tokens(wallet: Wallet) -> dict[str, str]:
    """Forged ID tokens, and genuine tokens of other kinds."""
    made = forgeries(wallet.id_token, "JWT", wallet.server, wallet.client)
    made["access token"] = wallet.access_token
    made["refresh token"] = wallet.refresh_token
    return made


def as_header(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.spec("RFC 6750 §3.1")
def test_userinfo_refuses_everything_that_is_not_a_genuine_access_token(
    wallet: Wallet, not_access_tokens: dict[str, str]
) -> None:
    url = wallet.server.url("/oauth/userinfo")
    assert requests.get(url, headers=as_header(wallet.access_token), timeout=10).status_code == 200
    wrong = {}
    for name, token in {**not_access_tokens, "refresh token": wallet.refresh_token}.items():
        ways = [requests.post(url, data={"access_token": token}, timeout=10)]
        if token:
            ways.append(requests.get(url, headers=as_header(token), timeout=10))
            ways.append(requests.post(url, headers=as_header(token), timeout=10))
        statuses = [way.status_code for way in ways]
        if not set(statuses) <= {400, 401} or any("WWW-Authenticate" not in way.headers for way in ways):
            wrong[name] = statuses
    assert wrong == {}


@pytest.mark.spec("RFC 6750 §2.3")
def test_userinfo_ignores_a_token_in_the_query_when_it_is_genuine(wallet: Wallet) -> None:
    url = wallet.server.url("/oauth/userinfo")
    assert requests.get(url, params={"access_token": wallet.access_token}, timeout=10).status_code in {400, 401}


@pytest.mark.spec("RFC 6750 §2")
def test_userinfo_refuses_a_token_sent_twice_when_both_are_genuine(wallet: Wallet) -> None:
    url, form = wallet.server.url("/oauth/userinfo"), {"access_token": wallet.access_token}
    answer = requests.post(url, headers=as_header(wallet.access_token), data=form, timeout=10)
    assert answer.status_code == 400


@pytest.mark.spec("RFC 7662 §2.2")
def test_introspection_calls_everything_inactive_that_is_not_a_genuine_token(
    wallet: Wallet, not_access_tokens: dict[str, str]
) -> None:
    assert wallet.is_active(wallet.access_token)
    assert wallet.is_active(wallet.refresh_token)
    tokens = {name: token for name, token in not_access_tokens.items() if token}
    assert [name for name, token in tokens.items() if wallet.is_active(token)] == []
    for hint in ("access_token", "refresh_token", "id_token", "nonsense"):
        answer = wallet.post("/oauth/introspect", token=wallet.id_token, token_type_hint=hint)
        assert answer.json() == {"active": False}, hint


@pytest.mark.spec("RFC 7009 §2.2")
def test_revocation_changes_nothing_when_the_token_is_not_genuine(
    wallet: Wallet, not_access_tokens: dict[str, str], not_id_tokens: dict[str, str]
) -> None:
    for name, token in {**not_id_tokens, **not_access_tokens}.items():
        if token in {"", wallet.access_token, wallet.refresh_token} or name == "authorization code":
            continue
        answer = wallet.post("/oauth/revoke", token=token)
        assert answer.status_code in {200, 400}, (name, answer.text)
    assert wallet.is_active(wallet.access_token), "a forged copy revoked the genuine token"
    assert wallet.is_active(wallet.refresh_token)


@pytest.mark.spec("RFC 7009 §2.1")
def test_revocation_and_introspection_are_refused_when_the_token_belongs_to_another_client(
    wallet: Wallet, gatepost: Server
) -> None:
    other = Wallet(gatepost, create_client(gatepost), wallet.account, wallet.person, "", "", "")
    for token in (wallet.access_token, wallet.refresh_token):
        assert not other.is_active(token)
        assert other.post("/oauth/revoke", token=token).status_code in {200, 400}
        assert wallet.is_active(token)


@pytest.mark.spec("RFC 6749 §5.2")
def test_token_endpoint_refuses_tokens_of_another_kind(wallet: Wallet) -> None:
    code, verifier = wallet.code()
    strangers = {"access token": wallet.access_token, "ID token": wallet.id_token, "client id": wallet.client.client_id}
    for name, token in {**strangers, "refresh token": wallet.refresh_token, "empty": ""}.items():
        answer = wallet.redeem(token, verifier)
        assert answer.status_code == 400, name
        assert answer.json()["error"] in {"invalid_grant", "invalid_request"}, name
    for name, token in {**strangers, "code": code, "code as a refresh token": "rt_" + code[3:], "empty": ""}.items():
        answer = wallet.post("/oauth/token", grant_type="refresh_token", refresh_token=token)
        assert answer.status_code == 400, name
        assert answer.json()["error"] in {"invalid_grant", "invalid_request"}, name
    assert wallet.redeem(code, verifier).status_code == 200, "the refused attempts spent the code"


@pytest.mark.spec("OpenID Connect Core 1.0 §3.1.2.1")
def test_authorization_endpoint_refuses_an_id_token_hint_when_it_is_not_a_genuine_id_token(
    wallet: Wallet, not_id_tokens: dict[str, str]
) -> None:
    genuine, _ = wallet.authorize(prompt="none", id_token_hint=wallet.id_token)
    assert "code" in genuine
    got_through = {}
    for name, token in not_id_tokens.items():
        if len(token) > 6000:
            continue
        parameters, _ = wallet.authorize(prompt="none", id_token_hint=token)
        if parameters.get("error") not in {"login_required", "invalid_request"}:
            got_through[name] = parameters
    assert got_through == {}


@pytest.mark.spec("OpenID Connect RP-Initiated Logout 1.0 §2")
def test_logout_never_redirects_when_the_id_token_hint_is_not_a_genuine_id_token(
    wallet: Wallet, not_id_tokens: dict[str, str]
) -> None:
    for name, token in not_id_tokens.items():
        if len(token) > 6000:
            continue
        query = {"id_token_hint": token, "post_logout_redirect_uri": SIGNED_OUT}
        answer = wallet.person.request("GET", f"{wallet.server.url('/logout')}?{urlencode(query)}")
        assert answer.status_code < 500, name
        assert SIGNED_OUT not in answer.headers.get("Location", ""), name
    assert "code" in wallet.authorize(prompt="none")[0], "a forged hint signed the person out"


@pytest.mark.spec("RFC 6749 §4.4")
def test_userinfo_refuses_a_machine_when_nobody_signed_in(gatepost: Server) -> None:
    created = gatepost.run_json("clients", "create", "Nightly export", "--type", "machine")
    pair = (created["client_id"], created["client_secret"])
    form = {"grant_type": "client_credentials"}
    token = requests.post(gatepost.url("/oauth/token"), data=form, auth=pair, timeout=10).json()["access_token"]
    answer = requests.get(gatepost.url("/oauth/userinfo"), headers=as_header(token), timeout=10)
    assert answer.status_code in {401, 403}
