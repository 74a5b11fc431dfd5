"""The audit log of an organization: who did what, to what, from where and when; and a file of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from flask import request
from flask.wrappers import Response

from server.domain.audit_events import AuditEvent
from server.domain.audit_export import as_document, csv_lines, json_lines
from server.domain.audit_log import record
from server.domain.audit_names import names_in
from server.domain.audit_records import AuditRecord
from server.domain.audit_search import AuditFilter, AuditPage, every_row, search
from server.domain.errors import Invalid
from server.web.context import current_gatepost
from server.web.dashboard.shell import OrganizationShell, Problem
from server.web.one_at_a_time import STREAMS

_FIELDS: Final = ("event", "who", "what", "where", "since", "until", "both")
_LABELS: Final = {
    "event": "What happened",
    "who": "Who",
    "what": "About",
    "where": "From address",
    "since": "From day",
    "until": "To day",
}
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 2999
_FORMS: Final = {"csv": ("text/csv", csv_lines), "ndjson": ("application/x-ndjson", json_lines)}
#: What the row says in columns of its own.
_SHOWN: Final = frozenset({"organization_id", "environment"})
_WORDS: Final = {"client": "application", "api": "API", "jwt": "JWT", "id": "ID", "uri": "URI", "ip": "IP"}
_ACTORS: Final = {
    "operator": "The operator",
    "anonymous": "Somebody not signed in",
    "user": "A person",
    "client": "An application",
    "api_key": "An API key",
}


@dataclass(frozen=True)
class AuditLine:
    """One row as the page shows it."""

    row: AuditRecord
    what: str
    who: str
    who_kind: str
    #: What it was done to: names, or ids where there are none.
    about: list[str]
    details: list[tuple[str, str]]


def show_audit_log(shell: OrganizationShell) -> Response:
    """The newest rows that fit, and the form to look for others."""
    asked = {name: request.values.get(name, "").strip() for name in _FIELDS}
    page, shell = _page(shell, asked)
    here = shell.url("audit-log")
    names = names_in(shell.work, shell.organization.id, page.rows)
    return shell.render(
        "dashboard/audit_log.html",
        400 if shell.problem and shell.problem.errors else 200,
        asked=asked,
        labels=_LABELS,
        is_narrowed=any(asked.values()),
        events=_events(),
        lines=[_line(row, names) for row in page.rows],
        looked_back_to=page.looked_back_to,
        older_url=f"{here}?{urlencode(_given(asked) | {'cursor': page.next_cursor})}" if page.next_cursor else None,
        newest_url=f"{here}?{urlencode(_given(asked))}" if request.args.get("cursor") else None,
        here=here,
        export_action=f"{here}/export",
    )


def export_audit_log(shell: OrganizationShell) -> Response:
    """All rows that fit, as a file that is made while it is sent; who takes it leaves a row too."""
    asked = {name: request.form.get(name, "").strip() for name in _FIELDS}
    form = request.form.get("format", "")
    if form not in _FORMS:
        raise Invalid("format", "The file is CSV or NDJSON.")
    sought = _filter(shell, asked)
    sought.check()
    told = {f"sought_{name}": value for name, value in _given(asked).items()}
    place = {"organization_id": shell.organization.id, "environment": sought.environment}
    record(shell.work, AuditEvent.AUDIT_LOG_EXPORTED, format=form, **place, **told)
    runtime = current_gatepost().runtime
    mimetype, lines = _FORMS[form]
    documents = (as_document(row) for row in every_row(runtime, sought))
    request.environ[STREAMS] = True
    response = Response((line.encode() for line in lines(documents)), mimetype=mimetype)
    name = f"audit-log-{shell.organization.slug}-{shell.work.now:%Y-%m-%d}.{form}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def _page(shell: OrganizationShell, asked: Mapping[str, str]) -> tuple[AuditPage, OrganizationShell]:
    try:
        return search(shell.work, _filter(shell, asked), request.args.get("cursor")), shell
    except Invalid as fault:
        problem = Problem("Nothing can be looked for like this.", {fault.field: str(fault)})
        return AuditPage([], None, None), replace(shell, problem=problem)


def _filter(shell: OrganizationShell, asked: Mapping[str, str]) -> AuditFilter:
    until = _day(asked["until"], "until")
    return AuditFilter(
        shell.organization.id,
        environment=None if asked["both"] else shell.environment,
        event=asked["event"] or None,
        who=asked["who"] or None,
        what=asked["what"] or None,
        where=asked["where"] or None,
        since=_day(asked["since"], "since"),
        # The last day is meant as a whole.
        until=until + timedelta(days=1) if until is not None else None,
    )


def _day(text: str, field: str) -> datetime | None:
    if not text:
        return None
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid(field, "A day is written like 2026-01-31.") from error
    if not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise Invalid(field, f"The log knows the years from {_FIRST_YEAR} to {_LAST_YEAR}.")
    return day


def _given(asked: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in asked.items() if value}


def _line(row: AuditRecord, names: Mapping[str, str]) -> AuditLine:
    kind = _ACTORS.get(row.actor_kind, in_words(row.actor_kind))
    who = names.get(row.actor_id or "", row.actor_id or kind)
    about = dict.fromkeys(each for each in (row.client_id, row.user_id, *_named(row, names)) if each != row.actor_id)
    details = [(in_words(name), _text(value)) for name, value in row.details.items() if name not in _SHOWN]
    return AuditLine(row, in_words(row.event), who, kind, [names.get(each, each) for each in about if each], details)


def _named(row: AuditRecord, names: Mapping[str, str]) -> Iterator[str]:
    return (value for value in row.details.values() if isinstance(value, str) and value in names)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _events() -> list[tuple[str, list[tuple[str, str]]]]:
    """Every event by what it is about, and each group as a whole."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for event in sorted(AuditEvent):
        noun = event.value.partition(".")[0]
        group = groups.setdefault(noun, [(f"{noun}.*", f"{in_words(noun)}: anything")])
        group.append((event.value, in_words(event.value)))
    return [(in_words(noun), events) for noun, events in groups.items()]


def in_words(name: str) -> str:
    """`client.secret.rotated` as a person reads it."""
    words: Iterable[str] = name.replace(".", " ").replace("_", " ").split()
    text = " ".join(_WORDS.get(word, word) for word in words)
    return text[:1].upper() + text[1:]
