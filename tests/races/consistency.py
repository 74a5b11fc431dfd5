"""What must be true of the database whatever happened to the processes above it: one sentence and one query each.

A query selects the rows that contradict its sentence. They are plain SQL on purpose, so that a fault of the server's
own rules cannot hide itself; both databases understand them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import create_engine, make_url, text


@dataclass(frozen=True)
class Invariant:
    """A sentence about the rows, and the query for those that contradict it."""

    sentence: str
    contradictions: str


_FIRST_TOKENS = "SELECT COUNT(*) FROM refresh_tokens r WHERE r.grant_id = c.grant_id AND r.predecessor_id IS NULL"
_SUCCESSORS = "SELECT COUNT(*) FROM refresh_tokens s WHERE s.predecessor_id = p.id"

INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "R-15: no algorithm has two active keys.",
        "SELECT algorithm FROM signing_keys WHERE state = 'active' GROUP BY algorithm HAVING COUNT(*) > 1",
    ),
    Invariant(
        "INV-01, R-03: a spent code gave exactly one token set.",
        f"SELECT code_digest FROM authorization_codes c WHERE c.consumed_at IS NOT NULL AND ({_FIRST_TOKENS}) <> 1",
    ),
    Invariant(
        "INV-02: an unspent code gave nothing.",
        f"SELECT code_digest FROM authorization_codes c WHERE c.consumed_at IS NULL AND ({_FIRST_TOKENS}) <> 0",
    ),
    Invariant(
        "A grant has exactly one code.",
        "SELECT g.id FROM grants g WHERE (SELECT COUNT(*) FROM authorization_codes c WHERE c.grant_id = g.id) <> 1",
    ),
    Invariant(
        "R-03: a spent refresh token has exactly one successor.",
        f"SELECT id FROM refresh_tokens p WHERE p.consumed_at IS NOT NULL AND ({_SUCCESSORS}) <> 1",
    ),
    Invariant(
        "An unspent refresh token has no successor.",
        f"SELECT id FROM refresh_tokens p WHERE p.consumed_at IS NULL AND ({_SUCCESSORS}) <> 0",
    ),
    Invariant(
        "INV-03: a family has exactly one unspent leaf.",
        "SELECT grant_id FROM refresh_tokens GROUP BY grant_id"
        " HAVING SUM(CASE WHEN consumed_at IS NULL THEN 1 ELSE 0 END) <> 1",
    ),
    Invariant(
        "A successor is of its predecessor's grant and client.",
        "SELECT s.id FROM refresh_tokens s JOIN refresh_tokens p ON p.id = s.predecessor_id"
        " WHERE s.grant_id <> p.grant_id OR s.client_id <> p.client_id",
    ),
    Invariant(
        "A revoked grant says why, and an unrevoked one does not.",
        "SELECT id FROM grants WHERE (revoked_at IS NULL) <> (revocation_reason IS NULL)",
    ),
    Invariant(
        "Each rotation was recorded, and nothing was recorded that did not happen.",
        "SELECT spent, recorded FROM"
        " (SELECT COUNT(*) AS spent FROM refresh_tokens WHERE consumed_at IS NOT NULL) AS a,"
        " (SELECT COUNT(*) AS recorded FROM audit_events WHERE event = 'refresh_token.rotated') AS b"
        " WHERE spent <> recorded",
    ),
    Invariant(
        "Each revoked grant was recorded once.",
        "SELECT revoked, recorded FROM"
        " (SELECT COUNT(*) AS revoked FROM grants WHERE revoked_at IS NOT NULL) AS a,"
        " (SELECT COUNT(*) AS recorded FROM audit_events WHERE event = 'grant.revoked') AS b"
        " WHERE revoked <> recorded",
    ),
)


def contradictions(database_url: str, invariants: Sequence[Invariant] = INVARIANTS) -> list[str]:
    """Every broken invariant in words, with how many rows contradict it and the first of them; empty when all hold."""
    url = make_url(database_url)
    is_sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(url if is_sqlite else url.set(drivername="postgresql+psycopg"))
    faults = []
    with engine.connect() as connection:
        # The server asks nobody for a token's successor; these questions ask for everybody's.
        connection.execute(text("CREATE INDEX IF NOT EXISTS ix_by_predecessor ON refresh_tokens (predecessor_id)"))
        for invariant in invariants:
            rows = connection.execute(text(invariant.contradictions)).all()
            if rows:
                faults.append(f"{invariant.sentence} {len(rows)} rows contradict it, such as {tuple(rows[0])}")
        if is_sqlite:
            for pragma in ("integrity_check", "foreign_key_check"):
                answers = [tuple(row) for row in connection.execute(text(f"PRAGMA {pragma}"))]
                if answers not in ([], [("ok",)]):
                    faults.append(f"SQLite's {pragma} found {answers[:3]}")
    engine.dispose()
    return faults


def count(database_url: str, query: str) -> int:
    """The number that a query answers."""
    url = make_url(database_url)
    engine = create_engine(url if url.get_backend_name() == "sqlite" else url.set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            return int(connection.execute(text(query)).scalar_one())
    finally:
        engine.dispose()
