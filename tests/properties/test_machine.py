"""The server and the model agree after any order of steps; `python -m tests.properties machine` makes longer lives."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from server.domain.sessions import grants
from server.domain.users import disable_user, enable_user, get_user
from server.protocol.grants import authorization_code, refresh_token
from server.protocol.revocation import RevocationEndpoint
from tests.properties.machine import Deployment
from tests.support.application import Gatepost
from tests.support.flow import basic, flow_of

#: Always the same lives, and a failure is told as it was lived: making it short, as the long run does, takes minutes.
LIVES = settings(
    max_examples=10,
    stateful_step_count=30,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


#: Ten seconds of work, but of a machine that may be busy with other things.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    Deployment.forget()


@pytest.mark.spec(*(f"INV-{number:02}" for number in (*range(1, 27), 28, 46)))
def test_server_does_what_the_model_says_when_lives_are_made_up() -> None:
    run_state_machine_as_test(Deployment, settings=LIVES)


@pytest.mark.spec("INV-10", "RFC 7009 §2")
def test_revocation_holds_when_the_person_was_disabled_meanwhile(gatepost: Gatepost) -> None:
    """What the model found: such a revocation was answered with 200, and the token lived again with its person."""
    flow = flow_of(gatepost)
    token = flow.tokens()["access_token"]
    with gatepost.work() as work:
        disable_user(work, get_user(work, flow.email))
    headers = basic(flow.client.id, flow.secret or "")
    assert gatepost.browser().post("/oauth/revoke", data={"token": token}, headers=headers).status_code == 200
    with gatepost.work() as work:
        enable_user(work, get_user(work, flow.email))
    told = gatepost.browser().get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert told.status_code == 401


def _do_nothing(*_: object, **__: object) -> None:
    """What a forgotten line does."""


MISTAKES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a code that comes back ends nothing": lambda patch: patch.setattr(
        authorization_code, "revoke_for_reuse", _do_nothing
    ),
    "a refresh token that comes back ends nothing": lambda patch: patch.setattr(
        refresh_token, "revoke_for_reuse", _do_nothing
    ),
    "signing out leaves what was granted": lambda patch: patch.setattr(grants, "revoke_grants_of_session", _do_nothing),
    "revoking ends nothing": lambda patch: patch.setattr(RevocationEndpoint, "revoke_token", _do_nothing),
}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_model_notices_when_the_server_is_wrong(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MISTAKES[mistake](monkeypatch)
    with pytest.raises(AssertionError, match="INV-"):
        run_state_machine_as_test(Deployment, settings=settings(LIVES, max_examples=80, stateful_step_count=40))
