"""Introspection of keys, of what they were exchanged for and of what clients make: who is told what, from where."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.memberships import add_member, change_role, get_membership, remove_member, suspend_membership
from server.domain.organizations import get_organization
from server.domain.users import get_user
from server.protocol.grants.token_exchange import API_KEY_TYPE
from tests.support.application import ISSUER
from tests.support.deployment import GatepostMaker
from tests.support.flow import basic, flow_of, jwt_claims
from tests.support.makers import AUDIENCE, INACTIVE, SCOPES, Makers

Asking = tuple[str, str]


@pytest.fixture
def makers(make_gatepost: GatepostMaker) -> Makers:
    return Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE))


def exchanged(makers: Makers, key: str) -> str:
    form = {"subject_token": key, "subject_token_type": API_KEY_TYPE}
    grant_type = "urn:ietf:params:oauth:grant-type:token-exchange"
    response = makers.gatepost.browser().post("/oauth/token", data={"grant_type": grant_type, **form})
    return str(response.get_json()["access_token"])


# What is told -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("RFC 7662 §2.2")
def test_key_is_described_when_a_resource_server_asks(makers: Makers) -> None:
    ends = makers.gatepost.clock.now() + timedelta(days=1)
    key, text = makers.gateway.key("users:read", "notes:read", expires_at=ends)
    assert makers.introspect(text).get_json() == {
        "active": True,
        "token_type": "api_key",
        "iss": ISSUER,
        "sub": key.id,
        "aud": AUDIENCE,
        "scope": "notes:read users:read",
        "organization_id": makers.gateway.acme.id,
        "environment": "live",
        "iat": int(makers.gatepost.clock.now().timestamp()),
        "exp": int(ends.timestamp()),
    }
    _, forever = makers.gateway.key(never_expires=True)
    assert "exp" not in makers.introspect(forever).get_json()


@pytest.mark.spec("RFC 7662 §2.2")
def test_token_of_a_key_is_described_when_a_resource_server_asks(makers: Makers) -> None:
    key, text = makers.gateway.key("users:read")
    token = exchanged(makers, text)
    claims = {name: value for name, value in jwt_claims(token).items() if name != "api_key"}
    assert makers.introspect(token).get_json() == {"active": True, "token_type": "Bearer", **claims}
    assert claims["sub"] == key.id


@pytest.mark.parametrize("client_id", ["sharer", "signer"])
@pytest.mark.spec("RFC 7662 §2.2")
def test_clients_own_token_is_described_when_a_resource_server_asks(makers: Makers, client_id: str) -> None:
    jti = makers.fresh_jti()
    claims = makers.claims(client_id, sub="customer 4711", scope="users:read", jti=jti, email="x@example.com")
    token = makers.token(client_id, **claims)
    shown = {name: value for name, value in claims.items() if name != "email"}
    assert makers.introspect(token).get_json() == {
        "active": True,
        "token_type": "client_token",
        "client_id": client_id,
        "environment": "live",
        **shown,
    }


def test_client_is_told_about_its_own_token_when_it_is_no_resource_server(makers: Makers) -> None:
    assert makers.introspect(makers.token(), ("sharer", makers.secret)).get_json()["active"] is True


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "api_key", "nonsense"])
@pytest.mark.spec("RFC 7662 §2.1")
def test_hint_hides_nothing_when_it_is_wrong(makers: Makers, hint: str) -> None:
    _, key = makers.gateway.key()
    for token in (key, makers.token(), exchanged(makers, key)):
        assert makers.introspect(token, token_type_hint=hint).get_json()["active"] is True


# Where it is presented from ---------------------------------------------------------------------------------------


@pytest.mark.spec("K-09", "RFC 7662 §2.1")
def test_bound_key_is_active_only_where_the_resource_server_says_it_came_from(makers: Makers) -> None:
    # The server itself asks from 127.0.0.1, and that is not where the key is used.
    _, bound = makers.gateway.key(ip_allow_list=["192.0.2.0/24", "2001:db8::/32", "127.0.0.1/32"])
    token = exchanged(makers, bound)
    for presented in (bound, token):
        assert makers.introspect(presented).get_json() == INACTIVE
        for inside in ("192.0.2.7", "2001:db8::1", "::ffff:192.0.2.7"):
            assert makers.introspect(presented, client_ip=inside).get_json()["active"] is True, inside
        for outside in ("192.0.3.1", "2001:db9::1", "10.0.0.1"):
            assert makers.introspect(presented, client_ip=outside).get_json() == INACTIVE, outside


@pytest.mark.parametrize("text", ["nonsense", "192.0.2.0/24", "192.0.2.7:80", "999.1.1.1", "1", "fe80::1%25eth0 x"])
def test_request_is_malformed_when_the_address_is_none(makers: Makers, text: str) -> None:
    _, key = makers.gateway.key()
    response = makers.introspect(key, client_ip=text)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")


def test_use_is_noted_with_the_address_of_whoever_presented_the_key(makers: Makers) -> None:
    key, text = makers.gateway.key()
    makers.introspect(text, client_ip="192.0.2.7")
    with makers.gatepost.work() as work:
        from_memory = work.runtime.usage.take()
    (noted,) = (each for (kind, name, _), each in from_memory.items() if (kind, name) == ("api_key", key.id))
    assert (noted.uses, noted.last_used_ip) == (1, "192.0.2.7")


# Who is told ------------------------------------------------------------------------------------------------------

#: Who asks: organization ("acme", "other" or none), world, and whether it may ask about all.
ASKERS: dict[str, tuple[str | None, str, bool]] = {
    "a live resource server": (None, "live", True),
    "a test resource server": (None, "test", True),
    "an operator's client": (None, "live", False),
    "Acme's live client": ("acme", "live", False),
    "Acme's test client": ("acme", "test", False),
    "Acme's live resource server": ("acme", "live", True),
    "Other's live client": ("other", "live", False),
    "Other's live resource server": ("other", "live", True),
}
#: What is asked about: made in Acme, of both worlds.
ABOUT: dict[str, set[str]] = {
    "live key": {"a live resource server", "Acme's live client", "Acme's live resource server"},
    "test key": {"a test resource server", "Acme's test client"},
    "token of a live key": {"a live resource server", "Acme's live client", "Acme's live resource server"},
    "token of a test key": {"a test resource server", "Acme's test client"},
    "token made by a live client": {"a live resource server", "Acme's live resource server"},
    "token made by a test client": {"a test resource server"},
    "access token of a live client": {"a live resource server", "Acme's live resource server"},
    "access token of a test client": {"a test resource server"},
}


class World:
    """One asker of each kind, and what can be asked about."""

    def __init__(self, makers: Makers) -> None:
        self.makers, gateway = makers, makers.gateway
        self.organizations = {"acme": gateway.acme.id, "other": gateway.organization("Other", "other").id}
        self.askers = {name: self._asker(number, *of) for number, (name, of) in enumerate(ASKERS.items())}
        self.about: dict[str, str] = {}
        for environment in ("live", "test"):
            audience = AUDIENCE if environment == "live" else f"{AUDIENCE}/test"
            _, key = gateway.key(environment=environment)
            _, secret = makers.add(f"{environment}-maker", environment=environment, organization_id=gateway.acme.id)
            self.about[f"{environment} key"] = key
            self.about[f"token of a {environment} key"] = exchanged(makers, key)
            own = makers.token(f"{environment}-maker", secret, aud=audience)
            self.about[f"token made by a {environment} client"] = own
            flow = flow_of(
                makers.gatepost, "machine", client_id=f"{environment}-app", scope="notes:read",
                environment=environment, organization_id=gateway.acme.id,
            )  # fmt: skip
            answer = flow.post_token(grant_type="client_credentials").get_json()
            self.about[f"access token of a {environment} client"] = answer["access_token"]

    def _asker(self, number: int, organization: str | None, environment: str, may_introspect_any: bool) -> Asking:
        client, secret = self.makers.gatepost.add_client(
            "machine",
            client_id=f"asker-{number}",
            organization_id=self.organizations[organization] if organization else None,
            environment=environment,
            may_introspect_any=may_introspect_any,
        )
        return client.id, secret or ""


@pytest.mark.spec("K-10", "INV-31", "RFC 7662 §4", "TK-22")
def test_each_asker_is_told_of_its_own_world_and_organization_alone(makers: Makers) -> None:
    world = World(makers)
    assert set(world.about) == set(ABOUT)
    for what, told in ABOUT.items():
        for name, asking in world.askers.items():
            answer = makers.introspect(world.about[what], asking).get_json()
            assert answer["active"] is (name in told), f"{name} about {what}"
            assert answer["active"] or answer == INACTIVE


# What is not active -----------------------------------------------------------------------------------------------


def _revoke(makers: Makers, key: ApiKey) -> None:
    with makers.gatepost.work() as work:
        revoke_api_key(work, work.db.merge(key), "leaked")


ENDINGS: dict[str, Callable[[Makers, ApiKey], None]] = {
    "it is revoked": _revoke,
    "it has expired": lambda makers, key: makers.gatepost.clock.advance(91 * 86400),
}


@pytest.mark.parametrize("why", ENDINGS)
@pytest.mark.spec("RFC 7662 §2.2", "TK-22")
def test_key_is_inactive_and_nothing_else_is_said_when(makers: Makers, why: str) -> None:
    key, text = makers.gateway.key()
    assert makers.introspect(text).get_json()["active"] is True
    ENDINGS[why](makers, key)
    assert makers.introspect(text).get_json() == INACTIVE


@pytest.mark.spec("K-12")
def test_token_says_what_its_person_may_now_when_the_application_is_an_organizations(makers: Makers) -> None:
    acme, scope = makers.gateway.acme, "openid users:read users:delete"
    flow = flow_of(makers.gatepost, client_id="app", scope=scope, organization_id=acme.id)
    token = flow.tokens(scope=scope)["access_token"]
    assert makers.introspect(token).get_json()["scope"] == "openid users:delete users:read"
    with makers.gatepost.work() as work:
        membership = add_member(work, acme, get_user(work, flow.email), "member")
    assert makers.introspect(token).get_json()["scope"] == "openid users:read"
    with makers.gatepost.work() as work:
        suspend_membership(work, get_membership(work, acme.id, membership.id))
    assert makers.introspect(token).get_json() == INACTIVE


@pytest.mark.spec("K-12")
def test_token_says_what_its_clients_maker_may_now(makers: Makers) -> None:
    acme = makers.gateway.acme
    maker = makers.gatepost.add_user("grace@example.com", name="Grace")
    with makers.gatepost.work() as work:
        add_member(work, acme, get_user(work, "ada@example.com"), "owner")
        membership = add_member(work, acme, maker, "admin")
    _, secret = makers.add("job", organization_id=acme.id, created_by=maker.id, scope="users:read users:delete")
    form = {"grant_type": "client_credentials"}
    answer = makers.gatepost.browser().post("/oauth/token", data=form, headers=basic("job", secret)).get_json()
    tokens = (answer["access_token"], makers.token("job", secret))
    for token in tokens:
        told = makers.introspect(token).get_json()
        assert (told["scope"], told["organization_id"]) == ("users:delete users:read", acme.id)
    with makers.gatepost.work() as work:
        change_role(work, get_membership(work, acme.id, membership.id), "member")
    assert [makers.introspect(token).get_json()["scope"] for token in tokens] == ["users:read", "users:read"]
    with makers.gatepost.work() as work:
        remove_member(work, get_membership(work, acme.id, membership.id))
    assert [makers.introspect(token).get_json() for token in tokens] == [INACTIVE, INACTIVE]


def test_key_for_provisioning_is_inactive_to_everybody(makers: Makers) -> None:
    _, text = makers.gateway.key("scim", kind="scim")
    assert makers.introspect(text).get_json() == INACTIVE


def test_key_cannot_ask_about_tokens_and_is_no_clients_secret(makers: Makers) -> None:
    _, text = makers.gateway.key("*")
    for headers in ({"Authorization": f"Bearer {text}"}, {}):
        answer = makers.gatepost.browser().post("/oauth/introspect", data={"token": text}, headers=headers)
        assert answer.status_code == 401


def test_key_is_not_revoked_when_a_client_asks_for_it(makers: Makers) -> None:
    """RFC 7009 is about tokens of clients; keys are ended at `/v1` or in the dashboard."""
    _, text = makers.gateway.key()
    headers = basic("sharer", makers.secret)
    answer = makers.gatepost.browser().post("/oauth/revoke", data={"token": text}, headers=headers)
    assert answer.status_code == 200
    assert makers.introspect(text).get_json()["active"] is True


# Members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claims", ["lean", "rich"])
@pytest.mark.spec("K-12")
def test_token_of_a_suspended_member_is_inactive_and_a_former_one_is_said_to_belong_nowhere(
    makers: Makers, claims: str
) -> None:
    acme = makers.gateway.acme.id
    flow = flow_of(makers.gatepost, organization_id=acme, access_token_claims=claims, scope="openid offline_access")
    with makers.gatepost.work() as work:
        membership = add_member(work, get_organization(work, acme), get_user(work, flow.email), "member").id
    tokens = flow.tokens(scope="openid offline_access", prompt="consent")
    presented = (tokens["access_token"], tokens["refresh_token"])
    asking = (flow.client.id, flow.secret or "")
    told = [makers.introspect(each, asking).get_json() for each in presented]
    assert [each["active"] for each in told] == [True, True]
    assert told[0].get("organization_id") == (acme if claims == "rich" else None)
    with makers.gatepost.work() as work:
        suspend_membership(work, get_membership(work, acme, membership))
    assert [makers.introspect(each, asking).get_json() for each in presented] == [INACTIVE, INACTIVE]
    with makers.gatepost.work() as work:
        remove_member(work, get_membership(work, acme, membership))
    former = makers.introspect(presented[0], asking).get_json()
    assert former["active"] is True
    assert "organization_id" not in former
