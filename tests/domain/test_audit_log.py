"""The audit log: who did what to whom, from where, in the transaction of the act itself."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from server.domain import audit_log
from server.domain.actor import OPERATOR, Actor
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from tests.domain.factories import last_audited
from tests.support.application import Gatepost


def test_row_holds_the_actor_the_subject_and_the_details(work: UnitOfWork) -> None:
    acting = replace(work, actor=Actor("client", "a-client", "2001:db8::1", "curl/8", "req_9"))
    audit_log.record(
        acting, AuditEvent.TOKEN_REVOKED, user_id="usr_1", client_id="a-client", kind="access_token", count=2, all=False
    )
    row = last_audited(work, AuditEvent.TOKEN_REVOKED)
    assert (row.at, row.actor_kind, row.actor_id) == (work.now, "client", "a-client")
    assert (row.user_id, row.client_id) == ("usr_1", "a-client")
    assert (row.ip, row.user_agent, row.request_id) == ("2001:db8::1", "curl/8", "req_9")
    assert row.details == {"kind": "access_token", "count": 2, "all": False}


def test_row_outlives_the_person_and_the_client_it_names(work: UnitOfWork) -> None:
    audit_log.record(work, AuditEvent.GRANT_REVOKED, user_id="usr_never", client_id="never-there")
    work.db.flush()
    assert last_audited(work, AuditEvent.GRANT_REVOKED).user_id == "usr_never"


def test_newest_rows_come_first_up_to_the_limit(work: UnitOfWork) -> None:
    for number in range(5):
        audit_log.record(work, AuditEvent.LOGIN_FAILED, number=number)
        audit_log.record(work, AuditEvent.LOGIN_SUCCEEDED, number=number)
    assert [row.details["number"] for row in audit_log.list_recent(work, AuditEvent.LOGIN_FAILED, limit=2)] == [4, 3]
    assert [row.event for row in audit_log.list_recent(work, limit=2)] == ["login.succeeded", "login.failed"]
    assert len(audit_log.list_recent(work)) <= 50


def test_row_falls_with_its_transaction(gatepost: Gatepost) -> None:
    def fail() -> None:
        with gatepost.work() as work:
            audit_log.record(work, AuditEvent.LOGIN_FAILED)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert "login.failed" not in gatepost.audit_events()


def test_event_names_are_a_noun_and_what_happened_to_it() -> None:
    assert len({event.value for event in AuditEvent}) == len(AuditEvent)
    for event in AuditEvent:
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?\.[a-z]+", event.value)
        assert event.name == event.value.upper().replace(".", "_")


def test_work_is_done_in_the_name_of_whoever_proved_themselves(work: UnitOfWork) -> None:
    visiting = replace(work, actor=Actor("anonymous", None, "192.0.2.1", "Browser", "req_1"))
    proven = visiting.acting_as("user", "usr_1")
    assert proven.actor == Actor("user", "usr_1", "192.0.2.1", "Browser", "req_1")
    assert visiting.actor.kind == "anonymous"
    assert proven.db is visiting.db
    assert work.actor is OPERATOR
