"""Turns: one at a time, and whoever waits for something else lets others pass."""

from __future__ import annotations

import threading

import pytest

from server.config import Settings
from server.infra.password_hasher import PasswordHasher
from server.infra.turns import stepping_aside, turn


def test_gate_is_held_for_the_turn_and_free_after_it() -> None:
    gate = threading.Lock()
    with turn(gate):
        assert gate.locked()
    assert not gate.locked()


def test_others_have_the_turn_when_somebody_steps_aside() -> None:
    gate = threading.Lock()
    with turn(gate):
        with stepping_aside():
            assert not gate.locked()
        assert gate.locked()
    assert not gate.locked()


def test_nothing_happens_when_nobody_has_a_turn() -> None:
    with stepping_aside():
        pass


def test_turn_is_taken_again_when_what_was_waited_for_fails() -> None:
    gate = threading.Lock()
    with turn(gate), pytest.raises(RuntimeError), stepping_aside():
        raise RuntimeError
    assert not gate.locked()
    with turn(gate):
        assert gate.locked()


def test_another_thread_has_no_turn_of_ours() -> None:
    gate, held = threading.Lock(), []

    def visit() -> None:
        with stepping_aside():
            held.append(gate.locked())

    with turn(gate):
        visitor = threading.Thread(target=visit)
        visitor.start()
        visitor.join()
    assert held == [True]


@pytest.mark.spec("P-07")
def test_other_requests_pass_while_a_password_is_hashed() -> None:
    hasher = PasswordHasher(Settings(_env_file=None, argon2_time_cost=1, argon2_memory_kib=8192))
    gate, passed = threading.Lock(), threading.Event()
    busy = threading.Event()
    # The hashing thread is busy until somebody else has had a turn.
    hasher._thread.submit(lambda: busy.set() or passed.wait(10))
    assert busy.wait(10)

    def other() -> None:
        with turn(gate):
            passed.set()

    with turn(gate):
        threading.Thread(target=other).start()
        assert hasher.verify(None, "a password") is False
        assert passed.is_set()
        assert gate.locked()
