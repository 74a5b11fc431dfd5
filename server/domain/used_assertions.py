"""Client assertions count once: the `jti` of each is kept until the assertion has expired (RFC 7523 §3)."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Mapped, mapped_column

from server.domain.unit_of_work import UnitOfWork
from server.infra import secrets
from server.infra.database import Base, commit_attempt, insert_if_absent, table_of


class UsedAssertion(Base):
    """One assertion that a client was known by, named by the digest of client and `jti`."""

    __tablename__ = "used_assertions"

    id: Mapped[str] = mapped_column(primary_key=True)
    #: From here on the assertion is refused for its age.
    expires_at: Mapped[datetime] = mapped_column(index=True)


def _spending(insert: Any) -> Any:
    table = table_of(UsedAssertion)
    values = {
        column: bindparam(f"used_{column.name}", type_=column.type) for column in (table.c.id, table.c.expires_at)
    }
    return insert(table).values(values).on_conflict_do_nothing().returning(table.c.id)


_SPEND: Final = {"postgresql": _spending(postgresql_insert), "sqlite": _spending(sqlite_insert)}


def use_assertion(work: UnitOfWork, client_id: str, jti: str, until: datetime) -> bool:
    """Uses up an assertion; False when it was used before, on whichever replica.

    It stays used whatever becomes of the request: written beside the work's transaction. If that has begun it is
    committed first; whoever proves who they are has written nothing yet.
    """
    parameters: dict[str, Any] = {"used_id": _id_of(client_id, jti), "used_expires_at": until}
    autocommit = work.runtime.autocommit
    statement = _SPEND[autocommit.engine.dialect.name]
    if work.is_in_transaction:
        commit_attempt(work.db)
    return bool(autocommit.together(lambda change: change(statement, parameters), parameters["used_id"]))


def use_with_the_act(work: UnitOfWork, sender: str, jti: str, until: datetime) -> bool:
    """As `use_assertion`, in the transaction of what it leads to: if that fails, it may be sent again."""
    return insert_if_absent(work.db, UsedAssertion, {"id": _id_of(sender, jti), "expires_at": until})


def _id_of(sender: str, jti: str) -> str:
    # JSON keeps the two apart, and spells every character that UTF-8 cannot.
    return secrets.digest(json.dumps([sender, jti]))
