"""The main process of `gatepost serve`: its plan, its workers, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from granian.constants import Interfaces

from server.cli import main_process
from server.cli.main_process import DrainingServer, Plan
from server.infra import draining, nursery


@pytest.fixture(autouse=True)
def no_flag() -> Iterator[None]:
    yield
    draining.adopt(None)


def drainer(seconds: int) -> DrainingServer:
    return DrainingServer("server.app:create_serving_app", interface=Interfaces.WSGI).drain_for(seconds)


# ------------------------------------------------------------------------------------------------------------- program


def test_program_finds_the_package_where_this_one_did_and_reads_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    executed: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda program, words: executed.append((program, words)))
    main_process.become_main_process(Plan("127.0.0.1", 8000, 3, 5, True))
    ((program, words),) = executed
    assert (program, words[0]) == (sys.executable, sys.executable)
    assert words[-4:-2] == ["gatepost", "serve"], "what an operator looks for in the list of processes"
    there = words.index("-c") + 1
    words[there] = words[there].replace("main(", "main.__globals__['run'] = print; main(")
    told = subprocess.run(words, cwd="/", capture_output=True, text=True, check=True, env={})
    assert told.stdout == "Plan(host='127.0.0.1', port=8000, workers=3, drain_seconds=5, keeps_cores=True)\n"


def test_main_process_holds_nothing_of_the_application() -> None:
    program = "import sys, server.cli.main_process; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"flask", "sqlalchemy", "pydantic", "authlib", "server.app", "server.config"} & set(loaded)


# ----------------------------------------------------------------------------------------------------------------- end


@pytest.mark.spec("R-27")
def test_end_is_announced_before_it_comes_when_asked_with_sigterm() -> None:
    draining.make_flag()
    server = drainer(1)
    server.signal_handler_interrupt(signal.SIGTERM, None)
    assert draining.is_draining()
    assert not server.interrupt_signal
    assert server.main_loop_interrupt.wait(10)
    assert server.interrupt_signal


@pytest.mark.parametrize(("signals", "seconds"), [(["SIGINT"], 20), (["SIGTERM"], 0), (["SIGTERM", "SIGTERM"], 20)])
def test_end_comes_at_once_when_nobody_wants_to_wait(signals: list[str], seconds: int) -> None:
    draining.make_flag()
    server = drainer(seconds)
    for name in signals:
        server.signal_handler_interrupt(signal.Signals[name], None)
    assert server.interrupt_signal


def test_workers_are_not_started_again_when_they_were_ended_together_with_the_server() -> None:
    draining.make_flag()
    server = drainer(20)
    server.signal_handler_interrupt(signal.SIGTERM, None)
    server._respawn_workers([0], None, None)
    assert server.interrupt_signal


# ------------------------------------------------------------------------------------------------------------- workers


class Inner:
    """Stands where a process would."""

    pid = 1

    def run(self) -> None:
        pass

    def start(self) -> None:
        pass

    def join(self, timeout: float | None = None) -> None:
        pass


@pytest.mark.parametrize("has_nursery", [True, False])
def test_workers_come_from_a_nursery_where_there_is_one(monkeypatch: pytest.MonkeyPatch, has_nursery: bool) -> None:
    brought_up: list[list[nursery.Ward]] = []
    monkeypatch.setattr(nursery, "open_nursery", lambda: has_nursery)
    monkeypatch.setattr(nursery, "bring_up", brought_up.append)
    monkeypatch.setattr(main_process.WorkerProcess, "_spawn", lambda worker, *_: setattr(worker, "inner", Inner()))
    server = drainer(0)
    server.workers = 2
    server._sso = None
    server._start_ipc()
    server._spawn_workers(None, None)
    inner = [worker.inner for worker in server.wrks]
    assert [isinstance(each, nursery.Ward) for each in inner] == [has_nursery] * 2
    assert brought_up[:1] == ([inner] if has_nursery else [])
