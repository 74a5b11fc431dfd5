"""Turns: one at a time, and whoever waits for something else lets others pass."""

from __future__ import annotations

import threading

import pytest

from server.config import Settings
from server.infra.password_hasher import PasswordHasher
from server.infra.turns import Gate, others_wait, stepping_aside, turn


def is_taken(gate: Gate) -> bool:
    if gate.enter(0):
        gate.leave()
        return False
    return True


def test_gate_is_held_for_the_turn_and_free_after_it() -> None:
    gate = Gate()
    with turn(gate):
        assert is_taken(gate)
    assert not is_taken(gate)


def test_others_have_the_turn_when_somebody_steps_aside() -> None:
    gate = Gate()
    with turn(gate):
        with stepping_aside():
            assert not is_taken(gate)
        assert is_taken(gate)
    assert not is_taken(gate)


def test_nothing_happens_when_nobody_has_a_turn() -> None:
    with stepping_aside():
        pass


def test_turn_is_taken_again_when_what_was_waited_for_fails() -> None:
    gate = Gate()
    with turn(gate), pytest.raises(RuntimeError), stepping_aside():
        raise RuntimeError
    assert not is_taken(gate)
    with turn(gate):
        assert is_taken(gate)


def test_another_thread_has_no_turn_of_ours() -> None:
    gate, held = Gate(), []

    def visit() -> None:
        with stepping_aside():
            held.append(is_taken(gate))

    with turn(gate):
        visitor = threading.Thread(target=visit)
        visitor.start()
        visitor.join()
    assert held == [True]


def test_others_wait_when_another_thread_wants_the_turn() -> None:
    gate, had_turn = Gate(), threading.Event()

    def visit() -> None:
        with turn(gate):
            had_turn.set()

    assert not others_wait()
    with turn(gate):
        assert not others_wait()
        visitor = threading.Thread(target=visit)
        visitor.start()
        while not others_wait():
            assert visitor.is_alive()
        with stepping_aside():
            assert had_turn.wait(10)
        visitor.join()
        assert not others_wait()


def test_nobody_waits_any_more_when_the_turn_did_not_come_in_time() -> None:
    gate = Gate()
    with turn(gate):
        impatient = threading.Thread(target=gate.enter, args=(0.01,))
        impatient.start()
        impatient.join()
        assert not others_wait()


@pytest.mark.spec("P-07")
def test_other_requests_pass_while_a_password_is_hashed() -> None:
    hasher = PasswordHasher(Settings(_env_file=None, argon2_time_cost=1, argon2_memory_kib=8192))
    gate, passed = Gate(), threading.Event()
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
        assert is_taken(gate)
