"""A client that registers itself (RFC 7591) and has keys of its own, with the browser that it sends here.

It reads an authorization response wherever that stands: in the query, the fragment, a posted form, or a signed token.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from joserfc import jwe, jwk, jws
from werkzeug.test import TestResponse

from server.domain.clients import get_client
from tests.support.application import EVERY_SCOPE, Gatepost
from tests.support.flow import Flow, basic

CALLBACK = "https://app.example/cb"
RESPONSE_TYPES = (
    "code",
    "id_token",
    "id_token token",
    "code id_token",
    "code token",
    "code id_token token",
    "none",
)
SIGNING_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_GRANT_TYPES = ("authorization_code", "implicit", "refresh_token")
_FORM = re.compile(r'<form method="post" action="([^"]*)" id="form-post">')
_FIELD = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)">')

Key = jwk.RSAKey | jwk.ECKey | jwk.OKPKey


@cache
def signing_key(algorithm: str) -> Key:
    """The client's private key for one algorithm; the same for all clients of this process."""
    parameters: jwk.KeyParameters = {"alg": algorithm, "use": "sig", "kid": f"signs-{algorithm}"}
    if algorithm in {"RS256", "PS256"}:
        return jwk.RSAKey.generate_key(2048, parameters)
    if algorithm == "ES256":
        return jwk.ECKey.generate_key("P-256", parameters)
    return jwk.OKPKey.generate_key("Ed25519", parameters)


@cache
def decryption_key(algorithm: str) -> Key:
    """The client's private key that opens what was encrypted with `algorithm`."""
    kind = "RSA" if algorithm.startswith("RSA") else "EC"
    return _decryption_key(kind)


@cache
def _decryption_key(kind: str) -> Key:
    parameters: jwk.KeyParameters = {"use": "enc", "kid": f"opens-{kind}"}
    if kind == "RSA":
        return jwk.RSAKey.generate_key(2048, parameters)
    return jwk.ECKey.generate_key("P-256", parameters)


def public_keys() -> dict[str, Any]:
    """The JWK Set that a client registers: a key for every algorithm, and those to encrypt to."""
    keys = [signing_key(algorithm) for algorithm in SIGNING_ALGORITHMS]
    keys += [decryption_key("RSA-OAEP-256"), decryption_key("ECDH-ES")]
    return {"keys": [key.as_dict(private=False) for key in keys]}


def signed(claims: Mapping[str, Any] | bytes, algorithm: str, typ: str, key: Any = None, **header: Any) -> str:
    """A compact JWS over `claims`, by the client's key for `algorithm` unless another is given."""
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    key = key or signing_key(algorithm)
    members = {"alg": algorithm, "typ": typ, **({"kid": key.kid} if key.kid else {}), **header}
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jws.serialize_compact(members, payload, key, registry=registry)


@dataclass(frozen=True)
class Answer:
    """An authorization response: how it travelled, to which URI, and its parameters."""

    mode: str
    target: str
    parameters: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.parameters[name]

    def __contains__(self, name: str) -> bool:
        return name in self.parameters


def answer_in(response: TestResponse) -> Answer:
    """The authorization response that a browser carries on its way; each parameter stands in it once (INV-21)."""
    location = response.headers.get("Location")
    if location is not None:
        parts = urlsplit(location)
        mode = "fragment" if "#" in location else "query"
        target = location.partition("#")[0] if mode == "fragment" else location.partition("?")[0]
        pairs = parse_qsl(parts.fragment if mode == "fragment" else parts.query, keep_blank_values=True)
    else:
        form = _FORM.search(response.text)
        assert form is not None, (response.status_code, response.text[:1500])
        mode, target = "form_post", unescape(form[1])
        pairs = [(unescape(name), unescape(value)) for name, value in _FIELD.findall(response.text)]
    assert len(pairs) == len(dict(pairs)), pairs
    return Answer(mode, target, dict(pairs))


def server_keys(gatepost: Gatepost, use: str = "sig") -> jwk.KeySet:
    """The server's published keys of one use."""
    document = gatepost.browser().get(gatepost.settings.issuer_path + "/.well-known/jwks.json").get_json()
    return jwk.KeySet.import_key_set({"keys": [key for key in document["keys"] if key["use"] == use]})


@dataclass(frozen=True)
class Opened:
    """A token as its receiver reads it: the headers from the outermost inwards, and the claims."""

    headers: tuple[dict[str, Any], ...]
    claims: dict[str, Any]
    #: The signed token, whatever it travelled in.
    inside: str

    @property
    def is_encrypted(self) -> bool:
        """Whether the signed token travelled in an encrypted one."""
        return len(self.headers) == 2


def opened(gatepost: Gatepost, token: str) -> Opened:
    """Decrypts `token` with the client's keys if need be, and verifies it against the server's published ones."""
    headers: list[dict[str, Any]] = []
    if token.count(".") == 4:
        header = json.loads(jws_part(token, 0))
        registry = jwe.JWERegistry(algorithms=[header["alg"], header["enc"]])
        decrypted = jwe.decrypt_compact(token, decryption_key(header["alg"]), registry=registry)
        headers.append(header)
        assert decrypted.plaintext is not None
        token = decrypted.plaintext.decode()
    algorithm = json.loads(jws_part(token, 0))["alg"]
    verified = jws.deserialize_compact(token, server_keys(gatepost), algorithms=[algorithm])
    headers.append(dict(verified.headers()))
    return Opened(tuple(headers), json.loads(verified.payload), token)


def jws_part(token: str, index: int) -> bytes:
    """One part of a compact token, decoded."""
    part = token.split(".")[index]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def register(gatepost: Gatepost, *, initial_access_token: str | None = None, **metadata: Any) -> TestResponse:
    """Registers a client over HTTP; None leaves a member out."""
    document = {
        "client_name": "Relying party",
        "redirect_uris": [CALLBACK],
        "grant_types": list(_GRANT_TYPES),
        "response_types": list(RESPONSE_TYPES),
        "scope": EVERY_SCOPE,
        "jwks": None if "jwks_uri" in metadata else public_keys(),
        **metadata,
    }
    document = {name: value for name, value in document.items() if value is not None}
    headers = {"Authorization": f"Bearer {initial_access_token}"} if initial_access_token is not None else {}
    return gatepost.browser().post(gatepost.settings.issuer_path + "/oauth/register", json=document, headers=headers)


def relying_party(gatepost: Gatepost, **metadata: Any) -> RelyingParty:
    """A new client, registered over HTTP, and a new browser."""
    return party_of(gatepost, register(gatepost, **metadata))


def party_of(gatepost: Gatepost, response: TestResponse) -> RelyingParty:
    """The client whose registration was answered so, and a new browser."""
    assert response.status_code == 201, response.text
    document = response.get_json()
    with gatepost.work() as work:
        client = get_client(work, document["client_id"])
    return RelyingParty(gatepost, client, document.get("client_secret"), gatepost.browser(), registration=document)


@dataclass
class RelyingParty(Flow):
    """One client that registered itself, and one browser."""

    scope: str = "openid profile email"
    registration: dict[str, Any] = field(default_factory=dict)

    def answer(self, **changes: str | None) -> Answer:
        """The answer to an authorization request after everything that the pages ask was allowed."""
        return answer_in(self.walk(self.authorize(**changes)))

    def code(self, **changes: str | None) -> str:
        """A fresh authorization code, however it travels."""
        answer = self.answer(**changes)
        assert "code" in answer, answer
        return answer["code"]

    def read(self, token: str) -> Opened:
        """A token that came from the server."""
        return opened(self.gatepost, token)

    def userinfo(self, access_token: str) -> TestResponse:
        """What the server tells with this token."""
        return self.browser.get("/oauth/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def seconds(self) -> int:
        """The moment the server's clock stands at."""
        return int(self.gatepost.clock.now().timestamp())

    def assertion(self, algorithm: str | None = None, **changes: Any) -> str:
        """A fresh client assertion (RFC 7523 §3); None leaves a claim out."""
        is_secret = self.client.token_endpoint_auth_method == "client_secret_jwt"
        registered = self.client.token_endpoint_auth_signing_alg
        algorithm = algorithm or registered or ("HS256" if is_secret else "RS256")
        claims = {
            "iss": self.client.id,
            "sub": self.client.id,
            "aud": self.gatepost.settings.issuer,
            "jti": secrets.token_urlsafe(12),
            "iat": self.seconds(),
            "exp": self.seconds() + 60,
            **changes,
        }
        key = jwk.OctKey.import_key(self.secret or "") if algorithm.startswith("HS") else None
        return signed({name: value for name, value in claims.items() if value is not None}, algorithm, "JWT", key)

    def ask(self, path: str, **form: str | None) -> TestResponse:
        """A form posted to one of the machine endpoints, authenticated as the client is registered."""
        method, headers = self.client.token_endpoint_auth_method, {}
        if method in {"private_key_jwt", "client_secret_jwt"}:
            form = {"client_assertion": self.assertion(), "client_assertion_type": ASSERTION_TYPE, **form}
        elif method == "client_secret_basic":
            headers = basic(self.client.id, self.secret or "")
        else:
            form = {"client_id": self.client.id, "client_secret": self.secret, **form}
        data = {name: value for name, value in form.items() if value is not None}
        return self.gatepost.app.test_client().post(path, data=data, headers=headers)

    def post_token(self, **form: str | None) -> TestResponse:
        """A token request."""
        return self.ask("/oauth/token", **form)

    def request_object(self, algorithm: str = "RS256", changes: Mapping[str, Any] | None = None, **inner: Any) -> str:
        """A signed request object (RFC 9101 §4) of the usual parameters; `changes` are claims, None leaves one out."""
        claims: dict[str, Any] = {
            **self.parameters(**inner),
            "iss": self.client.id,
            "aud": self.gatepost.settings.issuer,
            "iat": self.seconds(),
            "nbf": self.seconds(),
            "exp": self.seconds() + 300,
            **(changes or {}),
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        return signed(kept, algorithm, "oauth-authz-req+jwt")

    def by_reference(self, request: str, **outer: str | None) -> dict[str, str]:
        """The parameters that stand beside a request object (OpenID Connect Core §6.1)."""
        beside = {"client_id": self.client.id, "response_type": "code", "scope": "openid", "request": request, **outer}
        return {name: value for name, value in beside.items() if value is not None}

    def send(self, parameters: Mapping[str, str]) -> TestResponse:
        """An authorization request of exactly these parameters."""
        return self.browser.get("/oauth/authorize", query_string=dict(parameters))


def encrypted_to_server(gatepost: Gatepost, token: str, algorithm: str, encryption: str) -> str:
    """`token` inside an encrypted one that only the server opens."""
    kind = "RSA" if algorithm.startswith("RSA") else "EC"
    key = next(key for key in server_keys(gatepost, "enc").keys if key.key_type == kind)
    header = {"alg": algorithm, "enc": encryption, "cty": "JWT", "kid": str(key.kid)}
    registry = jwe.JWERegistry(algorithms=[algorithm, encryption])
    return jwe.encrypt_compact(header, token.encode(), key, registry=registry)
