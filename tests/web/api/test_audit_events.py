"""The audit log over the API: one organization's, one environment's, to look at and to take along."""

import csv
import io
import json

import pytest

from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused


def test_events_of_the_organization_alone_are_told_when_asked(api: Api, session: Session) -> None:
    api.other_organization()
    session.ask("POST", "…/api-keys", {"name": "k", "permissions": ["users:read"]})
    session.ask("POST", "…/api-keys?environment=test", {"name": "k", "permissions": ["users:read"]})
    events = session.ask("GET", "…/audit-events").get_json()["data"]
    assert [each["event"] for each in events] == ["api_key.created", "membership.added", "organization.created"]
    assert events[0]["actor"] == {"kind": "user", "id": api.owner.id}
    assert events[0]["requestId"].startswith("req_")
    assert {each["environment"] for each in events} == {"live", None}
    found = session.ask("GET", "…/audit-events?event=api_key.*&environment=test").get_json()["data"]
    assert [each["environment"] for each in found] == ["test"]


def test_events_are_told_page_by_page_when_there_are_many(api: Api, session: Session) -> None:
    for number in range(5):
        session.ask("POST", "…/api-keys", {"name": f"k{number}", "permissions": ["users:read"]})
    seen, cursor = [], ""
    while True:
        page = session.ask("GET", f"…/audit-events?limit=3{cursor}").get_json()
        seen += [each["id"] for each in page["data"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert len(seen) == len(set(seen)) == 7
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize(
    "query",
    ["event=%25", "since=yesterday", "since=2026-01-01T00:00:00", "since=1700000000", "until=0001-01-01T00:00:00Z",
     "until=9999-12-31T23:59:59-12:00", "where=here", "cursor=x", "who=a%00b", "since=2026-02-30T00:00:00Z",
     "since=2026-11-22T12:00:00Z&until=2026-11-21T12:00:00Z"],
)  # fmt: skip
def test_filter_is_refused_when_it_is_wrong(session: Session, query: str) -> None:
    refused(session.ask("GET", f"…/audit-events?{query}"), 400, "invalid_request")


def test_events_are_exported_and_that_is_noted_when_taken_along(api: Api, session: Session) -> None:
    session.ask("POST", "…/api-keys", {"name": "k", "permissions": ["users:read"]})
    lines = session.ask("GET", "…/audit-events/export")
    assert lines.content_type == "application/x-ndjson"
    rows = [json.loads(line) for line in lines.text.splitlines()]
    assert [row["event"] for row in rows][:3] == ["organization.created", "membership.added", "api_key.created"]
    assert {row["organization_id"] for row in rows} == {api.organization.id}
    table = session.ask("GET", "…/audit-events/export?format=csv")
    assert table.content_type == "text/csv; charset=utf-8"
    assert 'filename="audit-analytical-engines-live.csv"' in table.headers["Content-Disposition"]
    assert len(list(csv.reader(io.StringIO(table.text)))) > 4
    noted = api.gatepost.audit_rows("audit_log.exported")
    assert [(row.organization_id, row.details["format"]) for row in noted] == [
        (api.organization.id, "ndjson"),
        (api.organization.id, "csv"),
    ]
    refused(session.ask("GET", "…/audit-events/export?format=xml"), 400, "invalid_request")
    session.ask("HEAD", "…/audit-events/export")
    assert len(api.gatepost.audit_rows("audit_log.exported")) == 2
