"""`gatepost audit`: who did what, when and from where, and whether anybody altered the record of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from server.cli.console import json_option, operator_work, show_table
from server.domain.audit_chain import Checkpoint, Progress, find_fault, find_head, may_be_more, seal, sealed_rows
from server.domain.audit_events import AuditEvent
from server.domain.audit_export import csv_lines, json_lines
from server.domain.audit_log import record
from server.domain.audit_records import AuditRecord
from server.domain.audit_search import AuditFilter, every_row, search
from server.domain.organizations import find_organization
from server.domain.policy.environments import ENVIRONMENTS
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.infra.logging import printable

_DAYS: Final = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")
_EVENTS: Final = sorted({each for event in AuditEvent for each in (event.value, f"{event.value.partition('.')[0]}.*")})
_COLUMNS: Final = (
    *("sequence", "digest", "id", "at", "event", "actor_kind", "actor_id", "user_id", "client_id"),
    *("ip", "user_agent", "request_id", "details"),
)
_POLL_SECONDS: Final = 1.0
#: How long after its moment a row may become visible: when its transaction ends.
_LATE: Final = timedelta(seconds=10)


@click.group()
def audit() -> None:
    """Read the audit log."""


_narrowed = (
    click.option("--organization", metavar="ID", help="Only of this organization, by its id or its name in URLs."),
    click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Only of this environment."),
)


def _narrowing(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_narrowed):
        command = option(command)
    return command


@audit.command()
@click.option("--event", type=click.Choice(_EVENTS), metavar="EVENT", help="Only events of this name, or `client.*`.")
@click.option("--who", metavar="ID", help="Only of this actor, or of a kind such as `operator`.")
@click.option("--what", metavar="ID", help="Only about this client, person, key or whatever has an id.")
@click.option("--where", metavar="NETWORK", help="Only from this address or network.")
@_narrowing
@click.option("--lines", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, oldest first, until Ctrl-C.")
@json_option
def tail(lines: int, follow: bool, as_json: bool, **sought: str | None) -> None:
    """Show the newest events, newest first."""
    with operator_work() as work:
        wanted = _filter(work, **sought)
        rows = _newest(work, wanted, lines)
        if follow:
            # Nothing is locked while one waits.
            work.db.rollback()
            _follow(work.runtime, wanted, rows, as_json)
            return
    show_table([_told(row, as_json) for row in rows], as_json, empty="Nothing has happened yet.")


@audit.command()
@click.option("--since", type=click.DateTime(_DAYS), help="From this moment on, UTC.")
@click.option("--until", type=click.DateTime(_DAYS), help="Before this moment, UTC.")
@_narrowing
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "ndjson", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object a line (jsonl and ndjson are the same), or a table for spreadsheets.",
)
def export(
    since: datetime | None, until: datetime | None, organization: str | None, environment: str | None, form: str
) -> None:
    """Write the sealed rows to standard output, oldest first.

    The last line of jsonl is a checkpoint of the whole log: keep it away from the database, and `gatepost audit verify
    --against FILE` finds what is cut off later. What is written of one organization has none.
    """
    with operator_work() as work:
        wanted = _filter(work, organization, environment)
        place = {"organization_id": wanted.organization_id, "environment": environment}
        told = {name: value for name, value in place.items() if value is not None}
        # Who reads everything leaves a mark too, and it is in what they read.
        record(work, AuditEvent.AUDIT_LOG_EXPORTED, since=_text(since), until=_text(until), **told)
    _seal_all()
    with operator_work() as work, _progress("Exporting", work) as progress:
        rows = _reached(sealed_rows(work, _utc(since), _utc(until)), progress)
        documents = (_exported(row) for row in rows if _is_wanted(row, wanted))
        for line in csv_lines(documents, _COLUMNS) if form == "csv" else json_lines(documents):
            click.echo(line, nl=False)
        head = find_head(work)
        if form != "csv" and wanted.organization_id is None and head is not None:
            click.echo(json.dumps({"checkpoint": {"sequence": head.sequence, "digest": head.digest}}))


@audit.command()
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of `gatepost audit export`: what was cut off since then is found too.",
)
def verify(against: Path | None) -> None:
    """Check that no sealed row was altered, removed, moved or put in between; exit code 1 names the first."""
    checkpoint = _read_checkpoint(against) if against else None
    _seal_all()
    with operator_work() as work:
        with _progress("Verifying", work) as progress:
            fault = find_fault(work, checkpoint, progress)
        head = find_head(work)
    if fault is not None:
        place = f"sequence {fault.sequence}: " if fault.sequence is not None else ""
        raise click.ClickException(f"The audit log does not hold at {place}{fault.message}.")
    click.echo(f"All {head.sequence if head else 0} sealed rows hold.")


def _filter(work: UnitOfWork, organization: str | None, environment: str | None, **sought: Any) -> AuditFilter:
    known = find_organization(work, organization) if organization else None
    if organization and known is None:
        raise click.ClickException(f"There is no organization {printable(organization)}.")
    return AuditFilter(known.id if known else None, environment, **sought)


def _newest(work: UnitOfWork, wanted: AuditFilter, lines: int) -> list[AuditRecord]:
    rows: list[AuditRecord] = []
    cursor: str | None = None
    while len(rows) < lines:
        page = search(work, wanted, cursor, lines - len(rows))
        rows += page.rows
        cursor = page.next_cursor
        if cursor is None:
            break
    return rows


def _follow(runtime: Runtime, wanted: AuditFilter, rows: list[AuditRecord], as_json: bool) -> None:
    """Tells the rows, oldest first, and then whatever comes; a row may become visible after younger ones."""
    seen = {row.id: row.at for row in rows}
    newest = max(seen.values(), default=runtime.clock.now())
    fresh = rows[::-1]
    try:
        while True:
            for row in fresh:
                click.echo(_line(_told(row, as_json), as_json))
            newest = max([newest, *(row.at for row in fresh)])
            seen = {each: at for each, at in seen.items() if at >= newest - 2 * _LATE}
            time.sleep(_POLL_SECONDS)
            recent = every_row(runtime, replace(wanted, since=newest - _LATE))
            fresh = [row for row in recent if row.id not in seen]
            seen |= {row.id: row.at for row in fresh}
    except KeyboardInterrupt:
        return


def _told(row: AuditRecord, as_json: bool) -> dict[str, Any]:
    return {
        "at": row.at.isoformat(timespec="seconds"),
        "event": row.event,
        "actor": _shown(f"{row.actor_kind} {row.actor_id or ''}".strip(), as_json),
        "user": _shown(row.user_id, as_json),
        "client": _shown(row.client_id, as_json),
        "ip": _shown(row.ip, as_json),
        "details": row.details
        if as_json
        else printable(" ".join(f"{name}={value}" for name, value in row.details.items())),
    }


def _line(told: dict[str, Any], as_json: bool) -> str:
    return json.dumps(told) if as_json else "  ".join(str(value) for value in told.values() if value)


def _is_wanted(row: Any, wanted: AuditFilter) -> bool:
    """By what is sealed; the columns of the same names are for finding rows quickly."""
    if wanted.organization_id is not None and row.details.get("organization_id") != wanted.organization_id:
        return False
    return wanted.environment is None or row.details.get("environment") in (None, wanted.environment)


def _seal_all() -> None:
    is_more_due = True
    while is_more_due:
        with operator_work() as work:
            is_more_due = may_be_more(work, seal(work, wait=True))


@contextmanager
def _progress(label: str, work: UnitOfWork) -> Iterator[Progress]:
    """A bar on the terminal, and nothing where nobody watches."""
    head = find_head(work)
    length = head.sequence if head else 0
    with click.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def reach(sequence: int) -> None:
            if sequence % 1000 == 0:
                bar.update(sequence - bar.pos)

        yield reach


def _reached(rows: Iterator[Any], progress: Progress) -> Iterator[Any]:
    for row in rows:
        progress(row.sequence)
        yield row


def _exported(row: Any) -> dict[str, Any]:
    return {**row._mapping, "at": row.at.isoformat(timespec="microseconds")}


def _read_checkpoint(path: Path) -> Checkpoint:
    try:
        *_, last = path.read_text(encoding="utf-8").splitlines()
        found = json.loads(last)["checkpoint"]
        return Checkpoint(int(found["sequence"]), str(found["digest"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.ClickException(f"{path} does not end in a checkpoint of `gatepost audit export`.") from error


def _shown(text: str | None, as_json: bool) -> str | None:
    return text if as_json or text is None else printable(text)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment else None


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
