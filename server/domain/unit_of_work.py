"""What a rule leans on: the deployment's long-lived parts, one database session, and who acts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Executable

from server.config import Settings
from server.domain.actor import Actor, ActorKind
from server.domain.audit_queue import AuditQueue
from server.domain.leak_report_signature import LeakReportKeys
from server.domain.usage_recorder import UsageRecorder
from server.infra.autocommit import Autocommit
from server.infra.clock import Clock, SystemClock
from server.infra.database import DatabaseSession, is_in_transaction
from server.infra.jose import SigningKey
from server.infra.keyring import Keyring, load_keyring
from server.infra.metrics import Metrics
from server.infra.outbound_http import OutboundHttp
from server.infra.password_hasher import PasswordHasher
from server.infra.prepared import Rows
from server.infra.rate_limiter import RateLimits, open_rate_limits
from server.infra.registry_cache import RegistryCache, RegistryView
from server.infra.remote_keys import RemoteKeys

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """What lives as long as the process."""

    settings: Settings
    clock: Clock
    keyring: Keyring
    password_hasher: PasswordHasher
    autocommit: Autocommit
    registry_cache: RegistryCache
    #: The way to other people's servers.
    outbound_http: OutboundHttp
    #: The keys that clients publish at URLs of their own.
    remote_keys: RemoteKeys
    #: The keys of whoever reports leaked API keys.
    leak_report_keys: LeakReportKeys
    #: Where uses of API keys and clients are noted until a thread writes them.
    usage: UsageRecorder
    #: Parsed private keys by `kid`: parsing one costs as much as sixty signatures.
    parsed_keys: dict[str, SigningKey] = field(default_factory=dict)
    #: Where no thread empties it (tests, commands), audit rows are written by the transaction itself.
    audit_queue: AuditQueue = field(default_factory=AuditQueue)
    #: Where attempts are counted.
    limits: RateLimits = field(default_factory=RateLimits)
    #: What this process counts.
    metrics: Metrics = field(default_factory=Metrics)


def open_runtime(settings: Settings, clock: Clock | None = None) -> Runtime:
    """The process's parts, with the keyring read from disk; by default the clock is the machine's.

    Raises:
        KeyringError: when the keyring is missing or unsafe.
        ConfigurationError: when the store of rate limits cannot be used.
    """
    keyring, autocommit = load_keyring(settings.keys_dir), Autocommit(settings)
    clock, outbound_http = clock or SystemClock(), OutboundHttp(settings)
    return Runtime(
        settings,
        clock,
        keyring,
        PasswordHasher(settings),
        autocommit,
        RegistryCache(autocommit),
        outbound_http,
        RemoteKeys(outbound_http, clock),
        LeakReportKeys(outbound_http, clock, settings.leak_report_keys_url),
        UsageRecorder(clock),
        limits=open_rate_limits(settings),
    )


@dataclass(frozen=True)
class UnitOfWork:
    """One request's or one command's worth of change, committed or rolled back as a whole."""

    runtime: Runtime
    db: DatabaseSession
    actor: Actor
    registry: RegistryView

    @classmethod
    def begin(cls, runtime: Runtime, db: DatabaseSession, actor: Actor) -> UnitOfWork:
        """A new one, with the registry as it is now."""
        return cls(runtime, db, actor, runtime.registry_cache.view())

    def acting_as(self, kind: ActorKind, actor_id: str) -> UnitOfWork:
        """The same work, once it is proven who acts."""
        before = self.actor
        actor = Actor(kind, actor_id, before.ip, before.user_agent, before.request_id)
        return UnitOfWork(self.runtime, self.db, actor, self.registry)

    @property
    def settings(self) -> Settings:
        """The deployment's configuration."""
        return self.runtime.settings

    @property
    def now(self) -> datetime:
        """The present by the runtime's clock."""
        return self.runtime.clock.now()

    @property
    def is_in_transaction(self) -> bool:
        """Whether this work has begun a transaction: then it sees its own changes, and holds locks."""
        return is_in_transaction(self.db)

    def read(self, statement: Executable, parameters: Mapping[str, Any]) -> Rows:
        """The rows of a SELECT: in this work's transaction if it has begun one, without any otherwise."""
        if self.is_in_transaction:
            self.db.flush()
            return self.db.execute(statement, parameters).all()
        return self.runtime.autocommit.read(statement, parameters)

    def from_registry(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """What `load` reads of clients, secrets and signing keys, from memory while none of them has changed.

        A work that has begun a transaction asks the database: it may itself have changed them.
        """
        return load() if self.is_in_transaction else self.registry.get(key, load)
