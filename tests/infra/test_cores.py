"""A worker keeps to its core, with all threads it starts, but for the one that hashes passwords."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from server.infra import cores
from tests.support.servers import start_server

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux alone keeps processes to cores")

_THREADS = """
import json, os, threading
from server.infra import cores
def seen(prepare=lambda: None):
    found = []
    def run():
        prepare()
        found.append(sorted(os.sched_getaffinity(0)))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]
before = sorted(os.sched_getaffinity(0))
cores.roam()
untouched = sorted(os.sched_getaffinity(0))
cores.keep_to(before[-1])
print(json.dumps([before, untouched, seen(), seen(cores.roam), seen(), cores.usable_cores()]))
"""


def test_threads_stay_on_the_core_but_for_one_that_roams() -> None:
    told = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=True).stdout
    before, untouched, thread, roaming, later, usable = json.loads(told)
    assert untouched == before
    assert thread == later == before[-1:]
    assert roaming == usable == before


@pytest.mark.parametrize(
    ("usable", "workers", "expected"),
    [
        ([0, 1], 2, [0, 1]),
        ([4, 6], 3, [4, 6, 4]),
        ([0], 1, [0]),
        ([0, 1], 1, [None]),
        ([0, 1, 2, 3], 3, [None, None, None]),
    ],
)
def test_each_core_gets_a_worker_or_none_does(
    monkeypatch: pytest.MonkeyPatch, usable: list[int], workers: int, expected: list[int | None]
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(usable))
    assert [cores.core_of(number, workers) for number in range(workers)] == expected


def test_system_that_does_not_tell_decides_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.delattr(os, "sched_setaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores.usable_cores() == [0, 1, 2]
    assert cores.core_of(0, 3) is None


def test_work_goes_on_where_the_system_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(cores, "_before", None)
    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    before = cores.usable_cores()
    cores.keep_to(before[0])
    cores.roam()
    assert cores.usable_cores() == sorted(os.sched_getaffinity(0)) == before


@pytest.mark.slow
@pytest.mark.parametrize("is_pinned", [True, False])
def test_running_workers_are_where_they_should_be(tmp_path: Path, is_pinned: bool) -> None:
    usable = os.sched_getaffinity(0)
    settings = {"GATEPOST_PIN_WORKERS": str(is_pinned).lower()}
    with start_server(tmp_path, workers=len(usable), settings=settings) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        places = [
            {frozenset(os.sched_getaffinity(int(thread.name))) for thread in Path(f"/proc/{worker}/task").iterdir()}
            for worker in children
        ]
    everywhere = {frozenset(usable)}
    if is_pinned:
        assert sorted(places, key=str) == sorted(({frozenset({core})} for core in usable), key=str)
    else:
        assert places == [everywhere] * len(usable)
