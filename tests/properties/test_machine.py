"""The server and the model agree after any order of steps; `python -m tests.properties machine` makes longer lives."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.properties.machine import Deployment


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    Deployment.forget()


@pytest.mark.spec(*(f"INV-{number:02}" for number in (*range(1, 27), 28, 46)))
def test_server_does_what_the_model_says_when_lives_are_made_up() -> None:
    run_state_machine_as_test(
        Deployment,
        settings=settings(
            max_examples=12,
            stateful_step_count=35,
            deadline=None,
            database=None,
            derandomize=True,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        ),
    )
