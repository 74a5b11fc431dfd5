"""private_key_jwt and client_secret_jwt: the right key, the right audience, in time, once; and nothing else passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from server.domain.client_secrets import issue_client_secret, rotate_client_secret
from server.domain.clients import get_client
from server.domain.used_assertions import UsedAssertion
from server.infra import jose
from server.infra.outbound_http import FetchFailed
from tests.protocol.client_authentication.assertions import (
    TOKEN_ENDPOINT,
    assertion_claims,
    compact,
    jwks_of,
    key_of,
    presenting,
    signed,
    signed_with_secret,
)
from tests.support.application import ISSUER, Gatepost
from tests.support.flow import basic, flow_of

ENDPOINTS = ("token", "introspect", "revoke")
REFUSAL = {"error": "invalid_client", "error_description": "Client authentication failed."}
#: Failures after which a client is not looked at any more from one network.
GUESSES = 30
#: Flask answers what the short lane finds unusual.
LANES = {"the short lane": "application/x-www-form-urlencoded", "Flask": "application/x-www-form-urlencoded; x=y"}


class Signing:
    """Clients that sign: `signer` with a key, `sharer` with its secret, and one that does not, `basic`."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        self.key = key_of("ES256")
        self.add("signer", "private_key_jwt", jwks=jwks_of(self.key))
        self.secret = self.add("sharer", "client_secret_jwt")
        self.basic_secret = flow_of(gatepost, client_id="basic").secret or ""

    def add(self, client_id: str, method: str, **values: Any) -> str:
        """Registers a client; returns a secret for it."""
        flow_of(self.gatepost, client_id=client_id)
        self.gatepost.change_client(client_id, token_endpoint_auth_method=method, **values)
        with self.gatepost.work() as work:
            return issue_client_secret(work, get_client(work, client_id))

    def claims(self, client_id: str = "signer", **changes: Any) -> dict[str, Any]:
        return assertion_claims(self.gatepost, client_id, **changes)

    def assertion(self, client_id: str = "signer", **changes: Any) -> str:
        """A good assertion of the client, or one with other claims."""
        if client_id == "sharer":
            return signed_with_secret(self.claims(client_id, **changes), self.secret)
        return signed(self.claims(client_id, **changes), self.key, "ES256")

    def post(self, endpoint: str = "token", headers: dict[str, str] | None = None, **form: str) -> TestResponse:
        defaults = {"grant_type": "authorization_code", "code": "ac_x", "token": "x"}
        return self.gatepost.browser().post(f"/oauth/{endpoint}", data={**defaults, **form}, headers=headers)

    def present(self, assertion: str, endpoint: str = "token", **form: str) -> TestResponse:
        return self.post(endpoint, **presenting(assertion, **form))

    def reasons(self) -> list[str]:
        return [row.details["reason"] for row in self.gatepost.audit_rows("client.authentication.failed")]


@pytest.fixture
def signing(gatepost: Gatepost) -> Signing:
    return Signing(gatepost)


def is_authenticated(response: TestResponse) -> bool:
    """Whether the request failed, if at all, for a reason behind client authentication."""
    return response.status_code == 200 or response.get_json()["error"] == "invalid_grant"


def assert_refused(response: TestResponse) -> None:
    assert (response.status_code, response.get_json()) == (401, REFUSAL)
    assert "WWW-Authenticate" not in response.headers


# What is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", ["signer", "sharer"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.spec("RFC 7523 §2.2", "OpenID Connect Core §9")
def test_client_is_known_when_it_presents_an_assertion(signing: Signing, endpoint: str, client_id: str) -> None:
    assert is_authenticated(signing.present(signing.assertion(client_id), endpoint))
    assert is_authenticated(signing.present(signing.assertion(client_id), endpoint, client_id=client_id))
    assert signing.reasons() == []


@pytest.mark.parametrize("content_type", LANES.values(), ids=LANES)
def test_assertion_counts_the_same_in_both_lanes(signing: Signing, content_type: str) -> None:
    for assertion, expected in ((signing.assertion(), "invalid_grant"), (signing.assertion(aud="x"), "invalid_client")):
        form = {"grant_type": "authorization_code", "code": "ac_x", **presenting(assertion)}
        response = signing.gatepost.browser().post("/oauth/token", data=form, headers={"Content-Type": content_type})
        assert response.get_json()["error"] == expected


@pytest.mark.parametrize("algorithm", jose.SIGNING_ALGORITHMS)
@pytest.mark.spec("INV-45")
def test_client_is_known_by_every_algorithm(signing: Signing, algorithm: str) -> None:
    key = key_of(algorithm)
    signing.gatepost.change_client("signer", jwks=jwks_of(key))
    assert is_authenticated(signing.present(signed(signing.claims(), key, algorithm)))


ACCEPTED: dict[str, Callable[[int], dict[str, Any]]] = {
    "the issuer is the audience": lambda now: {"aud": ISSUER},
    "the token endpoint is the audience": lambda now: {"aud": TOKEN_ENDPOINT},
    "the audience is a list of one": lambda now: {"aud": [ISSUER]},
    "the audience is both": lambda now: {"aud": [ISSUER, TOKEN_ENDPOINT]},
    "iat and nbf are ten seconds ahead": lambda now: {"iat": now + 10, "nbf": now + 10},
    "there is no iat": lambda now: {"iat": ...},
    "it expired ten seconds ago": lambda now: {"exp": now - 10},
    "it lives for five minutes": lambda now: {"exp": now + 300},
    "it lives for an hour": lambda now: {"exp": now + 3600},
    "times have fractions": lambda now: {"iat": now + 0.25, "exp": now + 60.5},
    "there are other claims": lambda now: {"scope": "openid", "extra": {"a": [1]}},
    "its jti is any text": lambda now: {"jti": "ä \u2028 'x' 💠"},
}


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.spec("TK-07")
@pytest.mark.spec("RFC 7523 §3")
def test_assertion_is_accepted_when(signing: Signing, change: Callable[[int], dict[str, Any]]) -> None:
    now = int(signing.gatepost.clock.now().timestamp())
    assert is_authenticated(signing.present(signing.assertion(**change(now)))), signing.reasons()


@pytest.mark.parametrize(
    "header", [{}, {"typ": "JWT"}, {"typ": "jwt"}, {"typ": "client-authentication+jwt"}, {"kid": None}]
)
def test_assertion_is_accepted_when_its_header_says(signing: Signing, header: dict[str, Any]) -> None:
    assert is_authenticated(signing.present(signed(signing.claims(), signing.key, "ES256", **header)))


# What is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, Callable[[int], dict[str, Any]]] = {
    **{f"there is no {name}": lambda now, name=name: {name: ...} for name in ("iss", "sub", "aud", "exp", "jti")},
    **{f"{name} is null": lambda now, name=name: {name: None} for name in ("iss", "sub", "aud", "exp", "jti", "iat")},
    **{f"{name} is a list": lambda now, name=name: {name: ["signer"]} for name in ("iss", "sub", "exp", "jti", "nbf")},
    **{f"{name} is true": lambda now, name=name: {name: True} for name in ("iss", "sub", "aud", "exp", "jti", "nbf")},
    **{f"{name} is text": lambda now, name=name: {name: str(now + 60)} for name in ("exp", "nbf", "iat")},
    "another client is the issuer": lambda now: {"iss": "sharer"},
    "another client is the subject": lambda now: {"sub": "sharer"},
    "an unknown client is the subject": lambda now: {"iss": "nobody", "sub": "nobody"},
    "the subject has a line break": lambda now: {"sub": "signer\n"},
    "the subject has half a character": lambda now: {"sub": "\ud800"},
    "the audience is another server": lambda now: {"aud": "https://other.example"},
    "the audience is another server too": lambda now: {"aud": [ISSUER, "https://other.example"]},
    "the audience is another endpoint": lambda now: {"aud": f"{ISSUER}/oauth/par"},
    "the audience is almost the issuer": lambda now: {"aud": f"{ISSUER}/"},
    "the audience is the issuer in other case": lambda now: {"aud": ISSUER.upper()},
    "the audience begins with the issuer": lambda now: {"aud": f"{ISSUER}.evil.example"},
    "the audience is an empty list": lambda now: {"aud": []},
    "the audience is a list of lists": lambda now: {"aud": [[ISSUER]]},
    "the audience is an object": lambda now: {"aud": {ISSUER: ISSUER}},
    "it expired": lambda now: {"exp": now - 60},
    "it expired five minutes ago": lambda now: {"exp": now - 300},
    "it lives too long": lambda now: {"exp": now + 3661},
    "it lives for ever": lambda now: {"exp": 10**400},
    "it expired before time began": lambda now: {"exp": -(10**400)},
    "exp is no number": lambda now: {"exp": float("nan")},
    "exp is infinite": lambda now: {"exp": float("inf")},
    "nbf is over a minute ahead": lambda now: {"nbf": now + 61},
    "iat is over a minute ahead": lambda now: {"iat": now + 61},
    "jti is empty": lambda now: {"jti": ""},
    "jti is a number": lambda now: {"jti": 5},
    "jti has half a character": lambda now: {"jti": "\ud800"},
}


@pytest.mark.parametrize("client_id", ["signer", "sharer"])
@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
@pytest.mark.spec("TK-07")
@pytest.mark.spec("RFC 7523 §3")
def test_assertion_is_refused_when(signing: Signing, change: Callable[[int], dict[str, Any]], client_id: str) -> None:
    now = int(signing.gatepost.clock.now().timestamp())
    changes = {
        name: [client_id] if value == ["signer"] else "signer" if (value, client_id) == ("sharer",) * 2 else value
        for name, value in change(now).items()
    }
    assert_refused(signing.present(signing.assertion(client_id, **changes)))
    assert len(signing.reasons()) == 1


HEADERS: dict[str, dict[str, Any]] = {
    "another key is named": {"kid": "another"},
    "kid is a number": {"kid": 5},
    "it brings its own key": {"jwk": jose.public_jwk(key_of("ES256"))},
    "it says where its key is": {"jku": "https://evil.example/jwks"},
    "it says where its certificate is": {"x5u": "https://evil.example/cert"},
    "it has a critical extension": {"crit": ["exp"], "exp": 1},
    "it is an access token": {"typ": "at+jwt"},
    "it is a request object": {"typ": "oauth-authz-req+jwt"},
    "it is a proof of possession": {"typ": "dpop+jwt"},
    "it is a logout token": {"typ": "logout+jwt"},
    "its type is no text": {"typ": ["JWT"]},
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.spec("INV-05", "TK-07")
@pytest.mark.spec("RFC 8725 §3.11")
def test_assertion_is_refused_when_its_header_says(signing: Signing, header: dict[str, Any]) -> None:
    assert_refused(signing.present(signed(signing.claims(), signing.key, "ES256", **header)))


def _unsigned(token: str) -> str:
    return token.rpartition(".")[0]


FORGERIES: dict[str, Callable[[Signing], str]] = {
    "nobody signed it": lambda s: compact({"alg": "none"}, s.claims(), lambda data: b""),
    "nobody signed it, in other case": lambda s: compact({"alg": "nOnE"}, s.claims(), lambda data: b""),
    "no algorithm is named": lambda s: compact({}, s.claims(), lambda data: b""),
    "another key of that kind signed it": lambda s: signed(
        s.claims(), key_of("ES256", "another"), "ES256", kid=s.key.kid
    ),
    "another key signed it without naming itself": lambda s: signed(
        s.claims(), key_of("ES256", "another"), "ES256", kid=None
    ),
    "a key of another kind signed it": lambda s: signed(s.claims(), key_of("EdDSA"), "EdDSA", kid=s.key.kid),
    "the public key was its secret": lambda s: signed_with_secret(s.claims(), str(jose.public_jwk(s.key))),
    "its signature is cut": lambda s: s.assertion()[:-2],
    "its signature is gone": lambda s: f"{_unsigned(s.assertion())}.",
    "it has the signature of another": lambda s: f"{_unsigned(s.assertion())}.{s.assertion().rpartition('.')[2]}",
    "it is padded": lambda s: s.assertion() + "=",
    "it is no token": lambda s: "x",
    "it has two parts": lambda s: "e30.e30",
    "it has five parts": lambda s: "e30.e30.e30.e30.e30",
    "its parts are no JSON": lambda s: "x.y.z",
    "its parts are lists": lambda s: "W10.W10.W10",
    "it is very long": lambda s: s.assertion(extra="x" * 20_000),
    "it is no ASCII": lambda s: s.assertion() + "é",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
@pytest.mark.spec("TK-07", "INV-17")
def test_assertion_is_refused_when_it_is_forged(signing: Signing, forge: Callable[[Signing], str]) -> None:
    assert_refused(signing.present(forge(signing)))
    assert len(signing.reasons()) == 1


def test_assertion_is_refused_when_another_client_signed_it(signing: Signing) -> None:
    signing.add("other", "private_key_jwt", jwks=jwks_of(key_of("ES256", "other")))
    forged = signed(signing.claims("other"), signing.key, "ES256")
    assert_refused(signing.present(forged, client_id="other"))


def test_algorithm_is_pinned_when_the_client_registered_one(signing: Signing) -> None:
    jwks = jwks_of(signing.key, key_of("EdDSA"))
    signing.gatepost.change_client("signer", jwks=jwks, token_endpoint_auth_signing_alg="ES256")
    assert_refused(signing.present(signed(signing.claims(), key_of("EdDSA"), "EdDSA")))
    assert is_authenticated(signing.present(signing.assertion()))


@pytest.mark.spec("RFC 7523 §3")
def test_only_the_issuer_as_a_string_is_the_audience_when_the_client_is_strict(signing: Signing) -> None:
    signing.gatepost.change_client("signer", strict_assertion_audience=True)
    for audience in (TOKEN_ENDPOINT, [ISSUER], [ISSUER, TOKEN_ENDPOINT], f"{ISSUER}/", [], None):
        assert_refused(signing.present(signing.assertion(aud=audience)))
    assert is_authenticated(signing.present(signing.assertion(aud=ISSUER)))


@pytest.mark.spec("TK-07")
def test_assertion_lives_five_minutes_at_most_when_the_client_is_strict(signing: Signing) -> None:
    signing.gatepost.change_client("signer", strict_assertion_audience=True)
    now = int(signing.gatepost.clock.now().timestamp())
    assert_refused(signing.present(signing.assertion(aud=ISSUER, exp=now + 361)))
    assert is_authenticated(signing.present(signing.assertion(aud=ISSUER, exp=now + 300)))


@pytest.mark.spec("TK-19", "INV-05")
def test_our_own_tokens_are_refused_as_assertions(signing: Signing) -> None:
    flow = flow_of(signing.gatepost, client_id="whole")
    tokens = flow.tokens()
    signing.gatepost.change_client("whole", token_endpoint_auth_method="private_key_jwt", jwks=jwks_of(signing.key))
    for token in (tokens["id_token"], tokens["access_token"]):
        assert_refused(signing.present(token))


# Once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", ["signer", "sharer"])
@pytest.mark.parametrize("again", ENDPOINTS)
@pytest.mark.spec("TK-07", "INV-01")
@pytest.mark.spec("RFC 7523 §3")
def test_assertion_is_refused_when_it_was_used_before(signing: Signing, again: str, client_id: str) -> None:
    assertion = signing.assertion(client_id)
    assert is_authenticated(signing.present(assertion))
    assert_refused(signing.present(assertion, again))
    assert signing.reasons() == ["client assertion: used before"]


@pytest.mark.parametrize("client_id", ["signer", "sharer"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.spec("TK-07", "INV-01")
def test_assertion_is_used_up_in_both_lanes(signing: Signing, endpoint: str, client_id: str) -> None:
    """With its own charset a form is unusual, and not for the short lane."""
    assertion = signing.assertion(client_id)
    form = {"grant_type": "authorization_code", "code": "ac_x", "token": "x", **presenting(assertion)}
    unusual = {"content_type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert is_authenticated(signing.gatepost.browser().post(f"/oauth/{endpoint}", data=form, **unusual))
    assert_refused(signing.gatepost.browser().post(f"/oauth/{endpoint}", data=form, **unusual))
    assert_refused(signing.present(assertion, endpoint))


def test_jti_is_refused_when_another_assertion_had_it(signing: Signing) -> None:
    assert is_authenticated(signing.present(signing.assertion(jti="same")))
    assert_refused(signing.present(signing.assertion(jti="same", exp=signing.claims()["exp"] + 5)))


def test_jti_is_each_clients_own(signing: Signing) -> None:
    assert is_authenticated(signing.present(signing.assertion(jti="same")))
    assert is_authenticated(signing.present(signing.assertion("sharer", jti="same")))


def test_jti_is_not_spent_when_the_assertion_does_not_hold(signing: Signing) -> None:
    claims = signing.claims(jti="mine")
    assert_refused(signing.present(signed(claims, key_of("ES256", "another"), "ES256", kid=signing.key.kid)))
    assert_refused(signing.present(signed({**claims, "aud": "https://other.example"}, signing.key, "ES256")))
    assert is_authenticated(signing.present(signed(claims, signing.key, "ES256")))


def test_jti_is_kept_until_the_assertion_is_refused_for_its_age(signing: Signing) -> None:
    assertion = signing.assertion()
    assert is_authenticated(signing.present(assertion))
    with signing.gatepost.work() as work:
        kept_until = work.db.scalars(select(UsedAssertion.expires_at)).one()
    signing.gatepost.clock.advance((kept_until - signing.gatepost.clock.now()).total_seconds())
    assert_refused(signing.present(signing.assertion(jti="other", exp=signing.claims()["exp"] - 120)))
    assert_refused(signing.present(assertion))
    assert signing.reasons()[-1] == "client assertion: expired"


# One method, the registered one -----------------------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.spec("TK-06")
@pytest.mark.spec("RFC 6749 §2.3")
def test_request_is_refused_when_it_has_an_assertion_and_another_method(signing: Signing, endpoint: str) -> None:
    secret = signing.basic_secret
    for headers, form in (
        (basic("basic", secret), {}),
        (basic("signer", "x"), {}),
        ({"Authorization": "Bearer x"}, {}),
        ({}, {"client_secret": secret}),
        ({}, {"client_id": "signer", "client_secret": "x"}),
        ({}, {"client_id": "basic"}),
    ):
        response = signing.post(endpoint, headers, **presenting(signing.assertion(), **form))
        assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")


@pytest.mark.spec("TK-06")
def test_client_is_refused_when_it_does_not_use_its_registered_method(signing: Signing) -> None:
    attempts = (
        signing.present(signed(signing.claims("sharer"), signing.key, "ES256")),
        signing.present(signed_with_secret(signing.claims(), signing.secret)),
        signing.present(signed(signing.claims("basic"), signing.key, "ES256")),
        signing.present(signed_with_secret(signing.claims("basic"), signing.basic_secret)),
        signing.post(client_id="sharer", client_secret=signing.secret),
        signing.post(client_id="signer"),
        signing.post(client_id="sharer"),
    )
    for response in attempts:
        assert_refused(response)
    assert signing.reasons() == ["not the registered authentication method"] * len(attempts)
    assert signing.post(headers=basic("sharer", signing.secret)).status_code == 401


@pytest.mark.parametrize("assertion_type", [None, "", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"])
@pytest.mark.spec("RFC 7521 §4.2")
def test_assertion_is_refused_when_its_type_is_another(signing: Signing, assertion_type: str | None) -> None:
    form = {} if assertion_type is None else {"client_assertion_type": assertion_type}
    assert_refused(signing.post(client_assertion=signing.assertion(), **form))


def test_client_is_refused_when_it_was_disabled(signing: Signing) -> None:
    signing.gatepost.change_client("signer", disabled_at=signing.gatepost.clock.now())
    assert_refused(signing.present(signing.assertion()))
    assert signing.reasons() == ["client_disabled"]


def test_client_is_refused_when_it_has_no_key_at_all(signing: Signing) -> None:
    signing.gatepost.change_client("signer", jwks=None)
    assert_refused(signing.present(signing.assertion()))


def test_network_is_stopped_when_it_keeps_guessing_assertions(signing: Signing) -> None:
    statuses = [signing.present(signing.assertion(aud="x")).status_code for _ in range(GUESSES + 2)]
    assert statuses[0] == 401
    assert statuses[-1] == 429


# client_secret_jwt ------------------------------------------------------------------------------------------------


def test_both_secrets_sign_when_they_overlap_and_the_old_one_ends_to_the_second(signing: Signing) -> None:
    with signing.gatepost.work() as work:
        new = rotate_client_secret(work, get_client(work, "sharer"), overlap_seconds=3600)
    signing.gatepost.clock.advance(3599)
    for secret in (signing.secret, new):
        assert is_authenticated(signing.present(signed_with_secret(signing.claims("sharer"), secret)))
    signing.gatepost.clock.advance(1)
    assert_refused(signing.present(signed_with_secret(signing.claims("sharer"), signing.secret)))
    assert is_authenticated(signing.present(signed_with_secret(signing.claims("sharer"), new)))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_assertion_is_refused_when_its_hmac_is_another(signing: Signing, algorithm: str) -> None:
    assert_refused(signing.present(signed_with_secret(signing.claims("sharer"), signing.secret, algorithm)))


def test_assertion_is_refused_when_the_secret_was_given_before_the_client_signed_with_it(signing: Signing) -> None:
    signing.gatepost.change_client("basic", token_endpoint_auth_method="client_secret_jwt")
    assert_refused(signing.present(signed_with_secret(signing.claims("basic"), signing.basic_secret)))


def test_assertion_is_refused_when_another_algorithm_is_registered_for_the_secret(signing: Signing) -> None:
    signing.gatepost.change_client("sharer", token_endpoint_auth_signing_alg="ES256")
    assert_refused(signing.present(signing.assertion("sharer")))


# Keys at the client's own URL -------------------------------------------------------------------------------------


class Published:
    """What stands at a client's `jwks_uri`, and how often it was asked for."""

    def __init__(self, signing: Signing, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[jose.SigningKey] = [signing.key]
        self.error: Exception | None = None
        self.asked = 0
        monkeypatch.setattr(signing.gatepost.runtime.outbound_http, "get_json", self.get_json)
        url = f"https://client.example/{id(self)}/jwks.json"
        signing.gatepost.change_client("signer", jwks=None, jwks_uri=url)

    def get_json(self, url: str, **_options: object) -> Any:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return jwks_of(*self.keys)


@pytest.fixture
def published(signing: Signing, monkeypatch: pytest.MonkeyPatch) -> Published:
    return Published(signing, monkeypatch)


@pytest.mark.spec("OpenID Connect Core §10.1.1")
def test_new_key_is_found_when_it_is_published_at_the_clients_url(signing: Signing, published: Published) -> None:
    assert is_authenticated(signing.present(signing.assertion()))
    assert is_authenticated(signing.present(signing.assertion()))
    assert published.asked == 1
    new = key_of("ES256", "new")
    published.keys = [new]
    signing.gatepost.clock.advance(5)
    assert is_authenticated(signing.present(signed(signing.claims(), new, "ES256")))
    assert published.asked == 2
    assert_refused(signing.present(signing.assertion()))


@pytest.mark.spec("F-08")
def test_url_is_asked_once_in_five_seconds_when_unknown_keys_are_named(signing: Signing, published: Published) -> None:
    for _ in range(4):
        assert_refused(signing.present(signed(signing.claims(), signing.key, "ES256", kid="unknown")))
    assert published.asked == 1
    assert is_authenticated(signing.present(signing.assertion()))


def test_client_is_refused_without_being_counted_when_its_url_does_not_answer(
    signing: Signing, published: Published
) -> None:
    published.error = FetchFailed("no answer", None)
    for _ in range(GUESSES + 2):
        assert_refused(signing.present(signing.assertion()))
    assert set(signing.reasons()) == {"the client's keys cannot be fetched"}
    assert published.asked == 1
    published.error = None
    signing.gatepost.clock.advance(5)
    assert is_authenticated(signing.present(signing.assertion()))
