"""openid-client for Node against a live Gatepost; its tokens verified by jose.

The scripts report what happened, the tests judge. One run of a script serves all tests of one server.
"""

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.interop.registry import SCOPE, Account, RegisteredClient, create_client
from tests.support.servers import Server

pytestmark = pytest.mark.interop

Report = dict[str, Any]


@pytest.fixture(scope="session")
def report(
    gatepost: Server, account: Account, web_client: RegisteredClient, run_node: Callable[[str, Report], Report]
) -> Report:
    """What openid-client met on its way through the life of a set of tokens."""
    return walk(run_node, gatepost, account, web_client, "RS256")


def walk(
    run_node: Callable[[str, Report], Report],
    server: Server,
    account: Account,
    client: RegisteredClient,
    algorithm: str,
) -> Report:
    return run_node(
        "openid_client.mjs",
        {
            "issuer": server.issuer,
            "client_id": client.client_id,
            "client_secret": client.client_secret,
            "redirect_uri": client.redirect_uri,
            "scope": SCOPE,
            "username": account.email,
            "password": account.password,
            "algorithm": algorithm,
        },
    )


@pytest.fixture(scope="session")
def verification(
    gatepost: Server, web_client: RegisteredClient, report: Report, run_node: Callable[[str, Report], Report]
) -> Report:
    """What jose and the server say about live tokens and about forgeries of them."""
    return run_node(
        "verify_tokens.mjs",
        {
            "issuer": gatepost.issuer,
            "client_id": web_client.client_id,
            "client_secret": web_client.client_secret,
            "id_token": report["live"]["id_token"],
            "access_token": report["live"]["access_token"],
            "audience": gatepost.issuer,
        },
    )


@pytest.mark.spec("OpenID Connect Discovery 1.0 §4")
@pytest.mark.spec("RFC 8414 §3.1")
def test_both_discovery_documents_agree_when_the_client_asks_either_way(report: Report, gatepost: Server) -> None:
    oidc, oauth = report["discovery"]["oidc"], report["discovery"]["oauth2"]
    assert oidc["issuer"] == oauth["issuer"] == gatepost.issuer
    assert oidc["code_challenge_methods_supported"] == oauth["code_challenge_methods_supported"] == ["S256"]
    assert oidc["authorization_response_iss_parameter_supported"] is True
    for name in ("token_endpoint", "authorization_endpoint", "jwks_uri", "revocation_endpoint"):
        assert oidc[name] == oauth[name]
        assert oidc[name].startswith(gatepost.issuer + "/")


@pytest.mark.spec("RFC 9207 §2")
def test_iss_stands_in_the_callback_when_the_person_consents(report: Report, gatepost: Server) -> None:
    assert set(report["callback"]) == {"code", "state", "iss", "session_state"}
    assert report["callback"]["iss"] == gatepost.issuer


@pytest.mark.spec("OpenID Connect Core 1.0 §2")
def test_id_token_says_who_signed_in_when_the_code_is_redeemed(
    report: Report, account: Account, web_client: RegisteredClient
) -> None:
    claims = report["id_token_claims"]
    assert claims["sub"] == account.subject
    assert claims["aud"] == web_client.client_id
    assert claims["email"] == account.email
    assert {"iss", "exp", "iat", "auth_time", "nonce", "at_hash", "sid", "amr", "acr"} <= set(claims)
    digest = hashlib.sha256(report["tokens"]["access_token"].encode()).digest()
    assert claims["at_hash"] == base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()


@pytest.mark.spec("OpenID Connect Core 1.0 §5.3")
def test_userinfo_carries_the_granted_claims_when_asked_with_the_access_token(report: Report, account: Account) -> None:
    assert report["userinfo"]["sub"] == account.subject
    assert report["userinfo"]["email"] == account.email
    assert report["userinfo"]["name"] == "Ada Lovelace"
    assert "address" not in report["userinfo"]
    assert report["userinfo_after_refresh"]["sub"] == account.subject


@pytest.mark.spec("RFC 6749 §6")
@pytest.mark.spec("RFC 9700 §4.14.2")
def test_refresh_token_rotates_and_a_lost_answer_is_repeated_when_retried(report: Report) -> None:
    first, second = report["tokens"], report["refreshed"]
    assert first["refresh_token"].startswith("rt_")
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert report["retried"] == second


@pytest.mark.spec("RFC 7662 §2.2")
@pytest.mark.spec("RFC 7009 §2")
def test_introspection_follows_revocation_when_the_access_token_is_revoked(
    report: Report, account: Account, web_client: RegisteredClient
) -> None:
    assert report["introspection"]["active"] is True
    assert report["introspection"]["sub"] == account.subject
    assert report["introspection"]["client_id"] == web_client.client_id
    assert set(report["introspection"]["scope"].split()) == set(SCOPE.split())
    assert report["introspection_after_revocation"] == {"active": False}
    assert report["userinfo_after_revocation"]["refused"] is True
    assert report["userinfo_after_revocation"]["status"] == 401


@pytest.mark.spec("RFC 7009 §2.1")
def test_refresh_is_refused_when_the_refresh_token_was_revoked(report: Report) -> None:
    assert report["refresh_after_revocation"]["error"] == "invalid_grant"
    assert report["refresh_after_revocation"]["status"] == 400


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_family_dies_when_an_older_refresh_token_is_reused(report: Report) -> None:
    assert report["reuse"]["error"] == "invalid_grant"
    assert report["family_after_reuse"]["error"] == "invalid_grant"


@pytest.mark.spec("RFC 6749 §4.1.2")
def test_first_tokens_are_revoked_when_a_code_is_redeemed_twice(report: Report) -> None:
    assert report["code_replay"]["error"] == "invalid_grant"
    assert report["introspection_after_code_replay"] == {"active": False}


@pytest.mark.spec("RFC 6749 §4.1.2.1")
@pytest.mark.spec("RFC 9207 §2")
def test_client_reads_access_denied_with_iss_when_the_person_declines(report: Report, gatepost: Server) -> None:
    assert report["denied"]["error"] == "access_denied"
    assert report["denied_callback"]["iss"] == gatepost.issuer
    assert "code" not in report["denied_callback"]


@pytest.mark.spec("RFC 9068 §2")
def test_tokens_verify_with_jose_when_read_against_the_published_keys(
    verification: Report, account: Account, web_client: RegisteredClient
) -> None:
    assert verification["id_token"]["protectedHeader"]["alg"] == "RS256"
    assert verification["access_token"]["protectedHeader"]["typ"] == "at+jwt"
    assert verification["access_token"]["payload"]["sub"] == account.subject
    assert verification["access_token"]["payload"]["client_id"] == web_client.client_id
    assert verification["genuine"]["userinfo"] == 200
    assert verification["genuine"]["active"] is True


@pytest.mark.spec("RFC 9068 §4")
@pytest.mark.spec("RFC 8725 §3.1")
def test_forgeries_are_refused_by_jose_and_by_the_server_when_presented(verification: Report) -> None:
    accepted_by_library = [name for name, verdict in verification["forgeries"].items() if not verdict["library"]]
    assert accepted_by_library == []
    verdicts = {name: verdict["server"] for name, verdict in verification["forgeries"].items()}
    for name, verdict in {**verdicts, **verification["server_only"]}.items():
        assert verdict["userinfo"] == 401, name
        assert "invalid_token" in verdict["challenge"], name
        assert (verdict["introspection"], verdict["active"]) == (200, False), name


@pytest.mark.spec("RFC 7518 §3.4")
@pytest.mark.spec("RFC 8037 §3.1")
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_id_token_verifies_when_the_client_chose_another_algorithm(
    gatepost: Server, account: Account, run_node: Callable[[str, Report], Report], algorithm: str
) -> None:
    client = create_client(gatepost, "web", "--id-token-alg", algorithm, "--access-token-alg", algorithm)
    report = walk(run_node, gatepost, account, client, algorithm)
    assert report["id_token_claims"]["sub"] == account.subject
    for name in ("id_token", "access_token"):
        head = report["tokens"][name].partition(".")[0]
        assert json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["alg"] == algorithm
