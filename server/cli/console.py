"""What the commands share: the configuration, one transaction as operator, and output for people or for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
from sqlalchemy.exc import DatabaseError

from server.config import ConfigurationError, Settings, load_settings
from server.domain.actor import OPERATOR
from server.domain.errors import DomainError, Invalid
from server.domain.unit_of_work import UnitOfWork, open_runtime
from server.infra.database import OUTAGES, open_session
from server.infra.database_clock import command_clock
from server.infra.keyring import KeyringError


def settings_or_exit(**overrides: Any) -> Settings:
    """The configuration, or one plain sentence and exit code 1."""
    try:
        return load_settings(**overrides)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def faults_as_sentences() -> Iterator[None]:
    """Whatever an operator can mend is said in a sentence, with exit code 1."""
    try:
        yield
    except Invalid as error:
        raise click.ClickException(f"{error.field}: {error}") from error
    except (DomainError, KeyringError, ConfigurationError) as error:
        raise click.ClickException(str(error)) from error
    except OUTAGES as error:
        raise click.ClickException(
            "The database does not answer, or was never made. Check GATEPOST_DATABASE_URL and run: gatepost db upgrade"
        ) from error
    except DatabaseError as error:
        raise click.ClickException(
            "The database was never made, or is none. Check GATEPOST_DATABASE_URL and run: gatepost db upgrade"
        ) from error


@contextmanager
def operator_work(settings: Settings | None = None) -> Iterator[UnitOfWork]:
    """One transaction on behalf of the operator; faults become sentences."""
    settings = settings or settings_or_exit()
    with faults_as_sentences():
        runtime = open_runtime(settings, command_clock(settings))
        try:
            with open_session(settings) as db:
                yield UnitOfWork.begin(runtime, db, OPERATOR)
        finally:
            # Before anything forks: a connection that two processes share serves neither.
            runtime.autocommit.dispose()


def show(document: Any, as_json: bool) -> None:
    """Prints one thing: as JSON, or a line for each of its members."""
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    width = max((len(name) for name in document), default=0)
    for name, value in document.items():
        click.echo(f"{name:<{width}}  {_plain(value)}")


def show_table(rows: Sequence[dict[str, Any]], as_json: bool, empty: str) -> None:
    """Prints several things: as a JSON array, or as a table."""
    if as_json:
        click.echo(json.dumps(list(rows), indent=2))
        return
    if not rows:
        click.echo(empty)
        return
    names = list(rows[0])
    widths = [max(len(name), *(len(_plain(row[name])) for row in rows)) for name in names]
    for line in [names, *([_plain(row[name]) for name in names] for row in rows)]:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    return "" if value is None else str(value)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
