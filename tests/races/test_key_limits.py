"""A key's limit is one number, however many use the key at once, on however many processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from tests.races.connection import Answer, Connection, request
from tests.races.stage import Stage

pytestmark = [pytest.mark.race, pytest.mark.timeout(200)]

CLIENTS = 50
LIMIT = 20


@dataclass
class Keys:
    """An organization's keys, and fifty clients, each with a connection to one of the replicas."""

    on: Stage
    connections: list[Connection] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.on.servers[0].run("organizations", "create", "Acme", "--slug", "acme")
        self.connections = [Connection(self.on.ports[number % len(self.on.ports)]) for number in range(CLIENTS)]

    def make(self, limit: int) -> str:
        """The text of a new key."""
        options = ("--permission", "users:read", "--rate-limit", str(limit))
        made = self.on.servers[0].run_json("api-keys", "create", "acme", "Orders", *options)
        return str(made["key"])

    def question(self, key: str, path: str = "/v1/verify") -> bytes:
        """What a gateway sends; its body is only there to be held back."""
        return request("POST", self.on.issuer + path, {"Authorization": f"Bearer {key}"}, b"held")

    def at_once(self, key: str) -> list[Answer]:
        """The answers when all clients send their last byte in the same moment."""
        for connection in self.connections:
            connection.hold(self.question(key))
        for connection in self.connections:
            connection.release()
        return [connection.answer() for connection in self.connections]

    def one_after_another(self, key: str, count: int) -> list[Answer]:
        """The answers when each client sends so many, as fast as it can."""

        def use(connection: Connection) -> list[Answer]:
            return [connection.exchange(self.question(key)) for _ in range(count)]

        with ThreadPoolExecutor(CLIENTS) as pool:
            return [answer for answers in pool.map(use, self.connections) for answer in answers]


@pytest.fixture(scope="module")
def keys(on: Stage) -> Iterator[Keys]:
    found = Keys(on)
    yield found
    for connection in found.connections:
        connection.close()


def tally(answers: list[Answer]) -> Counter[str]:
    for answer in answers:
        if answer.status == 429:
            assert 0 < int(answer.header("retry-after")) <= 60
    return Counter(answer.outcome for answer in answers)


@pytest.mark.spec("K-15")
def test_limit_is_exact_when_fifty_use_the_key_at_once(keys: Keys) -> None:
    for _ in range(5):
        answers = keys.at_once(keys.make(LIMIT))
        assert tally(answers) == {"200": LIMIT, "429 rate_limited": CLIENTS - LIMIT}
        left = sorted(int(answer.header("ratelimit-remaining")) for answer in answers if answer.status == 200)
        assert left == list(range(LIMIT)), "each of them was told a number of its own"


@pytest.mark.spec("K-15")
def test_limit_is_exact_when_fifty_use_the_key_for_a_while(keys: Keys) -> None:
    limit, each = 150, 8
    answers = keys.one_after_another(keys.make(limit), each)
    assert tally(answers) == {"200": limit, "429 rate_limited": CLIENTS * each - limit}


@pytest.mark.spec("K-15")
def test_limit_of_one_key_takes_nothing_from_another(keys: Keys) -> None:
    first, second = keys.make(1), keys.make(LIMIT)
    assert tally(keys.at_once(first))["200"] == 1
    assert tally(keys.at_once(second))["200"] == LIMIT


@pytest.mark.spec("K-15")
def test_count_is_the_same_wherever_the_key_is_used(keys: Keys) -> None:
    key = keys.make(2)
    headers = {"Authorization": f"Bearer {key}"}
    own = request("GET", f"{keys.on.issuer}/v1/me", headers)
    answers = [keys.connections[0].exchange(own), keys.connections[1].exchange(keys.question(key))]
    assert [answer.status for answer in answers] == [200, 200]
    assert [connection.exchange(own).status for connection in keys.connections[:3]] == [429, 429, 429]
    assert keys.connections[2].exchange(keys.question(key)).status == 429
