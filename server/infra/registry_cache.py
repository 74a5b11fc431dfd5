"""What each process remembers of the registry (clients, their secrets, signing keys), never longer than it is true.

Triggers count every change of those tables in one row, `registry_version`, in the transaction of the change itself.
What was read under another version is forgotten as a whole. The database is asked for the version each time, unless it
tells the process of changes by itself (`listening`), as PostgreSQL does; then it is asked once a second. SQLite tells
of nothing, so a server on it asks once in some milliseconds (`hearing_nothing`): asking is a tenth of a token.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast

from sqlalchemy import BigInteger, Column, Table

from server.infra.autocommit import Autocommit
from server.infra.database import Base, is_outage

T = TypeVar("T")

#: One row; migration 0003 has the triggers that count it up.
REGISTRY_VERSION: Final = Table(
    "registry_version", Base.metadata, Column("version", BigInteger, primary_key=True, autoincrement=False)
)

#: The channel on which PostgreSQL tells of changes.
CHANNEL: Final = "gatepost_registry"
_VERSION: Final = "SELECT version FROM registry_version"
#: For how long a version that was asked for is taken for the present one, where changes are told of meanwhile.
_TRUSTED_SECONDS: Final = 1.0
#: The same where only this process's own changes are: about as long as a change is on its way where they are told of.
_TRUSTED_UNHEARD_SECONDS: Final = 0.005
_CAPACITY: Final = 2000


class RegistryCache:
    """Values by key, of one version of the registry."""

    def __init__(self, autocommit: Autocommit) -> None:
        self._autocommit = autocommit
        self._values: dict[Hashable, Any] = {}
        self._version: int | None = None
        self._trusted_seconds = self._trusted_until = 0.0
        #: How many changes were told of.
        self._changes = 0

    def view(self) -> RegistryView:
        """What is remembered, for one unit of work."""
        return RegistryView(self)

    def get(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """As `RegistryView.get`, checked anew."""
        return self.view().get(key, load)

    def get_even_if_away(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """As `get`, or while the database does not answer the value as it was when it last did.

        Raises:
            OperationalError: when the database does not answer and the value is not known.
        """
        try:
            return self.get(key, load)
        except Exception as error:
            if not is_outage(error) or key not in self._values:
                raise
            return cast(T, self._values[key])

    def changed(self) -> None:
        """The registry has changed, or may have: the next use asks for its version."""
        self._changes += 1
        self._trusted_until = 0.0

    def listening(self, is_listening: bool) -> None:
        """Says whether `changed` will be called whenever there was a change."""
        self._trusted_seconds = _TRUSTED_SECONDS if is_listening else 0.0
        self.changed()

    def hearing_nothing(self) -> None:
        """Says that nobody will tell of changes by other processes, and `changed` of each by this one."""
        self._trusted_seconds = _TRUSTED_UNHEARD_SECONDS
        self.changed()

    def forget(self) -> None:
        """Forgets everything."""
        self._version, self._values = None, {}
        self.changed()

    def current(self) -> dict[Hashable, Any]:
        """The values of the registry's present version.

        Raises:
            OperationalError: when the database does not answer: what cannot be checked is not trusted.
        """
        if time.monotonic() >= self._trusted_until:
            changes, asked_at = self._changes, time.monotonic()
            version = self._autocommit.scalar(_VERSION)
            if version != self._version:
                self._version, self._values = version, {}
            # A change that was told of meanwhile is asked for again.
            if changes == self._changes:
                self._trusted_until = asked_at + self._trusted_seconds
        return self._values


class RegistryView:
    """The registry as one unit of work sees it: checked when it is first needed."""

    def __init__(self, cache: RegistryCache) -> None:
        self._cache = cache
        self._values: dict[Hashable, Any] | None = None

    def get(self, key: Hashable, load: Callable[[], T | None]) -> T | None:
        """The value of `key`, loaded if it is not known; None is not remembered.

        Raises:
            OperationalError: when the database does not answer.
        """
        values = self._values
        if values is None:
            values = self._values = self._cache.current()
        found = values.get(key)
        if found is None:
            found = load()
            if found is not None:
                if len(values) >= _CAPACITY:
                    values.clear()
                # Into the version that was checked before loading: a change meanwhile makes another, empty one.
                values[key] = found
        return cast("T | None", found)
