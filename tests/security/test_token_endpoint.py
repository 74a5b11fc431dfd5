"""Token, revocation, introspection, userinfo and metadata: the rules TK, each seen from outside."""

import base64
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from werkzeug.test import TestResponse

from server.domain.errors import Invalid
from server.infra import jose
from server.web.urls import URLS
from tests.support.altered import altered
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER, Flow, basic, flow_of, jwt_claims

SITE = "https://app.example/cb"
FORM = "application/x-www-form-urlencoded"
INACTIVE = b'{"active":false}\n'
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=(SITE,))


def other_than(flow: Flow) -> Flow:
    """Another client of the same deployment."""
    return flow_of(flow.gatepost, client_id="another", redirect_uris=(SITE,))


def introspect(flow: Flow, token: str) -> TestResponse:
    headers = basic(flow.client.id, flow.secret or "")
    return flow.gatepost.browser().post("/oauth/introspect", data={"token": token}, headers=headers)


def is_active(flow: Flow, token: str) -> bool:
    return bool(introspect(flow, token).get_json()["active"])


def userinfo(flow: Flow, token: str) -> TestResponse:
    return flow.gatepost.browser().get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})


@pytest.mark.spec("TK-01", "INV-01", "R-02")
def test_second_valid_redemption_is_refused_and_ends_what_the_first_gave(flow: Flow) -> None:
    code = flow.code()
    first = flow.redeem(code).get_json()
    again = flow.redeem(code)
    assert (again.status_code, again.get_json()["error"]) == (400, "invalid_grant")
    assert not is_active(flow, first["access_token"])
    assert userinfo(flow, first["access_token"]).status_code == 401
    assert flow.refresh(first["refresh_token"]).get_json()["error"] == "invalid_grant"


WRONG: dict[str, dict[str, str | None]] = {
    "verifier": {"code_verifier": "w" * 43},
    "no verifier": {"code_verifier": None},
    "redirect_uri": {"redirect_uri": "https://app.example/other"},
    "no redirect_uri": {"redirect_uri": None},
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.spec("TK-02", "TK-03", "INV-06", "R-02")
def test_code_is_neither_spent_nor_its_tokens_revoked_when_a_binding_is_wrong(flow: Flow, wrong: str) -> None:
    code = flow.code()
    for _ in range(2):
        assert flow.redeem(code, **WRONG[wrong]).status_code == 400
    thief = other_than(flow)
    assert thief.redeem(code).get_json()["error"] == "invalid_grant"
    first = flow.redeem(code).get_json()
    assert is_active(flow, first["access_token"])
    assert flow.redeem(code, **WRONG[wrong]).status_code == 400
    assert thief.redeem(code).status_code == 400
    assert is_active(flow, first["access_token"])


@pytest.mark.parametrize("verifier", ["v" * 42, "v" * 129, "v" * 42 + "=", "v" * 42 + "\u00e4", "v" * 43 + "\n"])
@pytest.mark.spec("TK-04", "RFC 7636 §4.1")
def test_code_is_refused_when_the_verifier_is_malformed(flow: Flow, verifier: str) -> None:
    assert flow.redeem(flow.code(), code_verifier=verifier).status_code == 400


@pytest.mark.spec("TK-04", "RFC 9700 §4.8.2")
def test_code_is_refused_when_pkce_stands_on_one_side_only(gatepost: Gatepost) -> None:
    old = flow_of(gatepost, redirect_uris=(SITE,), require_pkce=False)
    bare = {"code_challenge": None, "code_challenge_method": None}
    assert old.redeem(old.code(**bare), code_verifier=VERIFIER).get_json()["error"] == "invalid_grant"
    assert old.redeem(old.code(), code_verifier=None).status_code == 400
    assert old.redeem(old.code(**bare), code_verifier=None).status_code == 200


@pytest.mark.spec("TK-05", "RFC 6749 §3.2")
def test_request_is_refused_when_parameters_stand_in_the_url_or_twice(flow: Flow) -> None:
    headers = basic(flow.client.id, flow.secret or "")
    form = {"grant_type": "authorization_code", "code": flow.code(), "redirect_uri": SITE, "code_verifier": VERIFIER}
    browser = flow.gatepost.browser()
    got = browser.get("/oauth/token", query_string=form, headers=headers)
    assert (got.status_code, got.headers["Allow"]) == (405, "OPTIONS, POST")
    for name, value in {**form, "client_id": flow.client.id, "scope": "openid"}.items():
        in_url = browser.post("/oauth/token", query_string={name: value}, data=form, headers=headers)
        assert in_url.status_code == 400, name
        for second in (value, "other"):
            twice = urlencode([*{**form, name: value}.items(), (name, second)])
            repeated = browser.post("/oauth/token", data=twice, headers=headers, content_type=FORM)
            assert repeated.status_code == 400, name
    assert browser.post("/oauth/token", data=form, headers=headers).status_code == 200


ENDPOINTS = ("/oauth/token", "/oauth/revoke", "/oauth/introspect")


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.spec("TK-06", "RFC 6749 §2.3")
def test_client_is_known_by_its_registered_method_alone(flow: Flow, endpoint: str) -> None:
    posting = flow_of(flow.gatepost, client_id="posting", token_endpoint_auth_method="client_secret_post")
    wish = {"token": "at_x", "grant_type": "refresh_token", "refresh_token": "rt_x"}

    def ask(client: Flow, *, in_header: bool, in_body: bool, **more: str) -> TestResponse:
        headers = basic(client.client.id, client.secret or "") if in_header else {}
        body = {"client_id": client.client.id, "client_secret": client.secret or ""} if in_body else {}
        return client.gatepost.browser().post(endpoint, data={**wish, **body, **more}, headers=headers)

    assert ask(flow, in_header=True, in_body=False).status_code != 401
    assert ask(posting, in_header=False, in_body=True).status_code != 401
    refused = {
        "post instead of basic": ask(flow, in_header=False, in_body=True),
        "basic instead of post": ask(posting, in_header=True, in_body=False),
        "nothing": ask(flow, in_header=False, in_body=False),
        "the id alone": ask(flow, in_header=False, in_body=False, client_id=flow.client.id),
        "an assertion beside": ask(
            flow, in_header=False, in_body=False, client_assertion="x", client_assertion_type="y"
        ),
    }
    for name, response in refused.items():
        assert response.status_code == 401, name
        assert response.get_json()["error"] == "invalid_client", name
        assert ("WWW-Authenticate" in response.headers) is (name == "basic instead of post"), name
    both = ask(flow, in_header=True, in_body=True)
    assert both.status_code in (400, 401)
    assert both.get_json()["error"] in ("invalid_request", "invalid_client")


@pytest.mark.parametrize("client_type", ["spa", "native"])
@pytest.mark.spec("TK-09", "INV-04", "R-09", "RFC 9700 §4.14.2")
def test_family_dies_when_a_public_client_presents_a_spent_token(gatepost: Gatepost, client_type: Any) -> None:
    flow = flow_of(gatepost, client_type, redirect_uris=(SITE,))
    tokens = [flow.tokens()["refresh_token"]]
    for _ in range(2):
        tokens.append(flow.refresh(tokens[-1]).get_json()["refresh_token"])
    assert len(set(tokens)) == 3
    assert flow.refresh(tokens[0]).get_json()["error"] == "invalid_grant"
    assert flow.refresh(tokens[-1]).get_json()["error"] == "invalid_grant"
    assert "refresh_token.reused" in gatepost.audit_events()


@pytest.mark.spec("TK-10", "INV-06", "INV-07")
def test_refresh_token_is_bound_to_client_and_scope(flow: Flow) -> None:
    token = flow.tokens(scope="openid email offline_access")["refresh_token"]
    assert other_than(flow).refresh(token).get_json()["error"] == "invalid_grant"
    assert flow.refresh(token, scope="openid email phone").get_json()["error"] == "invalid_scope"
    assert set(flow.refresh(token).get_json()["scope"].split()) == {"openid", "email", "offline_access"}


@pytest.mark.spec("TK-11", "INV-09", "INV-46")
def test_refresh_token_ends_when_idle_and_at_last_however_often_it_was_used(make_gatepost: GatepostMaker) -> None:
    flow = flow_of(make_gatepost(refresh_token_idle_lifetime=100, refresh_token_lifetime=250), redirect_uris=(SITE,))
    token = flow.tokens()["refresh_token"]
    for seconds in (99, 99, 52):
        flow.gatepost.clock.advance(seconds)
        answer = flow.refresh(token)
        token = answer.get_json().get("refresh_token", token)
        assert answer.status_code == 200 if seconds == 99 else answer.get_json()["error"] == "invalid_grant"
    idle = flow.tokens(prompt="login")["refresh_token"]
    flow.gatepost.clock.advance(100)
    assert flow.refresh(idle).get_json()["error"] == "invalid_grant"


@pytest.mark.parametrize(("scope", "survives"), [("openid", False), ("openid offline_access", True)])
@pytest.mark.spec("TK-12", "INV-11")
def test_refresh_token_outlives_the_sign_out_only_when_that_was_consented(
    gatepost: Gatepost, scope: str, survives: bool
) -> None:
    flow = flow_of(gatepost, redirect_uris=(SITE,), refresh_token_policy="always")
    token = flow.tokens(scope=scope)["refresh_token"]
    flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    assert (flow.refresh(token).status_code == 200) is survives


@pytest.mark.spec("TK-13")
def test_refresh_token_stays_the_same_when_a_confidential_client_does_not_rotate(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=(SITE,), rotate_refresh_tokens=False)
    token = flow.tokens()["refresh_token"]
    for _ in range(25):
        answer = flow.refresh(token)
        assert answer.status_code == 200
        assert answer.get_json().get("refresh_token", token) == token


@pytest.mark.parametrize("grant", ["password", "implicit", "urn:ietf:params:oauth:grant-type:saml2-bearer", "x"])
@pytest.mark.spec("TK-14", "RFC 9700 §2.4")
def test_grant_is_unsupported_when_it_is_the_password_or_unknown(flow: Flow, grant: str) -> None:
    answer = flow.post_token(grant_type=grant, username="ada@example.com", password=flow.password)
    assert answer.get_json()["error"] == "unsupported_grant_type"


@pytest.mark.spec("TK-15", "TK-29", "RFC 9700 §4.15")
def test_machine_gets_no_refresh_token_and_cannot_pass_for_a_person(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(scopes={"notes:read": "Read your notes"})
    machine = flow_of(gatepost, "machine", scope="notes:read")
    token = machine.post_token(grant_type="client_credentials").get_json()
    assert "refresh_token" not in token
    assert "id_token" not in token
    claims = jwt_claims(token["access_token"])
    assert claims["sub"] == claims["client_id"] == machine.client.id
    assert userinfo(machine, token["access_token"]).status_code == 403
    person = gatepost.add_user("eve@example.com")
    assert person.id.startswith("usr_")
    with pytest.raises(Invalid, match="usr_"):
        gatepost.add_client("machine", client_id=person.id)


def answers(flow: Flow) -> dict[str, TestResponse]:
    """A success and an error of every machine endpoint that speaks of a person or a secret."""
    tokens = flow.tokens()
    headers, browser = basic(flow.client.id, flow.secret or ""), flow.gatepost.browser()
    return {
        "token": flow.refresh(tokens["refresh_token"]),
        "token refused": flow.post_token(grant_type='nope\x00\u00e9"\\'),
        "token unauthenticated": browser.post("/oauth/token", data={"client_id": "<x>", "grant_type": "<y>"}),
        "token garbled": browser.post("/oauth/token", data=b"%zz=%ff", content_type=FORM),
        "token as JSON": browser.post("/oauth/token", json={"grant_type": "<x>"}),
        "token by GET": browser.get("/oauth/token"),
        "introspection": introspect(flow, tokens["access_token"]),
        "introspection refused": browser.post("/oauth/introspect", data={"token": "<x>"}),
        "revocation": browser.post("/oauth/revoke", data={"token": "<x>"}, headers=headers),
        "revocation refused": browser.post("/oauth/revoke", data={"token": "<x>"}),
        "userinfo": userinfo(flow, tokens["access_token"]),
        "userinfo refused": userinfo(flow, "<x>"),
        "userinfo without": browser.get("/oauth/userinfo"),
    }


@pytest.mark.spec("TK-16", "RFC 6749 §5.1")
def test_answer_is_kept_by_no_cache_when_it_succeeds_or_fails(flow: Flow) -> None:
    for name, answer in answers(flow).items():
        assert answer.headers.getlist("Cache-Control") == ["no-store"], name


@pytest.mark.spec("TK-17", "C-08", "RFC 6749 §5.2")
def test_error_is_json_of_allowed_characters_that_repeats_nothing_of_the_request(flow: Flow) -> None:
    for name, answer in answers(flow).items():
        if answer.status_code < 400:
            continue
        assert answer.headers["Content-Type"].startswith("application/json"), name
        assert answer.headers["X-Content-Type-Options"] == "nosniff", name
        body = answer.get_json(silent=True) or {}
        assert DESCRIPTION.fullmatch(body.get("error_description", "")), name
        # The number of the request is random, and may hold any two letters.
        told = answer.get_data() + b"".join(value.encode() for name, value in answer.headers if name != "X-Request-ID")
        for sent in (b"<x>", b"&lt;x", b"<y>", b"nope", b"zz"):
            assert sent not in told, (name, sent)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
@pytest.mark.spec("TK-18", "INV-12", "INV-14")
def test_id_token_tells_everything_it_must_and_brings_no_keys(gatepost: Gatepost, algorithm: str) -> None:
    flow = flow_of(gatepost, redirect_uris=(SITE,), id_token_signed_response_alg=algorithm)
    tokens = flow.tokens()
    header, claims = jose.peek_header(tokens["id_token"]), jwt_claims(tokens["id_token"])
    assert header["alg"] == algorithm
    assert not {"jku", "x5u", "jwk", "x5c"} & set(header)
    published = gatepost.browser().get("/.well-known/jwks.json").get_json()["keys"]
    assert header["kid"] in {key["kid"] for key in published}
    assert not [key for key in published if {"d", "p", "q", "k"} & set(key)]
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (ISSUER, flow.client.id, "a-nonce")
    assert claims["iat"] < claims["exp"]
    assert {"auth_time", "at_hash", "sub", "acr", "amr"} <= set(claims)
    assert claims["at_hash"] == jose.half_hash(tokens["access_token"], algorithm)


@pytest.mark.spec("TK-19", "INV-05", "RFC 9068 §4")
def test_access_token_says_it_is_one_and_passes_for_nothing_else(flow: Flow) -> None:
    tokens = flow.tokens()
    assert jose.peek_header(tokens["access_token"])["typ"] == "at+jwt"
    assert jose.peek_header(tokens["id_token"]).get("typ") != "at+jwt"
    assert userinfo(flow, tokens["id_token"]).status_code == 401
    assert introspect(flow, tokens["id_token"]).get_data() == INACTIVE
    assert "error=invalid_request" in flow.authorize(id_token_hint=tokens["access_token"]).headers["Location"]
    asserted = flow.gatepost.browser().post(
        "/oauth/token",
        data={
            "grant_type": "authorization_code",
            "client_assertion": tokens["access_token"],
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        },
    )
    assert asserted.get_json()["error"] == "invalid_client"


@pytest.mark.spec("TK-20", "INV-13", "RFC 9700 §4.3.2")
def test_userinfo_is_about_the_person_of_the_id_token_and_takes_no_token_from_the_url(flow: Flow) -> None:
    tokens = flow.tokens()
    assert userinfo(flow, tokens["access_token"]).get_json()["sub"] == jwt_claims(tokens["id_token"])["sub"]
    browser, query = flow.gatepost.browser(), {"access_token": tokens["access_token"]}
    assert browser.get("/oauth/userinfo", query_string=query).status_code in (400, 401)
    assert browser.post("/oauth/userinfo", query_string=query).status_code in (400, 401)


@pytest.mark.spec("TK-21", "INV-10", "INV-18", "RFC 7009 §2")
def test_revocation_ends_the_grant_for_its_own_client_alone(flow: Flow) -> None:
    tokens, thief = flow.tokens(), other_than(flow)

    def revoke(client: Flow, token: str, **form: str) -> int:
        headers = basic(client.client.id, client.secret or "")
        return flow.gatepost.browser().post("/oauth/revoke", data={"token": token, **form}, headers=headers).status_code

    for token in (tokens["access_token"], tokens["refresh_token"], "unknown", "\x00"):
        assert revoke(thief, token) == 200
    assert is_active(flow, tokens["access_token"])
    for _ in range(2):
        assert revoke(flow, tokens["refresh_token"], token_type_hint="nonsense") == 200
    assert not is_active(flow, tokens["access_token"])
    assert flow.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"
    only = flow.tokens(prompt="login")
    assert revoke(flow, only["access_token"], token_type_hint="refresh_token") == 200
    assert not is_active(flow, only["access_token"])
    # Published: an access token goes alone, its refresh token stays.
    assert flow.refresh(only["refresh_token"]).status_code == 200


@pytest.mark.spec("TK-22", "INV-16", "RFC 7662 §2.2")
def test_token_is_inactive_and_nothing_else_is_told_when_the_caller_may_not_use_it(flow: Flow) -> None:
    tokens, stranger = flow.tokens(), other_than(flow)
    revoked = flow.tokens(prompt="login")
    flow.gatepost.browser().post(
        "/oauth/revoke", data={"token": revoked["refresh_token"]}, headers=basic(flow.client.id, flow.secret or "")
    )
    cases: dict[str, tuple[Flow, str]] = {
        "foreign": (stranger, tokens["access_token"]),
        "foreign refresh": (stranger, tokens["refresh_token"]),
        "revoked": (flow, revoked["access_token"]),
        "malformed": (flow, "x.y.z"),
        "changed": (flow, altered(tokens["access_token"], -9)),
        "ID token": (flow, tokens["id_token"]),
        "code": (flow, flow.code()),
    }
    for name, (asker, token) in cases.items():
        answer = introspect(asker, token)
        assert (answer.status_code, answer.get_data()) == (200, INACTIVE), name
    flow.gatepost.clock.advance(3601)
    assert introspect(flow, tokens["access_token"]).get_data() == INACTIVE
    assert flow.gatepost.browser().post("/oauth/introspect", data={"token": tokens["access_token"]}).status_code == 401
    spa = flow_of(flow.gatepost, "spa", redirect_uris=(SITE,))
    public = {"token": tokens["access_token"], "client_id": spa.client.id}
    assert flow.gatepost.browser().post("/oauth/introspect", data=public).status_code == 401


@pytest.mark.parametrize("path", ["", "/tenant"])
@pytest.mark.spec("TK-26", "INV-45", "RFC 8414 §3")
def test_documents_agree_at_every_place_and_name_the_issuer(make_gatepost: GatepostMaker, path: str) -> None:
    browser = make_gatepost(issuer=f"https://login.example{path}").browser()
    base = "/.well-known/"
    places = {f"{path}{base}openid-configuration", f"{base}openid-configuration{path}"}
    inserted = {f"{path}{base}oauth-authorization-server", f"{base}oauth-authorization-server{path}"}
    openid = [browser.get(place).get_json() for place in sorted(places)]
    oauth = [browser.get(place).get_json() for place in sorted(inserted)]
    assert all(document["issuer"] == f"https://login.example{path}" for document in openid + oauth)
    assert all(document == openid[0] for document in openid)
    assert all(document == oauth[0] for document in oauth)
    assert {name: openid[0][name] for name in oauth[0] if name in openid[0]} == {
        name: value for name, value in oauth[0].items() if name in openid[0]
    }
    for name, url in openid[0].items():
        if name.endswith(("_endpoint", "_uri")):
            known = {f"{path}{known}" for known, *_ in URLS}
            assert urlsplit(url).path in known, name


@pytest.mark.spec("TK-27", "C-07", "RFC 6797 §7.1")
def test_machine_endpoint_refuses_plain_http_and_redirects_nobody(make_gatepost: GatepostMaker) -> None:
    browser = make_gatepost(issuer="https://login.example", trusted_proxies="127.0.0.1/32").browser()
    for path in ("/oauth/token", "/oauth/introspect", "/oauth/userinfo", "/oauth/authorize", "/.well-known/jwks.json"):
        for method in ("GET", "POST"):
            plain = browser.open(path, method=method, headers={"X-Forwarded-Proto": "http"})
            assert plain.status_code == 400, path
            assert "Location" not in plain.headers, path
            encrypted = browser.open(path, method=method, headers={"X-Forwarded-Proto": "https"})
            assert "max-age=63072000" in encrypted.headers["Strict-Transport-Security"], path


@pytest.mark.spec("TK-31", "S-11", "C-09")
def test_nobody_is_signed_out_or_sent_away_when_only_a_link_was_followed(flow: Flow) -> None:
    hint = flow.tokens()["id_token"]
    evil = {"id_token_hint": hint, "post_logout_redirect_uri": "https://evil.example", "state": "x"}
    page = flow.browser.get("/logout", query_string=evil)
    assert (page.status_code, "Location" in page.headers) == (400, False)
    assert "evil.example" not in page.text
    assert flow.browser.post("/logout", data={"decision": "sign_out", **evil}).status_code == 403
    assert flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out", **evil).status_code == 400
    assert "You are signed in" in flow.browser.get("/").text
    unproven = {"post_logout_redirect_uri": "https://evil.example", "state": "x"}
    out = flow.submit(flow.browser.get("/logout", query_string=unproven), "/logout", decision="sign_out")
    assert out.headers["Location"] == "/signed-out"


@pytest.mark.spec("TK-28", "H-01")
def test_forwarded_words_change_no_token_when_any_proxy_adds_them(make_gatepost: GatepostMaker) -> None:
    machine = flow_of(make_gatepost(trusted_proxies="127.0.0.1/32"), "machine")
    headers = {
        **basic(machine.client.id, machine.secret or ""),
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "host=evil.example",
        "X-Forwarded-Prefix": "/evil",
    }
    data = {"grant_type": "client_credentials"}
    token = machine.gatepost.browser().post("/oauth/token", data=data, headers=headers).get_json()["access_token"]
    assert jwt_claims(token)["iss"] == ISSUER


HEADERS: dict[str, Callable[[str, str], str]] = {
    "two colons": lambda name, secret: f"{name}:{secret}:x",
    "no colon": lambda name, secret: name + secret,
    "empty secret": lambda name, _: f"{name}:",
    "no name": lambda _, secret: f":{secret}",
    "space": lambda name, secret: f"{name} :{secret}",
    "upper case": lambda name, secret: f"{name.upper()}:{secret}",
    "NUL": lambda name, secret: f"{name}\0:{secret}",
    "decoded once more": lambda name, secret: f"{name}%2500:{secret}",
}


@pytest.mark.parametrize("odd", HEADERS)
@pytest.mark.spec("TK-06")
def test_client_is_refused_when_its_header_is_read_oddly(flow: Flow, odd: str) -> None:
    pair = HEADERS[odd](flow.client.id, flow.secret or "")
    header = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    answer = flow.gatepost.browser().post("/oauth/token", data={"grant_type": "authorization_code"}, headers=header)
    assert answer.status_code in (400, 401)
    assert answer.get_json()["error"] in ("invalid_client", "invalid_request")


@pytest.mark.spec("TK-10", "INV-41")
def test_scope_of_a_refresh_is_refused_when_it_is_malformed_whatever_the_token(database_gatepost: Gatepost) -> None:
    """Also on PostgreSQL, whose text holds no NUL."""
    flow = flow_of(database_gatepost, "spa", redirect_uris=(SITE,))
    stranger = flow_of(database_gatepost, "spa", client_id="another", redirect_uris=(SITE,))
    live, spent = flow.tokens()["refresh_token"], flow.tokens()["refresh_token"]
    flow.refresh(spent)
    for scope in ("a\0b", "\0", '"', "\u00e9", "openid\nemail", "x" * 4000):
        for asker, token in ((stranger, live), (flow, live), (flow, spent)):
            answer = asker.refresh(token, scope=scope)
            assert answer.status_code == 400, (scope, answer.text)
            assert answer.get_json()["error"] in ("invalid_scope", "invalid_grant")
    assert flow.refresh(live).status_code == 200
