"""Twenty apps, some of them dead, and senders that are killed: whoever can be told is told, and nobody waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.infra import jose
from tests.faults.backchannel_logout import WITHIN_SECONDS, sign_all_out

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PEOPLE = 20


@pytest.mark.spec("R-35", "R-37", "R-38", "R-39")
@pytest.mark.spec("INV-38")
def test_every_app_that_can_be_reached_is_told_in_time_when_others_are_dead_and_senders_are_killed(
    tmp_path: Path, database_url: str
) -> None:
    url = database_url if database_url.startswith("postgresql") else None
    report = sign_all_out(tmp_path / "server", PEOPLE, url)
    assert len(report.signed_out_at) == PEOPLE
    assert report.missing == set()
    assert report.phantoms == set()
    assert report.delays[-1] < WITHIN_SECONDS
    assert report.has_one_jti_each
    # Nobody waits for the apps, of which those that hang would take 5 s; a worker that is started anew takes its time.
    assert sorted(report.seconds)[len(report.seconds) // 2] < 4
    # At most what was under way when the senders were killed, twice.
    assert report.repeated <= 2 * 2 * 32
    # A refusal is final, trouble is not. Killed senders may have sent a refused one twice.
    assert max(report.attempts("stubborn")) <= 3
    assert min(report.attempts("ill")) >= 3


@pytest.mark.spec("R-38")
def test_token_is_signed_anew_when_it_is_sent_again(tmp_path: Path) -> None:
    report = sign_all_out(tmp_path / "server", 2)
    again = [tokens for (name, _), tokens in report.apps.tokens.items() if name.startswith("ill")]
    assert again
    for tokens in again:
        issued = [jose.peek_claims(token)["iat"] for token in tokens]
        assert issued == sorted(issued)
        assert issued[-1] > issued[0]
        assert len(set(tokens)) > 1
