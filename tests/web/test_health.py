"""Health: alive without a database, ready only with one that has keys."""

import pytest

from server.domain.signing_keys import StoredSigningKey
from server.infra import draining
from server.infra.keyring import create_keyring
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker


def test_process_is_alive_and_ready_when_all_is_well(gatepost: Gatepost) -> None:
    for path in ("/healthz", "/readyz"):
        response = gatepost.browser().get(path)
        assert (response.status_code, response.get_json()) == (200, {"status": "ok"})


def test_process_is_alive_but_not_ready_when_there_are_no_keys(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        work.db.query(StoredSigningKey).delete()
    assert gatepost.browser().get("/healthz").status_code == 200
    response = gatepost.browser().get("/readyz")
    assert (response.status_code, response.get_json()) == (503, {"status": "unavailable"})


def test_process_is_alive_but_not_ready_when_the_tables_are_not_there(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("DROP TABLE signing_keys")
    assert gatepost.browser().get("/healthz").status_code == 200
    assert gatepost.browser().get("/readyz").status_code == 503


def test_process_is_not_ready_when_the_keyring_is_another(make_gatepost: GatepostMaker) -> None:
    first = make_gatepost()
    (first.settings.keys_dir / "keyring.json").unlink()
    create_keyring(first.settings.keys_dir)
    second = Gatepost(first.settings.keys_dir.parent)
    try:
        assert second.browser().get("/readyz").status_code == 503
    finally:
        second.close()


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_stands_at_the_root_too_when_the_issuer_has_a_path(make_gatepost: GatepostMaker, path: str) -> None:
    browser = make_gatepost(issuer="http://localhost:8000/auth").browser()
    assert browser.get(path).status_code == 200
    assert browser.get(f"/auth{path}").status_code == 200


def test_probe_waits_for_no_writer_when_one_is_busy(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        work.db.connection().exec_driver_sql("UPDATE users SET name = 'x'")
        assert gatepost.browser().get("/readyz").status_code == 200
        assert gatepost.browser().get("/.well-known/jwks.json").status_code == 200
        assert gatepost.browser().get("/").status_code == 200


@pytest.mark.spec("R-27")
def test_process_is_alive_but_not_ready_when_it_drains(gatepost: Gatepost) -> None:
    draining.make_flag()
    try:
        draining.announce()
        assert gatepost.browser().get("/healthz").status_code == 200
        assert gatepost.browser().get("/readyz").status_code == 503
        assert gatepost.browser().get("/.well-known/jwks.json").status_code == 200
    finally:
        draining.adopt(None)
