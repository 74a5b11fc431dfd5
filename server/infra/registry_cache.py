"""What each process remembers of the registry (clients, their secrets, signing keys), never longer than it is true.

Triggers count every change of those tables in one row, `registry_version`, in the transaction of the change itself.
What was read under another version is forgotten as a whole. SQLite is asked for the version each time, which takes a
microsecond; PostgreSQL too, unless it tells the process of changes by itself (`listening`), and then once a second.
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
_TRUSTED_SECONDS: Final = 1.0
_CAPACITY: Final = 2000


class RegistryCache:
    """Values by key, of one version of the registry."""

    def __init__(self, autocommit: Autocommit) -> None:
        self._autocommit = autocommit
        self._values: dict[Hashable, Any] = {}
        self._version: int | None = None
        self._trusted_until = 0.0
        self._is_listening = False
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
        self._is_listening = is_listening
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
        if not self._is_listening or time.monotonic() >= self._trusted_until:
            changes, asked_at = self._changes, time.monotonic()
            version = self._autocommit.scalar(_VERSION)
            if version != self._version:
                self._version, self._values = version, {}
            # A change that was told of meanwhile is asked for again.
            if changes == self._changes:
                self._trusted_until = asked_at + _TRUSTED_SECONDS
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
