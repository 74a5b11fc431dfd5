"""Gatepost inside the test process: the real application over a real SQLite file, with a clock that a test moves."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine, event, select
from sqlalchemy.orm import Session

from server.app import create_app
from server.config import Settings
from server.domain import signing_keys
from server.domain.actor import OPERATOR
from server.domain.audit_records import AuditRecord
from server.domain.client_registration import ClientMetadata, create_client
from server.domain.client_secrets import issue_client_secret, needs_secret
from server.domain.clients import Client, get_client
from server.domain.passwords import set_password
from server.domain.policy.client_metadata import ClientType
from server.domain.unit_of_work import Runtime, UnitOfWork
from server.domain.users import User, create_user, get_user
from server.infra.database import database
from server.infra.keyring import create_keyring
from server.infra.migrations import upgrade
from server.infra.remote_keys import RemoteKeys
from server.web.context import parts_of
from tests.support.clock import FrozenClock

ISSUER = "http://localhost:8000"
PASSWORD = "correct horse battery staple"
REDIRECT_URI = "http://localhost:9000/callback"
EVERY_SCOPE = "openid profile email address phone offline_access"


class _CompiledTemplates(BytecodeCache):
    """Templates compiled once for all applications of this process."""

    def __init__(self) -> None:
        self.compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fills the bucket if its template, unchanged, was compiled before."""
        if f"{bucket.key}{bucket.checksum}" in self.compiled:
            bucket.bytecode_from_string(self.compiled[f"{bucket.key}{bucket.checksum}"])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keeps what was compiled."""
        self.compiled[f"{bucket.key}{bucket.checksum}"] = bucket.bytecode_to_string()


_TEMPLATES = _CompiledTemplates()


class Gatepost:
    """One deployment: its application, its clock, and a way to its tables."""

    def __init__(self, folder: Path, *, is_prepared: bool = False, **settings: Any) -> None:
        self.settings = Settings(
            _env_file=None,
            **{
                "environment": "development",
                "issuer": ISSUER,
                "database_url": f"sqlite:///{folder / 'gatepost.sqlite'}",
                "keys_dir": folder / "keys",
                # The least argon2 allows: what is tested is that it is called, not how long it takes.
                "argon2_time_cost": 1,
                "argon2_memory_kib": 8192,
                **settings,
            },
        )
        if not is_prepared:
            if not (self.settings.keys_dir / "keyring.json").exists():
                create_keyring(self.settings.keys_dir)
            upgrade(self.settings)
        self.clock = FrozenClock()
        self.app: Flask = create_app(self.settings, self.clock)
        self.app.testing = True
        self.app.jinja_env.bytecode_cache = _TEMPLATES
        self._outbound_http = self.runtime.outbound_http
        with self.app.app_context():
            self.engine: Engine = database.engine
        # No test pulls the plug, and on busy disks waiting for them takes longer than all the rest.
        if self.engine.dialect.name == "sqlite":
            for engine in self.engines:
                event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
        if not is_prepared:
            with self.work() as work:
                signing_keys.ensure_keys(work)

    @property
    def engines(self) -> tuple[Engine, Engine]:
        """The engine of transactions, and the one of statements that need none."""
        return self.engine, self.runtime.autocommit.engine

    @property
    def runtime(self) -> Runtime:
        """The application's long-lived parts."""
        return parts_of(self.app).runtime

    @contextmanager
    def work(self) -> Iterator[UnitOfWork]:
        """One committed transaction as the operator, beside whatever the application does."""
        with Session(self.engine, expire_on_commit=False) as db:
            yield UnitOfWork.begin(self.runtime, db, OPERATOR)
            db.commit()

    def browser(self) -> FlaskClient:
        """A new browser, with a cookie jar of its own; it follows no redirect by itself."""
        return self.app.test_client()

    def add_user(self, email: str = "ada@example.com", password: str = PASSWORD, **details: Any) -> User:
        """A person with a password."""
        with self.work() as work:
            user = create_user(work, email, **{"name": "Ada Example", "email_verified": True, **details})
            set_password(work, user, password)
        return user

    def add_client(self, client_type: ClientType = "web", **metadata: Any) -> tuple[Client, str | None]:
        """A client, and its secret unless it is public."""
        needs_redirect = client_type in {"web", "spa", "native"}
        defaults: dict[str, Any] = {
            "client_name": "Sample app",
            "client_id": f"sample-{client_type}",
            "redirect_uris": (REDIRECT_URI,) if needs_redirect else (),
            "scope": EVERY_SCOPE if needs_redirect else "",
        }
        with self.work() as work:
            client = create_client(work, ClientMetadata(client_type=client_type, **{**defaults, **metadata}))
            secret = issue_client_secret(work, client) if needs_secret(client) else None
        return client, secret

    def audit_events(self) -> list[str]:
        """The names of all audit events so far, oldest first."""
        return [row.event for row in self.audit_rows()]

    def audit_rows(self, event: str | None = None) -> list[AuditRecord]:
        """All audit rows so far, or those of one event, oldest first."""
        with self.work() as work:
            rows = work.db.scalars(select(AuditRecord).order_by(AuditRecord.id)).all()
        return [row for row in rows if event in (None, row.event)]

    def change_client(self, client_id: str, **values: Any) -> None:
        """Sets columns of a client's row, past the checks of its registration."""
        with self.work() as work:
            client = get_client(work, client_id)
            for name, value in values.items():
                setattr(client, name, value)

    def change_user(self, email: str, **values: Any) -> None:
        """Sets columns of a person's row."""
        with self.work() as work:
            user = get_user(work, email)
            for name, value in values.items():
                setattr(user, name, value)

    def restore(self, prepared: Path) -> None:
        """Puts the database of `prepared` in the place of this one's, and the clock back to its start."""
        self.close()
        path = Path(str(self.engine.url.database))
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(prepared / path.name, path)
        self.clock.reset()
        self._restore_the_way_out()

    def close(self) -> None:
        """Lets go of the database file, and of what is remembered of it."""
        self.engine.dispose()
        self.runtime.autocommit.dispose()
        self.runtime.registry_cache.forget()
        self.runtime.limits.refused_until.clear()
        self.runtime.usage.take()
        self.runtime.usage.take_refused()

    def _restore_the_way_out(self) -> None:
        """Takes away what a test put in its place, and what was fetched: the clock stands where it stood then."""
        object.__setattr__(self.runtime, "outbound_http", self._outbound_http)
        object.__setattr__(self.runtime, "remote_keys", RemoteKeys(self._outbound_http, self.clock))
