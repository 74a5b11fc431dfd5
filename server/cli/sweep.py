"""`gatepost sweep`: housekeeping by hand."""

from __future__ import annotations

import click

from server.cli.console import json_option, operator_work, show
from server.domain import audit_chain
from server.domain.housekeeping import BATCH
from server.domain.housekeeping import sweep as sweep_once


@click.command()
@json_option
def sweep(as_json: bool) -> None:
    """Remove rows that have no use any more, and seal the audit log. `gatepost serve` does both every minute."""
    total: dict[str, int] = {}
    is_more_due = True
    while is_more_due:
        with operator_work() as work:
            removed = sweep_once(work)
        for name, count in removed.items():
            total[name] = total.get(name, 0) + count
        is_more_due = any(count >= BATCH for count in removed.values())
    _seal_audit_rows()
    if total or as_json:
        show(total, as_json)
    else:
        click.echo("There was nothing to remove.")


def _seal_audit_rows() -> None:
    is_more_due = True
    while is_more_due:
        with operator_work() as work:
            is_more_due = audit_chain.may_be_more(work, audit_chain.seal(work, wait=True))
