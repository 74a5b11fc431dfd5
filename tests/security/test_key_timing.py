"""Refusals of keys tell nothing of the key: the same answer, and the same work (K-05).

The work is counted: statements and digests. `python -m tests.properties keys` compares times, on a quiet machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from server.domain import api_key_verification
from server.domain.api_key_verification import verify_api_key
from server.domain.api_keys import get_api_key, revoke_api_key
from server.domain.policy import api_key_format
from server.infra import secrets
from server.protocol import credentials
from tests.support.altered import altered
from tests.support.deployment import GatepostMaker
from tests.support.gateway import API_SCOPES, Gateway
from tests.support.statements import watch_statements


def _other_secret(text: str, public_id: str) -> str:
    """Another key with the same public id and a checksum that is right."""
    prefix = text[: text.index(public_id)]
    return api_key_format.make(prefix, public_id + "A" * (api_key_format.RANDOM_LENGTH - len(public_id)))


@pytest.fixture
def gateway(make_gatepost: GatepostMaker) -> Gateway:
    return Gateway(make_gatepost(scopes=API_SCOPES))


@pytest.fixture
def refused(gateway: Gateway) -> dict[str, str]:
    """One key for each reason; its checksum is right, so that the database has to be asked."""
    clock = gateway.gatepost.clock
    good, text = gateway.key()
    revoked, revoked_text = gateway.key()
    _, expired_text = gateway.key(expires_at=clock.now() + timedelta(minutes=10))
    with gateway.gatepost.work() as work:
        revoke_api_key(work, get_api_key(work, gateway.acme.id, "live", revoked.id), "test")
    clock.advance(601)
    return {
        "unknown id": api_key_format.make("gp_live_", "0" * api_key_format.RANDOM_LENGTH),
        "known id, wrong secret": _other_secret(text, good.public_id),
        "revoked": revoked_text,
        "expired": expired_text,
    }


class Work:
    """What is done while a request is answered."""

    def __init__(self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
        self.statements: list[str] = []
        self.digests = 0
        watch_statements(gateway.gatepost.engines, self.statements.append, monkeypatch)
        mac_of = api_key_verification.mac_of

        def counted(*arguments: Any) -> str:
            self.digests += 1
            return mac_of(*arguments)

        monkeypatch.setattr(api_key_verification, "mac_of", counted)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], tuple[tuple[str, ...], int]]]:
        self.statements.clear()
        self.digests = 0
        yield lambda: (tuple(self.statements), self.digests)


def works(gateway: Gateway, refused: dict[str, str], work: Work) -> dict[str, tuple[tuple[str, ...], int]]:
    """What each refusal takes, once what happens once per process is over."""
    found = {}
    for reason, key in refused.items():
        gateway.ask(key)
        with work.counting() as done:
            assert gateway.ask(key).status_code == 401
        found[reason] = done()
    return found


@pytest.mark.spec("K-05")
def test_answer_is_the_same_byte_for_byte_but_for_the_request_s_id(gateway: Gateway, refused: dict[str, str]) -> None:
    answers = []
    for key in (*refused.values(), altered(refused["unknown id"])):
        answer = gateway.ask(key)
        request_id = answer.headers["X-Request-ID"]
        headers = sorted((name, value.replace(request_id, "")) for name, value in answer.headers.items())
        answers.append((answer.status_code, headers, answer.data.replace(request_id.encode(), b"")))
    assert answers[0][0] == 401
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.spec("K-05", "K-08")
def test_work_is_the_same_whatever_the_reason(
    gateway: Gateway, refused: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = works(gateway, refused, Work(gateway, monkeypatch))
    assert len(set(found.values())) == 1
    statements, digests = found["unknown id"]
    assert (len(statements), digests) == (1, len(gateway.gatepost.runtime.keyring.names))


@pytest.mark.spec("K-05")
def test_test_notices_when_a_known_key_is_looked_at_longer(
    gateway: Gateway, refused: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the same work is counted means something: a server that looks twice is found out."""

    def twice(work: Any, presented: str, **options: Any) -> Any:
        if presented == refused["revoked"]:
            work.read(api_key_verification._BY_ID, {"key_id": secrets.new_id(), "now": work.now})
        return verify_api_key(work, presented, **options)

    monkeypatch.setattr(credentials, "verify_api_key", twice)
    assert len(set(works(gateway, refused, Work(gateway, monkeypatch)).values())) == 2
