"""Hears from PostgreSQL when clients, their secrets or signing keys change, on a connection of its own."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any, Final

from sqlalchemy import Engine, create_engine, event

from server.config import Settings
from server.infra.database import database_url
from server.infra.registry_cache import CHANNEL, RegistryCache

log = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 1.0


class RegistryListener(threading.Thread):
    """Tells the cache of every change; while it cannot hear, the cache asks for itself.

    SQLite tells other processes nothing: there is no thread then, and the cache hears of what this process commits.
    """

    def __init__(self, settings: Settings, cache: RegistryCache) -> None:
        super().__init__(name="registry-listener", daemon=True)
        self._url, self._cache = database_url(settings), cache
        self._stopped = threading.Event()

    def listen(self, engine: Engine) -> None:
        """Begins to hear of changes, those by way of `engine` among them; to be called after the last fork."""
        if self._url.get_backend_name() == "postgresql":
            self.start()
            return
        # Whoever changes a client here and uses it at once meets the change. `checkin` comes after a commit, `commit`
        # before it.
        event.listen(engine, "checkin", lambda _connection, _record: self._cache.changed())
        self._cache.hearing_nothing()

    def stop(self) -> None:
        """Ends the thread within a second."""
        self._stopped.set()

    def run(self) -> None:
        """The thread's work."""
        driver: Any = importlib.import_module("psycopg")
        while not self._stopped.is_set():
            try:
                with self._connect(driver) as connection:
                    self._listen(connection)
            except driver.Error as error:
                log.warning("changes of the registry are not heard of: %s", type(error).__name__)
            finally:
                self._cache.listening(False)
            self._stopped.wait(_RETRY_SECONDS)

    def _connect(self, driver: Any) -> Any:
        arguments, options = create_engine(self._url).dialect.create_connect_args(self._url)
        return driver.connect(*arguments, **options, autocommit=True, connect_timeout=2)

    def _listen(self, connection: Any) -> None:
        connection.execute(f"LISTEN {CHANNEL}")
        self._cache.listening(True)
        while not self._stopped.is_set():
            for _ in connection.notifies(timeout=1, stop_after=1):
                self._cache.changed()
