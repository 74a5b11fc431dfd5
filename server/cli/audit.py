"""`gatepost audit`: who did what, when and from where, and whether anybody altered the record of it."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from server.cli.console import json_option, operator_work, show_table
from server.domain.audit_chain import Checkpoint, Progress, find_fault, find_head, may_be_more, seal, sealed_rows
from server.domain.audit_events import AuditEvent
from server.domain.audit_log import list_recent, record
from server.domain.unit_of_work import UnitOfWork
from server.infra.logging import printable

_DAYS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ")
#: A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
_FORMULA = ("=", "+", "-", "@")


@click.group()
def audit() -> None:
    """Read the audit log."""


@audit.command()
@click.option("--event", type=click.Choice([event.value for event in AuditEvent]), help="Only events of this kind.")
@click.option("--lines", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@json_option
def tail(event: str | None, lines: int, as_json: bool) -> None:
    """Show the newest events, newest first."""
    with operator_work() as work:
        rows = [
            {
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
            for row in list_recent(work, AuditEvent(event) if event else None, lines)
        ]
    show_table(rows, as_json, empty="Nothing has happened yet.")


@audit.command()
@click.option("--since", type=click.DateTime(_DAYS), help="From this moment on, UTC.")
@click.option("--until", type=click.DateTime(_DAYS), help="Before this moment, UTC.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object a line, or a table for spreadsheets.",
)
def export(since: datetime | None, until: datetime | None, form: str) -> None:
    """Write the sealed rows to standard output, oldest first.

    The last line of jsonl is a checkpoint: keep it away from the database, and `gatepost audit verify --against FILE`
    finds what is cut off later.
    """
    with operator_work() as work:
        # Who reads everything leaves a mark too, and it is in what they read.
        record(work, AuditEvent.AUDIT_LOG_EXPORTED, since=_text(since), until=_text(until))
    _seal_all()
    with operator_work() as work, _progress("Exporting", work) as progress:
        rows = (_exported(row) for row in _reached(sealed_rows(work, _utc(since), _utc(until)), progress))
        if form == "csv":
            _write_csv(rows)
            return
        for row in rows:
            click.echo(json.dumps(row))
        head = find_head(work)
        if head is not None:
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


def _write_csv(rows: Iterator[dict[str, Any]]) -> None:
    writer = csv.writer(sys.stdout)
    for number, row in enumerate(rows):
        if number == 0:
            writer.writerow(row)
        writer.writerow([_cell(value) for value in row.values()])


def _cell(value: Any) -> str:
    text = "" if value is None else json.dumps(value) if isinstance(value, dict) else printable(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


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
