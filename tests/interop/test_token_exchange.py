"""An exchanged token verifies offline with libraries that are not ours, and what they sign is accepted here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from server.domain.policy.client_metadata import JWT_BEARER, TOKEN_EXCHANGE
from server.protocol.grants.token_exchange import API_KEY_TYPE
from tests.interop.jose_libraries import Joserfc, Library, node_library
from tests.support.application import ISSUER
from tests.support.deployment import GatepostMaker, make_gatepost, prepared_folder
from tests.support.makers import AUDIENCE, SCOPES, Makers

__all__ = ["make_gatepost", "prepared_folder"]

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module", params=["joserfc", "node"])
def library(request: pytest.FixtureRequest) -> Iterator[Library]:
    """The library of an API that verifies offline, and of a client that signs."""
    if request.param == "joserfc":
        yield Joserfc()
        return
    with node_library(request.getfixturevalue("node_project")) as node:
        yield node


@pytest.fixture
def makers(make_gatepost: GatepostMaker) -> Makers:
    return Makers(make_gatepost(scopes=SCOPES, access_token_audience=AUDIENCE))


@pytest.mark.parametrize("environment", ["live", "test"])
@pytest.mark.spec("RFC 8693 §2.2.1", "RFC 9068 §4", "K-18", "K-10")
def test_exchanged_token_verifies_offline_in_its_own_world_and_in_no_other(
    makers: Makers, library: Library, environment: str
) -> None:
    key, text = makers.gateway.key("users:read", environment=environment)
    form = {"grant_type": TOKEN_EXCHANGE, "subject_token": text, "subject_token_type": API_KEY_TYPE}
    token = makers.gatepost.browser().post("/oauth/token", data=form).get_json()["access_token"]
    jwks = makers.gatepost.browser().get("/.well-known/jwks.json").get_json()
    own, other = (AUDIENCE, f"{AUDIENCE}/test") if environment == "live" else (f"{AUDIENCE}/test", AUDIENCE)
    read = library.verify(token, jwks, "RS256", ISSUER, own)
    assert (read.header["typ"], read.claims["sub"], read.claims["scope"]) == ("at+jwt", key.id, "users:read")
    with pytest.raises(Exception):  # noqa: B017  # each library has its own
        library.verify(token, jwks, "RS256", ISSUER, other)


@pytest.mark.spec("RFC 7523 §2.1", "RFC 7518 §3.2")
def test_token_that_the_library_signed_with_the_secret_is_accepted(makers: Makers, library: Library) -> None:
    token = library.sign_with_secret(makers.claims(), {"alg": "HS256", "typ": "JWT"}, makers.secret)
    assert makers.reason(token) is None
    form = {"grant_type": JWT_BEARER, "assertion": token}
    assert makers.gatepost.browser().post("/oauth/token", data=form).status_code == 200
    other = library.sign_with_secret(makers.claims(), {"alg": "HS256", "typ": "JWT"}, "x" * 43)
    assert not makers.is_accepted(other)
