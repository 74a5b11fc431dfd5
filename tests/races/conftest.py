"""Live stages for the races: three replicas on each kind of database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.races.stage import NAIVE, Stage, stage


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


def _new_database(request: pytest.FixtureRequest, kind: str) -> str | None:
    return request.getfixturevalue("postgres").create_database() if kind == "postgres" else None


@pytest.fixture(scope="module")
def on(request: pytest.FixtureRequest, kind: str) -> Iterator[Stage]:
    """Three server processes of one issuer."""
    with stage(kind, database_url=_new_database(request, kind)) as found:
        yield found


@pytest.fixture
def naive_on(request: pytest.FixtureRequest, kind: str) -> Iterator[Stage]:
    """The same, with check-then-act in place of the conditional UPDATE."""
    with stage(kind, database_url=_new_database(request, kind), program=NAIVE) as found:
        yield found
