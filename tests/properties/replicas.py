"""Two replicas of one deployment in this process: one database, one moment, each request to the other one in turn."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import delete
from werkzeug.test import TestResponse

from server.domain.login_attempts import LoginAttempts
from server.domain.unit_of_work import UnitOfWork
from tests.properties.oracle import breaches, faults_logged
from tests.support.application import Gatepost

_FIRST_PEER = IPv4Address("10.0.0.1")


class Replicas:
    """Several applications over one database file."""

    def __init__(self, prepared: Path, folder: Path, count: int = 2) -> None:
        shutil.copytree(prepared, folder)
        self.folder, self.now = folder, 0
        self.redirect_uris: tuple[str, ...] = ()
        self.all = [self._start() for _ in range(count)]
        self.turn = 0
        self.peers = itertools.count()

    def _start(self) -> Gatepost:
        replica = Gatepost(self.folder, is_prepared=True)
        replica.clock.advance(self.now)
        return replica

    def next(self) -> Gatepost:
        """The replica whose turn it is."""
        self.turn += 1
        return self.all[self.turn % len(self.all)]

    def advance(self, seconds: int) -> None:
        """Moves the clocks of all."""
        self.now += seconds
        for replica in self.all:
            replica.clock.advance(seconds)

    def restart(self, index: int) -> None:
        """Ends one replica and starts another in its place: what it held in memory is gone."""
        index %= len(self.all)
        self.all[index].close()
        self.all[index] = self._start()

    def close(self) -> None:
        """Ends all of them."""
        for replica in self.all:
            replica.close()
        shutil.rmtree(self.folder)

    @contextmanager
    def work(self) -> Iterator[UnitOfWork]:
        """One transaction of the operator, through one of the replicas."""
        with self.next().work() as work:
            yield work

    def forget_failures(self) -> None:
        """Gives everybody their budgets of guesses back, which are not the model's matter (INV-27)."""
        with self.work() as work:
            work.db.execute(delete(LoginAttempts))

    def send(self, method: str, path: str, browser: FlaskClient | None = None, **options: Any) -> TestResponse:
        """One request to the replica whose turn it is; every answer is held to what is always true.

        Each comes from a network of its own, so that no client uses up its budget of failures (INV-27).
        """
        app = self.next().app
        client = browser or app.test_client()
        client.application = app
        peer = str(_FIRST_PEER + next(self.peers))
        with faults_logged() as faults:
            response = client.open(path, method=method, environ_base={"REMOTE_ADDR": peer}, **options)
        assert faults == []
        assert breaches(response, self.redirect_uris) == []
        if response.mimetype == "text/html":
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"], "INV-24"
            assert response.headers["X-Frame-Options"] == "DENY", "INV-24"
        return response
