"""The schema changes while replicas serve, several upgrade at once, or one is killed on the way."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from server.config import Settings
from server.infra import migrations
from server.infra.database import open_engine
from server.infra.resources import MIGRATIONS
from tests.faults.load import Load, create_machine
from tests.faults.replicas import replicas
from tests.interop.registry import create_account, create_client
from tests.support.ports import free_port
from tests.support.servers import clean_environment, prepare

pytestmark = [pytest.mark.slow, pytest.mark.timeout(200)]

NEXT = "9001_next"
NEWEST = migrations.newest_revision()


def next_revision(halfway: str = "") -> str:
    """The source of a revision that the version after this one might bring; `halfway` is run in its middle."""
    return textwrap.dedent(
        f'''
        import time

        import sqlalchemy as sa
        from alembic import op

        revision = "{NEXT}"
        down_revision = "{NEWEST}"


        def upgrade():
            op.create_table("notes", sa.Column("id", sa.String(), primary_key=True))
            op.add_column("users", sa.Column("locale", sa.String(), nullable=True))
            op.add_column("clients", sa.Column("note", sa.String(), nullable=True))
            op.add_column("refresh_tokens", sa.Column("note", sa.String(), nullable=True))
            {halfway or "pass"}
            build_index()


        def build_index():
            if op.get_bind().dialect.name == "sqlite":
                op.create_index("ix_next", "refresh_tokens", ["note"])
                return
            with op.get_context().autocommit_block():
                op.drop_index("ix_next", "refresh_tokens", postgresql_concurrently=True, if_exists=True)
                op.create_index("ix_next", "refresh_tokens", ["note"], postgresql_concurrently=True)


        def downgrade():
            op.drop_index("ix_next", "refresh_tokens")
            op.drop_column("refresh_tokens", "note")
            op.drop_column("clients", "note")
            op.drop_column("users", "locale")
            op.drop_table("notes")
        '''
    )


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migrations of the next version, in place of this one's in this process."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)
    (folder / "versions" / f"{NEXT}.py").write_text(next_revision())
    monkeypatch.setattr(migrations, "MIGRATIONS", folder)
    return folder


def tables_of(settings: Settings) -> set[str]:
    engine = open_engine(settings)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def wait_for_answers(load: Load) -> None:
    """Returns when a dozen more have come, and half a second has passed."""
    time.sleep(0.5)
    wanted, deadline = len(load.samples) + 12, time.monotonic() + 30
    while len(load.samples) < wanted:
        assert time.monotonic() < deadline, "nothing is answered"
        time.sleep(0.05)


def wait_until_somebody_waits_for_a_lock(engine: Engine) -> None:
    deadline = time.monotonic() + 60
    with engine.connect() as connection:
        while not connection.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            assert time.monotonic() < deadline, "nobody waits"
            connection.rollback()
            time.sleep(0.02)


@pytest.mark.spec("R-29")
def test_one_upgrades_and_the_others_find_it_done_when_three_start_at_once(tmp_path: Path, database_url: str) -> None:
    installations = [
        prepare(tmp_path / str(number), port=free_port(), database_url=database_url) for number in range(3)
    ]
    said: list[str] = []
    threads = [threading.Thread(target=lambda one=one: said.append(one.run("db", "upgrade"))) for one in installations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == [f"The database is at {NEWEST} already.\n"] * 2 + [f"Upgraded the database to {NEWEST}.\n"]


@pytest.mark.spec("R-29")
def test_upgrade_is_taken_up_again_when_it_was_killed(database_url: str, next_version: Path) -> None:
    settings = Settings(_env_file=None, database_url=database_url)
    script = next_version / "versions" / f"{NEXT}.py"
    reached = next_version / "reached"
    script.write_text(next_revision(f"open({str(reached)!r}, 'w').close(); time.sleep(60)"))
    program = (
        "import sys, pathlib\nfrom server.config import Settings\nfrom server.infra import migrations\n"
        "migrations.MIGRATIONS = pathlib.Path(sys.argv[1])\n"
        "migrations.upgrade(Settings(_env_file=None, database_url=sys.argv[2]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(next_version), database_url], env=clean_environment(), cwd=next_version
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and not reached.exists():
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "notes" not in tables_of(settings)
    script.write_text(next_revision())
    assert migrations.upgrade(settings)[1] == NEXT
    assert "notes" in tables_of(settings)


@pytest.mark.spec("R-28")
def test_nobody_notices_when_the_next_versions_schema_comes_and_goes_under_load(
    tmp_path: Path, database_url: str, next_version: Path
) -> None:
    settings = Settings(_env_file=None, database_url=database_url)
    with replicas(tmp_path / "replicas", database_url, 1, workers=2) as (replica,):
        server = replica.server
        client = create_client(server, "web", "--first-party", "--refresh-token-policy", "always")
        before = migrations.current_revision(settings)
        with Load(server.issuer, client, create_machine(server), create_account(server), 60) as load:
            for _ in range(3):
                wait_for_answers(load)
                assert migrations.upgrade(settings) == (before, NEXT)
                wait_for_answers(load)
                migrations.downgrade(settings, str(before))
        failed = [sample for sample in load.samples if sample.status == 0 or sample.status >= 400]
        assert failed == []


@pytest.mark.postgres
@pytest.mark.spec("R-28")
def test_requests_pass_when_a_revision_waits_for_a_lock(tmp_path: Path, postgres_url: str, next_version: Path) -> None:
    settings = Settings(_env_file=None, database_url=postgres_url)
    with replicas(tmp_path / "replicas", postgres_url, 1) as (replica,):
        server = replica.server
        client = create_client(server, "web", "--first-party", "--refresh-token-policy", "always")
        engine = open_engine(settings, 60)
        upgrade = threading.Thread(target=migrations.upgrade, args=(settings,))
        with Load(server.issuer, client, create_machine(server), create_account(server), 40) as load:
            with engine.begin() as reader:
                reader.execute(text("SELECT count(*) FROM users"))
                upgrade.start()
                wait_until_somebody_waits_for_a_lock(engine)
                time.sleep(5)
                assert upgrade.is_alive()
            upgrade.join(100)
        engine.dispose()
        assert migrations.current_revision(settings) == NEXT
        assert [sample for sample in load.samples if sample.status == 0 or sample.status >= 400] == []
        # Behind one that waits for as long as it takes, they would have waited five.
        assert max(sample.seconds for sample in load.samples) < 4


@pytest.mark.spec("R-28")
def test_server_is_restarted_on_the_next_versions_schema(tmp_path: Path, next_version: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gatepost.sqlite'}"
    with replicas(tmp_path / "replicas", url, 1) as (replica,):
        migrations.upgrade(Settings(_env_file=None, database_url=url))
        assert "later than" in replica.server.run("db", "current")
        assert "already" in replica.server.run("db", "upgrade")
        replica.stop()
        replica.start()
        assert f"The database is at {NEXT} already" in replica.server.log.read_text()
