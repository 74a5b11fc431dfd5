"""The rules on PostgreSQL: each table written and read once, and what its statements answer there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from server.config import Settings
from server.domain.access_tokens import is_revoked, revoke_access_token
from server.domain.actor import OPERATOR
from server.domain.audit_events import AuditEvent
from server.domain.authorization_codes import (
    consume_authorization_code,
    find_authorization_code,
    issue_authorization_code,
)
from server.domain.authorization_requests import RequestState, finish_request, get_open_request, park_request
from server.domain.client_secrets import issue_client_secret, rotate_client_secret, verify_client_secret
from server.domain.clients import delete_client, find_client
from server.domain.consents import give_consent, remembered_scopes
from server.domain.errors import Conflict, Expired
from server.domain.grants import find_grant, revoke_grants_of_user
from server.domain.housekeeping import sweep
from server.domain.key_rotation import prepare_next_key, rotate_key
from server.domain.login_flow import log_in_with_password
from server.domain.refresh_rotation import consume_refresh_token, find_replay, keep_replay
from server.domain.refresh_tokens import find_refresh_token, issue_refresh_token
from server.domain.sessions import create_browser, end_session, find_browser, list_sessions, sign_out_everywhere
from server.domain.signing_keys import KeyState, ensure_keys, list_keys, published_keys, store_key
from server.domain.unit_of_work import Runtime, UnitOfWork, open_runtime
from server.domain.users import delete_user, find_user, find_user_by_email
from server.infra import jose
from server.infra.database import open_session
from server.infra.keyring import create_keyring
from server.infra.migrations import upgrade
from tests.domain.factories import REDIRECT_URI, audited, make_client, make_grant, make_session, make_user
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.postgres

GOOD = "correct horse battery staple"


@pytest.fixture
def runtime(postgres_url: str, tmp_path: Path) -> Runtime:
    settings = Settings(
        _env_file=None,
        database_url=postgres_url,
        keys_dir=tmp_path / "keys",
        argon2_time_cost=1,
        argon2_memory_kib=8192,
    )
    create_keyring(settings.keys_dir)
    upgrade(settings)
    return open_runtime(settings, FrozenClock())


@pytest.fixture
def work(runtime: Runtime) -> Iterator[UnitOfWork]:
    with open_session(runtime.settings) as db:
        yield UnitOfWork(runtime, db, OPERATOR)


def test_people_sign_in_and_out(work: UnitOfWork) -> None:
    user = make_user(work, "Größe@Example.com", GOOD, claims={"address": {"country": "AT"}})
    assert find_user_by_email(work, "GRÖSSE@example.com") is user
    browser, _ = create_browser(work)
    session, secret = log_in_with_password(work, browser, user.email, GOOD)
    assert find_browser(work, secret) is browser
    assert [known.id for known in list_sessions(work, browser)] == [session.id]
    work.db.expire_all()
    assert user.claims == {"address": {"country": "AT"}}
    assert (session.auth_time, session.amr) == (work.now, ["pwd"])
    end_session(work, browser, session)
    sign_out_everywhere(work, user, "password_changed")
    assert len(audited(work, AuditEvent.LOGIN_SUCCEEDED)) == 1


def test_clients_and_their_secrets_come_and_go(work: UnitOfWork) -> None:
    client, user = make_client(work, client_id="my-app"), make_user(work)
    old = issue_client_secret(work, client)
    new = rotate_client_secret(work, client, 0)
    assert [verify_client_secret(work, client, secret) for secret in (old, new)] == [False, True]
    grant_id = make_grant(work, client, user).id
    delete_client(work, client)
    work.db.expunge_all()
    assert find_client(work, "my-app") is None
    assert find_grant(work, grant_id) is None


def test_consents_add_up(work: UnitOfWork) -> None:
    user, client = make_user(work), make_client(work)
    give_consent(work, user.id, client.id, frozenset({"openid"}))
    give_consent(work, user.id, client.id, frozenset({"email"}))
    assert remembered_scopes(work, user.id, client.id) == {"openid", "email"}


def test_request_is_bound_and_answered_once(work: UnitOfWork) -> None:
    browser, _ = create_browser(work)
    request = park_request(work, make_client(work), {"state": "✓"}, None)
    assert get_open_request(work, request.id, browser) is request
    finish_request(work, request, RequestState.CODED)
    with pytest.raises(Expired):
        finish_request(work, request, RequestState.REFUSED)


def test_code_is_consumed_once(work: UnitOfWork) -> None:
    row = find_authorization_code(work, issue_authorization_code(work, make_grant(work), REDIRECT_URI, None))
    assert row is not None
    assert [consume_authorization_code(work, row) for _ in range(3)] == [True, False, False]


def test_refresh_token_is_consumed_once_and_its_answer_told_again(work: UnitOfWork) -> None:
    grant = make_grant(work)
    token = issue_refresh_token(work, grant)
    row = find_refresh_token(work, token)
    assert row is not None
    assert [consume_refresh_token(work, row) for _ in range(3)] == [True, False, False]
    keep_replay(work, row, token, "openid", {"access_token": "x"})
    assert find_replay(work, token, grant.client_id, "openid") == {"access_token": "x"}
    successor = find_refresh_token(work, issue_refresh_token(work, grant, predecessor=row))
    assert successor is not None
    assert consume_refresh_token(work, successor)
    assert find_replay(work, token, grant.client_id, "openid") is None


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_keys_are_made_once_and_rotate(work: UnitOfWork) -> None:
    for _ in range(2):
        ensure_keys(work)
    assert len(list_keys(work)) == len(audited(work, AuditEvent.SIGNING_KEY_CREATED)) == 3
    prepared = prepare_next_key(work, "ES256")
    with pytest.raises(Conflict):
        store_key(work, jose.generate_key("ES256"), "ES256", KeyState.NEXT)
    assert rotate_key(work, "ES256") is prepared
    assert len(published_keys(work)) == 4


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_second_active_key_is_refused_by_the_database_itself(work: UnitOfWork) -> None:
    ensure_keys(work)
    prepare_next_key(work, "ES256").state = KeyState.ACTIVE
    with pytest.raises(IntegrityError):
        work.db.flush()
    work.db.rollback()


def test_access_token_is_revoked_once(work: UnitOfWork) -> None:
    for _ in range(2):
        revoke_access_token(work, "jti", "a-client", work.now)
    assert is_revoked(work, "jti")
    assert len(audited(work, AuditEvent.TOKEN_REVOKED)) == 1


def test_person_is_gone_with_everything_of_theirs(work: UnitOfWork) -> None:
    user = make_user(work)
    user_id = user.id
    _, session = make_session(work, user)
    grant_id = make_grant(work, user=user, session=session).id
    revoke_grants_of_user(work, user_id, "a reason")
    delete_user(work, user)
    work.db.expunge_all()
    assert find_user(work, user_id) is None
    assert find_grant(work, grant_id) is None


def test_housekeeping_removes_what_is_over(work: UnitOfWork) -> None:
    _, session = make_session(work, make_user(work))
    grant = make_grant(work, session=session, user=make_user(work, "alan@example.com"))
    issue_authorization_code(work, grant, REDIRECT_URI, None)
    issue_refresh_token(work, grant)
    revoke_access_token(work, "jti", "a-client", work.now)
    assert sweep(work) == {}
    assert isinstance(work.runtime.clock, FrozenClock)
    work.runtime.clock.advance(400 * 86400)
    removed = sweep(work)
    assert {"authorization_codes", "refresh_tokens", "revoked_access_tokens", "grants", "sessions"} <= set(removed)
    sweep(work)
    assert sweep(work) == {}
