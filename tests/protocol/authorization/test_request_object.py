"""Request objects: signed by this client, for this server and this request, and fetched from registered URIs alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from joserfc import jwk
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain import signing_keys
from server.domain.actor import OPERATOR
from server.domain.clients import Client, get_client
from server.domain.unit_of_work import UnitOfWork
from server.infra import jose, jwe
from server.infra.outbound_http import FetchFailed, FetchRefused, Payer
from server.protocol.authorization import request_object
from server.protocol.errors import (
    InvalidRequest,
    InvalidRequestObject,
    InvalidRequestUri,
    ProtocolError,
    RequestNotSupported,
    RequestUriNotSupported,
)
from server.protocol.request import Parameters
from tests.protocol.client_authentication.assertions import compact, jwks_of, key_of, signed, signed_with_secret
from tests.support.application import ISSUER, Gatepost
from tests.support.flow import CHALLENGE, answer_of, flow_of

CLIENT_ID = "signer"
URI = "https://client.example/request.jwt#version-1"
OUTSIDE = {"client_id": CLIENT_ID, "response_type": "code", "scope": "openid", "state": "outer", "nonce": "outer"}
STANDALONE = "oauth-authz-req+jwt"


class Signer:
    """A client with keys, and what it sends."""

    def __init__(self, gatepost: Gatepost, work: UnitOfWork) -> None:
        self.gatepost, self.work = gatepost, work
        self.key = key_of("ES256")
        self.fetched: list[str] = []
        self.published: str | Exception = ""

    @property
    def client(self) -> Client:
        return get_client(self.work, CLIENT_ID)

    def register(self, **values: Any) -> None:
        # Ends the transaction, for SQLite lets one write at a time.
        self.work.db.rollback()
        self.gatepost.change_client(CLIENT_ID, **values)

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(self.gatepost.clock.now().timestamp())
        claims = {"iss": CLIENT_ID, "aud": ISSUER, "client_id": CLIENT_ID, "iat": now, "exp": now + 300, **changes}
        return {name: value for name, value in claims.items() if value is not ...}

    def object(self, typ: str | None = None, **changes: Any) -> str:
        return signed(self.claims(**changes), self.key, "ES256", typ=typ)

    def unpack(self, **parameters: str | list[str]) -> dict[str, list[str]]:
        lists = {name: [value] if isinstance(value, str) else value for name, value in parameters.items()}
        return request_object.unpack(self.work, self.client, Parameters(lists)).datalist

    def send(self, token: str, **changes: str) -> dict[str, str]:
        found = self.unpack(**{**OUTSIDE, **changes}, request=token)
        return {name: " ".join(values) for name, values in found.items()}

    def get_text(self, url: str, content_types: tuple[str, ...], *, payer: Payer) -> str:
        assert payer == Payer("pages", CLIENT_ID, is_operators=True)
        assert not self.work.is_in_transaction
        assert "application/jwt" in content_types
        self.fetched.append(url)
        if isinstance(self.published, Exception):
            raise self.published
        return self.published


@pytest.fixture
def signer(gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Signer]:
    flow_of(gatepost, client_id=CLIENT_ID)
    gatepost.change_client(CLIENT_ID, jwks=jwks_of(key_of("ES256")), request_uris=[URI])
    with Session(gatepost.engine, expire_on_commit=False) as db:
        signer = Signer(gatepost, UnitOfWork.begin(gatepost.runtime, db, OPERATOR))
        monkeypatch.setattr(gatepost.runtime.outbound_http, "get_text", signer.get_text)
        # As it is in the authorization endpoint: the client was looked up in a transaction.
        assert signer.client is not None
        yield signer


def refusal(error: type[ProtocolError], signer: Signer, **parameters: Any) -> ProtocolError:
    with pytest.raises(error) as caught:
        signer.unpack(**{**OUTSIDE, **parameters})
    assert type(caught.value) is error
    return caught.value


# By value ---------------------------------------------------------------------------------------------------------


def test_parameters_stay_as_they_are_when_there_is_no_request_object(signer: Signer) -> None:
    parameters = Parameters({"client_id": [CLIENT_ID], "state": ["a", "b"]})
    assert not request_object.is_sent(parameters)
    assert request_object.unpack(signer.work, signer.client, parameters) is parameters


@pytest.mark.spec("OpenID Connect Core §6.1")
def test_object_wins_over_what_is_outside_and_leaves_the_rest_to_it(signer: Signer) -> None:
    found = signer.send(signer.object(state="inner", scope="openid email", prompt="login"), login_hint="ada")
    assert found == {
        "client_id": CLIENT_ID,
        "response_type": "code",
        "scope": "openid email",
        "state": "inner",
        "nonce": "outer",
        "prompt": "login",
        "login_hint": "ada",
    }


@pytest.mark.parametrize("typ", [STANDALONE, "application/oauth-authz-req+jwt", "OautH-auThZ-REQ+jWt"])
@pytest.mark.spec("AZ-28")
@pytest.mark.spec("RFC 9101 §6.3")
def test_nothing_outside_counts_when_the_object_says_it_stands_alone(signer: Signer, typ: str) -> None:
    found = signer.send(signer.object(typ, response_type="code", state="inner"), prompt="none")
    assert found == {"client_id": CLIENT_ID, "response_type": "code", "state": "inner"}


@pytest.mark.spec("AZ-28")
def test_nothing_outside_counts_when_the_client_is_strict(signer: Signer) -> None:
    signer.register(strict_assertion_audience=True)
    assert signer.send(signer.object(client_id=..., nonce="inner")) == {"client_id": CLIENT_ID, "nonce": "inner"}


@pytest.mark.parametrize("algorithm", jose.SIGNING_ALGORITHMS)
@pytest.mark.spec("INV-45")
def test_object_is_read_by_every_algorithm(signer: Signer, algorithm: str) -> None:
    signer.register(jwks=jwks_of(key_of(algorithm)))
    assert signer.send(signed(signer.claims(state="inner"), key_of(algorithm), algorithm))["state"] == "inner"


ACCEPTED: dict[str, Callable[[int], dict[str, Any]]] = {
    "it says nothing about itself": lambda now: dict.fromkeys(("iss", "aud", "client_id", "iat", "exp"), ...),
    "it is for several": lambda now: {"aud": ["https://other.example", ISSUER]},
    "nbf and iat are ten seconds ahead": lambda now: {"nbf": now + 10, "iat": now + 10},
    "it is valid for years": lambda now: {"exp": now + 10**8},
    "it has the same response type": lambda now: {"response_type": "code"},
    "it has a jti": lambda now: {"jti": "x"},
    "it has a subject that is somebody else": lambda now: {"sub": "somebody"},
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.spec("RFC 9101 §4")
def test_object_is_accepted_when(signer: Signer, change: Callable[[int], dict[str, Any]]) -> None:
    now = int(signer.gatepost.clock.now().timestamp())
    found = signer.send(signer.object(state="inner", **change(now)))
    assert found == {**OUTSIDE, "state": "inner"}


REFUSED: dict[str, Callable[[int], dict[str, Any]]] = {
    "another client issued it": lambda now: {"iss": "other"},
    "its issuer is a list": lambda now: {"iss": [CLIENT_ID]},
    "its issuer is null": lambda now: {"iss": None},
    "it is another client's": lambda now: {"client_id": "other"},
    "client_id is a number": lambda now: {"client_id": 5},
    "it is for another server": lambda now: {"aud": "https://other.example"},
    "it is for other servers": lambda now: {"aud": ["https://other.example", f"{ISSUER}/"]},
    "it is for nobody": lambda now: {"aud": []},
    "its audience is null": lambda now: {"aud": None},
    "its audience is an object": lambda now: {"aud": {"x": ISSUER}},
    "it expired": lambda now: {"exp": now - 60},
    "it will be valid": lambda now: {"nbf": now + 61},
    "it is from the future": lambda now: {"iat": now + 61},
    "exp is text": lambda now: {"exp": str(now + 60)},
    "exp is true": lambda now: {"exp": True},
    "exp is null": lambda now: {"exp": None},
    "it is an assertion": lambda now: {"sub": CLIENT_ID},
    "response_type differs": lambda now: {"response_type": "id_token"},
    "response_type is a list": lambda now: {"response_type": ["code"]},
    "a request object stands inside": lambda now: {"request": "e30.e30."},
    "a reference stands inside": lambda now: {"request_uri": URI},
    "a reference to nothing stands inside": lambda now: {"request_uri": None},
    "scope is a number of its own kind": lambda now: {"scope": 1.5},
    "scope is a list": lambda now: {"scope": ["openid"]},
    "prompt is true": lambda now: {"prompt": True},
    "state is null": lambda now: {"state": None},
    "redirect_uri is a list": lambda now: {"redirect_uri": ["https://app.example/cb"]},
    "max_age is very large": lambda now: {"max_age": 10**4000},
    "code_challenge is an object": lambda now: {"code_challenge": {}},
    "state has half a character": lambda now: {"state": "\ud800"},
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
@pytest.mark.spec("AZ-28", "INV-41")
@pytest.mark.spec("RFC 9101 §6.3")
def test_object_is_refused_when(signer: Signer, change: Callable[[int], dict[str, Any]]) -> None:
    now = int(signer.gatepost.clock.now().timestamp())
    error = refusal(InvalidRequestObject, signer, request=signer.object(**change(now)))
    assert error.parameter == "request"


HEADERS: dict[str, dict[str, Any]] = {
    "it is an access token": {"typ": "at+jwt"},
    "it is an assertion": {"typ": "client-authentication+jwt"},
    "it is a proof of possession": {"typ": "dpop+jwt"},
    "its type is no text": {"typ": ["JWT"]},
    "another key is named": {"kid": "another"},
    "it has a critical extension": {"crit": ["exp"]},
    "it brings its own key": {"jwk": jose.public_jwk(key_of("ES256"))},
    "it says where its key is": {"jku": "https://evil.example/jwks"},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.spec("AZ-28", "INV-05")
def test_object_is_refused_when_its_header_says(signer: Signer, header: dict[str, Any]) -> None:
    refusal(InvalidRequestObject, signer, request=signed(signer.claims(), signer.key, "ES256", **header))


FORGERIES: dict[str, Callable[[Signer], str]] = {
    "another signed it": lambda s: signed(s.claims(), key_of("ES256", "another"), "ES256", kid=s.key.kid),
    "a key of another kind signed it": lambda s: signed(s.claims(), key_of("EdDSA"), "EdDSA", kid=s.key.kid),
    "the public key was its secret": lambda s: signed_with_secret(s.claims(), str(jose.public_jwk(s.key))),
    "its signature is gone": lambda s: s.object().rpartition(".")[0] + ".",
    "no algorithm is named": lambda s: compact({}, s.claims(), lambda data: b""),
    "it is no token": lambda s: "x",
    "it has two parts": lambda s: "e30.e30",
    "it has five parts": lambda s: "e30.e30.e30.e30.e30",
    "its parts are lists": lambda s: "W10.W10.W10",
    "it is very long": lambda s: s.object(state="x" * 20_000),
    "it is no ASCII": lambda s: s.object() + "é",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.spec("AZ-28")
def test_object_is_refused_when_it_is_forged(signer: Signer, forge: Callable[[Signer], str]) -> None:
    error = refusal(InvalidRequestObject, signer, request=forge(signer))
    assert error.description == "The request object is not signed by the client."


@pytest.mark.spec("AZ-28")
@pytest.mark.spec("OpenID Connect Core §3.1.2.6")
def test_unsigned_objects_are_not_supported(signer: Signer) -> None:
    unsigned = compact({"alg": "none"}, signer.claims(), lambda data: b"")
    refusal(RequestNotSupported, signer, request=unsigned)
    signer.published = unsigned
    refusal(RequestUriNotSupported, signer, request_uri=URI)


@pytest.mark.spec("OpenID Connect Registration §2")
def test_algorithm_is_pinned_when_the_client_registered_one(signer: Signer) -> None:
    signer.register(jwks=jwks_of(signer.key, key_of("EdDSA")), request_object_signing_alg="ES256")
    refusal(InvalidRequestObject, signer, request=signed(signer.claims(), key_of("EdDSA"), "EdDSA"))
    refusal(InvalidRequestObject, signer, request=compact({"alg": "none"}, signer.claims(), lambda data: b""))
    assert signer.send(signer.object(state="inner"))["state"] == "inner"


def test_object_is_refused_when_the_client_has_no_keys(signer: Signer) -> None:
    signer.register(jwks=None)
    refusal(InvalidRequestObject, signer, request=signer.object())


def test_object_is_refused_when_the_clients_keys_cannot_be_fetched(
    signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get_json(url: str, **_options: object) -> Any:
        raise FetchFailed("no answer", None)

    monkeypatch.setattr(signer.gatepost.runtime.outbound_http, "get_json", get_json)
    signer.register(jwks=None, jwks_uri="https://client.example/away.json")
    error = refusal(InvalidRequestObject, signer, request=signer.object())
    assert error.description == "The keys of the client cannot be fetched."


# What the members become ------------------------------------------------------------------------------------------


def test_members_become_the_text_they_would_have_been_in_a_form(signer: Signer) -> None:
    claims = {"userinfo": {"name": {"essential": True}, "given_name": None}}
    found = signer.unpack(
        **OUTSIDE,
        request=signer.object(
            max_age=0,
            claims=claims,
            resource=["https://a.example", "https://b.example"],
            authorization_details=[{"type": "x"}],
            unknown={"a": 1},
            another=True,
            third=None,
            display="page",
        ),
    )
    assert found["max_age"] == ["0"]
    assert json.loads(found["claims"][0]) == claims
    assert found["resource"] == ["https://a.example", "https://b.example"]
    assert json.loads(found["authorization_details"][0]) == [{"type": "x"}]
    assert found["display"] == ["page"]
    assert not {"unknown", "another", "third", "iss", "aud", "exp", "iat", "request"} & set(found)


def test_claims_may_stand_as_text_too(signer: Signer) -> None:
    assert signer.send(signer.object(claims='{"userinfo":{}}'))["claims"] == '{"userinfo":{}}'


def test_empty_member_counts_as_absent_outside_too(signer: Signer) -> None:
    assert "state" not in signer.send(signer.object(state=""))


@pytest.mark.spec("RFC 6749 §3.1")
def test_request_is_refused_when_parameters_stand_twice(signer: Signer) -> None:
    for name in ("request", "state", "client_id"):
        lists = {**OUTSIDE, "request": signer.object()}
        refusal(InvalidRequest, signer, **{**lists, name: [lists[name], "again"]})


def test_request_is_refused_when_it_has_an_object_and_a_reference(signer: Signer) -> None:
    refusal(InvalidRequest, signer, request=signer.object(), request_uri=URI)
    assert signer.fetched == []


# By reference -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §6.2")
def test_object_is_fetched_from_the_registered_uri_without_its_fragment(signer: Signer) -> None:
    signer.published = f"{signer.object(state='inner')}\n"
    assert signer.unpack(**OUTSIDE, request_uri=URI)["state"] == ["inner"]
    assert signer.fetched == ["https://client.example/request.jwt"]
    assert "request_uri" not in signer.unpack(**OUTSIDE, request_uri=URI)


@pytest.mark.parametrize(
    "uri",
    [
        "https://client.example/request.jwt",
        "https://client.example/request.jwt#version-2",
        "https://client.example/request.jwt?#version-1",
        "https://client.example/other.jwt#version-1",
        "https://CLIENT.example/request.jwt#version-1",
        "https://client.example:443/request.jwt#version-1",
        "https://user@client.example/request.jwt#version-1",
        "http://client.example/request.jwt#version-1",
        "https://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:22/",
        "file:///etc/passwd",
        "urn:ietf:params:oauth:request_uri:x",
        f"{URI} ",
        "x",
    ],
)
@pytest.mark.spec("AZ-28", "F-01")
def test_nothing_is_fetched_when_the_uri_is_not_registered(signer: Signer, uri: str) -> None:
    refusal(InvalidRequestUri, signer, request_uri=uri)
    assert signer.fetched == []


@pytest.mark.parametrize("error", [FetchFailed("no answer", 404), FetchFailed("none", None), FetchRefused("private")])
@pytest.mark.spec("F-07")
def test_answer_tells_nothing_of_the_network_when_the_object_cannot_be_fetched(
    signer: Signer, error: Exception
) -> None:
    signer.published = error
    refused = refusal(InvalidRequestUri, signer, request_uri=URI)
    assert refused.description == "request_uri cannot be fetched."


def test_object_is_refused_when_what_was_fetched_is_none(signer: Signer) -> None:
    for published in ("", "<html>", "x.y.z", signed(signer.claims(), key_of("ES256", "another"), "ES256")):
        signer.published = published
        assert refusal(InvalidRequestObject, signer, request_uri=URI).parameter == "request_uri"


def test_transaction_has_ended_when_the_object_is_fetched(signer: Signer) -> None:
    signer.work.db.execute(select(Client))
    assert signer.work.is_in_transaction
    signer.published = signer.object()
    signer.unpack(**OUTSIDE, request_uri=URI)
    assert len(signer.fetched) == 1


# Encrypted --------------------------------------------------------------------------------------------------------


def encrypted(signer: Signer, inner: str, alg: str, enc: str = "A128CBC-HS256") -> str:
    keys = [key.as_dict(private=False) for key in signing_keys.decryption_keys(signer.work)]
    return jwe.encrypt(inner, keys, alg, enc)


@pytest.mark.parametrize("enc", jwe.CONTENT_ENCRYPTIONS)
@pytest.mark.parametrize("alg", jwe.DECRYPTION_ALGORITHMS)
@pytest.mark.spec("INV-45")
@pytest.mark.spec("OpenID Connect Core §6.1")
def test_object_is_read_when_it_is_encrypted_to_us(signer: Signer, alg: str, enc: str) -> None:
    token = encrypted(signer, signer.object(state="inner"), alg, enc)
    assert signer.send(token)["state"] == "inner"


@pytest.mark.spec("AZ-28")
def test_object_is_refused_when_it_is_encrypted_but_not_signed_by_the_client(signer: Signer) -> None:
    inner = (
        json.dumps(signer.claims()),
        signed(signer.claims(), key_of("ES256", "another"), "ES256"),
        encrypted(signer, signer.object(), "ECDH-ES"),
    )
    for each in inner:
        refusal(InvalidRequestObject, signer, request=encrypted(signer, each, "ECDH-ES"))
    unsigned = compact({"alg": "none"}, signer.claims(), lambda data: b"")
    refusal(RequestNotSupported, signer, request=encrypted(signer, unsigned, "ECDH-ES"))


def test_object_is_refused_when_it_is_encrypted_to_somebody_else(signer: Signer) -> None:
    other = jwk.ECKey.generate_key("P-256", {"use": "enc"})
    token = jwe.encrypt(signer.object(), [other.as_dict(private=False)], "ECDH-ES", "A128GCM")
    refusal(InvalidRequestObject, signer, request=token)


# Through the authorization endpoint -------------------------------------------------------------------------------


@pytest.mark.spec("OpenID Connect Core §6.1")
def test_person_is_signed_in_as_the_object_asks(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, client_id=CLIENT_ID)
    gatepost.change_client(CLIENT_ID, jwks=jwks_of(key_of("ES256")))
    claims = {"iss": CLIENT_ID, "aud": ISSUER, "state": "inner", "nonce": "inner", "code_challenge": CHALLENGE}
    token = signed(claims, key_of("ES256"), "ES256")
    answer = answer_of(flow.walk(flow.authorize(request=token)).headers["Location"])
    assert answer["state"] == "inner"
    tokens = flow.redeem(answer["code"]).get_json()
    assert jose.peek_claims(tokens["id_token"])["nonce"] == "inner"


@pytest.mark.spec("AZ-05", "AZ-28")
@pytest.mark.spec("RFC 6749 §3.1.2.4")
def test_nothing_is_redirected_when_the_objects_redirect_uri_is_not_registered(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, client_id=CLIENT_ID)
    gatepost.change_client(CLIENT_ID, jwks=jwks_of(key_of("ES256")))
    token = signed({"iss": CLIENT_ID, "redirect_uri": "https://evil.example/"}, key_of("ES256"), "ES256")
    for changes in ({}, {"redirect_uri": None}):
        response = flow.authorize(request=token, **changes)
        assert response.status_code == 400
        assert "Location" not in response.headers


@pytest.mark.spec("AZ-05", "AZ-28")
def test_error_goes_to_the_outer_redirect_uri_only_when_that_is_registered(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, client_id=CLIENT_ID)
    answer = answer_of(flow.authorize(request="x").headers["Location"])
    assert (answer["error"], answer["state"]) == ("invalid_request_object", "a state")
    for redirect_uri in ("https://evil.example/", None):
        response = flow.authorize(request="x", redirect_uri=redirect_uri)
        assert response.status_code == 400
        assert "Location" not in response.headers
