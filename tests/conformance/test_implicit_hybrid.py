"""The one module that the Implicit and Hybrid plans have and Basic has not; they run `test_basic.py` as well.

Plans: `oidcc-implicit-`, `oidcc-hybrid-`,
`oidcc-formpost-implicit-` and `oidcc-formpost-hybrid-certification-test-plan`.
"""

from __future__ import annotations

import pytest

from tests.conformance.suite import RelyingParty
from tests.conformance.variants import has_front_id_token, run_with


@run_with(where=has_front_id_token)
@pytest.mark.spec("OpenID Connect Core §3.2.2.1", "OpenID Connect Core §3.3.2.11")
def test_oidcc_ensure_request_without_nonce_fails(rp: RelyingParty) -> None:
    rp.visit(nonce=None).refused("invalid_request")
