"""The main process of `gatepost serve`: starts workers, tells them of the end, and holds nothing of the application.

`gatepost serve` looks whether everything is there, for which it loads nearly all; then it becomes this program, in the
same process.
"""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NoReturn

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer, WorkerProcess

from server.infra import cores, draining, listening, memory, nursery

#: Named, not imported: the composition root stands above the command line.
_TARGET = "server.app:create_serving_app"
_LOAD = "server.app:load"
#: From SIGTERM to the end, whatever clients do.
_END_SECONDS = 30
#: At the end of the announced time no new connection is taken, so that none waits unserved when the listener closes.
_REFUSING_SECONDS = 0.1
#: Threads that wait for slow clients; the application itself runs one request at a time (`web/one_at_a_time.py`).
_CONNECTIONS = 256
_HEADER_TIMEOUT_MS = 10_000
_MAXIMUM_HEADER_BYTES = 65536
#: The new program finds the package where this one did, and looks into no other folder.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop()); "
    "from server.cli.main_process import main; main(sys.argv.pop())"
)


@dataclass(frozen=True)
class Plan:
    """What the main process has to know."""

    host: str
    port: int
    workers: int
    drain_seconds: int
    #: Whether each worker keeps to a core, where there is one for each.
    keeps_cores: bool


def become_main_process(plan: Plan) -> NoReturn:
    """Replaces the program of this process by `main`."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    words = ["gatepost", "serve", json.dumps(asdict(plan)), json.dumps(sys.path)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", *flags, "-c", _PROGRAM, *words])  # noqa: S606 - all of it is ours


def main(plan: str) -> None:
    """Serves until asked to end."""
    run(Plan(**json.loads(plan)))


def run(plan: Plan) -> None:
    """Serves until asked to end."""
    # Until granian sets its own handler, a worker would keep the parent's, and ignore a SIGTERM while it starts.
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    flag = draining.make_flag()
    memory.keep_one_heap()
    DrainingServer(
        _TARGET,
        address=plan.host,
        port=plan.port,
        interface=Interfaces.WSGI,
        workers=plan.workers,
        blocking_threads=_CONNECTIONS,
        backpressure=_CONNECTIONS,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS, max_buffer_size=_MAXIMUM_HEADER_BYTES),
        websockets=False,
        workers_kill_timeout=_END_SECONDS - plan.drain_seconds,
        respawn_failed_workers=True,
        log_level=LogLevels.error,
    ).drain_for(plan.drain_seconds).keep_cores(plan.keeps_cores).serve(
        target_loader=partial(_load_application, flag, plan.port, plan.drain_seconds)
    )


def _load_modules() -> None:
    pkgutil.resolve_name(_LOAD)()


def _load_on_core(core: int, load: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    cores.keep_to(core)
    return load()


def _load_application(flag: draining.Flag, port: int, drain_seconds: int, target: str) -> Callable[..., Any]:
    draining.adopt(flag)
    application: Callable[..., Any] = pkgutil.resolve_name(target)()
    if drain_seconds:
        patience = drain_seconds - _REFUSING_SECONDS
        threading.Thread(target=_refuse_at_the_end, args=(port, patience), name="last-connections", daemon=True).start()
    return application


def _refuse_at_the_end(port: int, patience: float) -> None:
    draining.wait(patience)
    listening.refuse_new_connections(port)


class DrainingServer(MPServer):
    """granian's server, with workers from a nursery; before it ends it says so for a while, and still serves."""

    _drain_seconds = 0
    _keeps_cores = False
    _has_nursery = False

    def drain_for(self, seconds: int) -> DrainingServer:
        """Sets how long; 0 ends at once."""
        self._drain_seconds = seconds
        return self

    def keep_cores(self, wanted: bool) -> DrainingServer:
        """Sets whether each worker keeps to a core of its own, where there are as many workers as cores."""
        self._keeps_cores = wanted
        return self

    def signal_handler_interrupt(self, signum: int, *_: Any) -> None:
        """Announces the end at the first SIGTERM; a second one, or Ctrl-C, does not wait."""
        if signum != signal.SIGTERM or not self._drain_seconds or draining.is_draining():
            self._end()
            return
        draining.announce()
        timer = threading.Timer(self._drain_seconds, self._end)
        timer.daemon = True
        timer.start()

    def _end(self) -> None:
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def _spawn_worker(self, idx: int, target: Any, callback_loader: Any) -> WorkerProcess:  # type: ignore[override]
        core = cores.core_of(idx, self.workers) if self._keeps_cores else None
        load = callback_loader if core is None else partial(_load_on_core, core, callback_loader)
        worker = super()._spawn_worker(idx, target, load)
        if self._has_nursery:
            worker.inner = nursery.Ward(worker.inner.run, _load_modules)
        return worker

    def _spawn_workers(self, spawn_target: Any, target_loader: Any) -> None:
        self._has_nursery = nursery.open_nursery()
        if not self._has_nursery:
            super()._spawn_workers(spawn_target, target_loader)  # type: ignore[no-untyped-call]
            return
        workers: list[Any] = [self._spawn_worker(idx, spawn_target, target_loader) for idx in range(self.workers)]
        nursery.bring_up([worker.inner for worker in workers])
        for worker in workers:
            worker.start()
        self.wrks.extend(workers)

    def _respawn_workers(self, *arguments: Any, **options: Any) -> None:
        # Who signals the whole process group has ended the workers too; they are not wanted back.
        if draining.is_draining():
            self._end()
        else:
            super()._respawn_workers(*arguments, **options)
