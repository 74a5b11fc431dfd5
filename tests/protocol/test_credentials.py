"""One way to verify: what each kind of credential says of itself, and that each is refused alike."""

from __future__ import annotations

import pytest

from server.domain.api_keys import revoke_api_key
from server.domain.clients import disable_client, get_client
from server.domain.credential_usage import last_use_of
from server.domain.usage_writing import flush_usage
from server.domain.users import disable_user, get_user
from server.infra import jose
from server.protocol.credentials import CredentialRefused, verify_credential
from tests.support.deployment import GatepostMaker
from tests.support.flow import flow_of
from tests.support.makers import AUDIENCE, SCOPES, Makers


@pytest.fixture
def makers(make_gatepost: GatepostMaker) -> Makers:
    return Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE))


def test_key_says_whose_it_is_and_what_it_may_do(makers: Makers) -> None:
    key, text = makers.gateway.key("users:read", environment="test")
    verified = makers.verify(text)
    assert (verified.kind, verified.subject) == ("api_key", key.id)
    assert (verified.organization_id, verified.environment) == (makers.gateway.acme.id, "test")
    assert (verified.client, verified.user, verified.claims) == (None, None, None)
    assert verified.key is not None
    assert verified.key.key.id == key.id
    assert verified.expires_at == key.expires_at
    assert (verified.rights.allows("users:read"), verified.rights.allows("users:write")) == (True, False)


def test_access_token_says_which_client_and_person_are_behind_it(makers: Makers) -> None:
    flow = flow_of(makers.gatepost, redirect_uris=("https://app.example/cb",))
    token = flow.tokens()["access_token"]
    verified = makers.verify(token)
    assert verified.kind == "access_token"
    assert verified.client is not None
    assert verified.user is not None
    assert (verified.client.id, verified.user.email) == (flow.client.id, "ada@example.com")
    assert (verified.organization_id, verified.environment, verified.key) == (None, "live", None)
    assert verified.subject == verified.user.id
    assert verified.expires_at is not None
    assert int(verified.expires_at.timestamp()) == jose.peek_claims(token)["exp"]
    with makers.gatepost.work() as work:
        disable_user(work, get_user(work, "ada@example.com"))
    assert not makers.is_accepted(token)


@pytest.mark.spec("RFC 6749 §4.4", "RFC 9068 §2.2")
def test_clients_own_access_token_says_where_it_belongs(makers: Makers) -> None:
    flow = flow_of(makers.gatepost, "machine", scope="notes:read", organization_id=makers.gateway.acme.id)
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    claims = jose.peek_claims(token)
    assert (claims["organization_id"], claims["environment"]) == (makers.gateway.acme.id, "live")
    verified = makers.verify(token)
    assert (verified.organization_id, verified.user) == (makers.gateway.acme.id, None)
    with makers.gatepost.work() as work:
        disable_client(work, get_client(work, flow.client.id))
    assert not makers.is_accepted(token)


@pytest.mark.spec("K-10")
def test_access_token_of_a_test_client_is_for_the_test_world(makers: Makers) -> None:
    flow = flow_of(makers.gatepost, "machine", scope="notes:read", environment="test")
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    assert jose.peek_claims(token)["aud"] == f"{AUDIENCE}/test"
    assert makers.verify(token).environment == "test"
    web = flow_of(makers.gatepost, environment="test", redirect_uris=("https://app.example/cb",))
    assert jose.peek_claims(web.tokens()["access_token"])["aud"] == f"{AUDIENCE}/test"


@pytest.mark.spec("INV-05")
def test_refresh_tokens_id_tokens_secrets_and_texts_are_no_credentials(makers: Makers) -> None:
    flow = flow_of(makers.gatepost, redirect_uris=("https://app.example/cb",))
    tokens = flow.tokens()
    for text in (tokens["refresh_token"], tokens["id_token"], flow.secret or "", flow.code(), "", "x", "gp_live_x"):
        assert not makers.is_accepted(text)


@pytest.mark.spec("K-13")
def test_scim_key_is_accepted_for_provisioning_alone_and_no_other_key_there(makers: Makers) -> None:
    _, scim = makers.gateway.key("scim", kind="scim")
    _, ordinary = makers.gateway.key("*")
    assert not makers.is_accepted(scim)
    with makers.gatepost.work() as work:
        assert verify_credential(work, scim, for_scim=True).scope_set == {"scim"}
        with pytest.raises(CredentialRefused):
            verify_credential(work, ordinary, for_scim=True)


def test_revoked_key_is_refused_at_once(makers: Makers) -> None:
    key, text = makers.gateway.key()
    assert makers.is_accepted(text)
    with makers.gatepost.work() as work:
        revoke_api_key(work, work.db.merge(key), "leaked")
    assert not makers.is_accepted(text)


def test_use_of_a_client_is_noted_however_it_proves_itself(makers: Makers) -> None:
    spa = flow_of(makers.gatepost, "spa", redirect_uris=("https://app.example/cb",))
    spa.tokens()
    makers.introspect("x")
    makers.verify(makers.token("sharer"))
    makers.introspect(makers.token("signer"))
    with makers.gatepost.work() as work:
        flush_usage(work)
        used = last_use_of(work, "client", [spa.client.id, "an-api", "sharer", "signer", "nobody"])
    assert set(used) == {spa.client.id, "an-api", "sharer", "signer"}
