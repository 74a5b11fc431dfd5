"""`/v1/organizations/{organization}/audit-events`: who did what in the organization, to look at and to take along."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import request
from flask.wrappers import Response
from pydantic import Field

from server.domain import audit_log
from server.domain.audit_events import AuditEvent
from server.domain.audit_export import as_document, csv_lines, json_lines
from server.domain.audit_records import AuditRecord
from server.domain.audit_search import AuditFilter, every_row, search
from server.web.api.admission import Call
from server.web.api.documents import Document, EnvironmentPageQuery, InEnvironment, Moment, Text
from server.web.one_at_a_time import STREAMS

EventName = Annotated[str, Field(max_length=100, pattern=r"^[a-z_]+(\.[a-z_]+)*(\.\*)?$")]
Sought = Annotated[Text, Field(max_length=254)]


class AuditActor(Document):
    """Who acted."""

    kind: str = Field(description="`user`, `client`, `api_key`, `operator` or `anonymous`.")
    id: str | None


class AuditEventDocument(Document):
    """One thing that happened."""

    id: int
    at: datetime
    event: str
    actor: AuditActor
    user_id: str | None
    client_id: str | None
    environment: str | None = Field(description="`null` for what belongs to the organization as a whole.")
    ip: str | None
    user_agent: str | None
    request_id: str | None
    details: dict[str, Any]


class AuditEventPage(Document):
    """Some of them, newest first."""

    data: list[AuditEventDocument]
    next_cursor: str | None = Field(
        description="Send it as `cursor` to look further back; a page may be empty and yet have one."
    )


class AuditEventQuery(EnvironmentPageQuery):
    """What is looked for; everything that is said must hold."""

    event: EventName | None = Field(default=None, description="`client.created`, or a group: `client.*`.")
    who: Sought | None = Field(default=None, description="The id of an actor, or a kind of them.")
    what: Sought | None = Field(default=None, description="What it was done to: an id.")
    where: Sought | None = Field(default=None, description="An address or a network.")
    since: Moment | None = Field(default=None, description="From then on.")
    until: Moment | None = Field(default=None, description="Before then.")


class AuditExportQuery(InEnvironment):
    """What is exported, and how."""

    format: Literal["ndjson", "csv"] = "ndjson"
    event: EventName | None = None
    since: Moment | None = None
    until: Moment | None = None


def list_audit_events(call: Call) -> AuditEventPage:
    """The newest ones first."""
    query: AuditEventQuery = call.query
    sought = AuditFilter(
        organization_id=call.organization.id,
        environment=call.environment,
        event=query.event,
        who=query.who,
        what=query.what,
        where=query.where,
        since=query.since,
        until=query.until,
    )
    page = search(call.work, sought, query.cursor, query.limit)
    return AuditEventPage(data=[_document(row) for row in page.rows], next_cursor=page.next_cursor)


def export(call: Call) -> Response:
    """All of them, oldest first, as they come out of the database. Taking them along leaves a row itself."""
    query: AuditExportQuery = call.query
    sought = AuditFilter(
        call.organization.id, call.environment, event=query.event, since=query.since, until=query.until
    )
    sought.check()
    place = {"organization_id": call.organization.id, "environment": call.environment}
    audit_log.record(call.work, AuditEvent.AUDIT_LOG_EXPORTED, format=query.format, **place)
    documents = (as_document(row) for row in every_row(call.work.runtime, sought))
    request.environ[STREAMS] = True
    lines = csv_lines(documents) if query.format == "csv" else json_lines(documents)
    media_type = "text/csv; charset=utf-8" if query.format == "csv" else "application/x-ndjson"
    response = Response(_encoded(lines), content_type=media_type)
    name = f"audit-{call.organization.slug}-{call.environment}.{query.format}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    for line in lines:
        yield line.encode()


def _document(row: AuditRecord) -> AuditEventDocument:
    return AuditEventDocument(
        id=row.id,
        at=row.at,
        event=row.event,
        actor=AuditActor(kind=row.actor_kind, id=row.actor_id),
        user_id=row.user_id,
        client_id=row.client_id,
        environment=row.environment,
        ip=row.ip,
        user_agent=row.user_agent,
        request_id=row.request_id,
        details=row.details,
    )
