"""requests-oauthlib, which knows OAuth 2.0 and PKCE but no ID tokens, against a live Gatepost."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import (
    AccessDeniedError,
    InvalidClientError,
    InvalidGrantError,
    MismatchingStateError,
    TokenExpiredError,
)
from requests_oauthlib import OAuth2Session

from tests.interop.person import Callback
from tests.interop.registry import SCOPE, Account, RegisteredClient, create_client
from tests.support.servers import Server

pytestmark = pytest.mark.interop

Metadata = dict[str, Any]
Token = dict[str, Any]


@pytest.fixture(autouse=True)
def _allow_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def session_of(client: RegisteredClient, **options: Any) -> OAuth2Session:
    return OAuth2Session(
        client.client_id, redirect_uri=client.redirect_uri, scope=SCOPE.split(), pkce="S256", **options
    )


def walk(session: OAuth2Session, metadata: Metadata, account: Account, *presses: str, **extra: str) -> Callback:
    """From the app's link to its callback."""
    url, _ = session.authorization_url(metadata["authorization_endpoint"], **extra)
    return account.at_a_browser().walk(url, session.redirect_uri, presses=presses)


def sign_in(session: OAuth2Session, metadata: Metadata, account: Account, **secret: Any) -> Token:
    callback = walk(session, metadata, account)
    token: Token = session.fetch_token(metadata["token_endpoint"], authorization_response=callback.url, **secret)
    return token


def test_requests_oauthlib_completes_the_life_of_a_set_of_tokens_when_the_secret_is_in_the_header(
    metadata: Metadata, account: Account, web_client: RegisteredClient
) -> None:
    session = session_of(web_client)
    first = sign_in(session, metadata, account, client_secret=web_client.client_secret)
    assert set(first["scope"]) == set(SCOPE.split())
    assert session.get(metadata["userinfo_endpoint"]).json()["email"] == account.email

    pair = (web_client.client_id, web_client.client_secret)
    second = session.refresh_token(metadata["token_endpoint"], auth=pair)
    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert session.get(metadata["userinfo_endpoint"]).json()["sub"] == account.subject

    with pytest.raises(InvalidClientError):
        session.refresh_token(metadata["token_endpoint"], auth=(web_client.client_id, "something else"))
    third = session.refresh_token(metadata["token_endpoint"], auth=pair)
    with pytest.raises(InvalidGrantError):
        session.refresh_token(metadata["token_endpoint"], refresh_token=first["refresh_token"], auth=pair)
    with pytest.raises(InvalidGrantError):
        session.refresh_token(metadata["token_endpoint"], refresh_token=third["refresh_token"], auth=pair)


@pytest.mark.parametrize("kind", ["web", "native"])
def test_requests_oauthlib_refreshes_by_itself_when_the_access_token_is_out_of_date(
    gatepost: Server, metadata: Metadata, account: Account, kind: str
) -> None:
    if kind == "web":
        client = create_client(gatepost, "web", "--auth-method", "client_secret_post")
        credentials = {"client_id": client.client_id, "client_secret": client.client_secret}
    else:
        client = create_client(gatepost, "native", redirect_uri="http://127.0.0.1/callback")
        credentials = {"client_id": client.client_id}
    kept: list[Token] = []
    session = session_of(
        client,
        auto_refresh_url=metadata["token_endpoint"],
        auto_refresh_kwargs=credentials,
        token_updater=kept.append,
    )
    first = sign_in(session, metadata, account, include_client_id=True, client_secret=client.client_secret or None)
    assert session.get(metadata["userinfo_endpoint"]).json()["sub"] == account.subject
    assert kept == []

    # What an app restores from its own store after the access token's time.
    session.token = {**first, "expires_in": -1, "expires_at": 1}
    assert session.get(metadata["userinfo_endpoint"]).json()["sub"] == account.subject
    assert len(kept) == 1
    assert kept[0]["refresh_token"] != first["refresh_token"]
    assert session.token["access_token"] == kept[0]["access_token"] != first["access_token"]


def test_requests_oauthlib_stops_when_the_state_is_not_its_own(
    metadata: Metadata, account: Account, web_client: RegisteredClient
) -> None:
    callback = walk(session_of(web_client), metadata, account)
    other = session_of(web_client)
    other.authorization_url(metadata["authorization_endpoint"])
    with pytest.raises(MismatchingStateError):
        other.fetch_token(
            metadata["token_endpoint"],
            authorization_response=callback.url,
            client_secret=web_client.client_secret,
        )


@pytest.mark.spec("RFC 7636 §4.6")
def test_requests_oauthlib_reads_invalid_grant_when_the_verifier_is_another_session_s(
    metadata: Metadata, account: Account, web_client: RegisteredClient
) -> None:
    code = walk(session_of(web_client), metadata, account).parameters["code"]
    other = session_of(web_client)
    other.authorization_url(metadata["authorization_endpoint"])
    with pytest.raises(InvalidGrantError):
        other.fetch_token(metadata["token_endpoint"], code=code, client_secret=web_client.client_secret)


@pytest.mark.spec("RFC 6749 §4.1.2.1")
@pytest.mark.spec("RFC 9207 §2")
def test_requests_oauthlib_reads_access_denied_with_iss_when_the_person_declines(
    gatepost: Server, metadata: Metadata, account: Account, web_client: RegisteredClient
) -> None:
    session = session_of(web_client)
    callback = walk(session, metadata, account, "consent-deny", prompt="consent")
    assert parse_qs(urlsplit(callback.url).query)["iss"] == [gatepost.issuer]
    with pytest.raises(AccessDeniedError):
        session.fetch_token(
            metadata["token_endpoint"],
            authorization_response=callback.url,
            client_secret=web_client.client_secret,
        )


def test_requests_oauthlib_gets_a_token_when_a_machine_asks_for_itself(gatepost: Server, metadata: Metadata) -> None:
    created = gatepost.run_json("clients", "create", "Nightly export", "--type", "machine")
    session = OAuth2Session(client=BackendApplicationClient(created["client_id"]))
    token = session.fetch_token(metadata["token_endpoint"], client_secret=created["client_secret"])
    assert token["token_type"] == "Bearer"
    assert "refresh_token" not in token
    session.token = {**token, "expires_at": 1}
    with pytest.raises(TokenExpiredError):
        session.get(metadata["userinfo_endpoint"])
    again = session.fetch_token(metadata["token_endpoint"], client_secret=created["client_secret"])
    assert again["access_token"] != token["access_token"]
    with pytest.raises(InvalidClientError):
        session.fetch_token(metadata["token_endpoint"], client_secret="something else")
