"""Both lanes say and do the same, whatever is wrong with a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.properties.catalogue import World
from tests.properties.lanes import MACHINE, BothLanes, compare_lanes


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World.begin(tmp_path_factory.mktemp("lanes"))
    yield world
    world.gatepost.close()


@pytest.mark.spec("INV-43")
@pytest.mark.parametrize("name", MACHINE)
def test_both_lanes_give_the_same_when_nothing_is_wrong(world: World, name: str) -> None:
    lanes = BothLanes(world)
    lanes.compare(name, [])
    assert lanes.seen == {"200": 1}


@pytest.mark.spec("INV-43")
def test_both_lanes_give_the_same_when_a_request_has_up_to_two_faults(world: World) -> None:
    seen = compare_lanes(world, 100)
    assert {"200", "400", "401"} <= set(seen)
