"""The rules of housekeeping one by one: what nobody can use any more goes, to the second; everything else stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from server.domain.access_tokens import RevokedAccessToken, revoke_access_token
from server.domain.actor import Actor
from server.domain.api_key_issuing import OPERATOR_MAKER, NewApiKey, issue_api_key
from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.authorization_codes import AuthorizationCode, issue_authorization_code
from server.domain.authorization_requests import AuthorizationRequest, park_request
from server.domain.browsers import Browser, create_browser
from server.domain.client_secrets import ClientSecret, issue_client_secret, rotate_client_secret
from server.domain.clients import Client, find_client, get_client
from server.domain.consents import give_consent
from server.domain.credential_limits import CredentialLimit
from server.domain.credential_usage import CredentialUsage
from server.domain.grants import Grant, revoke_grant
from server.domain.housekeeping import RULES, sweep
from server.domain.idempotent_responses import IdempotentResponse
from server.domain.initial_access_tokens import (
    InitialAccessToken,
    consume_initial_access_token,
    create_initial_access_token,
)
from server.domain.invitations import Invitation, invite
from server.domain.login_attempts import LoginAttempts, spend_attempt
from server.domain.organizations import create_organization
from server.domain.outbox import OutboxMessage
from server.domain.outgoing_mail import OutgoingMail
from server.domain.policy.lockout import Budget
from server.domain.refresh_rotation import refresh
from server.domain.refresh_tokens import RefreshToken
from server.domain.registration_tokens import RegistrationToken, issue_registration_token
from server.domain.sessions import Session, end_session
from server.domain.tables import METADATA
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import flush_usage
from server.domain.used_assertions import UsedAssertion
from server.infra.database import Base
from tests.domain.factories import (
    REDIRECT_URI,
    last_audited,
    make_client,
    make_grant,
    make_refresh_token,
    make_session,
    make_user,
)
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

HOUR, DAY = 3600, 86400


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(
        authorization_request_lifetime=300,
        authorization_code_lifetime=60,
        access_token_lifetime=900,
        refresh_token_idle_lifetime=5 * DAY,
        refresh_token_lifetime=9 * DAY,
        session_idle_lifetime=DAY,
        session_lifetime=2 * DAY,
    )


@pytest.fixture
def work(gatepost: Gatepost) -> Iterator[UnitOfWork]:
    with gatepost.work() as work:
        yield work


def count(work: UnitOfWork, table: type[Base]) -> int:
    return work.db.scalar(select(func.count()).select_from(table)) or 0


def parked_request(work: UnitOfWork) -> None:
    park_request(work, make_client(work), {}, None)


def code(work: UnitOfWork) -> None:
    issue_authorization_code(work, make_grant(work), REDIRECT_URI, None)


def revocation(work: UnitOfWork) -> None:
    revoke_access_token(work, "jti", "a-client", work.now + timedelta(seconds=900))


def refresh_token(work: UnitOfWork) -> None:
    make_refresh_token(work, make_grant(work))


def spent_refresh_token(work: UnitOfWork) -> None:
    grant = make_grant(work)
    assert refresh(work, get_client(work, grant.client_id), make_refresh_token(work, grant), None)
    work.db.execute(delete(RefreshToken).where(RefreshToken.consumed_at.is_(None)))


def grant(work: UnitOfWork) -> None:
    make_grant(work)


def revoked_grant(work: UnitOfWork) -> None:
    revoke_grant(work, make_grant(work), "a reason")


def idle_session(work: UnitOfWork) -> None:
    make_session(work, make_user(work))


def old_secret(work: UnitOfWork) -> None:
    client = make_client(work)
    issue_client_secret(work, client)
    rotate_client_secret(work, client, HOUR)


def attempts(work: UnitOfWork) -> None:
    spend_attempt(work, (Budget("account:one", 10, 600),))


def used_assertion(work: UnitOfWork) -> None:
    work.db.add(UsedAssertion(id="x", expires_at=work.now + timedelta(seconds=300)))
    work.db.flush()


def message(work: UnitOfWork) -> None:
    soon = {"created_at": work.now, "next_attempt_at": work.now, "expires_at": work.now + timedelta(days=1)}
    work.db.add(OutboxMessage(topic="x", client_id=make_client(work).id, payload={}, attempts=0, **soon))
    work.db.flush()


def expired_token(work: UnitOfWork) -> None:
    create_initial_access_token(work, "x", uses=1, expires_in=300)


def used_up_token(work: UnitOfWork) -> None:
    token, _ = create_initial_access_token(work, "x", uses=1, expires_in=None)
    assert consume_initial_access_token(work, token.id)


def unused_client(work: UnitOfWork) -> None:
    client = make_client(work, registered_dynamically=True)
    issue_client_secret(work, client)
    issue_registration_token(work, client)


def invitation(work: UnitOfWork) -> None:
    organization = create_organization(work, "Acme", owner=make_user(work))
    invite(work, organization, "invited@example.com", "member", None)


def mail(work: UnitOfWork) -> None:
    soon = {"created_at": work.now, "next_attempt_at": work.now, "expires_at": work.now + timedelta(days=1)}
    work.db.add(OutgoingMail(recipient="a@b.example", message_encrypted="", attempts=0, **soon))
    work.db.flush()


def kept_response(work: UnitOfWork) -> None:
    end = work.now + timedelta(days=1)
    work.db.add(IdempotentResponse(id="x", request_digest="", created_at=work.now, expires_at=end))
    work.db.flush()


def credential_limit(work: UnitOfWork) -> None:
    work.db.add(CredentialLimit(bucket="x", requests=1, window_ends_at=work.now + timedelta(seconds=60)))
    work.db.flush()


def expired_key(work: UnitOfWork) -> None:
    ends = NewApiKey("Sample", ["users:read"], expires_at=work.now + timedelta(days=5))
    issue_api_key(work, create_organization(work, "Acme"), ends, OPERATOR_MAKER)


def revoked_key(work: UnitOfWork) -> None:
    lasting = NewApiKey("Sample", ["users:read"], never_expires=True)
    key, _ = issue_api_key(work, create_organization(work, "Acme"), lasting, OPERATOR_MAKER)
    revoke_api_key(work, key, "a reason")


def used_key(work: UnitOfWork) -> None:
    work.runtime.usage.note_use("client", make_client(work).id, Actor("anonymous", ip="192.0.2.1"))
    flush_usage(work)


#: How each kind of row comes to be, and for how many seconds it stays.
LIVES: list[tuple[Callable[[UnitOfWork], None], type[Base], float]] = [
    (parked_request, AuthorizationRequest, 300 + HOUR),
    (code, AuthorizationCode, 60 + DAY),
    (revocation, RevokedAccessToken, 900),
    (refresh_token, RefreshToken, 5 * DAY),
    (spent_refresh_token, RefreshToken, 5 * DAY),
    (grant, Grant, 9 * DAY + 900 + DAY),
    (revoked_grant, Grant, 900 + DAY),
    (idle_session, Session, DAY + 14 * DAY),
    (attempts, LoginAttempts, 600),
    (used_assertion, UsedAssertion, 300),
    (message, OutboxMessage, DAY + HOUR),
    (expired_token, InitialAccessToken, 300 + 14 * DAY),
    (used_up_token, InitialAccessToken, 14 * DAY),
    (unused_client, Client, 90 * DAY),
    (invitation, Invitation, 7 * DAY + 30 * DAY),
    (mail, OutgoingMail, DAY + HOUR),
    (kept_response, IdempotentResponse, DAY),
    (credential_limit, CredentialLimit, 60),
    (expired_key, ApiKey, 5 * DAY + 90 * DAY),
    (revoked_key, ApiKey, 90 * DAY),
    # Noon, and then by days.
    (used_key, CredentialUsage, 396 * DAY + DAY / 2 - 0.001),
]


@pytest.mark.parametrize(("make", "table", "seconds"), LIVES, ids=[make.__name__ for make, _, _ in LIVES])
def test_row_goes_when_it_has_no_use_any_more(
    work: UnitOfWork, clock: FrozenClock, make: Callable[[UnitOfWork], None], table: type[Base], seconds: float
) -> None:
    make(work)
    before = count(work, table)
    clock.advance(seconds)
    removed = sweep(work)
    assert table.__tablename__ not in removed
    assert count(work, table) == before
    clock.advance(0.001)
    assert sweep(work)[table.__tablename__] == 1
    assert count(work, table) == before - 1


def test_secret_goes_two_weeks_after_its_end_and_the_current_one_never(work: UnitOfWork, clock: FrozenClock) -> None:
    old_secret(work)
    clock.advance(HOUR + 14 * DAY)
    assert "client_secrets" not in sweep(work)
    clock.advance(0.001)
    assert sweep(work)["client_secrets"] == 1
    clock.advance(3650 * DAY)
    assert "client_secrets" not in sweep(work)
    assert count(work, ClientSecret) == 1


def test_networks_of_a_credential_go_when_it_is_gone(work: UnitOfWork, clock: FrozenClock) -> None:
    used_key(work)
    clock.advance(3650 * DAY)
    assert "credential_networks" not in sweep(work)
    work.db.execute(delete(Client))
    assert sweep(work)["credential_networks"] == 1


def test_session_goes_two_weeks_after_the_person_signed_out(work: UnitOfWork, clock: FrozenClock) -> None:
    browser, session = make_session(work, make_user(work))
    clock.advance(10)
    end_session(work, browser, session)
    clock.advance(14 * DAY)
    assert "sessions" not in sweep(work)
    clock.advance(0.001)
    assert sweep(work)["sessions"] == 1


def test_ended_session_stays_while_grants_of_it_may_live(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(session_lifetime=90 * DAY, session_idle_lifetime=90 * DAY, refresh_token_lifetime=90 * DAY)
    with gatepost.work() as work:
        user = make_user(work)
        browser, first = make_session(work, user)
        online = make_grant(work, make_client(work), user, scope="openid", session=first)
        gatepost.clock.advance(DAY)
        _, second = make_session(work, user, browser)
        gatepost.clock.advance(30 * DAY)
        sweep(work)
        end_session(work, browser, second)
        assert online.revocation_reason == "signed_out"


@pytest.mark.parametrize("replaced", [False, True])
def test_grant_stays_while_its_client_is_to_be_told_that_the_person_signed_out(
    make_gatepost: Callable[..., Gatepost], replaced: bool
) -> None:
    gatepost = make_gatepost(session_lifetime=90 * DAY, session_idle_lifetime=90 * DAY)
    with gatepost.work() as work:
        ada, app = make_user(work), make_client(work, backchannel_logout_uri="https://app.example.com/back")
        browser, session = make_session(work, ada)
        revoke_grant(work, make_grant(work, app, ada, session=session), "by the client")
        gatepost.clock.advance(30 * DAY)
        if replaced:
            _, session = make_session(work, ada, browser)
            gatepost.clock.advance(30 * DAY)
        assert "grants" not in sweep(work)
        end_session(work, browser, session)
        assert count(work, OutboxMessage) == 1
        assert sweep(work)["grants"] == 1


@pytest.mark.parametrize("whose", ["left", "of another browser", "of somebody else"])
def test_grant_goes_when_no_session_that_goes_on_concerns_it(work: UnitOfWork, clock: FrozenClock, whose: str) -> None:
    ada = make_user(work)
    browser, session = make_session(work, ada)
    revoke_grant(work, make_grant(work, None, ada, session=session), "a reason")
    clock.advance(900 + DAY + 1)
    if whose != "left":
        make_session(*((work, ada) if whose == "of another browser" else (work, make_user(work, "bob@x.org"), browser)))
    assert sweep(work)["grants"] == 1


def test_browser_goes_a_day_after_its_last_sign_in_when_nobody_is_known_on_it(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    create_browser(work)
    make_session(work, make_user(work))
    clock.advance(DAY)
    assert sweep(work) == {}
    clock.advance(0.001)
    assert sweep(work) == {"browsers": 1}
    assert count(work, Browser) == 1


def test_everything_under_a_grant_goes_with_it(work: UnitOfWork, clock: FrozenClock) -> None:
    over = make_grant(work)
    make_refresh_token(work, over)
    issue_authorization_code(work, over, REDIRECT_URI, None)
    revoke_grant(work, over, "a reason")
    clock.advance(900 + DAY + 1)
    assert sweep(work) == {"authorization_codes": 1, "grants": 1}
    assert count(work, RefreshToken) == 0


@pytest.mark.spec("TK-24")
def test_client_that_nobody_used_goes_with_its_secrets_and_tells_the_audit_log(
    work: UnitOfWork, clock: FrozenClock
) -> None:
    unused_client(work)
    client_id = work.db.scalars(select(Client.id)).one()
    clock.advance(90 * DAY + 1)
    assert sweep(work) == {"clients": 1}
    assert (count(work, ClientSecret), count(work, RegistrationToken)) == (0, 0)
    row = last_audited(work, AuditEvent.CLIENT_DELETED)
    assert (row.client_id, row.details) == (client_id, {"reason": "unused"})


@pytest.mark.spec("TK-24")
def test_client_stays_when_somebody_uses_it_or_the_operator_made_it(work: UnitOfWork, clock: FrozenClock) -> None:
    user = make_user(work)
    by_operator, allowed, granted, changed = (
        make_client(work, registered_dynamically=dynamically).id for dynamically in (False, True, True, True)
    )
    give_consent(work, user.id, allowed, frozenset({"openid"}))
    clock.advance(89 * DAY)
    make_grant(work, get_client(work, granted), user)
    get_client(work, changed).updated_at = work.now
    work.db.flush()
    clock.advance(2 * DAY)
    assert "clients" not in sweep(work)
    clock.advance(100 * DAY)
    sweep(work)
    assert sweep(work) in ({}, {"clients": 1})
    assert [find_client(work, each) is not None for each in (by_operator, allowed)] == [True, True]
    assert [find_client(work, each) is not None for each in (granted, changed)] == [False, False]


def test_days_of_an_unused_client_are_the_operators_to_say(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration_unused_days=2)
    with gatepost.work() as work:
        unused_client(work)
        gatepost.clock.advance(2 * DAY + 1)
        assert sweep(work) == {"clients": 1}


def test_token_that_still_registers_somebody_is_not_swept(work: UnitOfWork, clock: FrozenClock) -> None:
    create_initial_access_token(work, "x", uses=None, expires_in=None)
    create_initial_access_token(work, "x", uses=1, expires_in=None)
    clock.advance(3650 * DAY)
    assert "initial_access_tokens" not in sweep(work)


def test_live_deployment_loses_nothing(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work)
    browser, session = make_session(work, user)
    park_request(work, client, {}, browser)
    granted = make_grant(work, client, user, session=session)
    issue_authorization_code(work, granted, REDIRECT_URI, None)
    make_refresh_token(work, granted)
    issue_client_secret(work, client)
    revocation(work)
    attempts(work)
    assert sweep(work) == {}


def test_at_most_one_batch_goes_at_a_time(work: UnitOfWork, clock: FrozenClock) -> None:
    for number in range(5):
        revoke_access_token(work, f"jti{number}", "a-client", work.now)
    clock.advance(1)
    swept: list[dict[str, Any]] = [sweep(work, batch=2) for _ in range(4)]
    assert swept == [*[{"revoked_access_tokens": 2}] * 2, {"revoked_access_tokens": 1}, {}]


def test_sweep_on_an_empty_deployment_removes_nothing(work: UnitOfWork) -> None:
    assert sweep(work) == {}


def test_rules_name_their_tables_and_leave_the_lasting_ones_alone() -> None:
    for name, (table, column, _) in RULES.items():
        assert table.__tablename__ == name
        assert column.class_ is table
    assert set(METADATA.tables) - set(RULES) == {
        "audit_events",
        "audit_seals",
        "registry_version",
        "consents",
        "pairwise_subjects",
        "registration_tokens",
        "signing_keys",
        "users",
        "organizations",
        "memberships",
        "roles",
        "client_logos",
    }
