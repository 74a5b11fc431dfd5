from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.application import Gatepost
from tests.support.deployment import gatepost, make_gatepost, prepared_folder

__all__ = ["gatepost", "make_gatepost", "prepared_folder"]


@pytest.fixture
def database_gatepost(database_url: str, tmp_path: Path) -> Iterator[Gatepost]:
    """A deployment with Ada in it, once on each database."""
    deployment = Gatepost(tmp_path / "deployment", database_url=database_url)
    deployment.add_user()
    deployment.app.testing = False
    yield deployment
    deployment.close()
