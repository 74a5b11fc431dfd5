"""What a process remembers of the registry is forgotten when it changes, and trusted only while it can be checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from server.config import Settings
from server.infra import registry_cache
from server.infra.autocommit import Autocommit
from server.infra.database import open_engine, open_session
from server.infra.migrations import upgrade
from server.infra.registry_cache import RegistryCache
from server.infra.registry_listener import RegistryListener

CHANGE = text("UPDATE registry_version SET version = version + 1")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'gatepost.sqlite'}")
    upgrade(settings)
    return settings


@pytest.fixture
def autocommit(settings: Settings) -> Iterator[Autocommit]:
    autocommit = Autocommit(settings)
    yield autocommit
    autocommit.dispose()


@pytest.fixture
def cache(autocommit: Autocommit) -> RegistryCache:
    return RegistryCache(autocommit)


def change(settings: Settings) -> None:
    with open_session(settings) as db:
        db.execute(CHANGE)


def test_value_is_loaded_again_when_the_registry_has_changed(settings: Settings, cache: RegistryCache) -> None:
    assert [cache.get("key", lambda: "old"), cache.get("key", lambda: "new")] == ["old", "old"]
    change(settings)
    assert cache.get("key", lambda: "new") == "new"


def test_unit_of_work_sees_one_registry_when_it_changes_meanwhile(settings: Settings, cache: RegistryCache) -> None:
    view = cache.view()
    assert view.get("key", lambda: "old") == "old"
    change(settings)
    assert view.get("key", lambda: "new") == "old"
    assert cache.view().get("key", lambda: "new") == "new"


def test_nothing_is_remembered_of_what_is_not_there(cache: RegistryCache) -> None:
    assert cache.get("key", lambda: None) is None
    assert cache.get("key", lambda: "there by now") == "there by now"


def test_memory_is_bounded_when_many_keys_are_asked_for(cache: RegistryCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_cache, "_CAPACITY", 3)
    for number in range(10):
        assert cache.get(number, lambda: "value") == "value"
    assert len(cache.current()) <= 3


def test_listener_is_trusted_for_a_second_and_no_longer(
    settings: Settings, cache: RegistryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(registry_cache.time, "monotonic", lambda: now)
    cache.listening(True)
    assert cache.get("key", lambda: "old") == "old"
    change(settings)
    now = 100.999
    assert cache.get("key", lambda: "new") == "old"
    now = 101.0
    assert cache.get("key", lambda: "new") == "new"
    change(settings)
    cache.changed()
    assert cache.get("key", lambda: "newer") == "newer"
    change(settings)
    cache.listening(False)
    assert cache.get("key", lambda: "newest") == "newest"


def test_sqlite_is_asked_again_after_five_milliseconds_and_at_once_after_a_commit_here(
    settings: Settings, cache: RegistryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(registry_cache.time, "monotonic", lambda: now)
    engine = open_engine(settings)
    listener = RegistryListener(settings, cache)
    listener.listen(engine)
    assert not listener.is_alive()
    assert cache.get("key", lambda: "old") == "old"
    change(settings)
    now = 100.004
    assert cache.get("key", lambda: "new") == "old"
    now = 100.005
    assert cache.get("key", lambda: "new") == "new"
    with Session(engine) as db:
        db.execute(CHANGE)
        # Somebody asks between the change and its commit; he may not keep others from the change.
        assert cache.get("key", lambda: "newer") == "new"
        db.commit()
    assert cache.get("key", lambda: "newer") == "newer"
    engine.dispose()


def test_nobody_trusts_what_is_being_asked_about(
    settings: Settings, cache: RegistryCache, autocommit: Autocommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.listening(True)
    assert cache.get("key", lambda: "old") == "old"
    change(settings)
    cache.changed()
    ask, found = autocommit.scalar, []

    def ask_slowly(sql: str) -> object:
        monkeypatch.setattr(autocommit, "scalar", ask)
        # Another thread comes meanwhile; then the registry changes once more, which is told before the answer is here.
        found.append(cache.get("key", lambda: "new"))
        answer = ask(sql)
        change(settings)
        cache.changed()
        return answer

    monkeypatch.setattr(autocommit, "scalar", ask_slowly)
    found += [cache.get("key", lambda: "new"), cache.get("key", lambda: "newest")]
    assert found == ["new", "new", "newest"]


@pytest.mark.spec("R-18")
def test_what_cannot_be_checked_is_not_trusted_but_for_what_outlives_an_outage(
    settings: Settings, cache: RegistryCache, autocommit: Autocommit
) -> None:
    assert cache.get("key", lambda: "value") == "value"
    with open_session(settings) as db:
        db.execute(text("ALTER TABLE registry_version RENAME TO gone"))
    with pytest.raises(OperationalError):
        cache.get("key", lambda: "value")
    assert cache.get_even_if_away("key", lambda: "other") == "value"
    with pytest.raises(OperationalError):
        cache.get_even_if_away("unknown", lambda: "other")


def test_connection_is_replaced_once_when_the_other_side_has_closed_it(autocommit: Autocommit) -> None:
    version = autocommit.scalar("SELECT version FROM registry_version")
    autocommit._driver.close()
    assert autocommit.scalar("SELECT version FROM registry_version") == version


def test_nothing_is_left_of_a_transaction_that_fails(autocommit: Autocommit) -> None:
    before = autocommit.scalar("SELECT version FROM registry_version")

    def fail() -> None:
        with autocommit.transaction():
            autocommit.change(CHANGE, {})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert autocommit.scalar("SELECT version FROM registry_version") == before


@pytest.mark.postgres
def test_change_is_heard_of_when_postgresql_tells_it(postgres_url: str) -> None:
    settings = Settings(_env_file=None, database_url=postgres_url)
    upgrade(settings)
    autocommit = Autocommit(settings)
    cache = RegistryCache(autocommit)
    listener = RegistryListener(settings, cache)
    engine = open_engine(settings)
    listener.listen(engine)
    try:
        deadline = time.monotonic() + 10
        while not cache._trusted_seconds and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cache._trusted_seconds
        assert cache.get("key", lambda: "old") == "old"
        # Trusted for long, so that only what was heard can bring the new value.
        cache._trusted_until = time.monotonic() + 60
        with open_session(settings) as db:
            db.execute(text("DELETE FROM client_secrets"))
        while cache.get("key", lambda: "new") == "old" and time.monotonic() < deadline:
            time.sleep(0.01)
        assert cache.get("key", lambda: "new") == "new"
    finally:
        listener.stop()
        listener.join(5)
        engine.dispose()
        autocommit.dispose()
