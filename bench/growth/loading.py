"""Fills a database with copies of one client, one person, one grant and one refresh token.

The originals come from Gatepost itself, so that the copies are what it writes; only their keys differ, and follow from
a number, so that every copy can be presented: client `c7` has the secret `cs_7`, person 7 the address
`p7@bench.example`, and the refresh token of grant 7 is `rt_7`. Odd clients are web applications, even ones machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

TABLES = ("users", "clients", "client_secrets", "grants", "refresh_tokens")


def client_id(number: int) -> str:
    """The id of a copied client."""
    return f"c{number}"


def client_secret(number: int) -> str:
    """The secret of a copied client."""
    return f"cs_{number}"


def email(number: int) -> str:
    """The address of a copied person."""
    return f"p{number}@bench.example"


def refresh_token(number: int) -> str:
    """The refresh token under a copied grant."""
    return f"rt_{number}"


def client_of_grant(number: int, rows: int) -> int:
    """The number of the web application that a grant was given to."""
    return 2 * number % rows + 1


_ADDRESS = "'p' || n || '@bench.example'"
_DIGEST = "encode(sha256(('{}' || n)::bytea), 'hex')"
_GRANTEE = "'c' || (2 * n % {rows} + 1)"
_COPIES: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("users", "TRUE", {"id": "'usr_' || n", "email": _ADDRESS, "email_key": _ADDRESS}),
    (
        "clients",
        "original.id = 'web' AND n % 2 = 1 OR original.id = 'machine' AND n % 2 = 0",
        {"id": "'c' || n"},
    ),
    (
        "client_secrets",
        "original.client_id = 'web'",
        {"id": "'s' || n", "client_id": "'c' || n", "secret_digest": _DIGEST.format("cs_")},
    ),
    ("grants", "TRUE", {"id": "'g' || n", "client_id": _GRANTEE, "user_id": "'usr_' || n"}),
    (
        "refresh_tokens",
        "TRUE",
        {"id": "'r' || n", "token_digest": _DIGEST.format("rt_"), "grant_id": "'g' || n", "client_id": _GRANTEE},
    ),
)
"""Table, which of its originals, and the keys of copy number n."""


def fill(url: str, rows: int) -> None:
    """Makes `rows` copies of each original, an even number, and has PostgreSQL look at what it then has."""
    with psycopg.connect(url, autocommit=True) as database:
        # No triggers, and no foreign keys to look up: the copies keep to them by construction.
        database.execute("SET session_replication_role = replica")
        database.execute("SET maintenance_work_mem = '1GB'")
        database.execute("SET synchronous_commit = off")
        restore = _drop_indexes(database)
        for table, where, keys in _COPIES:
            _copy(database, table, where, {name: value.format(rows=rows) for name, value in keys.items()}, rows)
        for statement in restore:
            database.execute(statement)
        for table in TABLES:
            database.execute(sql.SQL("VACUUM (FREEZE, ANALYZE) {}").format(sql.Identifier(table)))


def _copy(database: psycopg.Connection[Any], table: str, where: str, keys: Mapping[str, str], rows: int) -> None:
    query = "SELECT column_name FROM information_schema.columns WHERE table_name = %s ORDER BY ordinal_position"
    columns = [name for (name,) in database.execute(query, (table,))]
    values = [_sql(keys[each]) if each in keys else sql.Identifier("original", each) for each in columns]
    database.execute(
        sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} AS original, generate_series(1, {}) AS n WHERE {}").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(values),
            sql.SQL("(SELECT * FROM {})").format(sql.Identifier(table)),
            sql.Literal(rows),
            _sql(where),
        )
    )


def _sql(text: str) -> sql.SQL:
    # Written above, not by anybody else.
    return sql.SQL(text)


def _drop_indexes(database: psycopg.Connection[Any]) -> list[sql.SQL]:
    """Drops what would be kept up row by row; returns the statements that make it again, in order."""
    constraints = database.execute(
        """SELECT contype, conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
           WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'u', 'p')
           AND (conrelid::regclass::text = ANY(%s) OR confrelid::regclass::text = ANY(%s))
           ORDER BY contype = 'f' DESC""",
        (list(TABLES), list(TABLES)),
    ).fetchall()
    restore = []
    for kind, table, name, definition in constraints:
        database.execute(_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
        unchecked = " NOT VALID" if kind == "f" else ""
        restore.append(_sql(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}{unchecked}"))
    indexes = database.execute(
        "SELECT quote_ident(indexname), indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY(%s)",
        (list(TABLES),),
    ).fetchall()
    for name, definition in indexes:
        database.execute(_sql(f"DROP INDEX {name}"))
        restore.insert(0, _sql(definition))
    # Foreign keys last: they need the keys they point to.
    return sorted(restore, key=lambda statement: "FOREIGN KEY" in statement.as_string(None))
