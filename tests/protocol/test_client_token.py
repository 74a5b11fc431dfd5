"""Tokens that clients make: signed as registered, for us, for an hour at most, once if they say so; nothing else."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest

from server.domain.client_secrets import issue_client_secret, list_client_secrets, rotate_client_secret
from server.domain.clients import disable_client, get_client
from server.domain.errors import TooMany
from server.domain.organizations import resume_organization, suspend_organization
from server.infra import jose
from tests.protocol.client_authentication.assertions import compact, jwks_of, key_of, signed, signed_with_secret
from tests.support.application import ISSUER
from tests.support.deployment import GatepostMaker
from tests.support.flow import flow_of
from tests.support.makers import AUDIENCE, SCOPES, Makers

MAKERS = ("sharer", "signer")
HOUR = 3600
#: Failures after which a client's tokens are not looked at any more from one network.
GUESSES = 30


@pytest.fixture
def makers(make_gatepost: GatepostMaker) -> Makers:
    return Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE))


# What is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", MAKERS)
@pytest.mark.spec("RFC 7523 §3")
def test_token_is_accepted_with_what_its_client_may_do_when_it_names_no_scope(makers: Makers, client_id: str) -> None:
    verified = makers.verify(makers.token(client_id))
    assert (verified.kind, verified.subject, verified.environment) == ("client_token", client_id, "live")
    assert verified.client is not None
    assert verified.client.id == client_id
    assert (verified.user, verified.key) == (None, None)
    assert verified.scope_set == {"users:*", "notes:read"}
    assert verified.rights.allows("users:delete")
    assert makers.refused() == []


@pytest.mark.parametrize("scope", ["notes:read", "users:read notes:read", "users:*", ""])
def test_token_has_what_it_says_when_its_client_may_do_more(makers: Makers, scope: str) -> None:
    verified = makers.verify(makers.token(scope=scope))
    assert verified.scope_set == frozenset(scope.split())
    assert not verified.rights.allows("users:delete") or scope == "users:*"


ACCEPTED: dict[str, Callable[[int], dict[str, Any]]] = {
    "the audience is the issuer": lambda now: {"aud": ISSUER},
    "the audience is the token endpoint": lambda now: {"aud": f"{ISSUER}/oauth/token"},
    "all of the audience is ours": lambda now: {"aud": [AUDIENCE, ISSUER]},
    "it lives for an hour": lambda now: {"exp": now + HOUR},
    "it expired within the leeway": lambda now: {"iat": now - 100, "exp": now - 29},
    "it was issued a little ahead": lambda now: {"iat": now + 29},
    "it has been valid for a while": lambda now: {"nbf": now - 10},
    "it speaks of somebody the client knows": lambda now: {"sub": "customer 4711"},
    "it has claims that we do not know": lambda now: {"email": "x@example.com", "roles": ["admin"]},
    "its times have fractions": lambda now: {"iat": now - 0.5, "exp": now + 60.5},
}


@pytest.mark.parametrize("client_id", MAKERS)
@pytest.mark.parametrize("why", ACCEPTED)
@pytest.mark.spec("RFC 7523 §3")
def test_token_is_accepted_when(makers: Makers, why: str, client_id: str) -> None:
    changes = ACCEPTED[why](int(makers.gatepost.clock.now().timestamp()))
    assert makers.reason(makers.token(client_id, **changes)) is None


@pytest.mark.parametrize("algorithm", jose.SIGNING_ALGORITHMS)
def test_token_is_accepted_by_every_algorithm_when_the_client_has_a_key_for_it(makers: Makers, algorithm: str) -> None:
    key = key_of(algorithm)
    makers.gatepost.change_client("signer", jwks=jwks_of(key))
    assert makers.is_accepted(signed(makers.claims("signer"), key, algorithm))


@pytest.mark.parametrize("typ", ["JWT", "jwt", "application/jwt"])
def test_token_is_accepted_when_it_says_that_it_is_a_plain_one(makers: Makers, typ: str) -> None:
    assert makers.is_accepted(signed(makers.claims("signer"), makers.key, "ES256", typ=typ))


# What is refused --------------------------------------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[int], dict[str, Any]], str]] = {
    "exp is missing": (lambda now: {"exp": ...}, "exp or iat is missing"),
    "iat is missing": (lambda now: {"iat": ...}, "exp or iat is missing"),
    "it has expired": (lambda now: {"iat": now - 100, "exp": now - 30}, "expired"),
    "it lives longer than an hour": (lambda now: {"exp": now + HOUR + 1}, "it lives longer than an hour"),
    "it lived longer than an hour": (lambda now: {"iat": now - HOUR, "exp": now + 60}, "it lives longer than an hour"),
    "it is issued in the future": (lambda now: {"iat": now + 31}, "issued in the future"),
    "it is not valid yet": (lambda now: {"nbf": now + 31}, "not valid yet"),
    "exp is text": (lambda now: {"exp": str(now + 60)}, "exp is not a moment"),
    "iat is true": (lambda now: {"iat": True}, "iat is not a moment"),
    "the audience is missing": (lambda now: {"aud": ...}, "it is for another audience"),
    "the audience is empty": (lambda now: {"aud": []}, "it is for another audience"),
    "the audience is another's": (lambda now: {"aud": "https://other.example"}, "it is for another audience"),
    "part of the audience is another's": (
        lambda now: {"aud": [AUDIENCE, "https://other.example"]},
        "it is for another audience",
    ),
    "the audience is the other world's": (lambda now: {"aud": f"{AUDIENCE}/test"}, "it is for another audience"),
    "the audience is an object": (lambda now: {"aud": {"x": AUDIENCE}}, "it is for another audience"),
    "sub is missing": (lambda now: {"sub": ...}, "sub is not a text of 1 to 255 printable characters"),
    "sub is empty": (lambda now: {"sub": ""}, "sub is not a text of 1 to 255 printable characters"),
    "sub is a number": (lambda now: {"sub": 7}, "sub is not a text of 1 to 255 printable characters"),
    "sub has a line end": (lambda now: {"sub": "a\nb"}, "sub is not a text of 1 to 255 printable characters"),
    "sub is long": (lambda now: {"sub": "x" * 256}, "sub is not a text of 1 to 255 printable characters"),
    "sub looks like a person": (lambda now: {"sub": "usr_x"}, "sub is somebody of ours"),
    "sub looks like a key": (lambda now: {"sub": "key_x"}, "sub is somebody of ours"),
    "sub looks like an organization": (lambda now: {"sub": "org_x"}, "sub is somebody of ours"),
    "sub is another client": (lambda now: {"sub": "an-api"}, "sub is somebody of ours"),
    "sub is another client in another case": (lambda now: {"sub": "AN-api"}, "sub is somebody of ours"),
    "sub looks like a person in another case": (lambda now: {"sub": "USR_x"}, "sub is somebody of ours"),
    "sub begins with a blank": (lambda now: {"sub": " usr_x"}, "sub is not a text of 1 to 255 printable characters"),
    "sub ends with a blank": (lambda now: {"sub": "an-api "}, "sub is not a text of 1 to 255 printable characters"),
    "sub begins with a wide blank": (
        lambda now: {"sub": "\u3000usr_x"},
        "sub is not a text of 1 to 255 printable characters",
    ),
    "sub has letters that look like others": (
        lambda now: {"sub": "\uff55sr_x"},
        "sub is not a text of 1 to 255 printable characters",
    ),
    "jti is empty": (lambda now: {"jti": ""}, "jti is not a text of 1 to 255 characters"),
    "jti is a number": (lambda now: {"jti": 7}, "jti is not a text of 1 to 255 characters"),
    "jti is null": (lambda now: {"jti": None}, "jti is not a text of 1 to 255 characters"),
    "scope is more than the client has": (lambda now: {"scope": "notes:write"}, "scope is more than the client has"),
    "scope is everything": (lambda now: {"scope": "*"}, "scope is more than the client has"),
    "scope speaks of a person": (lambda now: {"scope": "openid"}, "scope is more than the client has"),
    "scope is a list": (lambda now: {"scope": ["notes:read"]}, "scope is malformed"),
    "scope is malformed": (lambda now: {"scope": 'notes:"read'}, "scope is malformed"),
    "it is a request object": (lambda now: {"response_type": "code"}, "it is another kind of token"),
    "it is a logout token": (lambda now: {"events": {}}, "it is another kind of token"),
}


@pytest.mark.parametrize("client_id", MAKERS)
@pytest.mark.parametrize("why", REFUSED)
@pytest.mark.spec("RFC 7523 §3", "RFC 9700 §4.15", "TK-15")
def test_token_is_refused_and_audited_when(makers: Makers, why: str, client_id: str) -> None:
    change, reason = REFUSED[why]
    token = makers.token(client_id, **change(int(makers.gatepost.clock.now().timestamp())))
    assert makers.reason(token) == reason
    assert makers.refused() == [reason]
    (row,) = makers.gatepost.audit_rows("client_token.refused")
    assert row.client_id == client_id
    assert makers.introspect(token).get_json() == {"active": False}
    assert makers.refused() == [reason], "who asks about a wrong token has not tried it"


@pytest.mark.parametrize(
    "typ",
    [
        *("at+jwt", "application/at+jwt", "logout+jwt", "oauth-authz-req+jwt", "dpop+jwt"),
        *("client-authentication+jwt", "authorization-grant+jwt", ""),
    ],
)
@pytest.mark.spec("RFC 8725 §3.11", "RFC 8725 §3.12", "INV-05")
def test_token_is_refused_when_it_says_that_it_is_of_another_kind(makers: Makers, typ: str) -> None:
    assert makers.reason(signed(makers.claims("signer"), makers.key, "ES256", typ=typ)) == "it is another kind of token"


@pytest.mark.spec("RFC 8725 §3.1", "RFC 7523 §3")
def test_token_is_refused_when_it_is_not_signed_in_the_registered_way(makers: Makers) -> None:
    own, other = makers.key, key_of("ES256", "somebody else")
    public = str(jose.public_jwk(own))
    makers.gatepost.change_client("sharer", jwks=jwks_of(own))
    with makers.gatepost.work() as work:
        signers_secret = issue_client_secret(work, get_client(work, "signer"))
    wrong = {
        "a secret of nobody": signed_with_secret(makers.claims(), "x" * 43),
        "an empty secret": signed_with_secret(makers.claims(), ""),
        "another client's secret": signed_with_secret(makers.claims("other"), makers.secret),
        "its key, where it registered a secret": signed(makers.claims(), own, "ES256"),
        "its public key as a secret": signed_with_secret(makers.claims("signer"), public),
        "a secret, where it registered a key": signed_with_secret(makers.claims("signer"), signers_secret),
        "somebody else's key": signed(makers.claims("signer"), other, "ES256"),
        "somebody else's key under its name": signed(makers.claims("signer"), other, "ES256", kid=own.kid),
        "HS384": signed_with_secret(makers.claims(), makers.secret, "HS384"),
        "HS512": signed_with_secret(makers.claims(), makers.secret, "HS512"),
        "nothing": compact({"alg": "none"}, makers.claims(), lambda _: b""),
        "nothing, called HS256": compact({"alg": "HS256"}, makers.claims(), lambda _: b""),
        "a digest": compact({"alg": "HS256"}, makers.claims(), lambda data: hashlib.sha256(data).digest()),
        "the digest that is stored": signed_with_secret(
            makers.claims(), hashlib.sha256(makers.secret.encode()).hexdigest()
        ),
        "a part of the secret": compact(
            {"alg": "HS256"}, makers.claims(), lambda data: hmac.digest(makers.secret[:-1].encode(), data, "sha256")
        ),
        "a key of its own in the header": signed(makers.claims(), own, "ES256", jwk=jose.public_jwk(own)),
    }
    makers.gatepost.runtime.limits.refused_until.clear()
    for why, token in wrong.items():
        assert not makers.is_accepted(token), why
        assert makers.introspect(token).get_json() == {"active": False}, why


@pytest.mark.spec("RFC 8725 §3.1")
def test_key_counts_for_the_registered_algorithm_alone_when_there_is_one(makers: Makers) -> None:
    makers.gatepost.change_client("signer", token_endpoint_auth_signing_alg="RS256")
    assert not makers.is_accepted(makers.token("signer"))
    makers.gatepost.change_client("signer", token_endpoint_auth_signing_alg="ES256")
    assert makers.is_accepted(makers.token("signer"))


@pytest.mark.parametrize("client_id", MAKERS)
def test_token_is_refused_without_a_row_when_its_client_may_not_make_any(makers: Makers, client_id: str) -> None:
    token = makers.token(client_id)
    makers.gatepost.change_client(client_id, jwt_authentication=False)
    assert makers.reason(token) == "its issuer is no client that makes tokens"
    assert makers.refused() == []


@pytest.mark.parametrize("issuer", ["nobody", "", ISSUER, "usr_x", 7, None, ["sharer"], {"sharer": 1}, "x" * 200])
def test_token_is_refused_without_a_row_when_it_names_nobody(makers: Makers, issuer: Any) -> None:
    assert makers.reason(makers.token(iss=issuer)) == "its issuer is no client that makes tokens"
    assert makers.refused() == []


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "rt_x", "x" * 20_000, "é.é.é", "eyJ9.eyJ9.", "a.b.c.d.e"])
def test_text_is_refused_when_it_is_no_token(makers: Makers, text: str) -> None:
    assert makers.reason(text) == "not a signed token"
    assert makers.introspect(text or "x").get_json() == {"active": False}


@pytest.mark.parametrize("client_id", MAKERS)
def test_token_is_refused_from_then_on_when_its_client_is_disabled_or_its_organization_suspended(
    makers: Makers, client_id: str
) -> None:
    with makers.gatepost.work() as work:
        disable_client(work, get_client(work, client_id))
    assert makers.reason(makers.token(client_id)) == "client_disabled"
    makers.gatepost.change_client(client_id, disabled_at=None, organization_id=makers.gateway.acme.id)
    assert makers.is_accepted(makers.token(client_id))
    with makers.gatepost.work() as work:
        suspend_organization(work, work.db.merge(makers.gateway.acme))
    assert makers.reason(makers.token(client_id)) == "organization_suspended"
    (*_, row) = makers.gatepost.audit_rows("client_token.refused")
    assert (row.organization_id, row.environment) == (makers.gateway.acme.id, "live")
    with makers.gatepost.work() as work:
        resume_organization(work, work.db.merge(makers.gateway.acme))
    assert makers.is_accepted(makers.token(client_id))


def test_token_is_refused_when_the_secret_it_was_signed_with_has_ended(makers: Makers) -> None:
    with makers.gatepost.work() as work:
        new = rotate_client_secret(work, get_client(work, "sharer"), 60)
    assert makers.is_accepted(makers.token())
    assert makers.is_accepted(makers.token(secret=new))
    makers.gatepost.clock.advance(60)
    assert not makers.is_accepted(makers.token())
    assert makers.is_accepted(makers.token(secret=new))


def test_secret_is_kept_under_the_keyring_when_the_client_signs_with_it(makers: Makers) -> None:
    with makers.gatepost.work() as work:
        (stored,) = list_client_secrets(work, get_client(work, "sharer"))
    assert len(makers.secret.encode()) >= 32
    assert stored.secret_encrypted is not None
    assert makers.secret not in stored.secret_encrypted


# Once -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_id", MAKERS)
@pytest.mark.spec("RFC 7523 §3")
def test_token_counts_once_when_it_has_a_jti_and_often_when_it_has_none(makers: Makers, client_id: str) -> None:
    often, once = makers.token(client_id), makers.token(client_id, jti=makers.fresh_jti())
    assert makers.is_accepted(often)
    assert makers.is_accepted(often)
    assert makers.is_accepted(once)
    assert makers.reason(once) == "used before"
    assert makers.introspect(once).get_json() == {"active": False}
    assert makers.refused() == ["used before"]


def test_token_is_used_up_by_introspection_and_only_by_those_who_may_know(makers: Makers) -> None:
    stranger, secret = makers.gatepost.add_client("machine", client_id="stranger")
    token = makers.token(jti=makers.fresh_jti())
    assert makers.introspect(token, (stranger.id, secret or "")).get_json() == {"active": False}
    assert makers.introspect(token).get_json()["active"] is True
    assert makers.introspect(token).get_json() == {"active": False}
    assert not makers.is_accepted(token)


def test_jti_of_one_client_is_free_for_another(makers: Makers) -> None:
    jti = makers.fresh_jti()
    assert makers.is_accepted(makers.token("sharer", jti=jti))
    assert makers.is_accepted(makers.token("signer", jti=jti))


def test_refused_token_is_not_used_up(makers: Makers) -> None:
    jti = makers.fresh_jti()
    assert not makers.is_accepted(makers.token(jti=jti, scope="notes:write"))
    assert makers.is_accepted(makers.token(jti=jti))


# One kind of token passes for no other ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["private_key_jwt", "client_secret_jwt"])
@pytest.mark.parametrize("audience", [ISSUER, f"{ISSUER}/oauth/token"])
@pytest.mark.spec("RFC 8725 §3.12", "RFC 7523 §3", "INV-05")
def test_token_is_refused_when_its_reader_could_be_the_client_by_it(makers: Makers, method: str, audience: str) -> None:
    client_id = "signer"
    if method == "client_secret_jwt":
        client_id = "hasher"
        _, secret = makers.add(client_id, token_endpoint_auth_method=method)
        token = makers.token(client_id, secret, aud=audience, jti="x")
    else:
        token = makers.token(client_id, aud=audience, jti="x")
    assert makers.reason(token) == "it proves the client itself"
    form = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    answer = makers.gatepost.browser().post("/oauth/revoke", data={**form, "client_assertion": token, "token": "x"})
    assert answer.status_code == 200, "that one is how it proves itself"


@pytest.mark.parametrize("changes", [{"aud": AUDIENCE, "jti": "x"}, {"aud": ISSUER}, {"aud": ISSUER, "sub": "other"}])
@pytest.mark.spec("RFC 8725 §3.12")
def test_no_token_that_is_accepted_proves_the_client_when_it_is_shown_around(
    makers: Makers, changes: dict[str, Any]
) -> None:
    token = makers.token("signer", **changes)
    form = {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    answer = makers.gatepost.browser().post("/oauth/revoke", data={**form, "client_assertion": token, "token": "x"})
    assert answer.status_code == 401
    assert makers.is_accepted(token)


@pytest.mark.spec("INV-05", "RFC 8725 §3.12")
def test_no_token_of_ours_passes_for_a_clients_and_no_clients_for_one_of_ours(makers: Makers) -> None:
    web = flow_of(makers.gatepost, redirect_uris=("https://app.example/cb",))
    tokens = web.tokens()
    assert makers.reason(tokens["id_token"]) == "its issuer is no client that makes tokens"
    for client_id in MAKERS:
        headers = {"Authorization": f"Bearer {makers.token(client_id)}"}
        assert makers.gatepost.browser().get("/oauth/userinfo", headers=headers).status_code == 401
        hinted = web.authorize(id_token_hint=makers.token(client_id), prompt="none").headers["Location"]
        assert "error=invalid_request" in hinted


# Guesses ----------------------------------------------------------------------------------------------------------


def test_tokens_in_a_clients_name_are_not_looked_at_when_too_many_were_wrong(makers: Makers) -> None:
    wrong = signed_with_secret(makers.claims(), "x" * 43)
    for _ in range(GUESSES + 1):
        assert not makers.is_accepted(wrong)
    rows = len(makers.refused())
    with pytest.raises(TooMany):
        makers.verify(makers.token())
    assert len(makers.refused()) == rows, "whoever goes on does not fill the audit log"
    assert makers.introspect(makers.token()).get_json()["active"] is True, "others ask about it from elsewhere"


def test_guesses_are_not_counted_when_a_resource_server_asks(makers: Makers) -> None:
    wrong = signed_with_secret(makers.claims(), "x" * 43)
    for _ in range(GUESSES + 2):
        assert makers.introspect(wrong).get_json() == {"active": False}
    assert makers.is_accepted(makers.token())
