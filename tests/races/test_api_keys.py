"""API keys at once: of twenty rotations one succeeds, and a key that is revoked meanwhile has no successor."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select

from server.domain.api_key_issuing import OPERATOR_MAKER, rotate_api_key
from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import ApiKey, revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.deletion import delete_organization
from server.domain.errors import Conflict, NotFound
from server.domain.organizations import create_organization, get_organization
from tests.domain.api_key_factories import make_api_key
from tests.domain.factories import audited
from tests.support.application import Gatepost

AT_ONCE = 20
ROUNDS = 5


@pytest.fixture
def any_gatepost(database_url: str, tmp_path: Path) -> Iterator[Gatepost]:
    gatepost = Gatepost(tmp_path, database_url=database_url)
    yield gatepost
    gatepost.close()


def key_of(gatepost: Gatepost) -> tuple[str, str]:
    with gatepost.work() as work:
        key, text = make_api_key(work, create_organization(work, "Acme"))
    return key.id, text


@pytest.mark.race
@pytest.mark.spec("K-06")
@pytest.mark.parametrize("overlap", [0, 3600])
@pytest.mark.spec("INV-33")
def test_one_of_twenty_rotations_at_once_succeeds(any_gatepost: Gatepost, overlap: int) -> None:
    for _ in range(ROUNDS):
        key_id, old_text = key_of(any_gatepost)
        together = Barrier(AT_ONCE)

        def rotate(_: int, key_id: str = key_id, together: Barrier = together) -> str | None:
            together.wait()
            try:
                with any_gatepost.work() as work:
                    return rotate_api_key(work, work.db.get_one(ApiKey, key_id), overlap, OPERATOR_MAKER)[1]
            except Conflict:
                return None

        with ThreadPoolExecutor(AT_ONCE) as executor:
            texts = [text for text in executor.map(rotate, range(AT_ONCE)) if text is not None]
        assert len(texts) == 1
        with any_gatepost.work() as work:
            organization_id = work.db.get_one(ApiKey, key_id).organization_id
            query = select(func.count()).select_from(ApiKey).where(ApiKey.organization_id == organization_id)
            assert work.db.scalar(query) == 2
            assert verify_api_key(work, texts[0]).key.id == work.db.get_one(ApiKey, key_id).replaced_by_id
            if overlap:
                assert verify_api_key(work, old_text).key.id == key_id
            else:
                with pytest.raises(KeyRefused):
                    verify_api_key(work, old_text)
    with any_gatepost.work() as work:
        assert len(audited(work, AuditEvent.API_KEY_ROTATED)) == ROUNDS


@pytest.mark.race
@pytest.mark.spec("K-06")
def test_key_is_rotated_or_revoked_when_both_happen_at_once(any_gatepost: Gatepost) -> None:
    for _ in range(2 * ROUNDS):
        key_id, text = key_of(any_gatepost)
        together = Barrier(2)

        def rotate(key_id: str = key_id, together: Barrier = together) -> bool:
            together.wait()
            try:
                with any_gatepost.work() as work:
                    rotate_api_key(work, work.db.get_one(ApiKey, key_id), 3600, OPERATOR_MAKER)
            except Conflict:
                return False
            return True

        def revoke(key_id: str = key_id, together: Barrier = together) -> None:
            together.wait()
            with any_gatepost.work() as work:
                revoke_api_key(work, work.db.get_one(ApiKey, key_id), "lost")

        with ThreadPoolExecutor(2) as executor:
            rotated, revoked = executor.submit(rotate), executor.submit(revoke)
        assert revoked.exception() is None
        with any_gatepost.work() as work:
            key = work.db.get_one(ApiKey, key_id)
            assert key.revoked_reason == "lost"
            assert (key.replaced_by_id is not None) is rotated.result()
            with pytest.raises(KeyRefused):
                verify_api_key(work, text)


@pytest.mark.race
def test_key_is_made_or_there_is_no_organization_when_it_is_removed_at_once(any_gatepost: Gatepost) -> None:
    for _ in range(ROUNDS):
        with any_gatepost.work() as work:
            organization_id = create_organization(work, "Acme").id
        together = Barrier(8)

        def make(_: int, organization_id: str = organization_id, together: Barrier = together) -> str:
            together.wait()
            try:
                with any_gatepost.work() as work:
                    return make_api_key(work, get_organization(work, organization_id))[0].id
            except NotFound:
                return ""

        def remove(organization_id: str = organization_id, together: Barrier = together) -> None:
            together.wait()
            with any_gatepost.work() as work:
                delete_organization(work, get_organization(work, organization_id))

        with ThreadPoolExecutor(8) as executor:
            removed = executor.submit(remove)
            made = [key_id for key_id in executor.map(make, range(7)) if key_id]
            removed.result()
        with any_gatepost.work() as work:
            assert not [key_id for key_id in made if work.db.get(ApiKey, key_id) is not None]
