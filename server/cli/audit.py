"""`gatepost audit`: who did what, when and from where."""

from __future__ import annotations

import click

from server.cli.console import json_option, operator_work, show_table
from server.domain.audit_events import AuditEvent
from server.domain.audit_log import list_recent


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
                "actor": f"{row.actor_kind} {row.actor_id or ''}".strip(),
                "user": row.user_id,
                "client": row.client_id,
                "ip": row.ip,
                "details": row.details
                if as_json
                else " ".join(f"{name}={value}" for name, value in row.details.items()),
            }
            for row in list_recent(work, AuditEvent(event) if event else None, lines)
        ]
    show_table(rows, as_json, empty="Nothing has happened yet.")
