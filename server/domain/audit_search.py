"""Looking things up in the audit log: who did what, to what, from where and when, newest first, a page at a time.

However many rows there are, one page costs a bounded span of them: a rare event in a long log is found by going on from
where the last page ended.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from sqlalchemy import ColumnElement, Select, Text, and_, cast, or_, select
from sqlalchemy.orm import Session

from server.domain.audit_records import AuditRecord
from server.domain.errors import Invalid
from server.domain.unit_of_work import Runtime, UnitOfWork

PAGE: Final = 50
LARGEST_PAGE: Final = 500
#: How many rows one page looks through at most, and how many an export reads at once.
_SPAN: Final = 10_000
_BATCH: Final = 1000
_EVENT: Final = re.compile(r"[a-z_]+(?:\.[a-z_]+)*(?:\.\*)?")
_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})")
_LONGEST: Final = 254
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
_Position: TypeAlias = tuple[datetime, int]


@dataclass(frozen=True)
class AuditFilter:
    """What is looked for; everything that is named must hold.

    `organization_id` has no default, so that nobody reads another organization's rows by leaving it out: None means the
    whole deployment, which is the operator's alone.
    """

    organization_id: str | None
    environment: str | None = None
    #: The name of an event, or of a group of them: `client.secret.*`.
    event: str | None = None
    #: Who did it: the id of an actor, or a kind of them such as `operator`.
    who: str | None = None
    #: What it was done to: an id, wherever the row names it.
    what: str | None = None
    #: From where: an address, or a network such as `192.0.2.0/24`.
    where: str | None = None
    #: From this moment on.
    since: datetime | None = None
    #: Before this moment.
    until: datetime | None = None

    def check(self) -> None:
        """Refuses what nothing could be found by.

        Raises:
            Invalid: naming the field.
        """
        if self.event is not None and not _EVENT.fullmatch(self.event):
            raise Invalid("event", "An event is named like client.created, a group of them like client.*.")
        for name in ("who", "what"):
            value = getattr(self, name) or ""
            if len(value) > _LONGEST or not value.isprintable():
                raise Invalid(name, f"This has at most {_LONGEST} printable characters.")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise Invalid("until", "The end is after the beginning.")
        _network(self.where)


@dataclass(frozen=True)
class AuditPage:
    """Some rows, newest first, and how to go on."""

    rows: Sequence[AuditRecord]
    #: What the next page begins with; None at the end of the log.
    next_cursor: str | None
    #: How far back was looked when the page is not full and yet not the last.
    looked_back_to: datetime | None


def search(work: UnitOfWork, sought: AuditFilter, cursor: str | None = None, limit: int = PAGE) -> AuditPage:
    """The newest rows that fit, from `cursor` on if there is one.

    Raises:
        Invalid: when a filter or the cursor is none of ours.
    """
    sought.check()
    size = max(1, min(limit, LARGEST_PAGE))
    span = _newest_first(sought, _read_cursor(cursor) if cursor is not None else None)
    rows: list[AuditRecord] = []
    # Most searches find a page nearby; only the others pay for the whole span.
    for looked_through in (min(4 * size, _SPAN), _SPAN):
        rows = _matches(work, sought, span.limit(looked_through), size + 1)
        if len(rows) > size:
            return AuditPage(rows[:size], _cursor(rows[size - 1].at, rows[size - 1].id), None)
    last = work.db.execute(span.offset(_SPAN - 1).limit(1)).first()
    return AuditPage(rows, _cursor(last.at, last.id), last.at) if last else AuditPage(rows, None, None)


def _matches(work: UnitOfWork, sought: AuditFilter, span: Select[int, datetime], at_most: int) -> list[AuditRecord]:
    """The newest rows of the span that fit; networks are compared here, as not every database knows them."""
    network = _network(sought.where)
    query = _those_of(span, sought).order_by(AuditRecord.at.desc(), AuditRecord.id.desc())
    if network is None:
        query = query.limit(at_most)
    return [row for row in work.db.scalars(query) if _is_within(row.ip, network)]


def every_row(runtime: Runtime, sought: AuditFilter) -> Iterator[AuditRecord]:
    """All rows that fit, oldest first, some hundred in memory at a time, over a connection of its own.

    It needs neither a transaction nor the turn of a request: an answer that takes minutes keeps nobody waiting.
    """
    network = _network(sought.where)
    position: _Position | None = None
    while True:
        span = _oldest_first(sought, position)
        query = _those_of(span.limit(_BATCH), sought).order_by(AuditRecord.at, AuditRecord.id)
        with Session(runtime.autocommit.engine, expire_on_commit=False) as db:
            rows = [row for row in db.scalars(query) if _is_within(row.ip, network)]
            last = db.execute(span.offset(_BATCH - 1).limit(1)).first()
        yield from rows
        if last is None:
            return
        position = last.at, last.id


def _newest_first(sought: AuditFilter, position: _Position | None) -> Select[int, datetime]:
    """The rows before the position that are looked through: found by what the index knows alone."""
    query = select(AuditRecord.id, AuditRecord.at).where(*_bounds(sought))
    if position is not None:
        at, row_id = position
        is_before = or_(AuditRecord.at < at, and_(AuditRecord.at == at, AuditRecord.id < row_id))
        query = query.where(AuditRecord.at <= at, is_before)
    return query.order_by(AuditRecord.at.desc(), AuditRecord.id.desc())


def _oldest_first(sought: AuditFilter, position: _Position | None) -> Select[int, datetime]:
    """The same in the other direction."""
    query = select(AuditRecord.id, AuditRecord.at).where(*_bounds(sought))
    if position is not None:
        at, row_id = position
        is_after = or_(AuditRecord.at > at, and_(AuditRecord.at == at, AuditRecord.id > row_id))
        query = query.where(AuditRecord.at >= at, is_after)
    return query.order_by(AuditRecord.at, AuditRecord.id)


def _those_of(span: Select[int, datetime], sought: AuditFilter) -> Select[AuditRecord]:
    inner = span.subquery()
    return select(AuditRecord).join(inner, inner.c.id == AuditRecord.id).where(*_conditions(sought))


def _bounds(sought: AuditFilter) -> Iterator[ColumnElement[bool]]:
    if sought.organization_id is not None:
        yield AuditRecord.organization_id == sought.organization_id
    if sought.since is not None:
        yield AuditRecord.at >= sought.since
    if sought.until is not None:
        yield AuditRecord.at < sought.until


def _conditions(sought: AuditFilter) -> Iterator[ColumnElement[bool]]:
    if sought.environment is not None:
        # What belongs to the organization as a whole happened in both environments.
        yield or_(AuditRecord.environment == sought.environment, AuditRecord.environment.is_(None))
    if sought.event is not None and sought.event.endswith(".*"):
        yield AuditRecord.event.startswith(sought.event.removesuffix("*"), autoescape=True)
    elif sought.event is not None:
        yield AuditRecord.event == sought.event
    if sought.who is not None:
        yield or_(AuditRecord.actor_id == sought.who, AuditRecord.actor_kind == sought.who)
    if sought.what is not None:
        named = cast(AuditRecord.details, Text).contains(json.dumps(sought.what), autoescape=True)
        yield or_(AuditRecord.client_id == sought.what, AuditRecord.user_id == sought.what, named)


def _network(where: str | None) -> _Network | None:
    if where is None:
        return None
    try:
        return ipaddress.ip_network(where, strict=False)
    except ValueError as error:
        raise Invalid("where", "This is an IP address or a network such as 192.0.2.0/24.") from error


def _is_within(ip: str | None, network: _Network | None) -> bool:
    try:
        return network is None or (ip is not None and ipaddress.ip_address(ip) in network)
    except ValueError:
        # Behind some sockets there is no address.
        return False


def _cursor(at: datetime, row_id: int) -> str:
    return f"{(at - _EPOCH) // timedelta(microseconds=1)}-{row_id}"


def _read_cursor(cursor: str) -> _Position:
    match = _CURSOR.fullmatch(cursor)
    try:
        if match is not None:
            return _EPOCH + timedelta(microseconds=int(match[1])), int(match[2])
    except OverflowError:
        match = None
    raise Invalid("cursor", "This page of the log is none of ours; begin with the newest.")
