"""The audit log looked through: by who, what, where and when, a page at a time, and never another organization's."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from server.domain import audit_log, audit_search
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.audit_export import as_document, csv_lines, json_lines
from server.domain.audit_records import AuditRecord
from server.domain.audit_search import AuditFilter, every_row, search
from server.domain.errors import Invalid
from server.domain.unit_of_work import UnitOfWork
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

ORGANIZATION = "org_ours"


def note(
    work: UnitOfWork,
    event: AuditEvent = AuditEvent.CLIENT_CREATED,
    organization_id: str | None = ORGANIZATION,
    actor: Actor | None = None,
    **details: str | None,
) -> None:
    acting = replace(work, actor=actor) if actor else work
    audit_log.record(acting, event, organization_id=organization_id, **details)


def found(work: UnitOfWork, **sought: object) -> list[str]:
    """The notes of the rows that fit, newest first."""
    rows = search(work, AuditFilter(**{"organization_id": ORGANIZATION, **sought})).rows
    return [row.details["note"] for row in rows]


def exported(gatepost: Gatepost, **sought: object) -> list[str]:
    every = every_row(gatepost.runtime, AuditFilter(**{"organization_id": ORGANIZATION, **sought}))
    return [row.details["note"] for row in every]


@pytest.mark.spec("K-10")
def test_no_row_of_another_organization_is_found_whatever_is_looked_for(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        for organization_id in (ORGANIZATION, "org_theirs", None):
            actor = Actor("user", "usr_1", "192.0.2.1")
            note(work, organization_id=organization_id, actor=actor, client_id="c", note=str(organization_id))
        for sought in (
            {}, {"who": "usr_1"}, {"what": "c"}, {"where": "192.0.2.0/24"}, {"event": "client.*"},
            {"what": "org_theirs"}, {"what": "%"}, {"environment": "live"}, {"since": work.now - timedelta(1)},
        ):  # fmt: skip
            assert set(found(work, **sought)) <= {ORGANIZATION}, sought
        assert found(work) == [ORGANIZATION]
    assert exported(gatepost) == [ORGANIZATION]
    assert {row.organization_id for row in every_row(gatepost.runtime, AuditFilter(None))} >= {"org_theirs", None}


@pytest.mark.parametrize(
    ("sought", "notes"),
    [
        ({"who": "usr_1"}, ["a"]),
        ({"who": "client"}, ["b"]),
        ({"who": "usr"}, []),
        ({"what": "app-1"}, ["b", "a"]),
        ({"what": "usr_9"}, ["b"]),
        ({"what": "key_7"}, ["c"]),
        ({"what": "key_%"}, []),
        ({"what": "key"}, []),
        ({"event": "client.created"}, ["a"]),
        ({"event": "client.*"}, ["b", "a"]),
        ({"event": "client.secret.*"}, ["b"]),
        ({"event": "api_key.*"}, ["c"]),
        ({"where": "192.0.2.7"}, ["a"]),
        ({"where": "192.0.2.0/24"}, ["b", "a"]),
        ({"where": "2001:db8::/32"}, ["c"]),
        ({"where": "0.0.0.0/0"}, ["b", "a"]),
        ({"environment": "test"}, ["c", "b"]),
        ({"environment": "live"}, ["c", "a"]),
        ({"who": "usr_1", "event": "api_key.*"}, []),
    ],
)
def test_rows_are_found_by_who_what_where_and_environment(
    gatepost: Gatepost, sought: dict[str, str], notes: list[str]
) -> None:
    with gatepost.work() as work:
        note(work, actor=Actor("user", "usr_1", "192.0.2.7"), client_id="app-1", environment="live", note="a")
        rotated = AuditEvent.CLIENT_SECRET_ROTATED
        actor = Actor("client", "app-1", "192.0.2.130")
        note(work, rotated, actor=actor, client_id="app-1", user_id="usr_9", environment="test", note="b")
        note(work, AuditEvent.API_KEY_CREATED, actor=Actor("operator", None, "2001:db8::9"), key_id="key_7", note="c")
        assert found(work, **sought) == notes
    assert exported(gatepost, **sought) == notes[::-1]


def test_rows_are_found_by_when(work: UnitOfWork, clock: FrozenClock) -> None:
    begin = work.now
    for number in range(5):
        note(work, note=str(number))
        clock.advance(60)
    assert found(work, since=begin + timedelta(minutes=1), until=begin + timedelta(minutes=3)) == ["2", "1"]
    assert found(work, since=begin + timedelta(minutes=4)) == ["4"]


def walk(work: UnitOfWork, sought: AuditFilter, limit: int) -> tuple[list[AuditRecord], int]:
    """All rows, page after page, and how many pages that took."""
    rows: list[AuditRecord] = []
    cursor, pages = None, 0
    while True:
        page = search(work, sought, cursor, limit)
        rows, pages, cursor = [*rows, *page.rows], pages + 1, page.next_cursor
        assert len(page.rows) <= limit
        if cursor is None:
            return rows, pages


@pytest.mark.spec("INV-40")
def test_every_row_is_on_one_page_also_when_all_are_of_the_same_moment(work: UnitOfWork, clock: FrozenClock) -> None:
    for number in range(25):
        note(work, note=str(number))
        if number % 10 == 0:
            clock.advance(1)
    rows, pages = walk(work, AuditFilter(ORGANIZATION), 4)
    assert [row.details["note"] for row in rows] == [str(number) for number in reversed(range(25))]
    assert pages == 7


def test_page_costs_a_bounded_span_and_says_how_far_it_looked(
    gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_search, "_SPAN", 10)
    monkeypatch.setattr(audit_search, "_BATCH", 7)
    with gatepost.work() as work:
        note(work, AuditEvent.ROLE_CREATED, note="old")
        for number in range(29):
            note(work, note=str(number))
        page = search(work, AuditFilter(ORGANIZATION, event="role.*"))
        assert (page.rows, page.looked_back_to) == ([], work.now)
        rows, pages = walk(work, AuditFilter(ORGANIZATION, event="role.*"), 50)
        assert [row.details["note"] for row in rows] == ["old"]
        assert pages == 4
        assert len(walk(work, AuditFilter(ORGANIZATION, where="192.0.2.1"), 5)[0]) == 0
    assert exported(gatepost) == ["old", *map(str, range(29))]
    assert exported(gatepost, event="role.*") == ["old"]


def test_rows_written_meanwhile_move_no_page(work: UnitOfWork) -> None:
    for number in range(6):
        note(work, note=str(number))
    page = search(work, AuditFilter(ORGANIZATION), limit=3)
    note(work, note="newer")
    following = search(work, AuditFilter(ORGANIZATION), page.next_cursor, 3)
    assert [row.details["note"] for row in following.rows] == ["2", "1", "0"]


@pytest.mark.parametrize("limit", [-1, 0, 1, 10**9])
def test_page_has_at_least_one_row_and_at_most_the_largest(
    work: UnitOfWork, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_search, "LARGEST_PAGE", 3)
    for number in range(5):
        note(work, note=str(number))
    assert len(search(work, AuditFilter(ORGANIZATION), limit=limit).rows) == (3 if limit > 3 else 1)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("where", "the office"),
        ("where", "192.0.2.1/99"),
        ("event", "Client created"),
        ("event", "*"),
        ("event", "client.%"),
        ("who", "x" * 255),
        ("what", "x" * 255),
        ("who", "usr_\0"),
        ("what", "key_\n"),
        ("what", "\ud800"),
    ],
)
def test_filter_is_refused_when_nothing_could_be_found_by_it(work: UnitOfWork, field: str, value: str) -> None:
    with pytest.raises(Invalid) as refusal:
        search(work, AuditFilter(ORGANIZATION, **{field: value}))
    assert refusal.value.field == field


def test_span_of_time_is_refused_when_it_ends_before_it_begins(work: UnitOfWork) -> None:
    with pytest.raises(Invalid) as refusal:
        search(work, AuditFilter(ORGANIZATION, since=work.now, until=work.now))
    assert refusal.value.field == "until"


@pytest.mark.parametrize("cursor", ["", "1", "a-b", "1-1; DROP", "9" * 18 + "-1", "1-" + "9" * 40, "-1--1"])
@pytest.mark.spec("INV-40")
def test_cursor_is_refused_when_it_is_none_of_ours(work: UnitOfWork, cursor: str) -> None:
    with pytest.raises(Invalid) as refusal:
        search(work, AuditFilter(ORGANIZATION), cursor)
    assert refusal.value.field == "cursor"


@pytest.mark.spec("L-03")
@pytest.mark.parametrize(
    "text", ["=cmd|'/c calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "\n@x", '=HYPERLINK("x")']
)
def test_no_cell_of_an_export_is_a_formula(gatepost: Gatepost, text: str) -> None:
    with gatepost.work() as work:
        note(work, actor=Actor("user", text, "192.0.2.7", text), client_id=text, note=text)
    rows = [as_document(row) for row in every_row(gatepost.runtime, AuditFilter(ORGANIZATION))]
    (line,) = csv.DictReader(io.StringIO("".join(csv_lines(rows))))
    for name, cell in line.items():
        assert cell.lstrip("\t\r\n ")[:1] not in {"=", "+", "-", "@", "\uff1d"}, (name, cell)
    assert json.loads(line["details"])["note"] == text
    (document,) = map(json.loads, json_lines(rows))
    assert (document["actor_id"], document["user_agent"], document["client_id"]) == (text, text, text)


def test_export_of_nothing_is_a_table_with_its_head(gatepost: Gatepost) -> None:
    rows = [as_document(row) for row in every_row(gatepost.runtime, AuditFilter("org_empty"))]
    assert "".join(csv_lines(rows)).startswith("id,at,event,actor_kind,")
    assert list(json_lines(rows)) == []


@pytest.mark.postgres
def test_rows_are_found_on_postgresql_too(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_search, "_BATCH", 3)
    gatepost = Gatepost(tmp_path, database_url=postgres_url)
    try:
        with gatepost.work() as work:
            for number in range(10):
                actor = Actor("user", "usr_1", f"192.0.2.{number}")
                note(work, actor=actor, environment="live", key_id=f"key_{number}", note=str(number))
            note(work, organization_id="org_theirs", note="theirs")
            rows, pages = walk(work, AuditFilter(ORGANIZATION), 4)
            assert ([row.details["note"] for row in rows], pages) == (list("9876543210"), 3)
            assert found(work, what="key_7") == ["7"]
            assert found(work, where="192.0.2.8/31", who="usr_1", event="client.*", environment="live") == ["9", "8"]
        assert exported(gatepost) == list("0123456789")
        assert exported(gatepost, what="key_7") == ["7"]
    finally:
        gatepost.close()
