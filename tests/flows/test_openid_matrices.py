"""What OpenID Connect adds, in the two matrices that hold everything: each artefact is accepted where it belongs and
nowhere else (INV-05), and nothing works that hangs on something disabled, deleted, revoked or ended (INV-11).

The artefacts and paths of plain OAuth are in `test_token_confusion.py` and `test_disabled.py`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import select

from server.domain import browsers, sessions
from server.domain.client_secrets import issue_client_secret
from server.domain.clients import delete_client, disable_client, enable_client, get_client
from server.domain.grants import Grant, revoke_grant
from server.domain.initial_access_tokens import create_initial_access_token
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import delete_user, disable_user, get_user
from server.protocol.tokens.logout_token import issue_logout_token
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import flow_of
from tests.support.relying_party import ASSERTION_TYPE, RelyingParty, answer_in, party_of, register, signed

GOODBYE = "https://app.example/bye"


class World:
    """One client that registered itself, a person who uses it, and one of each kind of artefact."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        with gatepost.work() as work:
            _, self.leave = create_initial_access_token(work, "tests", uses=None, expires_in=None)
        self.party = self._register()
        flow = self.party
        hybrid = flow.answer(response_type="code id_token token", scope="openid email")
        tokens = flow.tokens(scope="openid offline_access", prompt="consent")
        self.registration_token = str(flow.registration["registration_access_token"])
        self.front_token, self.code, self.hint = hybrid["access_token"], hybrid["code"], hybrid["id_token"]
        claims = flow.read(self.hint).claims
        with gatepost.work() as work:
            client = get_client(work, flow.client.id)
            logout_token = issue_logout_token(work, client, claims["sub"], claims["sid"], "an-id")
            secret = issue_client_secret(work, client)
        self.artefacts: dict[str, str] = {
            "code": flow.code(scope="openid"),
            "code of a hybrid answer": self.code,
            "access token": tokens["access_token"],
            "access token of a hybrid answer": self.front_token,
            "refresh token": tokens["refresh_token"],
            "ID token": tokens["id_token"],
            "ID token of a hybrid answer": self.hint,
            "answer as a token": flow.answer(response_mode="jwt", scope="openid")["response"],
            "userinfo as a token": flow.userinfo(tokens["access_token"]).text,
            "logout token": logout_token,
            "client assertion": flow.assertion("ES256"),
            "request object": flow.request_object("ES256", scope="openid"),
            "plain claims by the client's key": signed(
                {"iss": flow.client.id, "exp": flow.seconds() + 60}, "ES256", "JWT"
            ),
            "registration token": self.registration_token,
            "initial access token": self.leave,
            "client secret of another method": secret,
            "client id": flow.client.id,
            "sid": claims["sid"],
            "sub": claims["sub"],
        }

    def _register(self) -> RelyingParty:
        metadata = {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES256",
            "userinfo_signed_response_alg": "ES256",
            "post_logout_redirect_uris": [GOODBYE],
            "subject_type": "pairwise",
        }
        return party_of(self.gatepost, register(self.gatepost, initial_access_token=self.leave, **metadata))

    # Where an artefact may be presented

    def as_code(self, value: str) -> bool:
        return self.party.redeem(value).status_code == 200

    def as_refresh_token(self, value: str) -> bool:
        return self.party.refresh(value).status_code == 200

    def as_bearer(self, value: str) -> bool:
        return self.party.userinfo(value).status_code == 200

    def as_introspected(self, value: str) -> bool:
        return bool(self.party.ask("/oauth/introspect", token=value).get_json()["active"])

    def as_hint(self, value: str) -> bool:
        answer = answer_in(self.party.authorize(id_token_hint=value, prompt="none", scope="openid"))
        return "code" in answer

    def as_logout_hint(self, value: str) -> bool:
        query = {"id_token_hint": value, "post_logout_redirect_uri": GOODBYE}
        response = self.gatepost.browser().get("/logout", query_string=query)
        return response.headers.get("Location", "").startswith(GOODBYE)

    def as_assertion(self, value: str) -> bool:
        form = {"token": "x", "client_assertion": value, "client_assertion_type": ASSERTION_TYPE}
        return self.gatepost.browser().post("/oauth/revoke", data=form).status_code == 200

    def as_secret(self, value: str) -> bool:
        form = {"token": "x", "client_id": self.party.client.id, "client_secret": value}
        return self.gatepost.browser().post("/oauth/revoke", data=form).status_code == 200

    def as_request_object(self, value: str) -> bool:
        sent = {**self.party.parameters(scope="openid"), "request": value}
        response = self.party.send(sent)
        location = response.headers.get("Location", "")
        return location.startswith("/") or (location != "" and "code" in answer_in(response))

    def as_registration_token(self, value: str) -> bool:
        headers = {"Authorization": f"Bearer {value}"}
        return (
            self.gatepost.browser().get(f"/oauth/register/{self.party.client.id}", headers=headers).status_code == 200
        )

    def as_initial_access_token(self, value: str) -> bool:
        return register(self.gatepost, initial_access_token=value).status_code == 201

    def as_software_statement(self, value: str) -> bool:
        response = register(self.gatepost, initial_access_token=self.leave, software_statement=value)
        return response.status_code == 201

    # What works while nothing has ended

    def is_told_claims_by_a_front_channel_token(self) -> bool:
        return self.as_bearer(self.front_token)

    def is_hybrid_code_redeemed(self) -> bool:
        return self.as_code(self.code)

    def is_refreshed(self) -> bool:
        return self.as_refresh_token(self.artefacts["refresh token"])

    def is_given_tokens_silently(self) -> bool:
        response = self.party.authorize(response_type="code id_token token", prompt="none", scope="openid email")
        return response.status_code == 303 and "access_token" in answer_in(response)

    def is_answered_by_a_token_silently(self) -> bool:
        response = self.party.authorize(response_mode="jwt", prompt="none", scope="openid")
        if response.status_code != 303:
            return False
        return "code" in self.party.read(answer_in(response)["response"]).claims

    def is_known_by_an_assertion(self) -> bool:
        return self.as_assertion(self.party.assertion("ES256"))

    def is_request_object_taken(self) -> bool:
        return self.as_request_object(self.party.request_object("ES256", scope="openid"))

    def is_shown_its_registration(self) -> bool:
        return self.as_registration_token(self.registration_token)


@pytest.fixture
def world(make_gatepost: GatepostMaker) -> World:
    return World(make_gatepost(registration="token", registration_per_hour=1000))


# INV-05 -----------------------------------------------------------------------------------------------------------

ACCESS_TOKENS = {"access token", "access token of a hybrid answer"}
ID_TOKENS = {"ID token", "ID token of a hybrid answer"}
PLACES: dict[str, tuple[Callable[[World, str], bool], set[str]]] = {
    "code": (World.as_code, {"code", "code of a hybrid answer"}),
    "refresh token": (World.as_refresh_token, {"refresh token"}),
    "bearer token": (World.as_bearer, ACCESS_TOKENS),
    "introspected token": (World.as_introspected, {*ACCESS_TOKENS, "refresh token"}),
    "id_token_hint": (World.as_hint, ID_TOKENS),
    "id_token_hint of a sign-out": (World.as_logout_hint, ID_TOKENS),
    "client assertion": (World.as_assertion, {"client assertion"}),
    "client secret": (World.as_secret, set()),
    # One that says nothing leaves everything to the parameters beside it (OpenID Connect Core §6.1).
    "request object": (World.as_request_object, {"request object", "plain claims by the client's key"}),
    "registration token": (World.as_registration_token, {"registration token"}),
    "initial access token": (World.as_initial_access_token, {"initial access token"}),
    "software statement": (World.as_software_statement, set()),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.spec("INV-05", "TK-19", "RFC 8725 §3.11", "RFC 8725 §3.12", "RFC 9101 §10.8")
def test_artefact_is_accepted_only_where_it_belongs_when_every_kind_is_presented(world: World, place: str) -> None:
    accepts, expected = PLACES[place]
    for name in sorted(world.artefacts, key=lambda each: each in expected):
        assert accepts(world, world.artefacts[name]) is (name in expected), name


@pytest.mark.parametrize(
    "place", ["code", "refresh token", "id_token_hint", "registration token", "introspected token"]
)
@pytest.mark.spec("INV-06", "TK-10", "RFC 7592 §2.1")
def test_artefact_is_refused_when_another_client_presents_it(world: World, place: str) -> None:
    own = world.party
    world.party = world._register()
    world.party.browser = own.browser
    accepts, expected = PLACES[place]
    for name in sorted(expected):
        assert not accepts(world, world.artefacts[name]), name
    world.party = own


# INV-11 -----------------------------------------------------------------------------------------------------------

PATHS: dict[str, Callable[[World], bool]] = {
    "token of a hybrid answer": World.is_told_claims_by_a_front_channel_token,
    "code of a hybrid answer": World.is_hybrid_code_redeemed,
    "refresh token": World.is_refreshed,
    "tokens by prompt=none": World.is_given_tokens_silently,
    "answer as a token by prompt=none": World.is_answered_by_a_token_silently,
    "client assertion": World.is_known_by_an_assertion,
    "request object": World.is_request_object_taken,
    "registration": World.is_shown_its_registration,
}
OF_THE_CLIENT_ALONE = {"client assertion", "request object", "registration"}
OF_THE_GRANTS = {"token of a hybrid answer", "code of a hybrid answer", "refresh token"}
SILENT = {"tokens by prompt=none", "answer as a token by prompt=none"}


def _disable_client(work: UnitOfWork, world: World) -> None:
    disable_client(work, get_client(work, world.party.client.id))


def _delete_client(work: UnitOfWork, world: World) -> None:
    delete_client(work, get_client(work, world.party.client.id))


def _disable_user(work: UnitOfWork, world: World) -> None:
    disable_user(work, get_user(work, world.party.email))


def _delete_user(work: UnitOfWork, world: World) -> None:
    delete_user(work, get_user(work, world.party.email))


def _revoke_grants(work: UnitOfWork, world: World) -> None:
    for grant in work.db.scalars(select(Grant).where(Grant.client_id == world.party.client.id)):
        revoke_grant(work, grant, "tested")


def _end_sessions(work: UnitOfWork, _: World) -> None:
    for session in work.db.scalars(select(sessions.Session)):
        browser = work.db.get(browsers.Browser, session.browser_id)
        assert browser is not None
        sessions.end_session(work, browser, session)


def _sign_out_by_hint(_: UnitOfWork, world: World) -> None:
    response = world.party.browser.get("/logout", query_string={"id_token_hint": world.hint})
    assert response.status_code in {200, 303}


ENDINGS: dict[str, tuple[Callable[[UnitOfWork, World], None], set[str]]] = {
    # what ends: how, and what must then not work
    "client disabled": (_disable_client, set(PATHS)),
    "client deleted": (_delete_client, set(PATHS)),
    "user disabled": (_disable_user, OF_THE_GRANTS | SILENT),
    "user deleted": (_delete_user, OF_THE_GRANTS | SILENT),
    "grants revoked": (_revoke_grants, OF_THE_GRANTS),
    # Offline access outlives the session; the hybrid answer had none.
    "session ended": (_end_sessions, (OF_THE_GRANTS - {"refresh token"}) | SILENT),
    "signed out by the client": (_sign_out_by_hint, (OF_THE_GRANTS - {"refresh token"}) | SILENT),
}


@pytest.mark.parametrize("path", PATHS)
def test_path_works_when_nothing_has_ended(world: World, path: str) -> None:
    assert PATHS[path](world)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.spec("INV-11", "INV-16", "TK-12")
def test_nothing_that_hangs_on_it_works_when_something_ended(world: World, ending: str) -> None:
    end, dead = ENDINGS[ending]
    with world.gatepost.work() as work:
        end(work, world)
    for path in sorted(dead):
        assert not PATHS[path](world), path
    for path in sorted(set(PATHS) - dead):
        assert PATHS[path](world), f"{path} has nothing to do with it"


@pytest.mark.spec("INV-11")
def test_revoked_grants_stay_revoked_when_the_client_is_enabled_again(world: World) -> None:
    with world.gatepost.work() as work:
        _revoke_grants(work, world)
        _disable_client(work, world)
    with world.gatepost.work() as work:
        enable_client(work, get_client(work, world.party.client.id))
    for path in sorted(OF_THE_GRANTS):
        assert not PATHS[path](world), path
    for path in sorted(OF_THE_CLIENT_ALONE | SILENT):
        assert PATHS[path](world), path


@pytest.mark.spec("INV-11", "TK-24")
def test_clients_that_an_operator_made_are_out_of_reach_when_somebody_registers(world: World) -> None:
    operators = flow_of(world.gatepost)
    for token in (world.registration_token, world.leave):
        headers = {"Authorization": f"Bearer {token}"}
        path = f"/oauth/register/{operators.client.id}"
        for method in ("GET", "PUT", "DELETE"):
            response = world.gatepost.browser().open(path, method=method, json={}, headers=headers)
            assert response.status_code == 401
