"""The password hasher: argon2id, the deployment's parameters, and a decoy for people who do not exist."""

from __future__ import annotations

import platform
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from argon2 import PasswordHasher as Argon2Hasher
from argon2 import extract_parameters
from argon2.exceptions import VerifyMismatchError

from server.config import Settings
from server.infra.password_hasher import PasswordHasher
from tests.support.components import REPOSITORY

CHEAP = {"argon2_time_cost": 1, "argon2_memory_kib": 8192, "argon2_parallelism": 1}


def hasher(**changes: int) -> PasswordHasher:
    return PasswordHasher(Settings(_env_file=None, **{**CHEAP, **changes}))


@pytest.fixture(autouse=True)
def bare_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.spec("P-01")
def test_hash_is_argon2id_with_the_parameters_of_the_settings() -> None:
    encoded = hasher(argon2_time_cost=2, argon2_memory_kib=9000, argon2_parallelism=2).hash("correct horse")
    assert encoded.startswith("$argon2id$v=19$m=9000,t=2,p=2$")


def test_hash_differs_each_time_when_the_password_is_the_same() -> None:
    subject = hasher()
    assert subject.hash("correct horse") != subject.hash("correct horse")


def test_password_verifies_against_its_own_hash_alone() -> None:
    subject = hasher()
    encoded = subject.hash("correct horse")
    assert subject.verify(encoded, "correct horse")
    assert not subject.verify(encoded, "Correct horse")
    assert not subject.verify(encoded, "")


def test_nothing_verifies_when_there_is_no_hash() -> None:
    subject = hasher()
    assert not subject.verify(None, "correct horse")
    assert not subject.verify(None, "")


@pytest.mark.spec("P-07")
def test_decoy_is_a_hash_like_any_other_though_nothing_was_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(Argon2Hasher, "hash", lambda self, password: hashed.append(password))
    subjects = [hasher(argon2_time_cost=2, argon2_memory_kib=9000, argon2_parallelism=2) for _ in range(2)]
    monkeypatch.undo()
    assert hashed == []
    decoys = [subject._decoy for subject in subjects]
    assert len(set(decoys)) == 2, "whoever knows one deployment's knows no other's"
    real = subjects[0].hash("correct horse")
    for subject, decoy in zip(subjects, decoys, strict=True):
        assert extract_parameters(decoy) == extract_parameters(real)
        assert [len(part) for part in decoy.split("$")] == [len(part) for part in real.split("$")]
        assert not subject.needs_rehash(decoy)
        with pytest.raises(VerifyMismatchError):
            subject._argon2.verify(decoy, "correct horse")


@pytest.mark.spec("P-07")
def test_passwords_are_hashed_one_at_a_time_in_a_thread_of_their_own() -> None:
    subject = hasher()
    threads: list[int] = []
    real = subject._argon2.hash

    def recorded(password: str) -> str:
        threads.append(threading.get_ident())
        return real(password)

    subject._argon2 = SimpleNamespace(hash=recorded)  # type: ignore[assignment]
    callers = [threading.Thread(target=subject.hash, args=("correct horse",)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(threads) == 4
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


@pytest.mark.parametrize(("waiting", "groups"), [(1, [1]), (3, [1, 1, 1]), (4, [4]), (5, [4, 1]), (9, [4, 4, 1])])
def test_outcomes_are_given_out_four_at_a_time_when_so_many_wait(waiting: int, groups: list[int]) -> None:
    thread = hasher()._thread
    are_queued = threading.Event()
    known: list[int] = []

    def count_known() -> None:
        assert are_queued.wait(10)
        known.append(sum(future.done() for future in futures))

    futures = [thread.submit(count_known) for _ in range(waiting)]
    are_queued.set()
    for future in futures:
        future.result(10)
    # What each of them saw as given out: all groups before its own.
    assert known == [sum(groups[:number]) for number, size in enumerate(groups) for _ in range(size)]


IDLE = """
import os, time
from pathlib import Path
from server.config import Settings
from server.infra import memory, password_hasher

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

memory.keep_one_heap()
password_hasher.IDLE_SECONDS = 3600
before = resident()
hasher = password_hasher.PasswordHasher(Settings(_env_file=None))
for _ in range(3):
    hasher.verify(None, "correct horse")
kept, deadline = resident(), time.monotonic() + 20
# Patience counts from the next password on: however slow the machine is, nothing was given back before it was measured.
password_hasher.IDLE_SECONDS = 0.5
hasher.verify(None, "correct horse")
while resident() > before + 5_000_000 and time.monotonic() < deadline:
    time.sleep(0.05)
assert hasher.verify(hasher.hash("correct horse"), "correct horse")
print(kept - before > 15_000_000, time.monotonic() < deadline)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep no memory that was freed")
def test_memory_goes_back_to_the_system_when_nobody_signs_in_for_a_while() -> None:
    # As in a worker, and in a process of its own: what the C library keeps depends on all that was allocated before.
    finished = subprocess.run([sys.executable, "-c", IDLE], cwd=REPOSITORY, capture_output=True, text=True)
    assert finished.stdout == "True True\n", finished.stdout + finished.stderr


HUGE_PAGES = """
from pathlib import Path
from server.config import Settings
from server.infra import memory, password_hasher

memory.keep_one_heap()
password_hasher.IDLE_SECONDS = 3600
password_hasher.PasswordHasher(Settings(_env_file=None)).verify(None, "correct horse")
resident = 0
for line in Path("/proc/self/smaps").read_text().splitlines():
    name, _, value = line.partition(":")
    if name == "Rss":
        kilobytes = int(value.split()[0])
    if name == "VmFlags" and "hg" in value.split():
        resident += kilobytes
print(resident > 15_000)
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or not Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="only glibc is asked for huge pages, and only a kernel that has them heeds it",
)
def test_password_is_hashed_where_huge_pages_were_asked_for() -> None:
    finished = subprocess.run([sys.executable, "-c", HUGE_PAGES], cwd=REPOSITORY, capture_output=True, text=True)
    assert finished.stdout == "True\n", finished.stdout + finished.stderr


def test_fault_reaches_whoever_waits_and_the_next_password_is_hashed() -> None:
    subject = hasher()
    with pytest.raises(AttributeError):
        subject.hash(None)  # type: ignore[arg-type]
    assert subject.verify(subject.hash("correct horse"), "correct horse")


@pytest.mark.parametrize("encoded", ["plain text", "$argon2id$v=19$", "$2b$12$abcdefghijklmnopqrstuv"])
def test_password_is_wrong_when_the_stored_hash_is_none(encoded: str) -> None:
    assert not hasher().verify(encoded, "plain text")


def test_decoy_costs_what_a_real_hash_costs() -> None:
    subject = hasher(argon2_time_cost=3, argon2_memory_kib=8200)
    verified: list[str] = []
    subject._argon2 = type("Recorder", (), {"verify": lambda _, encoded, password: verified.append(encoded)})()
    subject.verify(None, "correct horse")
    assert verified[0].startswith("$argon2id$v=19$m=8200,t=3,p=1$")


@pytest.mark.parametrize("change", ["argon2_time_cost", "argon2_memory_kib", "argon2_parallelism"])
def test_rehash_is_needed_when_a_parameter_changed(change: str) -> None:
    encoded = hasher().hash("correct horse")
    assert not hasher().needs_rehash(encoded)
    assert hasher(**{change: CHEAP[change] + 1}).needs_rehash(encoded)


@pytest.mark.spec("P-01")
def test_defaults_are_what_the_rules_ask_for_at_least() -> None:
    settings = Settings(_env_file=None)
    assert settings.argon2_memory_kib >= 19456
    assert settings.argon2_time_cost >= 2
    assert settings.argon2_memory_kib * settings.argon2_time_cost >= 38912
