"""No near miss of a redirect URI is accepted at the endpoint, and nothing redirects before it is proven."""

from __future__ import annotations

import pytest

from tests.domain.redirect_uri_mutations import SHAPES
from tests.properties.redirects import ALSO_WRONG, UNPROVEN, try_corpus, try_cross_product
from tests.support.application import Gatepost
from tests.support.flow import flow_of


@pytest.mark.spec("AZ-01", "AZ-02", "INV-19", "RFC 9700 §4.1.3")
def test_no_near_miss_is_accepted_at_the_endpoint_in_whatever_spelling(gatepost: Gatepost) -> None:
    seen = try_corpus(gatepost, step=61)
    assert seen["near misses"] >= 10 * len(SHAPES)


@pytest.mark.spec("AZ-05", "INV-20", "RFC 6749 §3.1.2.4", "RFC 9700 §4.11.2")
def test_nothing_redirects_before_client_and_uri_are_proven_when_something_else_is_wrong(gatepost: Gatepost) -> None:
    seen = try_cross_product(gatepost)
    assert seen["requests"] == len(UNPROVEN) * len(ALSO_WRONG) * 4
    assert seen["redirects"] == 0


@pytest.mark.spec("AZ-02", "RFC 8252 §7.3")
def test_any_port_is_accepted_at_the_endpoint_when_a_native_client_has_a_loopback_address(gatepost: Gatepost) -> None:
    native = flow_of(gatepost, "native", redirect_uris=("http://127.0.0.1/cb",))
    web = flow_of(gatepost, "spa", client_id="web", redirect_uris=("http://127.0.0.1/cb",))
    for port in (1, 80, 443, 1024, 49152, 65535):
        assert native.authorize(redirect_uri=f"http://127.0.0.1:{port}/cb").status_code == 303
        assert web.authorize(redirect_uri=f"http://127.0.0.1:{port}/cb").status_code == 400
    for other in (
        *("http://127.0.0.1:1/cb2", "http://localhost:1/cb", "https://127.0.0.1:1/cb", "http://127.0.0.2:1/cb"),
        *("http://[::1]:1/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:65536/cb", "http://127.0.0.1:1/cb?x=1"),
    ):
        assert native.authorize(redirect_uri=other).status_code == 400, other
