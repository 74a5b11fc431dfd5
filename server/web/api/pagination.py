"""Lists a page at a time: a cursor names the moment and id after which the next page begins, so that nothing is skipped
or told twice when things are added or removed meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias, TypeVar

from server.web.api.documents import PageQuery
from server.web.api.error_answers import Refusal

Row = TypeVar("Row")
#: What stands in a cursor goes to the database.
_ROW_ID: Final = re.compile(r"[0-9A-Za-z._~-]{0,100}")
Position: TypeAlias = tuple[datetime, str]


def one_page(
    rows: Sequence[Row], query: PageQuery, position_of: Callable[[Row], Position]
) -> tuple[list[Row], str | None]:
    """The rows of the page, oldest first, and the cursor of the next one.

    Raises:
        Refusal: when the cursor is none of ours.
    """
    after = position_after(query)
    ordered = sorted(rows, key=position_of)
    return cut([row for row in ordered if after is None or position_of(row) > after], query, position_of)


def position_after(query: PageQuery) -> Position | None:
    """After which row the page begins; None for the first page.

    Raises:
        Refusal: when the cursor is none of ours.
    """
    return _read(query.cursor) if query.cursor is not None else None


def cut(rows: Sequence[Row], query: PageQuery, position_of: Callable[[Row], Position]) -> tuple[list[Row], str | None]:
    """The page out of the rows that come after the cursor, oldest first, and the next cursor if there are more."""
    page = list(rows[: query.limit])
    return page, _write(position_of(page[-1])) if len(rows) > query.limit else None


def _write(position: Position) -> str:
    at, row_id = position
    return base64.urlsafe_b64encode(json.dumps([at.isoformat(), row_id]).encode()).decode().rstrip("=")


def _read(cursor: str) -> Position:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        at, row_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not _ROW_ID.fullmatch(row_id):
            raise ValueError("no position")
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, binascii.Error, RecursionError) as error:
        raise Refusal(400, "cursor: this is none of ours; begin without one.") from error
    return moment, row_id
