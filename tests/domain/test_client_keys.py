"""A client's keys: from its registration, or from its URL, asked as seldom as will do and by one request at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from server.domain.actor import OPERATOR
from server.domain.client_keys import KeysUnavailable, keys_of, remembered_keys_of, verify_signed_by
from server.domain.clients import Client
from server.domain.unit_of_work import UnitOfWork
from server.infra import foreign_tokens, jose
from server.infra.outbound_http import FetchFailed, FetchPostponed, FetchRefused, Payer
from server.infra.remote_keys import AGAIN_SECONDS, CAPACITY, FRESH_SECONDS, STALE_SECONDS, RemoteKeys
from server.infra.turns import Gate, turn
from server.infra.waiting_room import PLACES_PER_CLIENT
from tests.domain.factories import make_client
from tests.support.altered import altered
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock

URL = "https://client.example/jwks.json"
KEYS = [{"kty": "OKP", "kid": "one"}]


class Site:
    """Stands where the way out is, and counts who goes there."""

    def __init__(self) -> None:
        self.answer: Any = {"keys": KEYS}
        self.asked: list[str] = []
        self.payers: list[Payer] = []
        self.seconds = 0.0
        #: How it spends them.
        self.wait: Callable[[float], object] = time.sleep

    def get_json(self, url: str, *, payer: Payer) -> Any:
        self.asked.append(url)
        self.payers.append(payer)
        self.wait(self.seconds)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def remote(site: Site, clock: FrozenClock) -> RemoteKeys:
    return RemoteKeys(site, clock)  # type: ignore[arg-type]


def get(remote: RemoteKeys, url: str = URL, *, fresh: bool = False) -> Any:
    known = remote.known(url, fresh=fresh)
    return list(remote.fetch(url, fresh=fresh) if known is None else known)


# How long they are remembered -------------------------------------------------------------------------------------


def test_keys_are_remembered_for_a_minute(remote: RemoteKeys, site: Site, clock: FrozenClock) -> None:
    assert remote.known(URL) is None
    assert get(remote) == KEYS
    clock.advance(FRESH_SECONDS - 0.001)
    assert get(remote) == KEYS
    assert len(site.asked) == 1
    clock.advance(0.001)
    site.answer = {"keys": []}
    assert get(remote) == []
    assert site.asked == [URL, URL]


@pytest.mark.spec("OpenID Connect Core §10.1.1")
def test_keys_are_asked_for_again_when_they_were_found_wanting(
    remote: RemoteKeys, site: Site, clock: FrozenClock
) -> None:
    get(remote)
    clock.advance(AGAIN_SECONDS)
    site.answer = {"keys": [*KEYS, {"kid": "two"}]}
    assert get(remote, fresh=True) == [*KEYS, {"kid": "two"}]
    assert get(remote) == [*KEYS, {"kid": "two"}]


@pytest.mark.spec("F-08")
def test_url_is_asked_no_sooner_than_after_five_seconds(remote: RemoteKeys, site: Site, clock: FrozenClock) -> None:
    get(remote)
    for _ in range(10):
        clock.advance(AGAIN_SECONDS / 10 - 0.001)
        assert get(remote, fresh=True) == KEYS
    assert len(site.asked) == 1


@pytest.mark.spec("F-08")
def test_url_is_left_alone_for_five_seconds_when_it_does_not_answer(
    remote: RemoteKeys, site: Site, clock: FrozenClock
) -> None:
    site.answer = FetchFailed("no answer", None)
    for _ in range(5):
        with pytest.raises(KeysUnavailable):
            get(remote)
    assert len(site.asked) == 1
    clock.advance(AGAIN_SECONDS)
    site.answer = {"keys": KEYS}
    assert get(remote) == KEYS


@pytest.mark.parametrize("error", [FetchFailed("no answer", 503), FetchRefused("not public")])
def test_keys_hold_for_five_minutes_while_their_url_does_not_answer(
    remote: RemoteKeys, site: Site, clock: FrozenClock, error: Exception
) -> None:
    get(remote)
    site.answer = error
    clock.advance(STALE_SECONDS - 0.001)
    assert get(remote) == KEYS
    assert get(remote, fresh=True) == KEYS
    assert len(site.asked) == 2
    clock.advance(0.001)
    with pytest.raises(KeysUnavailable):
        get(remote)


def test_keys_are_asked_for_when_the_clock_was_set_back(remote: RemoteKeys, site: Site, clock: FrozenClock) -> None:
    get(remote)
    clock.advance(-3600)
    assert get(remote) == KEYS
    assert len(site.asked) == 2


def test_what_was_said_within_five_minutes_is_remembered_without_asking(
    remote: RemoteKeys, site: Site, clock: FrozenClock
) -> None:
    with pytest.raises(KeysUnavailable):
        remote.remembered(URL)
    get(remote)
    clock.advance(STALE_SECONDS - 0.001)
    assert remote.remembered(URL) == tuple(KEYS)
    clock.advance(0.001)
    with pytest.raises(KeysUnavailable):
        remote.remembered(URL)
    assert len(site.asked) == 1


def test_urls_are_kept_apart_and_the_first_is_forgotten_when_there_are_too_many(remote: RemoteKeys, site: Site) -> None:
    for number in range(CAPACITY + 1):
        get(remote, f"{URL}?{number}")
    assert remote.known(f"{URL}?{CAPACITY}") is not None
    assert remote.known(f"{URL}?1") is not None
    assert remote.known(f"{URL}?0") is None


# What may stand there ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document", [None, [], "keys", 5, {}, {"keys": None}, {"keys": {}}, {"keys": "x"}, {"keys": [{}] * 101}]
)
def test_keys_are_unavailable_when_the_document_is_no_jwk_set(remote: RemoteKeys, site: Site, document: Any) -> None:
    site.answer = document
    with pytest.raises(KeysUnavailable):
        get(remote)


def test_members_that_are_no_keys_are_left_out(remote: RemoteKeys, site: Site) -> None:
    site.answer = {"keys": [None, "x", 5, [], *KEYS], "other": 1}
    assert get(remote) == KEYS


# Many at once -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("F-08")
def test_one_request_asks_when_many_need_the_keys_at_once(remote: RemoteKeys, site: Site) -> None:
    site.seconds = 0.1
    with ThreadPoolExecutor(10) as executor:
        found = list(executor.map(lambda _: get(remote), range(10)))
    assert found == [KEYS] * 10
    assert len(site.asked) == 1


@pytest.mark.spec("F-08")
def test_request_goes_on_with_what_is_remembered_when_it_would_be_one_too_many_to_wait(
    remote: RemoteKeys, site: Site, clock: FrozenClock
) -> None:
    slow, payer, is_over = f"{URL}?slow", Payer("keys", "slow"), threading.Event()
    remote.fetch(slow)
    clock.advance(FRESH_SECONDS)
    site.wait = lambda _: is_over.wait(10)
    with ThreadPoolExecutor(PLACES_PER_CLIENT) as executor:
        waiting = [executor.submit(remote.fetch, slow, payer=payer) for _ in range(PLACES_PER_CLIENT)]
        while remote._waiting_room._taken[payer.account] < PLACES_PER_CLIENT:
            time.sleep(0.01)
        assert list(remote.fetch(slow, payer=payer)) == KEYS
        with pytest.raises(KeysUnavailable):
            remote.fetch(f"{URL}?unknown", payer=payer)
        site.wait = time.sleep
        assert list(remote.fetch(f"{URL}?unknown", payer=Payer("keys", "other"))) == KEYS
        is_over.set()
        assert [list(answer.result(10)) for answer in waiting] == [KEYS] * PLACES_PER_CLIENT
    assert site.asked == [slow, slow, f"{URL}?unknown"]


def test_others_are_served_while_keys_are_fetched(remote: RemoteKeys, site: Site) -> None:
    gate, is_asked, is_over = Gate(), threading.Event(), threading.Event()
    served: list[str] = []

    def answer_late(_: float) -> None:
        is_asked.set()
        assert is_over.wait(20)

    def request() -> None:
        with turn(gate, 20):
            get(remote)
            served.append("with keys")

    site.wait = answer_late
    threads = [threading.Thread(target=request) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert is_asked.wait(20)
    # The keys come no sooner than somebody without keys was served.
    with turn(gate, 20):
        served.append("without")
    is_over.set()
    for thread in threads:
        thread.join(20)
    assert served == ["without", "with keys", "with keys", "with keys"]
    assert len(site.asked) == 1


# On whose account -------------------------------------------------------------------------------------------------


@pytest.mark.spec("F-08")
def test_url_may_be_asked_by_another_at_once_when_a_payer_had_its_share(remote: RemoteKeys, site: Site) -> None:
    site.answer = FetchPostponed("too often")
    for _ in range(2):
        with pytest.raises(KeysUnavailable):
            remote.fetch(URL, payer=Payer("keys", "mallory"))
    site.answer = {"keys": KEYS}
    assert list(remote.fetch(URL, payer=Payer("keys", "victim"))) == KEYS
    assert site.payers == [Payer("keys", "mallory"), Payer("keys", "mallory"), Payer("keys", "victim")]


@pytest.mark.spec("F-08")
def test_keys_hold_for_five_minutes_when_their_payer_had_its_share(
    remote: RemoteKeys, site: Site, clock: FrozenClock
) -> None:
    get(remote)
    clock.advance(STALE_SECONDS - 0.001)
    site.answer = FetchPostponed("too often")
    assert get(remote) == KEYS
    assert len(site.asked) == 2


@pytest.mark.spec("F-08")
@pytest.mark.parametrize("is_stranger", [True, False])
def test_client_that_registered_itself_pays_apart_from_those_of_the_operator(
    gatepost: Gatepost, site: Site, monkeypatch: pytest.MonkeyPatch, *, is_stranger: bool
) -> None:
    monkeypatch.setattr(gatepost.runtime.outbound_http, "get_json", site.get_json)
    with gatepost.work() as work:
        client = make_client(work)
        client.jwks_uri, client.registered_dynamically = f"{URL}?{is_stranger}", is_stranger
        keys_of(work, client)
        assert site.payers == [Payer("keys", client.id, is_operators=not is_stranger)]


# Of a client ------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(work: UnitOfWork) -> Client:
    return make_client(work)


def claims(work: UnitOfWork) -> dict[str, Any]:
    return {"iss": "client", "exp": int((work.now + timedelta(minutes=1)).timestamp())}


def test_registered_keys_are_used_without_asking_anybody(work: UnitOfWork, client: Client) -> None:
    assert list(keys_of(work, client)) == []
    client.jwks = {"keys": KEYS}
    assert list(keys_of(work, client)) == KEYS
    assert list(keys_of(work, client, fresh=True)) == KEYS
    assert list(remembered_keys_of(work, client)) == KEYS


def test_transaction_has_ended_when_keys_are_fetched(
    gatepost: Gatepost, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatepost.runtime.outbound_http, "get_json", site.get_json)
    with Session(gatepost.engine, expire_on_commit=False) as db:
        work = UnitOfWork.begin(gatepost.runtime, db, OPERATOR)
        client = make_client(work)
        client.jwks_uri = f"{URL}?ended"
        db.commit()
        db.execute(select(Client))
        assert work.is_in_transaction
        assert list(keys_of(work, client)) == KEYS
        assert not work.is_in_transaction
        db.execute(select(Client))
        gatepost.clock.advance(FRESH_SECONDS)
        assert list(remembered_keys_of(work, client)) == KEYS
        assert work.is_in_transaction


def test_token_verifies_by_a_key_that_was_published_only_now(
    gatepost: Gatepost, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatepost.runtime.outbound_http, "get_json", site.get_json)
    old, new = jose.generate_key("ES256"), jose.generate_key("EdDSA")
    site.answer = {"keys": [jose.public_jwk(old)]}
    with gatepost.work() as work:
        client = make_client(work)
        client.jwks_uri = f"{URL}?now"
        expected = claims(work)
        token = jose.sign(expected, new, "EdDSA", "JWT")
        with pytest.raises(foreign_tokens.UnknownKey):
            verify_signed_by(work, client, token, jose.SIGNING_ALGORITHMS)
        site.answer = {"keys": [jose.public_jwk(new)]}
        gatepost.clock.advance(AGAIN_SECONDS)
        assert verify_signed_by(work, client, token, jose.SIGNING_ALGORITHMS).claims == expected
        with pytest.raises(jose.InvalidToken):
            verify_signed_by(work, client, token, ["ES256"])


def test_url_is_not_asked_again_when_a_signature_is_wrong(
    gatepost: Gatepost, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatepost.runtime.outbound_http, "get_json", site.get_json)
    key = jose.generate_key("ES256")
    site.answer = {"keys": [jose.public_jwk(key)]}
    with gatepost.work() as work:
        client = make_client(work)
        client.jwks_uri = f"{URL}?wrong"
        token = jose.sign(claims(work), key, "ES256", "JWT")
        gatepost.clock.advance(AGAIN_SECONDS)
        with pytest.raises(jose.InvalidToken):
            verify_signed_by(work, client, altered(token, -6), jose.SIGNING_ALGORITHMS)
        assert len(site.asked) == 1
