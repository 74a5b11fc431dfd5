"""Fixtures: Gatepost in the test process, each test with a deployment of its own, copied from one that was prepared."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from server.infra.jose import SigningKey
from tests.support.application import Gatepost


class GatepostMaker:
    """`make_gatepost(issuer="https://login.example")`: a deployment with Ada in it and these settings."""

    #: Parsed private keys by `kid`: the copies all have the same ones, and parsing takes longer than most tests.
    parsed_keys: ClassVar[dict[str, SigningKey]] = {}

    def __init__(self, prepared: Path, folder: Path, stack: ExitStack) -> None:
        self.prepared, self.folder, self.stack = prepared, folder, stack
        self.count = 0

    def __call__(self, **settings: Any) -> Gatepost:
        self.count += 1
        folder = self.folder / f"deployment{self.count}"
        # Migrating and making keys costs ten times as much as copying what came of it.
        shutil.copytree(self.prepared, folder)
        gatepost = Gatepost(folder, is_prepared=True, **settings)
        gatepost.runtime.parsed_keys.update(self.parsed_keys)
        self.stack.callback(self._close, gatepost, folder)
        return gatepost

    def _close(self, gatepost: Gatepost, folder: Path) -> None:
        self.parsed_keys.update(gatepost.runtime.parsed_keys)
        gatepost.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database with keys and Ada, and its keyring."""
    folder = tmp_path_factory.mktemp("prepared")
    gatepost = Gatepost(folder)
    gatepost.add_user()
    gatepost.close()
    return folder


@pytest.fixture
def make_gatepost(prepared_folder: Path, tmp_path: Path) -> Iterator[GatepostMaker]:
    """Makes deployments that end with the test."""
    with ExitStack() as stack:
        yield GatepostMaker(prepared_folder, tmp_path, stack)


#: The deployments that `gatepost` hands out, one for each prepared folder: making an application takes longer than
#: most tests. A test that changes the application itself takes one of its own from `make_gatepost`.
_STANDING: dict[Path, Gatepost] = {}


@pytest.fixture
def gatepost(prepared_folder: Path) -> Iterator[Gatepost]:
    """A deployment with the person of `Flow`'s defaults and nobody else."""
    if prepared_folder not in _STANDING:
        folder = prepared_folder.with_name(f"{prepared_folder.name}-standing")
        shutil.copytree(prepared_folder, folder)
        _STANDING[prepared_folder] = Gatepost(folder, is_prepared=True)
    standing = _STANDING[prepared_folder]
    standing.restore(prepared_folder)
    yield standing
    standing.close()
