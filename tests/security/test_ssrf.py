"""Section F: no URL that a client can register makes this server connect to anything but the public internet.

The server runs in a network of its own in which every address on earth answers, with a certificate that it trusts; a
process beside it reads off the wire whom it asks for a connection.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from server.infra.outbound_addresses import is_public
from tests.security.ssrf_corpus import NAMED_URLS, OWN_ADDRESS, PUBLIC_ADDRESS, REFUSED_URLS
from tests.support.components import REPOSITORY, missing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

#: The loopback device is up before anything is imported: urllib3 asks it, once, whether there is IPv6.
BEGIN = ("sh", "-c", 'ip link set lo up && exec "$0" "$@"')


def namespaces() -> list[str]:
    """The words before a command that give it a network and mounts of its own."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        missing("a network of its own needs `unshare` and `ip`")
    words = ["unshare", "--net", "--mount"]
    if os.geteuid() != 0:
        words += ["--user", "--map-root-user"]
    if subprocess.run([*words, *BEGIN, "true"], capture_output=True).returncode != 0:
        missing("this machine gives nobody a network of its own")
    return [*words, *BEGIN]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of every URL of the corpus, by every way."""
    folder = tmp_path_factory.mktemp("ssrf")
    finished = subprocess.run(
        [*namespaces(), sys.executable, "-m", "tests.security.ssrf_world", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=380,
    )
    assert finished.returncode == 0, finished.stderr[-5000:]
    (folder / "report.json").write_text(finished.stdout)
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


@pytest.mark.spec("F-01")
@pytest.mark.spec("F-02")
@pytest.mark.spec("INV-39")
def test_nobody_inside_is_connected_to_when_clients_name_every_url_of_the_corpus(report: dict[str, Any]) -> None:
    asked = {place.split()[0] for place in report["connections"]}
    inside = {address for address in asked if not is_public(ipaddress.ip_address(address))}
    assert inside == set()
    assert OWN_ADDRESS not in asked
    # Those whose names led outside at the moment they were looked up.
    assert asked <= {PUBLIC_ADDRESS}
    assert {place.split()[1] for place in report["connections"]} <= {"443"}


@pytest.mark.spec("F-01")
@pytest.mark.spec("TK-24")
def test_no_url_of_the_corpus_is_registered_when_it_shows_where_it_leads(report: dict[str, Any]) -> None:
    assert report["accepted"] == []


@pytest.mark.spec("F-06")
@pytest.mark.spec("F-07")
def test_every_way_was_tried_and_refused_without_a_fault(report: dict[str, Any]) -> None:
    tried = len(REFUSED_URLS) + len(NAMED_URLS)
    ways: dict[str, int] = {}
    for key, count in report["statuses"].items():
        way, status = key.split()
        assert int(status) < 500, key
        ways[way] = ways.get(way, 0) + count
    assert ways["request_uri"] == ways["logo_uri"] == tried
    assert ways["jwks_uri"] >= tried
    assert ways["register"] > len(REFUSED_URLS)
    assert report["statuses"]["jwks_uri 401"] == tried
    assert report["signed_out"] == len(range(0, tried, 5))


def test_canary_sees_a_connection_inside_and_a_public_url_is_fetched_when_they_are_allowed(
    report: dict[str, Any],
) -> None:
    assert report["good_status"] == 200
    assert report["control_document"] == [[], []]
    more = {place: count for place, count in report["control_after"].items() if place not in report["control_before"]}
    assert more == {"127.0.0.1 443": 1, "::1 443": 1}
