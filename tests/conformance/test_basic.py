"""The modules of the Basic plan; Implicit, Hybrid and their Form Post forms run most of them with other variants.

Plans: `oidcc-basic-`, `oidcc-implicit-`, `oidcc-hybrid-` and `oidcc-formpost-*-certification-test-plan`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from server.domain.claims import CLAIMS_OF_SCOPE
from server.domain.demo_seed import EMAIL
from tests.conformance import checks
from tests.conformance.suite import CALLBACK, NOT_WITHOUT_PAGES, Outcome, Provider, RelyingParty, Variant
from tests.conformance.variants import EVERY, has_access_token, has_code, registers, run_with
from tests.support.flow import CHALLENGE, VERIFIER

if TYPE_CHECKING:
    from tests.conformance.conftest import Registrar
    from tests.conformance.listener import Listener

LONG_STATE = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_" * 2
CODE = (Variant(),)


def unsigned(claims: dict[str, Any]) -> str:
    """A JWT with `alg` none."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])


def told(outcome: Outcome) -> dict[str, Any]:
    """The claims of the person: UserInfo's, or the ID token's where there is no access token."""
    return outcome.claims if outcome.userinfo is None else outcome.userinfo


def check_scopes(rp: RelyingParty, scopes: Sequence[str]) -> None:
    """Every claim of the scopes is there."""
    assert {"openid", *scopes} <= set(rp.op.metadata["scopes_supported"])
    found = told(rp.visit(scope=" ".join(["openid", *scopes])).succeed())
    wanted = {claim for scope in scopes for claim in CLAIMS_OF_SCOPE[scope]}
    assert wanted <= set(found), wanted - set(found)


def check_unsigned_by_reference(rp: RelyingParty, listener: Listener, content_type: str) -> None:
    """A request object without a signature is refused; the client has registered `/unsigned.jwt`."""
    assert "none" not in rp.op.metadata["request_object_signing_alg_values_supported"]
    request = rp.request()
    listener.serve("/unsigned.jwt", unsigned(request), content_type)
    exchange = rp.send({**request, "request_uri": listener.url("/unsigned.jwt")})
    exchange.refused("request_uri_not_supported", "invalid_request_object")


def check_redirect_uri_inside(rp: RelyingParty, outer_uri: str, *, is_signed: bool) -> None:
    """Whatever becomes of a request with another redirect URI outside of its request object: none goes there."""
    inner = rp.request()
    outer = {**inner, "redirect_uri": outer_uri}
    exchange = rp.send({**outer, "request": rp.sign(inner) if is_signed else unsigned(inner)})
    if exchange.landing.left_for is None:
        exchange.error_page()
    else:
        assert is_signed
        exchange.request = inner
        exchange.succeed()


# ------------------------------------------------------------------------------------------------- the flow as it is


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.5", "OpenID Connect Core §3.2.2.5", "OpenID Connect Core §3.3.2.5")
def test_oidcc_server(rp: RelyingParty) -> None:
    rp.visit().succeed()


@run_with()
@pytest.mark.spec("RFC 6749 §3.1.1")
def test_oidcc_response_type_missing(rp: RelyingParty) -> None:
    exchange = rp.visit(response_type=None)
    exchange.refused("invalid_request", "unsupported_response_type", mode=rp.variant.response_mode or "query")


@run_with(where=registers)
@pytest.mark.spec("OpenID Connect Core §3.1.3.7")
def test_oidcc_idtoken_signature(rp: RelyingParty) -> None:
    header = rp.visit().succeed().header
    assert header["alg"] == "RS256"
    assert header["kid"]


@run_with(CODE)
@pytest.mark.spec("OpenID Connect Core §3.1.3.7")
def test_oidcc_idtoken_unsigned(op: Provider, rp: RelyingParty) -> None:
    """Skipped by the suite, as discovery does not offer it; and it cannot be had."""
    assert "none" not in op.metadata["id_token_signing_alg_values_supported"]
    metadata = {"redirect_uris": [CALLBACK], "id_token_signed_response_alg": "none"}
    checks.check_error(op.post_registration(metadata), "invalid_client_metadata")


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_ensure_request_with_unknown_parameter_succeeds(rp: RelyingParty) -> None:
    rp.visit(extra="foobar").succeed()


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_alternate_happy_flow(rp: RelyingParty) -> None:
    request = rp.request(scope="email openid profile")
    rp.send(dict(reversed(request.items()))).succeed()


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_ensure_post_request_succeeds(rp: RelyingParty) -> None:
    """From a browser that was never here: neither a cookie nor a token of ours can be with it."""
    rp.send(rp.request(), method="POST").succeed()


@run_with(where=has_code)
@pytest.mark.spec("RFC 7636 §4.6")
def test_oidcc_ensure_request_with_valid_pkce_succeeds(rp: RelyingParty) -> None:
    exchange = rp.visit(code_challenge=CHALLENGE, code_challenge_method="S256")
    exchange.succeed(code_verifier=VERIFIER)


@run_with(where=lambda variant: variant.response_type == "code")
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_ensure_request_without_nonce_succeeds_for_code_flow(rp: RelyingParty) -> None:
    assert "nonce" not in rp.visit(nonce=None).succeed().claims


@run_with()
@pytest.mark.spec("RFC 6749 §3.1.2.4")
def test_oidcc_ensure_registered_redirect_uri(rp: RelyingParty) -> None:
    rp.visit(redirect_uri=f"{CALLBACK}/another").error_page()


@run_with(tuple(Variant(*each, auth_method="client_secret_post") for each in [("code",), ("code", None, "static")]))
@pytest.mark.spec("RFC 6749 §2.3.1")
def test_oidcc_server_client_secret_post(rp: RelyingParty) -> None:
    rp.visit().succeed()


# ------------------------------------------------------------------------------------------------- claims and UserInfo


@run_with(where=has_access_token)
@pytest.mark.parametrize("scope", ["openid", "openid profile"])
@pytest.mark.spec("OpenID Connect Core §5.3.1")
def test_oidcc_userinfo_get(op: Provider, rp: RelyingParty, scope: str) -> None:
    check_userinfo(op, rp.visit(scope=scope).succeed(), "GET")


@run_with(where=has_access_token)
@pytest.mark.spec("OpenID Connect Core §5.3.1", "RFC 6750 §2.1")
def test_oidcc_userinfo_post_header(op: Provider, rp: RelyingParty) -> None:
    check_userinfo(op, rp.visit().succeed(), "POST header")


@run_with(where=has_access_token)
@pytest.mark.spec("OpenID Connect Core §5.3.1", "RFC 6750 §2.2")
def test_oidcc_userinfo_post_body(op: Provider, rp: RelyingParty) -> None:
    check_userinfo(op, rp.visit().succeed(), "POST body")


def check_userinfo(op: Provider, outcome: Outcome, how: Any) -> None:
    """UserInfo answers, about the person of the ID token."""
    assert outcome.access_token is not None
    response = op.userinfo(outcome.access_token, how)
    assert response.status_code == 200, response.text
    assert checks.is_json(response)
    claims = response.get_json()
    assert claims["sub"] == outcome.claims["sub"]
    assert "_claim_names" not in claims
    checks.check_claim_types(claims, op.now())


@run_with()
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_oidcc_scope_profile(rp: RelyingParty) -> None:
    check_scopes(rp, ["profile"])


@run_with()
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_oidcc_scope_email(rp: RelyingParty) -> None:
    check_scopes(rp, ["email"])


@run_with()
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_oidcc_scope_address(rp: RelyingParty) -> None:
    check_scopes(rp, ["address"])


@run_with()
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_oidcc_scope_phone(rp: RelyingParty) -> None:
    check_scopes(rp, ["phone"])


@run_with()
@pytest.mark.spec("OpenID Connect Core §5.4")
def test_oidcc_scope_all(rp: RelyingParty) -> None:
    check_scopes(rp, ["profile", "email", "address", "phone"])


@run_with(where=has_access_token)
@pytest.mark.spec("OpenID Connect Core §5.5")
def test_oidcc_claims_essential(rp: RelyingParty) -> None:
    asked = json.dumps({"userinfo": {"name": {"essential": True}}})
    outcome = rp.visit(claims=asked).succeed()
    assert told(outcome)["name"]
    assert "name" not in outcome.claims


# ------------------------------------------------------------------------------------------------- display and locales


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_display_page(rp: RelyingParty) -> None:
    rp.visit(display="page").succeed()


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_display_popup(rp: RelyingParty) -> None:
    rp.visit(display="popup").succeed()


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_ui_locales(rp: RelyingParty) -> None:
    rp.visit(ui_locales="se").succeed()


@run_with()
@pytest.mark.spec("OpenID Connect Core §5.2")
def test_oidcc_claims_locales(rp: RelyingParty) -> None:
    rp.visit(claims_locales="se").succeed()


# ----------------------------------------------------------------------------------------------------- signing in again


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1", "OpenID Connect Core §3.1.2.3")
def test_oidcc_prompt_login(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    first = rp.visit(browser).succeed()
    op.advance(2)
    again = rp.visit(browser, prompt="login")
    assert "/login" in again.pages
    second = again.succeed()
    assert second.claims["sub"] == first.claims["sub"]
    assert second.claims["auth_time"] > first.claims["auth_time"]


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.6")
def test_oidcc_prompt_none_not_logged_in(rp: RelyingParty) -> None:
    exchange = rp.visit(prompt="none", state=LONG_STATE)
    assert exchange.pages == []
    assert exchange.refused(*NOT_WITHOUT_PAGES)["state"] == LONG_STATE


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_prompt_none_logged_in(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    first = rp.visit(browser).succeed()
    op.advance(2)
    again = rp.visit(browser, prompt="none")
    assert again.pages == []
    second = again.succeed()
    assert second.claims["sub"] == first.claims["sub"]
    assert second.claims.get("auth_time") == first.claims.get("auth_time")


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_max_age_1(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    first = rp.visit(browser).succeed()
    op.advance(2)
    again = rp.visit(browser, max_age="1")
    assert "/login" in again.pages
    second = again.succeed()
    assert second.claims["auth_time"] > first.claims.get("auth_time", 0)
    assert op.now() - second.claims["auth_time"] <= 1
    assert second.claims["sub"] == first.claims["sub"]


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_max_age_10000(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    first = rp.visit(browser, max_age="10000").succeed()
    op.advance(2)
    again = rp.visit(browser, max_age="10000")
    assert again.pages == []
    assert again.succeed().claims["auth_time"] == first.claims["auth_time"]


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_id_token_hint(op: Provider, rp: RelyingParty) -> None:
    browser = op.browser()
    first = rp.visit(browser).succeed()
    again = rp.visit(browser, prompt="none", id_token_hint=first.id_token)
    assert again.pages == []
    assert again.succeed().claims["sub"] == first.claims["sub"]


@run_with()
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_login_hint(rp: RelyingParty) -> None:
    rp.visit(login_hint=EMAIL).succeed()


@run_with()
@pytest.mark.parametrize("values", ["1 2", None])
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_ensure_request_with_acr_values_succeeds(op: Provider, rp: RelyingParty, values: str | None) -> None:
    """Asked for what discovery offers, or for what the suite asks for when it offers nothing."""
    values = values or " ".join(op.metadata["acr_values_supported"])
    assert rp.visit(acr_values=values).succeed().claims["acr"] in values.split()


# ------------------------------------------------------------------------------------------------- codes and refreshing


@run_with(where=has_code)
@pytest.mark.spec("RFC 6749 §4.1.2")
def test_oidcc_codereuse(rp: RelyingParty) -> None:
    exchange = rp.visit()
    outcome = exchange.succeed()
    checks.check_error(rp.redeem(outcome.answer["code"], exchange.request["redirect_uri"]), "invalid_grant")


@run_with(where=has_code)
@pytest.mark.spec("RFC 6749 §4.1.2")
def test_oidcc_codereuse_30seconds(op: Provider, rp: RelyingParty) -> None:
    exchange = rp.visit()
    outcome = exchange.succeed()
    op.advance(30)
    checks.check_error(rp.redeem(outcome.answer["code"], exchange.request["redirect_uri"]), "invalid_grant")
    assert outcome.access_token is not None
    assert op.userinfo(outcome.access_token).status_code == 401


def with_refresh_tokens(variant: Variant) -> dict[str, Any]:
    """What a client registers to get refresh tokens."""
    return {"grant_types": [*variant.grant_types, "refresh_token"]}


@run_with(where=has_code)
@pytest.mark.spec("RFC 6749 §6", "OpenID Connect Core §12.2")
def test_oidcc_refresh_token(op: Provider, variant: Variant, register: Registrar) -> None:
    assert "refresh_token" in op.metadata["grant_types_supported"]
    rp = register(op, variant, **with_refresh_tokens(variant))
    rp2 = register(op, variant, second=True, **with_refresh_tokens(variant))
    check_refresh(op, rp)
    others = rp2.visit(scope="openid offline_access", prompt="consent").succeed()
    checks.check_error(rp.refresh(others.tokens["refresh_token"]), "invalid_grant")
    check_refresh(op, rp2)


def check_refresh(op: Provider, rp: RelyingParty) -> Outcome:
    """A refresh token is issued and works; the ID token that comes with the new access token is the old one's kin."""
    first = rp.visit(scope="openid offline_access", prompt="consent").succeed()
    checks.check_secret(first.tokens["refresh_token"])
    op.advance(2)
    response = rp.refresh(first.tokens["refresh_token"], scope="openid offline_access")
    tokens = checks.check_token_response(response)
    assert tokens["access_token"] != first.tokens["access_token"]
    if "refresh_token" in tokens:
        checks.check_secret(tokens["refresh_token"])
    _, payload = checks.verify(tokens["id_token"], op.keys())
    claims = json.loads(payload)
    for name in ("iss", "sub", "aud", "azp", "auth_time"):
        assert claims.get(name) == first.claims.get(name), name
    assert claims["iat"] != first.claims["iat"]
    assert op.claims(tokens["access_token"])["sub"] == first.claims["sub"]
    return first


# ------------------------------------------------------------------------------------------------------ request objects


@run_with()
@pytest.mark.spec("OpenID Connect Core §6.1")
def test_oidcc_unsigned_request_object_supported_correctly_or_rejected_as_unsupported(
    op: Provider, rp: RelyingParty
) -> None:
    """Skipped by the suite, as discovery does not offer `none`; and it is refused."""
    assert "none" not in op.metadata["request_object_signing_alg_values_supported"]
    request = rp.request()
    exchange = rp.send({**request, "request": unsigned(request)})
    exchange.refused("request_not_supported", "invalid_request_object")


@pytest.mark.slow
@run_with(EVERY[:4])
@pytest.mark.spec("OpenID Connect Core §6.2")
def test_oidcc_request_uri_unsigned_supported_correctly_or_rejected_as_unsupported(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    """Skipped by the suite, as discovery does not offer `none`; and it is refused."""
    rp = register(trusting_op, variant, request_uris=[listener.url("/unsigned.jwt")])
    check_unsigned_by_reference(rp, listener, "application/oauth-authz-req+jwt")


@run_with(where=registers)
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.spec("OpenID Connect Core §6.1")
def test_oidcc_ensure_request_object_with_redirect_uri(rp: RelyingParty, is_signed: bool) -> None:
    """Skipped by the suite, as discovery does not offer `none`. No answer goes to the outer URI."""
    check_redirect_uri_inside(rp, "https://stranger.test/callback", is_signed=is_signed)
