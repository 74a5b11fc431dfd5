"""Argon2id for people's passwords (RFC 9106), and a decoy of the same cost for people who do not exist."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from argon2 import PasswordHasher as Argon2Hasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.config import Settings
from server.infra.turns import stepping_aside

P = ParamSpec("P")
T = TypeVar("T")


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
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="password-hasher")
        self._decoy = self._argon2.hash("a password nobody has")

    def hash(self, password: str) -> str:
        """The encoded argon2id hash of `password`."""
        return self._in_thread(self._argon2.hash, password)

    def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether `password` is right. Without a hash it does the same work and says no, so that time tells nothing."""
        try:
            self._in_thread(self._argon2.verify, password_hash or self._decoy, password)
        except (VerificationError, InvalidHashError):
            return False
        return password_hash is not None

    def _in_thread(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        running = self._thread.submit(work, *arguments, **named)
        with stepping_aside():
            return running.result()

    def needs_rehash(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon2.check_needs_rehash(password_hash)
