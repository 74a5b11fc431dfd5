"""Audit rows as lines of text for other programs: one JSON object a line, or a table for spreadsheets (RFC 4180)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from server.domain.audit_records import AuditRecord
from server.infra.logging import printable

#: A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection); the wide ones are read as the narrow.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
MEMBERS: Final = (
    "id",
    "at",
    "event",
    "actor_kind",
    "actor_id",
    "user_id",
    "client_id",
    "organization_id",
    "environment",
    "ip",
    "user_agent",
    "request_id",
    "details",
)


def as_document(row: AuditRecord) -> dict[str, Any]:
    """A row as an export has it."""
    document = {name: getattr(row, name) for name in MEMBERS}
    return document | {"at": row.at.isoformat(timespec="microseconds")}


def json_lines(documents: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """One JSON object a line, ASCII throughout."""
    for document in documents:
        yield json.dumps(document) + "\n"


def csv_lines(documents: Iterable[Mapping[str, Any]], names: Iterable[str] = MEMBERS) -> Iterator[str]:
    """A table with the names at its head; no cell is a formula, whatever was put into the log."""
    yield _line(names)
    for document in documents:
        yield _line(_cell(value) for value in document.values())


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _cell(value: Any) -> str:
    text = "" if value is None else json.dumps(value) if isinstance(value, dict) else printable(str(value))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
