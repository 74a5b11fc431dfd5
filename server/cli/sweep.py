"""`gatepost sweep`: housekeeping by hand."""

from __future__ import annotations

import click

from server.cli.console import json_option, operator_work, show
from server.domain.housekeeping import BATCH
from server.domain.housekeeping import sweep as sweep_once


@click.command()
@json_option
def sweep(as_json: bool) -> None:
    """Remove rows that have no use any more. `gatepost serve` does so every minute; nothing depends on it."""
    total: dict[str, int] = {}
    is_more_due = True
    while is_more_due:
        with operator_work() as work:
            removed = sweep_once(work)
        for name, count in removed.items():
            total[name] = total.get(name, 0) + count
        is_more_due = any(count >= BATCH for count in removed.values())
    if total or as_json:
        show(total, as_json)
    else:
        click.echo("There was nothing to remove.")
