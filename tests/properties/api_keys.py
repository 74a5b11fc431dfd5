"""API keys at their full size: a million are made, a million are revoked, and refusals are timed (K-01, K-05, K-16)."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import combinations
from statistics import median

from sqlalchemy import event, insert

from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import ApiKey, revoke_api_key, revoke_api_keys
from server.domain.organizations import create_organization
from server.domain.policy import api_key_format
from server.domain.policy.api_key_format import CHECKSUM_LENGTH, PUBLIC_LENGTH, RANDOM_LENGTH
from server.infra import secrets
from server.infra.database import table_of
from tests.domain.api_key_factories import coming_from, make_api_key
from tests.flows.test_sign_in_timing import likelihood
from tests.support.application import Gatepost

#: Below this, divided by the number of comparisons, two samples of times are called different.
LEAST = 0.01
#: How many keys are refused for one reason: where a row lies in the database is not what is compared.
EACH = 50
_PREFIX = "gp_live_"
_WARM_UP = 100
_BATCH = 10_000
#: 61 degrees of freedom exceed it once in ten million times.
_UNEVEN = 140


def make_many(count: int) -> dict[str, object]:
    """Makes keys that differ, in public part and whole, and use each character alike in each place."""
    texts = [secrets.new_secret()[:RANDOM_LENGTH] for _ in range(count)]
    keys = {api_key_format.make(_PREFIX, text) for text in texts}
    assert len(keys) == count
    assert len({text[:PUBLIC_LENGTH] for text in texts}) == count
    assert {len(key) for key in keys} == {len(_PREFIX) + RANDOM_LENGTH + 1 + CHECKSUM_LENGTH}
    most, expected = 0.0, count / 62
    for place in range(RANDOM_LENGTH):
        seen = Counter(text[place] for text in texts)
        assert len(seen) == 62
        most = max(most, sum((each - expected) ** 2 / expected for each in seen.values()))
    assert most < _UNEVEN
    return {"keys made": count, "most uneven place (chi², 61 degrees of freedom)": round(most, 1)}


def revoke_many(gatepost: Gatepost, count: int) -> dict[str, object]:
    """Revokes so many keys at once and tells by how many statements, and in what time."""
    with gatepost.work() as work:
        organization = create_organization(work, "Acme")
        key, text = make_api_key(work, organization)
        row = {name: getattr(key, name) for name in table_of(ApiKey).columns.keys()}  # noqa: SIM118 – not a dict
    for begin in range(1, count, _BATCH):
        copies = [
            {**row, "id": f"{key.id}.{number}", "public_id": f"{key.public_id}.{number}"}
            for number in range(begin, min(begin + _BATCH, count))
        ]
        with gatepost.work() as work:
            work.db.execute(insert(table_of(ApiKey)), copies)
    statements: list[str] = []

    def note(*given: object) -> None:
        statements.append(str(given[2]))

    event.listen(gatepost.engine, "before_cursor_execute", note)
    began = time.monotonic()
    with gatepost.work() as work:
        assert revoke_api_keys(work, organization.id) == count
    seconds = time.monotonic() - began
    event.remove(gatepost.engine, "before_cursor_execute", note)
    with gatepost.work() as work:
        try:
            verify_api_key(work, text)
        except KeyRefused:
            pass
        else:
            raise AssertionError("a revoked key is accepted")
    touching = sum("api_keys" in each and not each.startswith("INSERT") for each in statements)
    return {"keys revoked at once": count, "statements": touching, "seconds of it": round(seconds, 2)}


def refused_texts(gatepost: Gatepost, each: int = EACH) -> dict[str, list[str]]:
    """Keys with a right checksum that are refused, by why."""
    texts: dict[str, list[str]] = {"unknown": [], "wrong secret": [], "revoked": [], "expired": []}
    with gatepost.work() as work:
        organization = create_organization(work, "Refused")
        for _ in range(each):
            texts["unknown"].append(api_key_format.make(_PREFIX, secrets.new_secret()[:RANDOM_LENGTH]))
            known, _ = make_api_key(work, organization)
            other = secrets.new_secret()[: RANDOM_LENGTH - PUBLIC_LENGTH]
            texts["wrong secret"].append(api_key_format.make(_PREFIX, known.public_id + other))
            revoked, of_revoked = make_api_key(work, organization)
            revoke_api_key(work, revoked, "lost")
            texts["revoked"].append(of_revoked)
            expired, of_expired = make_api_key(work, organization)
            expired.expires_at = work.now - timedelta(days=1)
            texts["expired"].append(of_expired)
    return texts


def time_verification(gatepost: Gatepost, texts: Mapping[str, Sequence[str]], samples: int) -> dict[str, object]:
    """The p values of each pair of reasons, where keys are verified."""
    with gatepost.work() as work:
        there = coming_from(work, "192.0.2.1")

        def refuse(text: str) -> bool:
            try:
                verify_api_key(there, text)
            except KeyRefused as refused:
                return refused.reason == "unknown"
            return False

        return _compared(refuse, texts, samples)


def time_answers(
    ask: Callable[[str], int], flush: Callable[[], None], texts: Mapping[str, Sequence[str]], samples: int
) -> dict[str, object]:
    """The p values of each pair of reasons, as a gateway sees them; `flush` is called between them now and then."""
    return _compared(lambda text: ask(text) == 401, texts, samples, flush)


def _compared(
    refuse: Callable[[str], bool],
    texts: Mapping[str, Sequence[str]],
    samples: int,
    between: Callable[[], None] | None = None,
) -> dict[str, object]:
    spent: dict[str, list[float]] = {why: [] for why in texts}
    order = list(texts)
    for turn in range(samples + _WARM_UP):
        # Whoever comes first pays for what the turn before left behind.
        random.shuffle(order)
        if between is not None and turn % _WARM_UP == 0:
            between()
        for why in order:
            text = texts[why][turn % len(texts[why])]
            began = time.perf_counter()
            is_refused = refuse(text)
            taken = time.perf_counter() - began
            assert is_refused
            if turn >= _WARM_UP:
                spent[why].append(taken)
    values = {f"{one} / {other}": likelihood(spent[one], spent[other]) for one, other in combinations(spent, 2)}
    return {
        "samples of each": samples,
        "medians in µs": {why: round(median(times) * 1e6, 1) for why, times in spent.items()},
        "p values": {pair: round(value, 4) for pair, value in values.items()},
        "told apart": sum(value < LEAST / len(values) for value in values.values()),
    }
