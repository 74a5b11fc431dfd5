"""Argon2id for people's passwords (RFC 9106), and a decoy of the same cost for people who do not exist."""

from __future__ import annotations

import os
import sys
import threading
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher as Argon2Hasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from server.config import Settings
from server.infra import cores, memory
from server.infra.turns import stepping_aside

#: A third of the others' share of a busy core.
_NICENESS: Final = 5

T = TypeVar("T")

#: So many outcomes are given out together when so many people wait: the rest of a sign-in finds the processor's caches
#: as a hash left them, and the next as a sign-in did (`docs/adr/0022-hashes-are-given-out-in-groups.md`).
_TOGETHER: Final = 4
#: When nobody has set or entered a password for so long, the memory it took goes back to the system.
IDLE_SECONDS: Final = 2.0


class PasswordHasher:
    """Hashes and verifies passwords with the deployment's parameters, one at a time in a thread of its own.

    Each thread that ever hashed keeps the megabytes it needed: sixteen of them hold twelve times the memory of one.
    Other requests are served meanwhile, so that no token waits for a password; the caller holds no transaction.
    """

    def __init__(self, settings: Settings) -> None:
        self._argon2 = Argon2Hasher(
            time_cost=settings.argon2_time_cost,
            memory_cost=settings.argon2_memory_kib,
            parallelism=settings.argon2_parallelism,
        )
        self._thread = _HashingThread(settings.argon2_memory_kib * 1024)
        self._decoy = _decoy(self._argon2)

    def hash(self, password: str) -> str:
        """The encoded argon2id hash of `password`."""
        return self._in_thread(lambda: self._argon2.hash(password))

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` is right. Without a hash it does the same work and says no, so that time tells nothing."""
        try:
            self._in_thread(lambda: self._argon2.verify(password_hash or self._decoy, password))
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(password_hash)

    def _in_thread(self, job: Callable[[], T]) -> T:
        running = self._thread.submit(job)
        with stepping_aside():
            return running.result()


def _decoy(argon2: Argon2Hasher) -> str:
    """An encoded hash that no password has: it is random. Nothing was hashed for it, which would take megabytes."""
    salt, digest = (b64encode(os.urandom(size)).rstrip(b"=").decode() for size in (argon2.salt_len, argon2.hash_len))
    cost = f"m={argon2.memory_cost},t={argon2.time_cost},p={argon2.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${cost}${salt}${digest}"


class _HashingThread:
    """Does one job after the other, each in `memory_bytes`; begun by the first, as threads do not survive a fork."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._jobs: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """The job's result, when it is there."""
        if self._thread is None:
            self._begin()
        future: Future[T] = Future()
        self._jobs.put((future, job))
        return future

    def _begin(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="password-hasher", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        _step_back()
        patience: float | None = None
        ended: list[Callable[[], None]] = []
        while True:
            try:
                future, job = self._jobs.get(timeout=patience)
            except Empty:
                memory.give_back()
                patience = None
                continue
            if patience is None:
                # The first job, or the first since the memory went back.
                memory.wish_for_huge_pages(self._memory_bytes)
            ended.append(_outcome(future, job))
            if len(ended) == _TOGETHER or len(ended) + self._jobs.qsize() < _TOGETHER:
                while ended:
                    ended.pop(0)()
            # Neither a password nor what was asked of it stays while nobody comes.
            del future, job
            patience = IDLE_SECONDS


def _outcome(future: Future[T], job: Callable[[], T]) -> Callable[[], None]:
    """Does the job; returns what gives its outcome out."""
    try:
        return partial(future.set_result, job())
    except BaseException as error:  # noqa: BLE001  # whoever waits for the result raises it
        return partial(future.set_exception, error)


def _step_back() -> None:
    """Lets threads that serve requests go first: twenty milliseconds are long for a token and short for a person."""
    cores.roam()
    # Only Linux has a niceness for each thread; elsewhere this would slow the whole process down.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
