"""The conformance seed: made once, found again, repaired where it no longer fits."""

from __future__ import annotations

import pytest

from server.domain import conformance_seed
from server.domain.claims import CLAIMS_OF_SCOPE, claims_of
from server.domain.client_secrets import verify_client_secret
from server.domain.clients import get_client, has_demo_client, list_clients
from server.domain.conformance_seed import (
    BACKCHANNEL,
    CLIENT,
    CLIENT2,
    CLIENT_SECRET_POST,
    FRONTCHANNEL,
    ConformanceCredentials,
)
from server.domain.demo_seed import EMAIL
from server.domain.passwords import verify_password
from server.domain.policy.client_metadata import RESPONSE_TYPES
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import get_user, has_demo_user

BASE = "https://suite.test:8443/test/a/gatepost"
CLIENTS = {CLIENT, CLIENT2, CLIENT_SECRET_POST, BACKCHANNEL, FRONTCHANNEL}


def fits(work: UnitOfWork, credentials: ConformanceCredentials) -> bool:
    return verify_password(work, get_user(work, EMAIL), credentials.password) and all(
        verify_client_secret(work, get_client(work, name), secret) for name, secret in credentials.secrets.items()
    )


@pytest.fixture
def credentials(work: UnitOfWork) -> ConformanceCredentials:
    return conformance_seed.seed(work, BASE, None)


def test_person_has_every_standard_claim(work: UnitOfWork, credentials: ConformanceCredentials) -> None:
    assert fits(work, credentials)
    user = get_user(work, EMAIL)
    assert set(claims_of(user, CLAIMS_OF_SCOPE)) == {name for names in CLAIMS_OF_SCOPE.values() for name in names}


def test_clients_may_do_what_any_plan_asks(work: UnitOfWork, credentials: ConformanceCredentials) -> None:
    assert {client.id for client in list_clients(work)} == CLIENTS == set(credentials.secrets)
    for client in list_clients(work):
        assert client.redirect_uris == [f"{BASE}/callback", f"{BASE}/callback?dummy1=lorem&dummy2=ipsum"]
        assert client.post_logout_redirect_uris == [f"{BASE}/post_logout_redirect"]
        assert set(client.response_types) == set(RESPONSE_TYPES)
        assert {"openid", "profile", "email", "address", "phone", "offline_access"} <= client.allowed_scopes
        assert (client.require_pkce, client.id_token_claims, client.is_demo) == (False, "lean", True)
    assert get_client(work, CLIENT_SECRET_POST).token_endpoint_auth_method == "client_secret_post"


def test_only_one_client_each_is_told_of_a_logout(work: UnitOfWork, credentials: ConformanceCredentials) -> None:
    told = {
        client.id: (client.backchannel_logout_uri, client.frontchannel_logout_uri)
        for client in list_clients(work)
        if client.backchannel_logout_uri or client.frontchannel_logout_uri
    }
    assert told == {
        BACKCHANNEL: (f"{BASE}/backchannel_logout", None),
        FRONTCHANNEL: (None, f"{BASE}/frontchannel_logout"),
    }


def test_seed_keeps_what_fits_when_it_is_sown_again(work: UnitOfWork, credentials: ConformanceCredentials) -> None:
    assert conformance_seed.seed(work, BASE, credentials) == credentials
    assert len(list_clients(work)) == len(CLIENTS)


def test_seed_renews_every_credential_when_none_were_kept(
    work: UnitOfWork, credentials: ConformanceCredentials
) -> None:
    renewed = conformance_seed.seed(work, BASE, None)
    assert fits(work, renewed)
    assert not set(renewed.secrets.values()) & set(credentials.secrets.values())


def test_seed_follows_when_the_suite_is_elsewhere(work: UnitOfWork, credentials: ConformanceCredentials) -> None:
    other = "https://elsewhere.test/test/a/gatepost"
    conformance_seed.seed(work, other, credentials)
    assert get_client(work, CLIENT).redirect_uris[0] == f"{other}/callback"
    assert get_client(work, CLIENT).post_logout_redirect_uris == [f"{other}/post_logout_redirect"]
    assert get_client(work, BACKCHANNEL).backchannel_logout_uri == f"{other}/backchannel_logout"
    assert get_client(work, FRONTCHANNEL).frontchannel_logout_uri == f"{other}/frontchannel_logout"


def test_serve_would_refuse_the_database(work: UnitOfWork, credentials: ConformanceCredentials) -> None:
    assert has_demo_user(work)
    assert has_demo_client(work)
