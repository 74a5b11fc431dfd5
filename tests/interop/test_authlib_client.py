"""Authlib's own client against a live Gatepost, its tokens verified by joserfc."""

import base64
import hashlib
import secrets
from typing import Any

import pytest
import requests
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.interop.person import Callback
from tests.interop.registry import SCOPE, Account, RegisteredClient, create_client
from tests.support.servers import Server

pytestmark = pytest.mark.interop

Metadata = dict[str, Any]


@pytest.fixture(autouse=True)
def _allow_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture(scope="session")
def keys(metadata: Metadata) -> KeySet:
    return KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=10).json())


def session_of(client: RegisteredClient, method: str = "client_secret_basic") -> OAuth2Session:
    return OAuth2Session(
        client.client_id,
        client.client_secret or None,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        introspection_endpoint_auth_method=method,
        scope=SCOPE,
        redirect_uri=client.redirect_uri,
        code_challenge_method="S256",
    )


def sign_in(session: OAuth2Session, metadata: Metadata, account: Account, nonce: str = "n-0S6_WzA2Mj") -> Metadata:
    verifier = secrets.token_urlsafe(48)
    endpoint = metadata["authorization_endpoint"]
    url, state = session.create_authorization_url(endpoint, code_verifier=verifier, nonce=nonce)
    callback: Callback = account.at_a_browser().walk(url, session.redirect_uri)
    token: Metadata = session.fetch_token(
        metadata["token_endpoint"], authorization_response=callback.url, state=state, code_verifier=verifier
    )
    return token


def check_id_token(
    token: Metadata, keys: KeySet, metadata: Metadata, client: RegisteredClient, account: Account
) -> dict[str, Any]:
    verified = jwt.decode(token["id_token"], keys, algorithms=["RS256"])
    rules = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": metadata["issuer"]},
        aud={"essential": True, "value": client.client_id},
        sub={"essential": True, "value": account.subject},
        exp={"essential": True},
        iat={"essential": True},
    )
    rules.validate(verified.claims)
    digest = hashlib.sha256(token["access_token"].encode()).digest()
    assert verified.claims["at_hash"] == base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
    assert verified.header["kid"]
    return verified.claims


def test_authlib_completes_the_life_of_a_set_of_tokens_when_the_client_is_confidential(
    gatepost: Server, metadata: Metadata, keys: KeySet, account: Account, web_client: RegisteredClient
) -> None:
    session = session_of(web_client)
    first = sign_in(session, metadata, account)
    claims = check_id_token(first, keys, metadata, web_client, account)
    assert claims["nonce"] == "n-0S6_WzA2Mj"

    userinfo = session.get(metadata["userinfo_endpoint"])
    assert userinfo.status_code == 200
    assert userinfo.json()["sub"] == account.subject
    assert userinfo.json()["email"] == account.email

    access_token = jwt.decode(first["access_token"], keys, algorithms=["RS256"])
    assert access_token.header["typ"] == "at+jwt"
    assert access_token.claims["aud"] == gatepost.issuer
    active = session.introspect_token(metadata["introspection_endpoint"], token=first["access_token"]).json()
    assert active["active"] is True
    assert active["jti"] == access_token.claims["jti"]

    old_refresh_token = first["refresh_token"]
    second = session.refresh_token(metadata["token_endpoint"], refresh_token=old_refresh_token)
    assert second["refresh_token"] != old_refresh_token
    refreshed = check_id_token(second, keys, metadata, web_client, account)
    assert refreshed["auth_time"] == claims["auth_time"]
    assert session.get(metadata["userinfo_endpoint"]).json()["sub"] == account.subject

    revoked = session.revoke_token(metadata["revocation_endpoint"], token=second["access_token"])
    assert revoked.status_code == 200
    inactive = session.introspect_token(metadata["introspection_endpoint"], token=second["access_token"])
    assert inactive.json() == {"active": False}
    assert session.get(metadata["userinfo_endpoint"]).status_code == 401

    session.revoke_token(
        metadata["revocation_endpoint"], token=second["refresh_token"], token_type_hint="refresh_token"
    )
    with pytest.raises(OAuthError, match="invalid_grant"):
        session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])


def test_authlib_completes_the_life_of_a_set_of_tokens_when_the_client_is_public(
    gatepost: Server, metadata: Metadata, keys: KeySet, account: Account
) -> None:
    client = create_client(gatepost, "native", redirect_uri="http://127.0.0.1/callback")
    # RFC 8252 §7.3: an app on the computer takes whatever port is free when it asks.
    ephemeral = RegisteredClient(client.client_id, "", "http://127.0.0.1:49152/callback")
    session = session_of(ephemeral, "none")
    first = sign_in(session, metadata, account)
    check_id_token(first, keys, metadata, client, account)
    second = session.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"])
    assert second["refresh_token"] != first["refresh_token"]
    assert session.get(metadata["userinfo_endpoint"]).json()["sub"] == account.subject
    assert session.revoke_token(metadata["revocation_endpoint"], token=second["refresh_token"]).status_code == 200
    with pytest.raises(OAuthError, match="invalid_grant"):
        session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])


@pytest.mark.spec("RFC 7009 §2.1")
def test_successor_is_revoked_when_the_client_revokes_the_token_whose_refresh_it_never_saw_answered(
    metadata: Metadata, account: Account, web_client: RegisteredClient
) -> None:
    session = session_of(web_client)
    first = sign_in(session, metadata, account)
    second = session.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"])
    session.revoke_token(metadata["revocation_endpoint"], token=first["refresh_token"])
    with pytest.raises(OAuthError, match="invalid_grant"):
        session.refresh_token(metadata["token_endpoint"], refresh_token=second["refresh_token"])
    inactive = session.introspect_token(metadata["introspection_endpoint"], token=second["access_token"])
    assert inactive.json() == {"active": False}


def test_authlib_signs_in_when_the_client_sends_its_secret_in_the_body(
    gatepost: Server, metadata: Metadata, keys: KeySet, account: Account
) -> None:
    client = create_client(gatepost, "web", "--auth-method", "client_secret_post")
    session = session_of(client, "client_secret_post")
    token = sign_in(session, metadata, account)
    check_id_token(token, keys, metadata, client, account)
    with pytest.raises(OAuthError, match="invalid_client"):
        session_of(client, "client_secret_basic").refresh_token(
            metadata["token_endpoint"], refresh_token=token["refresh_token"]
        )


def test_authlib_gets_a_token_when_a_machine_asks_for_itself(gatepost: Server, metadata: Metadata) -> None:
    created = gatepost.run_json("clients", "create", "Nightly export", "--type", "machine")
    session = OAuth2Session(created["client_id"], created["client_secret"])
    token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    assert token["token_type"] == "Bearer"
    assert "refresh_token" not in token
    assert "id_token" not in token
