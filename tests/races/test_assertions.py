"""A client assertion is good for one of twenty requests that present it at once to three server processes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from server.domain.used_assertions import UsedAssertion
from server.infra import jose
from server.infra.database import table_of
from server.protocol.client_authentication.presented import ASSERTION_TYPE
from tests.races.race import Lane
from tests.races.stage import Stage

pytestmark = [pytest.mark.race, pytest.mark.timeout(200)]

CONNECTIONS = 20
#: A client each: the nineteen that are refused count as guesses.
CLIENTS = 4


class Signing(Stage):
    """The same replicas, where requests carry no Authorization header."""

    @property
    def authorization(self) -> str:
        """None: the assertion stands in the form."""
        return ""


@pytest.fixture(scope="module")
def key() -> jose.SigningKey:
    return jose.generate_key("ES256")


def register(on: Stage, key: jose.SigningKey, folder: Path) -> str:
    """A new client with this key; its id."""
    jwks = folder / "jwks.json"
    jwks.write_text(json.dumps({"keys": [jose.public_jwk(key)]}))
    options = ("--type", "machine", "--auth-method", "private_key_jwt", "--jwks", str(jwks))
    return str(on.servers[0].run_json("clients", "create", "Signer", *options)["client_id"])


def presenting(on: Stage, client_id: str, key: jose.SigningKey) -> dict[str, str]:
    """A form that asks about a token, with a fresh assertion."""
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": on.issuer, "jti": f"{client_id}-{now}", "exp": now + 120}
    assertion = jose.sign(claims, key, "ES256", "client-authentication+jwt")
    return {"token": "x", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


@pytest.mark.spec("TK-07", "R-01", "INV-01", "INV-43")
@pytest.mark.spec("RFC 7523 §3")
def test_assertion_has_exactly_one_success_when_twenty_present_it_at_once(
    on: Stage, key: jose.SigningKey, tmp_path: Path
) -> None:
    signing = Signing(on.servers, on.client, on.account)
    lane = Lane(signing, CONNECTIONS)
    try:
        for _ in range(CLIENTS):
            form = presenting(on, register(on, key, tmp_path), key)
            outcomes = sorted(answer.outcome for answer in lane.heat("/oauth/introspect", form))
            assert outcomes == ["200"] + ["401 invalid_client"] * (CONNECTIONS - 1)
            # Nor does it count on any replica later on.
            for replica in range(len(on.ports)):
                assert signing.ask("/oauth/introspect", form, replica).status == 401
    finally:
        lane.close()
    assert used_in(on.database_url) == CLIENTS


def used_in(database_url: str) -> int:
    """How many assertions the database knows to be used."""
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        found = connection.scalar(text(f"SELECT COUNT(*) FROM {table_of(UsedAssertion).name}"))
    engine.dispose()
    return int(found)
