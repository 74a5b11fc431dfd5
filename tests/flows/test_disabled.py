"""Nothing that was disabled, deleted, revoked or ended still works: each entity on each path (INV-11)."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from server.domain import browsers, sessions
from server.domain.clients import delete_client, disable_client, enable_client, get_client
from server.domain.grants import Grant, revoke_grant
from server.domain.unit_of_work import UnitOfWork
from server.domain.users import delete_user, disable_user, enable_user, get_user
from tests.support.application import Gatepost
from tests.support.flow import Flow, answer_of, basic, flow_of, form_fields


class World:
    """Everything one person and one client hold, ready to be used once more."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        self.flow: Flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",), refresh_token_policy="always")
        self.api = flow_of(gatepost, "machine", client_id="api", may_introspect_any=True)
        # Without offline_access, so that all of it ends with the session.
        self.tokens = self.flow.tokens(scope="openid")
        self.code = self.flow.code(scope="openid")
        parked = self.flow.authorize(scope="openid", prompt="consent").headers["Location"]
        self.consent_form = form_fields(self.flow.browser.get(parked).text)

    def is_redeemed(self) -> bool:
        return self.flow.redeem(self.code).status_code == 200

    def is_refreshed(self) -> bool:
        return self.flow.refresh(self.tokens["refresh_token"]).status_code == 200

    def is_told_claims(self) -> bool:
        headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}
        return self.gatepost.browser().get("/oauth/userinfo", headers=headers).status_code == 200

    def _is_active(self, token: str) -> bool:
        headers = basic("api", self.api.secret or "")
        answer = self.gatepost.browser().post("/oauth/introspect", data={"token": token}, headers=headers)
        return bool(answer.get_json()["active"])

    def is_access_token_active(self) -> bool:
        return self._is_active(self.tokens["access_token"])

    def is_refresh_token_active(self) -> bool:
        return self._is_active(self.tokens["refresh_token"])

    def is_authorized_silently(self) -> bool:
        location = self.flow.authorize(scope="openid", prompt="none").headers.get("Location", "")
        return "code" in answer_of(location)

    def is_consent_taken(self) -> bool:
        response = self.flow.browser.post("/consent", data={**self.consent_form, "decision": "allow"})
        if response.status_code != 303:
            return False
        location = self.flow.browser.get(response.headers["Location"]).headers.get("Location", "")
        return "code" in answer_of(location)

    def is_known_at_the_door(self) -> bool:
        return "Ada Example" in self.flow.browser.get("/").text

    def is_signed_in_anew(self) -> bool:
        browser = self.gatepost.browser()
        form = form_fields(browser.get("/login").text)
        form |= {"username": self.flow.email, "password": self.flow.password}
        return browser.post("/login", data=form).status_code == 303

    def is_client_authenticated(self) -> bool:
        headers = basic(self.flow.client.id, self.flow.secret or "")
        return self.gatepost.browser().post("/oauth/revoke", data={"token": "x"}, headers=headers).status_code == 200


PATHS: dict[str, Callable[[World], bool]] = {
    "code": World.is_redeemed,
    "refresh token": World.is_refreshed,
    "userinfo": World.is_told_claims,
    "introspected access token": World.is_access_token_active,
    "introspected refresh token": World.is_refresh_token_active,
    "prompt=none": World.is_authorized_silently,
    "consent page": World.is_consent_taken,
    "front door": World.is_known_at_the_door,
    "sign-in": World.is_signed_in_anew,
    "client authentication": World.is_client_authenticated,
}
OF_THE_PERSON = set(PATHS) - {"client authentication"}
OF_THE_CLIENT = set(PATHS) - {"front door", "sign-in"}
OF_THE_GRANTS = {"code", "refresh token", "userinfo", "introspected access token", "introspected refresh token"}
OF_THE_SESSION = set(PATHS) - {"sign-in", "client authentication"}


def _disable_user(work: UnitOfWork) -> None:
    disable_user(work, get_user(work, "ada@example.com"))


def _delete_user(work: UnitOfWork) -> None:
    delete_user(work, get_user(work, "ada@example.com"))


def _disable_client(work: UnitOfWork) -> None:
    disable_client(work, get_client(work, "sample-web"))


def _delete_client(work: UnitOfWork) -> None:
    delete_client(work, get_client(work, "sample-web"))


def _revoke_grants(work: UnitOfWork) -> None:
    for grant in work.db.scalars(select(Grant)):
        revoke_grant(work, grant, "tested")


def _end_sessions(work: UnitOfWork) -> None:
    for session in work.db.scalars(select(sessions.Session)):
        browser = work.db.get(browsers.Browser, session.browser_id)
        assert browser is not None
        sessions.end_session(work, browser, session)


def _drop_secrets(work: UnitOfWork) -> None:
    work.db.connection().exec_driver_sql("DELETE FROM client_secrets WHERE client_id = 'sample-web'")


ENDINGS: dict[str, tuple[Callable[[UnitOfWork], None], set[str]]] = {
    # what ends: how, and what must then not work
    "user disabled": (_disable_user, OF_THE_PERSON),
    "user deleted": (_delete_user, OF_THE_PERSON),
    "client disabled": (_disable_client, OF_THE_CLIENT),
    "client deleted": (_delete_client, OF_THE_CLIENT),
    "grants revoked": (_revoke_grants, OF_THE_GRANTS),
    "session ended": (_end_sessions, OF_THE_SESSION),
    "secret gone": (_drop_secrets, {"code", "refresh token", "client authentication"}),
}


@pytest.mark.parametrize("path", PATHS)
def test_path_works_when_nothing_has_ended(gatepost: Gatepost, path: str) -> None:
    assert PATHS[path](World(gatepost))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.spec("RFC 9700 §4.14.2")
@pytest.mark.spec("INV-11", "INV-16")
def test_nothing_that_hangs_on_it_works_when_something_ended(gatepost: Gatepost, ending: str) -> None:
    world = World(gatepost)
    end, dead = ENDINGS[ending]
    with gatepost.work() as work:
        end(work)
    for path in sorted(dead):
        assert not PATHS[path](world), path
    for path in sorted(set(PATHS) - dead):
        assert PATHS[path](world), f"{path} has nothing to do with it"


@pytest.mark.parametrize("entity", ["user", "client"])
@pytest.mark.spec("INV-11")
def test_revoked_grants_stay_revoked_when_user_or_client_are_enabled_again(gatepost: Gatepost, entity: str) -> None:
    world = World(gatepost)
    with gatepost.work() as work:
        _revoke_grants(work)
        (_disable_user if entity == "user" else _disable_client)(work)
    with gatepost.work() as work:
        if entity == "user":
            enable_user(work, get_user(work, "ada@example.com"))
        else:
            enable_client(work, get_client(work, "sample-web"))
    for path in sorted(OF_THE_GRANTS):
        assert not PATHS[path](world), path
    assert world.is_authorized_silently()


@pytest.mark.spec("INV-11")
def test_spent_code_stays_spent_when_the_client_is_enabled_again(gatepost: Gatepost) -> None:
    world = World(gatepost)
    assert world.is_redeemed()
    with gatepost.work() as work:
        _disable_client(work)
    with gatepost.work() as work:
        enable_client(work, get_client(work, "sample-web"))
    assert not world.is_redeemed()
    assert gatepost.audit_events().count("authorization_code.reused") == 1
