"""The modules of the plan `oidcc-3rdparty-init-login-certification-test-plan`: a login that begins elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.conformance import checks
from tests.conformance.suite import BASE, CALLBACK, Provider, Variant
from tests.conformance.variants import RESPONSE_TYPES, run_with

if TYPE_CHECKING:
    from tests.conformance.conftest import Registrar

VARIANTS = tuple(Variant(response_type) for response_type in RESPONSE_TYPES)


@run_with(VARIANTS)
@pytest.mark.spec("OpenID Connect Core §4")
def test_oidcc_3rd_party_init_login(op: Provider, variant: Variant, register: Registrar) -> None:
    """The client says where its login begins; the registration says it too, now and when it is read."""
    registration = register(op, variant, initiate_login_uri=f"{BASE}/login").registration
    assert registration["initiate_login_uri"] == f"{BASE}/login"
    bearer = {"Authorization": f"Bearer {registration['registration_access_token']}"}
    response = op.http("GET", registration["registration_client_uri"], headers=bearer)
    assert response.status_code == 200
    assert checks.is_json(response)
    read = response.get_json()
    assert (read["initiate_login_uri"], read["client_id"]) == (f"{BASE}/login", registration["client_id"])
    # RFC 7592 §3: a new token may take the old one's place with every answer.
    registration |= {name: value for name, value in read.items() if name.startswith("registration_")}


@pytest.mark.spec("OpenID Connect Core §4")
def test_oidcc_3rd_party_init_login_nohttps(op: Provider) -> None:
    metadata = {"redirect_uris": [CALLBACK], "initiate_login_uri": f"http{BASE.removeprefix('https')}/login"}
    checks.check_error(op.post_registration(metadata), "invalid_client_metadata")
