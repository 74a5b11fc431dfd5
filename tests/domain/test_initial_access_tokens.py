"""Initial access tokens: so many uses, so long, and never more."""

from __future__ import annotations

import pytest

from server.domain.audit_events import AuditEvent
from server.domain.errors import Invalid, NotFound
from server.domain.initial_access_tokens import (
    consume_initial_access_token,
    create_initial_access_token,
    find_initial_access_token,
    list_initial_access_tokens,
    revoke_initial_access_token,
)
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import audited, last_audited
from tests.support.clock import FrozenClock


def test_token_is_long_random_and_not_stored(work: UnitOfWork) -> None:
    row, token = create_initial_access_token(work, "  a partner ", uses=1, expires_in=60)
    assert (len(token), token.startswith("iat_"), row.label) == (47, True, "a partner")
    assert token not in (row.id, row.token_digest)
    found = find_initial_access_token(work, token)
    assert found is not None
    assert found.id == row.id
    assert find_initial_access_token(work, token[:-1]) is None
    audit = last_audited(work, AuditEvent.INITIAL_ACCESS_TOKEN_CREATED)
    assert audit.details == {"token_id": row.id, "label": "a partner", "uses": 1}


@pytest.mark.spec("RFC 7591 §3")
def test_token_is_used_up_after_so_many(work: UnitOfWork) -> None:
    row, token = create_initial_access_token(work, "a partner", uses=2, expires_in=None)
    assert [consume_initial_access_token(work, row.id) for _ in range(3)] == [True, True, False]
    assert find_initial_access_token(work, token) is None


def test_token_for_any_number_is_never_used_up(work: UnitOfWork) -> None:
    row, token = create_initial_access_token(work, "a partner", uses=None, expires_in=None)
    assert all(consume_initial_access_token(work, row.id) for _ in range(3))
    found = find_initial_access_token(work, token)
    assert found is not None
    assert found.uses_left is None


def test_token_is_over_to_the_second(work: UnitOfWork, clock: FrozenClock) -> None:
    _, token = create_initial_access_token(work, "a partner", uses=None, expires_in=60)
    clock.advance(59.999)
    assert find_initial_access_token(work, token) is not None
    clock.advance(0.001)
    assert find_initial_access_token(work, token) is None


def test_token_is_gone_when_it_is_revoked(work: UnitOfWork) -> None:
    row, token = create_initial_access_token(work, "a partner", uses=None, expires_in=None)
    revoke_initial_access_token(work, row.id)
    assert find_initial_access_token(work, token) is None
    assert not consume_initial_access_token(work, row.id)
    assert [each.details["label"] for each in audited(work, AuditEvent.INITIAL_ACCESS_TOKEN_REVOKED)] == ["a partner"]
    with pytest.raises(NotFound):
        revoke_initial_access_token(work, row.id)


def test_tokens_are_listed_oldest_first(work: UnitOfWork, clock: FrozenClock) -> None:
    for label in ("c", "a", "b"):
        create_initial_access_token(work, label, uses=1, expires_in=None)
        clock.advance(1)
    assert [token.label for token in list_initial_access_tokens(work)] == ["c", "a", "b"]


@pytest.mark.parametrize("label", ["", "  ", "x" * 101, "two\nlines", "turned \u202e round"])
def test_label_is_refused_when_it_does_not_stand_on_a_line(work: UnitOfWork, label: str) -> None:
    with pytest.raises(Invalid, match="1 to 100 printable"):
        create_initial_access_token(work, label, uses=1, expires_in=None)
