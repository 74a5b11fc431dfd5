"""Workers that are loaded together and handed over to the main process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.infra import nursery
from server.infra.nursery import Ward

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to whom one chooses")


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    assert nursery.open_nursery()
    yield
    ctypes.CDLL(None).prctl(nursery._PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def nothing() -> None:
    pass


def sleep() -> None:
    time.sleep(60)


@pytest.fixture
def sleeper() -> Iterator[Ward]:
    ward = Ward(sleep, nothing)
    ward.start()
    yield ward
    ward.kill()
    ward.join(20)


def teller(path: Path, text: Callable[[], object]) -> Callable[[], None]:
    """Adds a line to a file, whichever process it runs in."""

    def tell() -> None:
        with path.open("a") as file:
            file.write(f"{text()}\n")

    return tell


def test_workers_are_children_of_this_process_and_what_they_need_is_loaded_once_before(tmp_path: Path) -> None:
    told = tmp_path / "told"
    wards = [Ward(teller(told, os.getppid), teller(told, lambda: "loaded")) for _ in range(3)]
    nursery.bring_up(wards)
    for ward in wards:
        ward.start()
        ward.join(20)
        assert not ward.is_alive()
    assert told.read_text().split() == ["loaded", *[str(os.getpid())] * 3]


def test_one_worker_is_brought_up_when_it_is_started(sleeper: Ward) -> None:
    assert sleeper.is_alive()
    sleeper.join(0.01)
    assert sleeper.is_alive()


@pytest.mark.parametrize("end", [Ward.terminate, Ward.kill])
def test_worker_ends_when_asked_and_nothing_is_left_of_it(sleeper: Ward, end: Callable[[Ward], None]) -> None:
    end(sleeper)
    sleeper.join()
    sleeper.join()
    assert not sleeper.is_alive()
    assert not Path(f"/proc/{sleeper.pid}").exists()
    end(sleeper)


def fail() -> None:
    raise ImportError


def test_worker_has_ended_when_what_it_needs_does_not_load(capfd: pytest.CaptureFixture[str]) -> None:
    ward = Ward(sleep, fail)
    ward.start()
    ward.join()
    ward.terminate()
    assert not ward.is_alive()
    assert ward.pid is None
    assert "ImportError" in capfd.readouterr().err


@pytest.mark.parametrize("is_complete", [True, False])
def test_worker_runs_only_when_the_nurse_has_told_of_it(tmp_path: Path, is_complete: bool) -> None:
    told = tmp_path / "told"
    with subprocess.Popen([sys.executable, "-c", ""]) as nurse:
        nursery._live(teller(told, os.getpid), os.pidfd_open(nurse.pid), ctypes.c_bool(is_complete))
    assert told.exists() == is_complete


def test_there_is_no_nursery_where_the_system_has_no_handles_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError

    monkeypatch.setattr(nursery.os, "pidfd_open", refuse)
    assert not nursery.open_nursery()


def test_there_is_no_nursery_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nursery.sys, "platform", "darwin")
    assert not nursery.open_nursery()
