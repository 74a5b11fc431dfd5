"""What a rule leans on: the deployment's long-lived parts, one database session, and who acts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from server.config import Settings
from server.domain.actor import Actor, ActorKind
from server.infra.clock import Clock, SystemClock
from server.infra.database import DatabaseSession
from server.infra.jose import SigningKey
from server.infra.keyring import Keyring, load_keyring
from server.infra.password_hasher import PasswordHasher


@dataclass(frozen=True)
class Runtime:
    """What lives as long as the process."""

    settings: Settings
    clock: Clock
    keyring: Keyring
    password_hasher: PasswordHasher
    #: Parsed private keys by `kid`: parsing one costs as much as sixty signatures.
    parsed_keys: dict[str, SigningKey] = field(default_factory=dict)


def open_runtime(settings: Settings, clock: Clock | None = None) -> Runtime:
    """The process's parts, with the keyring read from disk; by default the clock is the machine's.

    Raises:
        KeyringError: when the keyring is missing or unsafe.
    """
    return Runtime(settings, clock or SystemClock(), load_keyring(settings.keys_dir), PasswordHasher(settings))


@dataclass(frozen=True)
class UnitOfWork:
    """One request's or one command's worth of change, committed or rolled back as a whole."""

    runtime: Runtime
    db: DatabaseSession
    actor: Actor

    def acting_as(self, kind: ActorKind, actor_id: str) -> UnitOfWork:
        """The same work, once it is proven who acts."""
        return replace(self, actor=replace(self.actor, kind=kind, id=actor_id))

    @property
    def settings(self) -> Settings:
        """The deployment's configuration."""
        return self.runtime.settings

    @property
    def now(self) -> datetime:
        """The present by the runtime's clock."""
        return self.runtime.clock.now()
