"""Every algorithm that discovery offers, for everything it is offered for, with two libraries that are not ours.

The client signs and encrypts with joserfc and with Node's jose, and reads with them what it gets. Whatever is not
offered, and every header by which a token could choose its own key, is refused with 4xx.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask.testing import FlaskClient
from joserfc import jwk
from joserfc.jws import JWSRegistry
from werkzeug.test import TestResponse

from server.infra.jwe import CONTENT_ENCRYPTIONS, DECRYPTION_ALGORITHMS, ENCRYPTION_ALGORITHMS
from tests.interop.jose_libraries import Joserfc, Library, node_library
from tests.support.application import ISSUER, REDIRECT_URI, Gatepost
from tests.support.deployment import GatepostMaker, gatepost, make_gatepost, prepared_folder
from tests.support.flow import CHALLENGE, Flow, flow_of

__all__ = ["gatepost", "make_gatepost", "prepared_folder"]

pytestmark = pytest.mark.interop

SIGNING = ("RS256", "PS256", "ES256", "EdDSA")
ENDPOINTS = ("token", "revoke", "introspect")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Signing algorithms of RFC 7518, RFC 8812, RFC 8037 and RFC 9864 that are not offered, and the key of each.
NOT_OFFERED = {
    "RS384": ("RSA", 2048),
    "RS512": ("RSA", 2048),
    "PS384": ("RSA", 2048),
    "PS512": ("RSA", 2048),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "ES256K": ("EC", "secp256k1"),
    "Ed25519": ("OKP", "Ed25519"),
    "Ed448": ("OKP", "Ed448"),
    "HS256": ("oct", 256),
    "HS384": ("oct", 384),
    "HS512": ("oct", 512),
}
_numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["joserfc", "node"])
def library(request: pytest.FixtureRequest) -> Iterator[Library]:
    """The client's library."""
    if request.param == "joserfc":
        yield Joserfc()
        return
    project: Path = request.getfixturevalue("node_project")
    with node_library(project) as node:
        yield node


# ------------------------------------------------------------------------------------------------------------- clients


@cache
def private_jwk(name: str) -> dict[str, Any]:
    """A private key of the client, by what it is for."""
    kinds = {
        "RS256": ("RSA", 2048, "sig"),
        "PS256": ("RSA", 2048, "sig"),
        "ES256": ("EC", "P-256", "sig"),
        "EdDSA": ("OKP", "Ed25519", "sig"),
        "RSA encryption": ("RSA", 2048, "enc"),
        "EC encryption": ("EC", "P-256", "enc"),
    }
    kind, size, use = kinds.get(name) or (*NOT_OFFERED[name], "sig")
    key = jwk.generate_key(kind, size, {"use": use, "kid": name, **({"alg": name} if use == "sig" else {})})
    return key.as_dict(private=True)


def public_jwk(name: str) -> dict[str, Any]:
    return {
        member: value
        for member, value in private_jwk(name).items()
        if member not in {"d", "p", "q", "dp", "dq", "qi", "oth", "key_ops"}
    }


def client_jwks() -> dict[str, Any]:
    """What the client publishes: the keys it signs with, and those it wants its tokens encrypted to."""
    return {"keys": [public_jwk(name) for name in (*SIGNING, "RSA encryption", "EC encryption")]}


def encryption_key(alg: str) -> dict[str, Any]:
    return private_jwk("RSA encryption" if alg.startswith("RSA") else "EC encryption")


@dataclass
class Answers:
    """What a client got, each still as a token."""

    response: str
    id_token: str
    userinfo: str
    access_token: str


def answers_of(flow: Flow) -> Answers:
    """Signs in for the client, once, with everything as the client registered it."""
    gatepost, client = flow.gatepost, flow.gatepost.app.test_client()
    left = flow.walk(flow.authorize(response_mode="jwt"))
    response = parse_qs(urlsplit(left.headers["Location"]).query)["response"][0]
    tokens = flow.tokens()
    userinfo = client.get("/oauth/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert (userinfo.status_code, userinfo.mimetype) == (200, "application/jwt"), userinfo.text
    assert gatepost.settings.issuer == ISSUER
    return Answers(response, tokens["id_token"], userinfo.text, tokens["access_token"])


def jwks_of(gatepost: Gatepost) -> dict[str, Any]:
    document: dict[str, Any] = gatepost.app.test_client().get("/.well-known/jwks.json").get_json()
    return document


def discovery_of(gatepost: Gatepost) -> dict[str, Any]:
    document: dict[str, Any] = gatepost.app.test_client().get("/.well-known/openid-configuration").get_json()
    return document


# --------------------------------------------------------------------------------------------------- what is offered


@pytest.mark.spec("INV-45")
@pytest.mark.spec("OpenID Connect Discovery 1.0 §3")
def test_matrix_has_every_algorithm_when_discovery_is_read(gatepost: Gatepost) -> None:
    document = discovery_of(gatepost)
    for name in ("id_token", "userinfo", "authorization", "request_object"):
        assert set(document[f"{name}_signing_alg_values_supported"]) == set(SIGNING), name
        offered = set(document[f"{name}_encryption_alg_values_supported"])
        assert offered == set(DECRYPTION_ALGORITHMS if name == "request_object" else ENCRYPTION_ALGORITHMS), name
        assert set(document[f"{name}_encryption_enc_values_supported"]) == set(CONTENT_ENCRYPTIONS), name
    for name in ("token", "revocation", "introspection"):
        assert set(document[f"{name}_endpoint_auth_signing_alg_values_supported"]) == {*SIGNING, "HS256"}, name


# --------------------------------------------------------------------------------------------------- what a client gets


@pytest.mark.spec("OpenID Connect Core 1.0 §3.1.3.7")
@pytest.mark.spec("OpenID Connect Core 1.0 §5.3.2")
@pytest.mark.spec("RFC 9068 §2.1")
@pytest.mark.parametrize("algorithm", SIGNING)
def test_what_the_client_gets_verifies_when_it_chose_the_algorithm(
    gatepost: Gatepost, library: Library, algorithm: str
) -> None:
    names = ("id_token_signed", "userinfo_signed", "authorization_signed", "access_token_signed")
    flow = flow_of(gatepost, **{f"{name}_response_alg": algorithm for name in names})
    answers, jwks = answers_of(flow), jwks_of(gatepost)
    for token, audience in (
        (answers.id_token, flow.client.id),
        (answers.userinfo, flow.client.id),
        (answers.response, flow.client.id),
        (answers.access_token, ISSUER),
    ):
        found = library.verify(token, jwks, algorithm, ISSUER, audience)
        assert found.header["alg"] == algorithm
        assert set(found.header) == {"alg", "kid", "typ"}
    assert library.verify(answers.access_token, jwks, algorithm, ISSUER, ISSUER).header["typ"] == "at+jwt"
    claims = library.verify(answers.id_token, jwks, algorithm, ISSUER, flow.client.id).claims
    assert claims["sub"] == library.verify(answers.userinfo, jwks, algorithm, ISSUER, flow.client.id).claims["sub"]


@pytest.mark.spec("OpenID Connect Core 1.0 §10.2")
@pytest.mark.parametrize("enc", CONTENT_ENCRYPTIONS)
@pytest.mark.parametrize("alg", ENCRYPTION_ALGORITHMS)
def test_what_the_client_gets_is_for_its_eyes_when_it_registered_encryption(
    gatepost: Gatepost, library: Library, alg: str, enc: str
) -> None:
    signing = SIGNING[(ENCRYPTION_ALGORITHMS.index(alg) + CONTENT_ENCRYPTIONS.index(enc)) % len(SIGNING)]
    members = {}
    for name in ("id_token", "userinfo", "authorization"):
        members |= {f"{name}_encrypted_response_alg": alg, f"{name}_encrypted_response_enc": enc}
        members |= {f"{name}_signed_response_alg": signing}
    flow = flow_of(gatepost, jwks=client_jwks(), **members)
    answers, jwks = answers_of(flow), jwks_of(gatepost)
    for token in (answers.id_token, answers.userinfo, answers.response):
        header, inner = library.decrypt(token, encryption_key(alg), alg, enc)
        assert (header["alg"], header["enc"], header["cty"]) == (alg, enc, "JWT")
        assert header["kid"] == encryption_key(alg)["kid"]
        assert library.verify(inner, jwks, signing, ISSUER, flow.client.id).header["alg"] == signing


# ------------------------------------------------------------------------------------------------------- assertions


def assertion_claims(gatepost: Gatepost, client_id: str) -> dict[str, Any]:
    now = int(gatepost.clock.now().timestamp())
    times = {"iat": now, "exp": now + 60, "jti": f"matrix-{next(_numbers)}"}
    return {"iss": client_id, "sub": client_id, "aud": ISSUER, **times}


def present(gatepost: Gatepost, assertion: str, endpoint: str = "token") -> TestResponse:
    """Asks an endpoint for something with an assertion for proof."""
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    form |= {"grant_type": "client_credentials"} if endpoint == "token" else {"token": "unknown"}
    return gatepost.app.test_client().post(f"/oauth/{endpoint}", data=form)


@pytest.mark.spec("RFC 7523 §3")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("algorithm", SIGNING)
def test_assertion_proves_the_client_when_its_key_signed_it(
    gatepost: Gatepost, library: Library, algorithm: str, endpoint: str
) -> None:
    for registered in (algorithm, None):
        client, _ = gatepost.add_client(
            "machine",
            client_id=f"signer-{registered}",
            token_endpoint_auth_method="private_key_jwt",
            token_endpoint_auth_signing_alg=registered,
            jwks=client_jwks(),
        )
        header = {"alg": algorithm, "kid": algorithm, "typ": "JWT"}
        assertion = library.sign(assertion_claims(gatepost, client.id), header, private_jwk(algorithm))
        response = present(gatepost, assertion, endpoint)
        assert response.status_code == 200, response.text


@pytest.mark.spec("OpenID Connect Core 1.0 §9")
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_assertion_proves_the_client_when_its_secret_signed_it(
    gatepost: Gatepost, library: Library, endpoint: str
) -> None:
    client, secret = gatepost.add_client("machine", token_endpoint_auth_method="client_secret_jwt")
    assert secret is not None
    assertion = library.sign_with_secret(assertion_claims(gatepost, client.id), {"alg": "HS256"}, secret)
    response = present(gatepost, assertion, endpoint)
    assert response.status_code == 200, response.text


# --------------------------------------------------------------------------------------------------- request objects


def request_claims(gatepost: Gatepost, client_id: str) -> dict[str, Any]:
    now = int(gatepost.clock.now().timestamp())
    return {
        "iss": client_id,
        "aud": ISSUER,
        "iat": now,
        "exp": now + 60,
        "client_id": client_id,
        "response_type": "code",
        "redirect_uri": REDIRECT_URI,
        "scope": "openid email",
        "state": "from inside",
        "nonce": "from-inside",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


def outside(client_id: str, token: str) -> dict[str, str]:
    return {"client_id": client_id, "response_type": "code", "scope": "openid", "request": token}


def signer(gatepost: Gatepost, **metadata: Any) -> Flow:
    """A client that may send request objects."""
    return flow_of(gatepost, jwks=client_jwks(), **metadata)


def check_heard(flow: Flow, token: str) -> None:
    """Checks that the request inside the token is answered."""
    left = flow.walk(flow.browser.get("/oauth/authorize", query_string=outside(flow.client.id, token)))
    answer = parse_qs(urlsplit(left.headers.get("Location", "")).query)
    assert "code" in answer, (left.status_code, answer, left.text[:2000])
    assert answer["state"] == ["from inside"]


@pytest.mark.spec("OpenID Connect Core 1.0 §6.1")
@pytest.mark.parametrize("algorithm", SIGNING)
def test_request_object_is_heard_when_the_client_signed_it(
    gatepost: Gatepost, library: Library, algorithm: str
) -> None:
    for number, registered in enumerate((algorithm, None)):
        flow = signer(gatepost, client_id=f"signer-{number}", request_object_signing_alg=registered)
        header = {"alg": algorithm, "kid": algorithm, "typ": "oauth-authz-req+jwt"}
        check_heard(flow, library.sign(request_claims(gatepost, flow.client.id), header, private_jwk(algorithm)))


@pytest.mark.spec("OpenID Connect Core 1.0 §6.1")
@pytest.mark.spec("RFC 9101 §6.1")
@pytest.mark.parametrize("enc", CONTENT_ENCRYPTIONS)
@pytest.mark.parametrize("alg", DECRYPTION_ALGORITHMS)
def test_request_object_is_heard_when_it_is_encrypted_to_us(
    gatepost: Gatepost, library: Library, alg: str, enc: str
) -> None:
    flow = signer(gatepost)
    kind = "RSA" if alg.startswith("RSA") else "EC"
    key = next(key for key in jwks_of(gatepost)["keys"] if key["use"] == "enc" and key["kty"] == kind)
    claims = request_claims(gatepost, flow.client.id)
    signed = library.sign(claims, {"alg": "ES256", "kid": "ES256"}, private_jwk("ES256"))
    check_heard(flow, library.encrypt(signed, {"alg": alg, "enc": enc, "kid": key["kid"], "cty": "JWT"}, key))


# ------------------------------------------------------------------------------------------------------ what is refused


def forged(claims: dict[str, Any], header: dict[str, Any], name: str = "ES256") -> str:
    """Truly signed by the client's key, whatever the header says."""
    header = {"alg": name, "kid": name, **header}
    registered = {member: value for member, value in header.items() if value is not ...}
    head, body = (_b64(json.dumps(part).encode()) for part in (registered, claims))
    key = jwk.import_key(private_jwk(name))
    signature = JWSRegistry.algorithms[name].sign(f"{head}.{body}".encode(), key)
    return f"{head}.{body}.{_b64(signature)}"


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


#: Headers that no token of a client's may have, beside what makes it verify.
HEADERS = {
    "crit": {"crit": ["exp"], "exp": 1},
    "empty crit": {"crit": []},
    "b64": {"crit": ["b64"], "b64": False},
    "embedded jwk": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}},
    "embedded jwk without kid": {"jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "kid": ...},
    "jku": {"jku": "https://evil.example/jwks.json"},
    "x5u": {"x5u": "https://evil.example/cert.pem"},
    "x5c": {"x5c": ["AAAA"]},
    "zip": {"zip": "DEF"},
    "enc": {"enc": "A128GCM"},
    "oversized": {"fill": "x" * 3000},
    "typ of an access token": {"typ": "at+jwt"},
    "typ of a logout token": {"typ": "logout+jwt"},
    "typ of a DPoP proof": {"typ": "dpop+jwt"},
    "typ that is no text": {"typ": ["JWT"]},
    "unknown kid": {"kid": "unknown"},
    "kid of an encryption key": {"kid": "EC encryption"},
    "kid that is no text": {"kid": 5},
    "no algorithm": {"alg": ...},
    "algorithm that is no text": {"alg": ["ES256"]},
    "algorithm of another key": {"alg": "RS256"},
}


def check_assertion_refused(gatepost: Gatepost, assertion: str) -> None:
    for endpoint in ENDPOINTS:
        response = present(gatepost, assertion, endpoint)
        assert response.status_code == 401, (endpoint, response.text)
        assert response.get_json()["error"] == "invalid_client"


def check_request_refused(flow: Flow, token: str) -> None:
    """Refuses on a page without a proven redirect URI, and where it is proven by an error there; never by a code."""
    browser: FlaskClient = flow.browser
    plain = browser.get("/oauth/authorize", query_string=outside(flow.client.id, token))
    assert plain.status_code == 400, plain.status_code
    assert "Location" not in plain.headers
    query = {**outside(flow.client.id, token), "redirect_uri": REDIRECT_URI}
    told = browser.get("/oauth/authorize", query_string=query)
    answer = parse_qs(urlsplit(told.headers.get("Location", "")).query)
    assert told.status_code == 400 or answer["error"][0] in {"invalid_request_object", "request_not_supported"}, answer
    assert "code" not in answer


@pytest.mark.spec("RFC 7515 §4.1")
@pytest.mark.spec("RFC 8725 §3.1")
@pytest.mark.parametrize("name", HEADERS)
def test_assertion_is_refused_when_its_header_is_not_to_be_trusted(gatepost: Gatepost, name: str) -> None:
    client, _ = gatepost.add_client("machine", token_endpoint_auth_method="private_key_jwt", jwks=client_jwks())
    assert present(gatepost, forged(assertion_claims(gatepost, client.id), {})).status_code == 200
    check_assertion_refused(gatepost, forged(assertion_claims(gatepost, client.id), HEADERS[name]))


@pytest.mark.spec("RFC 7515 §4.1")
@pytest.mark.spec("AZ-28")
@pytest.mark.parametrize("name", HEADERS)
def test_request_object_is_refused_when_its_header_is_not_to_be_trusted(gatepost: Gatepost, name: str) -> None:
    flow = signer(gatepost)
    check_heard(flow, forged(request_claims(gatepost, flow.client.id), {}))
    check_request_refused(flow, forged(request_claims(gatepost, flow.client.id), HEADERS[name]))


@pytest.mark.spec("RFC 8725 §3.2")
@pytest.mark.parametrize("algorithm", [*NOT_OFFERED, "none"])
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_token_is_refused_when_its_algorithm_is_not_offered_though_its_key_is_published(
    gatepost: Gatepost, algorithm: str
) -> None:
    flow = signer(gatepost)
    machine, _ = gatepost.add_client("machine", token_endpoint_auth_method="private_key_jwt", jwks=client_jwks())
    shared, secret = gatepost.add_client("machine", client_id="shared", token_endpoint_auth_method="client_secret_jwt")
    if algorithm in NOT_OFFERED and NOT_OFFERED[algorithm][0] != "oct":
        keys = {"keys": [*client_jwks()["keys"], public_jwk(algorithm)]}
        for client_id in (flow.client.id, machine.id):
            gatepost.change_client(client_id, jwks=keys)
    check_request_refused(flow, not_offered(request_claims(gatepost, flow.client.id), algorithm, secret))
    check_assertion_refused(gatepost, not_offered(assertion_claims(gatepost, machine.id), algorithm, secret))
    if algorithm != "HS256":
        check_assertion_refused(gatepost, not_offered(assertion_claims(gatepost, shared.id), algorithm, secret))


def not_offered(claims: dict[str, Any], algorithm: str, secret: str | None) -> str:
    if algorithm == "none":
        return ".".join((_b64(b'{"alg":"none"}'), _b64(json.dumps(claims).encode()), ""))
    if algorithm.startswith("HS"):
        return Joserfc().sign_with_secret(claims, {"alg": algorithm}, str(secret))
    return Joserfc().sign(claims, {"alg": algorithm, "kid": algorithm}, private_jwk(algorithm))


@pytest.mark.spec("RFC 8725 §3.2")
@pytest.mark.parametrize(
    ("alg", "enc"),
    [
        ("RSA1_5", "A128GCM"),
        ("RSA-OAEP", "A128GCM"),
        ("ECDH-ES+A192KW", "A128GCM"),
        ("RSA-OAEP-256", "A192GCM"),
        ("ECDH-ES", "A192CBC-HS384"),
        ("dir", "A128GCM"),
        ("A128KW", "A128GCM"),
        ("A256GCMKW", "A128GCM"),
        ("PBES2-HS256+A128KW", "A128GCM"),
    ],
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_encrypted_request_object_is_refused_when_its_algorithm_is_not_offered(
    gatepost: Gatepost, alg: str, enc: str
) -> None:
    flow = signer(gatepost)
    signed = forged(request_claims(gatepost, flow.client.id), {})
    keys = {key["kty"]: dict(key) for key in jwks_of(gatepost)["keys"] if key["use"] == "enc"}
    keys["oct"] = {"kty": "oct", "k": _b64(b"k" * (32 if "256" in alg and "PBES2" not in alg else 16))}
    key = keys["RSA" if alg.startswith("RSA") else "EC" if alg.startswith("ECDH") else "oct"]
    key.pop("alg", None)
    header = {"alg": alg, "enc": enc, **({"p2c": 2000, "p2s": "c2FsdHNhbHQ"} if "PBES2" in alg else {})}
    check_request_refused(flow, Joserfc().encrypt(signed, header, key))


@pytest.mark.spec("RFC 7516 §4.1.3")
@pytest.mark.parametrize(
    "extra", [{"zip": "DEF"}, {"kid": "unknown"}, {"fill": "x" * 3000}, {"jku": "https://evil.example"}]
)
def test_encrypted_request_object_is_refused_when_its_header_is_not_to_be_trusted(
    gatepost: Gatepost, extra: dict[str, Any]
) -> None:
    flow = signer(gatepost)
    signed = forged(request_claims(gatepost, flow.client.id), {})
    key = next(key for key in jwks_of(gatepost)["keys"] if key["use"] == "enc" and key["kty"] == "RSA")
    check_heard(flow, Joserfc().encrypt(signed, {"alg": "RSA-OAEP-256", "enc": "A128GCM"}, key))
    check_request_refused(flow, Joserfc().encrypt(signed, {"alg": "RSA-OAEP-256", "enc": "A128GCM", **extra}, key))


@pytest.mark.spec("INV-45")
@pytest.mark.spec("RFC 7591 §3.2.2")
@pytest.mark.parametrize(
    "member",
    [
        "id_token_signed_response_alg",
        "userinfo_signed_response_alg",
        "authorization_signed_response_alg",
        "request_object_signing_alg",
        "token_endpoint_auth_signing_alg",
        "id_token_encrypted_response_alg",
        "userinfo_encrypted_response_alg",
        "authorization_encrypted_response_alg",
        "request_object_encryption_alg",
    ],
)
def test_algorithm_cannot_be_registered_when_it_is_not_offered(make_gatepost: GatepostMaker, member: str) -> None:
    gatepost = make_gatepost(registration="open", registration_per_hour=1000)
    names = {*NOT_OFFERED, "none", "RSA1_5", "dir", "A128KW", "ECDH-ES+A192KW", "RSA-OAEP-512", "rs256", ""}
    names -= {"HS256"} if member == "token_endpoint_auth_signing_alg" else set()
    document = {
        "redirect_uris": ["https://app.example.com/callback"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": client_jwks(),
    }
    client = gatepost.app.test_client()
    assert client.post("/oauth/register", json=document).status_code == 201
    for name in sorted(names):
        response = client.post("/oauth/register", json={**document, member: name})
        assert response.status_code == 400, (name, response.text)
        assert response.get_json()["error"] == "invalid_client_metadata"
