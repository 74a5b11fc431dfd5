"""The rules on PostgreSQL: each table written and read once, and what its statements answer there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from server.config import Settings
from server.domain.access_tokens import revoke_access_token, standing_of
from server.domain.actor import OPERATOR
from server.domain.audit_events import AuditEvent
from server.domain.authorization_codes import (
    find_authorization_code,
    issue_authorization_code,
    redeem_authorization_code,
)
from server.domain.authorization_requests import RequestState, finish_request, get_open_request, park_request
from server.domain.browsers import create_browser, find_browser
from server.domain.client_secrets import issue_client_secret, rotate_client_secret, verify_client_secret
from server.domain.clients import delete_client, find_client, get_client
from server.domain.consents import give_consent, remembered_scopes
from server.domain.errors import Conflict, Expired
from server.domain.grants import revoke_grants_of_user
from server.domain.housekeeping import sweep
from server.domain.key_rotation import list_due, prepare_next_key, rotate_key
from server.domain.login_flow import log_in_with_password
from server.domain.refresh_rotation import find_retry, refresh
from server.domain.refresh_tokens import find_refresh_token
from server.domain.sessions import end_session, list_sessions, sign_out_everywhere
from server.domain.signing_keys import (
    ALGORITHMS,
    KeyState,
    decryption_keys,
    ensure_keys,
    jwk_set,
    list_keys,
    published_keys,
    signing_key,
    store_key,
)
from server.domain.unit_of_work import Runtime, UnitOfWork, open_runtime
from server.domain.users import delete_user, find_user, find_user_by_email
from server.infra import jose, jwe
from server.infra.database import open_session
from server.infra.keyring import create_keyring
from server.infra.migrations import upgrade
from tests.domain.factories import (
    REDIRECT_URI,
    audited,
    find_grant,
    make_client,
    make_grant,
    make_refresh_token,
    make_session,
    make_user,
)
from tests.support.clock import FrozenClock

pytestmark = pytest.mark.postgres

GOOD = "correct horse battery staple"


@pytest.fixture
def runtime(postgres_url: str, tmp_path: Path) -> Iterator[Runtime]:
    settings = Settings(
        _env_file=None,
        database_url=postgres_url,
        keys_dir=tmp_path / "keys",
        argon2_time_cost=1,
        argon2_memory_kib=8192,
    )
    create_keyring(settings.keys_dir)
    upgrade(settings)
    runtime = open_runtime(settings, FrozenClock())
    yield runtime
    runtime.autocommit.dispose()


@pytest.fixture
def work(runtime: Runtime) -> Iterator[UnitOfWork]:
    with open_session(runtime.settings) as db:
        yield UnitOfWork.begin(runtime, db, OPERATOR)


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


@pytest.mark.parametrize("is_alone", [True, False], ids=["one statement", "in a transaction"])
def test_code_is_redeemed_once(work: UnitOfWork, is_alone: bool) -> None:
    known = find_authorization_code(work, issue_authorization_code(work, make_grant(work), REDIRECT_URI, None))
    assert known is not None
    if is_alone:
        work.db.commit()
    assert [redeem_authorization_code(work, known, f"rt_{n}") for n in range(3)] == [True, False, False]
    stored = [find_refresh_token(work, f"rt_{n}") for n in range(3)]
    assert [token is not None for token in stored] == [True, False, False]
    details = audited(work, AuditEvent.TOKEN_ISSUED)[-1].details
    assert details == {"grant_id": known.grant.id, "grant_type": "authorization_code"}


@pytest.mark.parametrize("is_alone", [True, False], ids=["one statement", "in a transaction"])
def test_refresh_token_is_spent_once_and_the_retry_leads_to_the_same_successor(
    work: UnitOfWork, is_alone: bool
) -> None:
    grant = make_grant(work)
    client, token = get_client(work, grant.client_id), make_refresh_token(work, grant)
    if is_alone:
        work.db.commit()
    first = refresh(work, client, token, None)
    assert first is not None
    assert first.successor is not None
    assert refresh(work, client, token, None) is None
    spent = find_refresh_token(work, token)
    assert spent is not None
    again = find_retry(work, client, token, spent, None)
    assert again is not None
    assert (again.successor, again.jti, again.at) == (first.successor, first.jti, first.at)
    assert refresh(work, client, first.successor, None)
    assert find_retry(work, client, token, spent, None) is None


def test_token_that_does_not_rotate_is_used_again_and_again(work: UnitOfWork) -> None:
    client = make_client(work, rotate_refresh_tokens=False)
    grant = make_grant(work, client)
    token = make_refresh_token(work, grant)
    work.db.commit()
    for _ in range(3):
        refreshed = refresh(work, client, token, None)
        assert refreshed is not None
        assert refreshed.successor is None


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_keys_are_made_once_and_rotate(work: UnitOfWork) -> None:
    for _ in range(2):
        ensure_keys(work)
    assert len(list_keys(work)) == len(audited(work, AuditEvent.SIGNING_KEY_CREATED)) == len(ALGORITHMS)
    prepared = prepare_next_key(work, "ES256")
    with pytest.raises(Conflict):
        store_key(work, jose.generate_key("ES256"), "ES256", KeyState.NEXT)
    assert rotate_key(work, "ES256") is prepared
    assert len(published_keys(work)) == len(jose.SIGNING_ALGORITHMS) + 1


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated via RFC 9864")
def test_keys_are_read_without_a_transaction(runtime: Runtime) -> None:
    with open_session(runtime.settings) as db:
        ensure_keys(UnitOfWork.begin(runtime, db, OPERATOR))
    with open_session(runtime.settings) as db:
        work = UnitOfWork.begin(runtime, db, OPERATOR)
        for algorithm in jose.SIGNING_ALGORITHMS:
            token = jose.sign({"sub": "usr_1"}, signing_key(work, algorithm, work.now), algorithm, "JWT")
            assert jose.verify(token, published_keys(work)).claims == {"sub": "usr_1"}
        token = jwe.encrypt("a request", jwk_set(work), "ECDH-ES", "A256GCM")
        assert jwe.decrypt(token, decryption_keys(work)) == "a request"
        assert list_due(work) == []
        assert not work.is_in_transaction


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
    assert standing_of(work, "jti", None).is_revoked
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
    make_refresh_token(work, grant)
    revoke_access_token(work, "jti", "a-client", work.now)
    assert sweep(work) == {}
    assert isinstance(work.runtime.clock, FrozenClock)
    work.runtime.clock.advance(400 * 86400)
    removed = sweep(work)
    assert {"authorization_codes", "refresh_tokens", "revoked_access_tokens", "grants", "sessions"} <= set(removed)
    sweep(work)
    assert sweep(work) == {}
