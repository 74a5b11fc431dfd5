"""The audit log of an organization as a page and as a file."""

from __future__ import annotations

import csv
import io
import json

import pytest
from werkzeug.test import TestResponse

from server.domain import audit_log as log
from server.domain import audit_search
from server.domain.actor import Actor
from server.domain.audit_events import AuditEvent
from server.domain.unit_of_work import UnitOfWork
from server.web.dashboard import audit_log
from tests.support.application import Gatepost
from tests.support.dashboard import Member, forms, member, visible


@pytest.fixture
def ada(gatepost: Gatepost) -> Member:
    return member(gatepost)


def note(person: Member, count: int = 1, environment: str | None = "live", **details: str) -> None:
    with person.gatepost.work() as work:
        for number in range(count):
            acting = UnitOfWork(
                work.runtime, work.db, Actor("api_key", "key_1", "192.0.2.9", "curl/8", "req_1"), work.registry
            )
            place = {"organization_id": person.organization.id, "environment": environment}
            log.record(acting, AuditEvent.ROLE_CREATED, **place, **{"name": f"role-{number}", **details})


def exported(person: Member, form: str = "csv", **fields: str) -> TestResponse:
    page = person.get("audit-log", **fields)
    return person.submit(page, "audit-log", "export", format=form)


def rows(answer: TestResponse) -> list[dict[str, str]]:
    assert answer.status_code == 200, visible(answer.text)
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_row_says_who_did_what_to_what_when_and_from_where(ada: Member) -> None:
    ada.post("applications", "new", "spa", client_name="Shop", redirect_uris="https://shop.example/cb")
    page = ada.get("audit-log")
    text = visible(page.text)
    begin = text.index("Application created", text.index("When Who What About"))
    around = text[begin - 120 : begin + 400]
    for word in (
        "22 November 2026, 12:00:00 UTC",
        "Ada Example",
        "client.created",
        "Application type spa",
        "Shop",
        "127.0.0.1",
    ):
        assert word in around, word
    assert page.headers["Cache-Control"] == "no-store"


def test_newest_rows_stand_first_and_the_older_ones_on_later_pages(ada: Member) -> None:
    note(ada, 60)
    first = ada.get("audit-log")
    assert "role-59" in first.text
    assert "role-9<" not in first.text
    older = first.text.partition('id="older" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = ada.browser.get(older)
    assert "role-9<" in second.text
    assert "role-59" not in second.text
    assert 'id="newest"' in second.text


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"event": "role.*"}, True),
        ({"event": "client.*"}, False),
        ({"who": "key_1"}, True),
        ({"who": "operator"}, False),
        ({"what": "role-0"}, True),
        ({"what": "role-1"}, False),
        ({"where": "192.0.2.0/24"}, True),
        ({"where": "198.51.100.1"}, False),
        ({"since": "2026-11-22"}, True),
        ({"since": "2026-11-23"}, False),
        ({"until": "2026-11-22"}, True),
        ({"until": "2026-11-21"}, False),
    ],
)
def test_rows_are_narrowed_down_on_the_page_and_in_the_file(ada: Member, query: dict[str, str], found: bool) -> None:
    note(ada)
    page = ada.get("audit-log", **query)
    assert ("role-0<" in page.text) is found
    if found:
        assert any(json.loads(row["details"]).get("name") == "role-0" for row in rows(exported(ada, **query)))
    else:
        assert "role-0" not in "".join(forms(page.text)).replace("role-1", "")


@pytest.mark.spec("K-10")
def test_other_environment_is_shown_when_it_is_asked_for_and_another_organization_never(gatepost: Gatepost) -> None:
    ada, eve = member(gatepost), member(gatepost, email="eve@example.com", name="Elsewhere")
    note(ada, environment="test", name="in-test")
    note(ada, environment=None, name="in-both")
    note(eve, name="elsewhere")
    live = ada.get("audit-log").text
    assert ("in-test<" in live, "in-both<" in live, "elsewhere<" in live) == (False, True, False)
    both = ada.get("audit-log", both="1").text
    assert ("in-test<" in both, "elsewhere<" in both) == (True, False)
    assert eve.browser.get(ada.path("audit-log")).status_code == 404
    for query in ({}, {"both": "1"}, {"what": "elsewhere"}, {"who": eve.user.id}):
        page = ada.get("audit-log", **query)
        if "data-stays" in page.text:
            assert "elsewhere" not in {json.loads(row["details"]).get("name") for row in rows(exported(ada, **query))}


def test_stranger_who_used_an_application_is_an_id(gatepost: Gatepost) -> None:
    ada, eve = member(gatepost), member(gatepost, email="eve@example.com", name="Elsewhere")
    with gatepost.work() as work:
        place = {"organization_id": ada.organization.id, "environment": "live"}
        log.record(work, AuditEvent.CONSENT_GIVEN, user_id=eve.user.id, **place)
    page = ada.get("audit-log").text
    assert eve.user.id in page
    assert "eve@example.com" not in page


@pytest.mark.parametrize("role", ["developer", "billing", "member"])
def test_role_without_the_permission_sees_and_exports_nothing(gatepost: Gatepost, role: str) -> None:
    person = member(gatepost, role, email="bob@example.com")
    assert person.get("audit-log").status_code == 403
    assert person.browser.post(person.path("audit-log", "export"), data={"format": "csv"}).status_code == 403
    assert gatepost.audit_rows("audit_log.exported") == []


@pytest.mark.parametrize(("form", "mimetype"), [("csv", "text/csv"), ("ndjson", "application/x-ndjson")])
def test_export_is_a_file_of_all_rows_and_is_itself_in_the_log(
    ada: Member, form: str, mimetype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_search, "_BATCH", 7)
    note(ada, 60)
    answer = exported(ada, form, event="role.*")
    assert (answer.status_code, answer.mimetype) == (200, mimetype)
    name = f"audit-log-{ada.organization.slug}-2026-11-22.{form}"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    found = rows(answer) if form == "csv" else [json.loads(line) for line in answer.text.splitlines()]
    assert len(found) == 60
    assert len({row["id"] for row in found}) == 60
    (told,) = ada.gatepost.audit_rows("audit_log.exported")
    assert (told.actor_id, told.organization_id, told.environment) == (ada.user.id, ada.organization.id, "live")
    assert (told.details["format"], told.details["sought_event"]) == (form, "role.*")
    assert "Audit log exported" in visible(ada.get("audit-log").text)


def test_export_is_made_while_it_is_sent(ada: Member) -> None:
    note(ada, 3)
    page = ada.get("audit-log")
    environ: list[bool] = []
    inner = ada.gatepost.app.wsgi_app

    def watching(environment: dict[str, object], start: object) -> object:
        answer = inner(environment, start)  # type: ignore[arg-type]
        environ.append(bool(environment.get("gatepost.streams")))
        return answer

    ada.gatepost.app.wsgi_app = watching  # type: ignore[assignment]
    try:
        answer = ada.submit(page, "audit-log", "export", format="csv")
    finally:
        ada.gatepost.app.wsgi_app = inner  # type: ignore[method-assign]
    assert environ == [True]
    assert "Content-Length" not in answer.headers
    assert len(rows(answer)) >= 3


@pytest.mark.spec("L-03")
def test_no_cell_of_the_file_is_a_formula(ada: Member) -> None:
    note(ada, name="=1+1")
    with ada.gatepost.work() as work:
        acting = UnitOfWork(work.runtime, work.db, Actor("user", "=2+2", "192.0.2.9", "@SUM(A1)", None), work.registry)
        log.record(acting, AuditEvent.ROLE_CREATED, organization_id=ada.organization.id)
    for row in rows(exported(ada)):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"where": "the office"}, "an IP address or a network"),
        ({"since": "yesterday"}, "written like 2026-01-31"),
        ({"since": "2026-11-22", "until": "2026-11-20"}, "after the beginning"),
        ({"event": "<script>"}, "named like client.created"),
        ({"cursor": "1"}, "none of ours"),
        ({"who": "a\0b"}, "printable"),
        ({"what": "a\nb"}, "printable"),
        ({"until": "9999-12-31"}, "the years from"),
        ({"since": "0001-01-01"}, "the years from"),
    ],
)
def test_filter_is_refused_where_it_stands(ada: Member, query: dict[str, str], sentence: str) -> None:
    answer = ada.get("audit-log", **query)
    assert (answer.status_code, sentence in visible(answer.text)) == (400, True)
    assert "<script>" not in answer.text


@pytest.mark.parametrize("fields", [{"format": "xlsx"}, {"format": "csv", "where": "the office"}])
def test_export_is_refused_when_it_cannot_be_made(ada: Member, fields: dict[str, str]) -> None:
    page = ada.get("audit-log")
    answer = ada.submit(page, "audit-log", "export", **fields)
    assert answer.status_code == 400
    assert ada.gatepost.audit_rows("audit_log.exported") == []


def test_page_says_how_far_it_looked_when_nothing_was_found_there(ada: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_search, "_SPAN", 5)
    note(ada, 20)
    page = ada.get("audit-log", event="organization.created")
    text = visible(page.text)
    assert "Nothing since 2026-11-22 12:00:00 fits" in text
    assert "Look further back" in text


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("client.secret.rotated", "Application secret rotated"),
        ("api_key.network.new", "API key network new"),
        ("audit_log.exported", "Audit log exported"),
        ("membership_id", "Membership ID"),
    ],
)
def test_names_are_read_as_words(name: str, words: str) -> None:
    assert audit_log.in_words(name) == words


def test_every_event_can_be_looked_for(ada: Member) -> None:
    text = ada.get("audit-log").text
    for event in AuditEvent:
        assert f'<option value="{event.value}">' in text, event
