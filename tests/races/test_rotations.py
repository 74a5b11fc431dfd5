"""Keys rotate and nobody notices: fifty times in simulated time, by three processes at once, and in an emergency.

`rotations.py` beside this file runs the same by hand at any size.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from server.domain import key_rotation
from tests.races.compressed_time import simulate
from tests.races.rotations_at_once import emergency, rotated_at_once, started_at_once
from tests.races.stage import Stage
from tests.races.verifiers import KEPT

pytestmark = [pytest.mark.race, pytest.mark.timeout(1200)]

ROTATIONS = 50
ROUNDS = 5


@pytest.mark.spec("R-13")
@pytest.mark.spec("R-14")
@pytest.mark.spec("R-15")
def test_no_verification_fails_in_fifty_rotations_when_verifiers_keep_the_jwks_for_up_to_a_day(tmp_path: Path) -> None:
    figures, faults = simulate(tmp_path / "deployment", ROTATIONS)
    assert faults == []
    assert figures["scheduled rotations"] == ROTATIONS
    assert figures["verification failures"] == figures["tokens ahead of the JWKS"] == 0
    assert figures["verifiers"] == sum(count for _, count in KEPT.values()) + 2


@pytest.mark.postgres
@pytest.mark.spec("R-13")
def test_no_verification_fails_on_postgresql_either(postgres_url: str, tmp_path: Path) -> None:
    figures, faults = simulate(tmp_path / "deployment", 3, postgres_url)
    assert (faults, figures["verification failures"]) == ([], 0)


def test_verifications_fail_when_new_keys_sign_unannounced(tmp_path: Path) -> None:
    figures, faults = simulate(tmp_path / "deployment", 3, is_announced=False)
    assert figures["verification failures"] != 0
    assert "a token fails for whoever keeps the JWKS: 24 hours" in faults


def test_verifications_fail_when_nothing_is_added_for_caches_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_rotation, "_UNDERWAY", timedelta())
    figures, _ = simulate(tmp_path / "deployment", 4)
    assert figures["verification failures"] != 0


@pytest.mark.spec("R-15")
def test_one_key_is_active_at_every_moment_when_three_processes_rotate_at_once(on: Stage) -> None:
    figures, faults = rotated_at_once(on, ROUNDS)
    assert faults == []
    assert ROUNDS <= int(str(figures["rotations that came of them"])) <= 3 * ROUNDS


@pytest.mark.spec("R-14")
def test_every_replica_leaves_a_leaked_key_within_seconds(on: Stage) -> None:
    _, faults = emergency(on)
    assert faults == []


@pytest.mark.spec("R-15")
def test_each_algorithm_has_one_key_when_three_replicas_start_at_once(
    request: pytest.FixtureRequest, kind: str, tmp_path: Path
) -> None:
    url = request.getfixturevalue("postgres_url") if kind == "postgres" else f"sqlite:///{tmp_path / 'gatepost.sqlite'}"
    _, faults = started_at_once(url)
    assert faults == []
