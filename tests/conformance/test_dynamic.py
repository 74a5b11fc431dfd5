"""The modules of the Dynamic plan: everything is registered, and clients prove themselves by private_key_jwt.

Plan: `oidcc-dynamic-certification-test-plan`. Its discovery module stands in `test_config.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from server.domain.key_rotation import rotate_key
from tests.conformance import checks
from tests.conformance.suite import CALLBACK, Browser, Provider, RelyingParty, Variant, key_set, private_key
from tests.conformance.test_basic import (
    check_redirect_uri_inside,
    check_refresh,
    check_unsigned_by_reference,
    with_refresh_tokens,
)
from tests.conformance.variants import DYNAMIC, has_access_token, has_code, run_with

if TYPE_CHECKING:
    from tests.conformance.conftest import Registrar
    from tests.conformance.listener import Listener
    from tests.conformance.pages import Page

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)


@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §9", "RFC 7523 §3")
def test_oidcc_server(rp: RelyingParty) -> None:
    rp.visit().succeed()


@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §3.1.3.7")
def test_oidcc_idtoken_rs256(op: Provider, variant: Variant, register: Registrar) -> None:
    rp = register(op, variant, id_token_signed_response_alg="RS256")
    assert rp.visit().succeed().header["alg"] == "RS256"


@run_with(DYNAMIC[:1])
@pytest.mark.spec("OpenID Connect Core §3.1.3.7")
def test_oidcc_idtoken_unsigned(op: Provider, variant: Variant) -> None:
    """Skipped by the suite, as discovery does not offer it; and it cannot be had."""
    assert "none" not in op.metadata["id_token_signing_alg_values_supported"]
    metadata = {"redirect_uris": [CALLBACK], "id_token_signed_response_alg": "none"}
    checks.check_error(op.post_registration(metadata), "invalid_client_metadata")


@run_with(DYNAMIC, where=has_access_token)
@pytest.mark.spec("OpenID Connect Core §5.3.2")
def test_oidcc_userinfo_rs256(op: Provider, variant: Variant, register: Registrar) -> None:
    assert "RS256" in op.metadata["userinfo_signing_alg_values_supported"]
    rp = register(op, variant, userinfo_signed_response_alg="RS256")
    outcome = rp.visit().succeed()
    assert outcome.access_token is not None
    response = op.userinfo(outcome.access_token)
    assert response.status_code == 200
    assert response.mimetype == "application/jwt"
    claims = json.loads(checks.verify(response.text, op.keys())[1])
    assert (claims["iss"], claims["aud"], claims["sub"]) == (op.issuer, rp.client_id, outcome.claims["sub"])
    assert "nonce" not in claims
    checks.check_claim_types(claims, op.now())


# -------------------------------------------------------------------------------------------------------- redirect URIs


@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §3.1.2.1")
def test_oidcc_ensure_redirect_uri_in_authorization_request(
    op: Provider, variant: Variant, register: Registrar
) -> None:
    rp = register(op, variant, redirect_uris=[CALLBACK, f"{CALLBACK}2"])
    rp.visit(redirect_uri=None).error_page()


@run_with(DYNAMIC)
@pytest.mark.spec("RFC 6749 §3.1.2")
def test_oidcc_redirect_uri_query_ok(op: Provider, variant: Variant, register: Registrar) -> None:
    register(op, variant, redirect_uris=[f"{CALLBACK}?foo=bar"]).visit().succeed()


@run_with(DYNAMIC)
@pytest.mark.spec("RFC 6749 §3.1.2.3")
def test_oidcc_redirect_uri_query_mismatch(op: Provider, variant: Variant, register: Registrar) -> None:
    rp = register(op, variant, redirect_uris=[f"{CALLBACK}?foo=bar"])
    rp.visit(redirect_uri=f"{CALLBACK}?foo=baz").error_page()


@run_with(DYNAMIC)
@pytest.mark.spec("RFC 6749 §3.1.2.3")
def test_oidcc_redirect_uri_query_added(rp: RelyingParty) -> None:
    rp.visit(redirect_uri=f"{CALLBACK}?foo=bar").error_page()


@pytest.mark.spec("RFC 6749 §3.1.2")
def test_oidcc_redirect_uri_regfrag(op: Provider) -> None:
    response = op.post_registration({"redirect_uris": [f"{CALLBACK}#fragment"]})
    checks.check_error(response, "invalid_redirect_uri")


# ----------------------------------------------------------------------------------------- what the login page tells


def login_page(rp: RelyingParty) -> tuple[Page, Browser]:
    """The page that a new browser is shown, and the browser."""
    browser = rp.op.browser()
    endpoint = rp.op.metadata["authorization_endpoint"]
    landing = browser.go(endpoint, "POST", rp.request())
    assert "login-page" in landing.page.ids
    return landing.page, browser


@pytest.mark.slow
@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §3.1.2.3")
def test_oidcc_registration_logo_uri(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    """The logo is shown, and comes through Gatepost: the client's server does not see who looks at the page."""
    logo = listener.serve("/logo.png", PNG, "image/png")
    rp = register(trusting_op, variant, logo_uri=logo)
    assert listener.requests("/logo.png") == [], "nothing is fetched when a client registers"
    page, browser = login_page(rp)
    (image,) = page.images
    assert trusting_op.owns(image)
    response = browser.client.get(image)
    assert (response.status_code, response.mimetype, response.data) == (200, "image/png", PNG)
    rp.visit().succeed()


@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §3.1.2.3")
def test_oidcc_registration_policy_uri(op: Provider, variant: Variant, register: Registrar) -> None:
    rp = register(op, variant, policy_uri="https://suite.test/privacy")
    assert "https://suite.test/privacy" in login_page(rp)[0].links
    rp.visit().succeed()


@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §3.1.2.3")
def test_oidcc_registration_tos_uri(op: Provider, variant: Variant, register: Registrar) -> None:
    rp = register(op, variant, tos_uri="https://suite.test/terms")
    assert "https://suite.test/terms" in login_page(rp)[0].links
    rp.visit().succeed()


# ------------------------------------------------------------------------------------------------ keys, theirs and ours


@pytest.mark.slow
@run_with(DYNAMIC, where=has_code)
@pytest.mark.spec("OpenID Connect Core §10.1")
def test_oidcc_registration_jwks_uri(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    jwks_uri = listener.serve("/jwks.json", key_set(private_key("first")))
    rp = register(trusting_op, variant, jwks=None, jwks_uri=jwks_uri)
    rp.visit().succeed()
    assert listener.requests("/jwks.json")


@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §10.1.1")
def test_oidcc_server_rotate_keys(op: Provider, rp: RelyingParty) -> None:
    """What `gatepost keys rotate` does, between two flows of the module."""
    before = {key["kid"]: key for key in op.keys()["keys"]}
    old = rp.visit().succeed().header["kid"]
    with op.gatepost.work() as work:
        rotate_key(work, "RS256")
    after = {key["kid"]: key for key in op.keys()["keys"]}
    new = [key for kid, key in after.items() if kid not in before and key.get("use", "sig") == "sig"]
    assert [key["kty"] for key in new] == ["RSA"]
    assert new[0]["n"] not in {key.get("n") for key in before.values()}
    assert set(before) <= set(after), "what was signed with the old keys still has to verify"
    outcome = rp.visit().succeed()
    assert outcome.header["kid"] == new[0]["kid"] != old


@pytest.mark.slow
@run_with(DYNAMIC, where=has_code)
@pytest.mark.spec("OpenID Connect Core §10.1.1")
def test_oidcc_refresh_token_rp_key_rotation(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    """A minute after the client published another key under another `kid`, an assertion with it is taken."""
    old, new = private_key("first"), private_key("rotated")
    jwks_uri = listener.serve("/rotating.json", key_set(old))
    rp = register(trusting_op, variant, jwks=None, jwks_uri=jwks_uri, **with_refresh_tokens(variant))
    first = rp.visit(scope="openid offline_access", prompt="consent").succeed()
    listener.serve("/rotating.json", key_set(new))
    trusting_op.advance(60)
    rp.key = new
    checks.check_token_response(rp.refresh(first.tokens["refresh_token"]))


# ----------------------------------------------------------------------------------------------------------- the sector


@pytest.mark.slow
@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §8.1")
def test_oidcc_registration_sector_uri(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    assert "pairwise" in trusting_op.metadata["subject_types_supported"]
    sector = listener.serve("/sector.json", [CALLBACK, f"{CALLBACK}/other"])
    rp = register(trusting_op, variant, sector_identifier_uri=sector, subject_type="pairwise")
    other = register(trusting_op, variant, subject_type="public")
    assert listener.requests("/sector.json")
    pairwise, public = (each.visit().succeed().claims["sub"] for each in (rp, other))
    assert pairwise != public
    again = register(trusting_op, variant, sector_identifier_uri=sector, subject_type="pairwise")
    assert again.visit().succeed().claims["sub"] == pairwise


@pytest.mark.slow
@pytest.mark.spec("OpenID Connect Core §8.1")
def test_oidcc_registration_sector_bad(trusting_op: Provider, listener: Listener) -> None:
    sector = listener.serve("/bad-sector.json", [f"{CALLBACK}/other"])
    for subject_type in ("pairwise", "public"):
        metadata = {"redirect_uris": [CALLBACK], "sector_identifier_uri": sector, "subject_type": subject_type}
        checks.check_error(trusting_op.post_registration(metadata), "invalid_client_metadata")


# ------------------------------------------------------------------------------------------------------ request objects


@pytest.mark.slow
@run_with(DYNAMIC)
@pytest.mark.spec("OpenID Connect Core §6.2")
def test_oidcc_request_uri_unsigned(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener
) -> None:
    """Skipped by the suite, as discovery does not offer `none`; and it is refused."""
    rp = register(trusting_op, variant, request_uris=[listener.url("/unsigned.jwt")])
    check_unsigned_by_reference(rp, listener, "application/jwt")


@pytest.mark.slow
@run_with(DYNAMIC)
@pytest.mark.parametrize("registered_alg", ["RS256", None])
@pytest.mark.spec("OpenID Connect Core §6.2")
def test_oidcc_request_uri_signed_rs256(
    trusting_op: Provider, variant: Variant, register: Registrar, listener: Listener, registered_alg: str | None
) -> None:
    """By reference, with a fragment; state and nonce stand inside alone."""
    assert trusting_op.metadata["request_uri_parameter_supported"] is True
    assert "RS256" in trusting_op.metadata["request_object_signing_alg_values_supported"]
    uri = f"{listener.url('/signed.jwt')}#a-fragment"
    rp = register(trusting_op, variant, request_uris=[uri], request_object_signing_alg=registered_alg)
    request = rp.request()
    claims = {**request, "iss": rp.client_id, "aud": trusting_op.issuer}
    listener.serve("/signed.jwt", rp.sign(claims), "application/jwt")
    outside = {name: value for name, value in request.items() if name not in {"state", "nonce"}}
    exchange = rp.send({**outside, "request_uri": uri})
    exchange.request = request
    exchange.succeed()


@run_with(DYNAMIC)
@pytest.mark.parametrize("is_signed", [True, False])
@pytest.mark.spec("OpenID Connect Core §6.1")
def test_oidcc_ensure_request_object_with_redirect_uri(rp: RelyingParty, is_signed: bool) -> None:
    """As in the Basic plan."""
    check_redirect_uri_inside(rp, f"{CALLBACK}/unregistered", is_signed=is_signed)


# ----------------------------------------------------------------------------------------------- tokens and assertions


@run_with(DYNAMIC, where=has_code)
@pytest.mark.spec("RFC 6749 §6", "OpenID Connect Core §12.2")
def test_oidcc_refresh_token(op: Provider, variant: Variant, register: Registrar) -> None:
    rp = register(op, variant, **with_refresh_tokens(variant))
    rp2 = register(op, variant, second=True, **with_refresh_tokens(variant))
    check_refresh(op, rp)
    others = check_refresh(op, rp2)
    checks.check_error(rp.refresh(others.tokens["refresh_token"]), "invalid_grant")


@run_with(DYNAMIC, where=has_code)
@pytest.mark.spec("OpenID Connect Core §9")
def test_oidcc_ensure_client_assertion_with_iss_aud_succeeds(op: Provider, rp: RelyingParty) -> None:
    exchange = rp.visit()
    form = {"grant_type": "authorization_code", "code": exchange.code(), "redirect_uri": CALLBACK}
    checks.check_token_response(rp.post_token(form, aud=op.issuer))
