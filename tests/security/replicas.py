"""Another process of the same deployment: the same database, keyring and settings, and nothing else in common."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask
from flask.testing import FlaskClient

from server.app import create_app
from server.infra.database import database
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock


@contextmanager
def replica_of(gatepost: Gatepost, clock: FrozenClock | None = None) -> Iterator[Flask]:
    """A second application over the deployment's database, by default on the same clock."""
    app = create_app(gatepost.settings, clock or gatepost.clock)
    app.testing = True
    yield app
    with app.app_context():
        database.engine.dispose()


def same_browser(app: Flask, browser: FlaskClient, cookie: str = "gatepost") -> FlaskClient:
    """The browser, with a copy of its cookie, at another replica."""
    found = browser.get_cookie(cookie)
    assert found is not None
    other = app.test_client()
    other.set_cookie(cookie, found.value)
    return other
