"""What the tests of tokens share: a key for each algorithm, made once for a module."""

import pytest

from server.infra import jose
from server.infra.jose import SigningKey


@pytest.fixture(scope="module")
def keys() -> dict[str, SigningKey]:
    return {algorithm: jose.generate_key(algorithm) for algorithm in jose.SIGNING_ALGORITHMS}
