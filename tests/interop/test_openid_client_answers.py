"""openid-client for Node, without PAR: implicit ID tokens, hybrid flows, answers and requests as tokens.

Each client registers itself. The script reports what happened, the tests judge; one run of it serves them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.interop.registry import Account, create_account
from tests.support.servers import Server, start_server

pytestmark = pytest.mark.interop

Report = dict[str, Any]
FLOWS = ("hybrid", "hybrid form_post", "jarm", "jar", "sealed")


@pytest.fixture(scope="module", params=["", "/auth/v1"], ids=["root", "path"])
def provider(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`gatepost serve` with two workers, where anybody registers clients."""
    folder = tmp_path_factory.mktemp("answers")
    settings = {"GATEPOST_REGISTRATION": "open"}
    with start_server(folder, "serve", issuer_path=request.param, workers=2, settings=settings) as server:
        yield server


@pytest.fixture(scope="module")
def person(provider: Server) -> Account:
    return create_account(provider)


@pytest.fixture(scope="module")
def report(provider: Server, person: Account, run_node: Callable[[str, Report], Report]) -> Report:
    """What openid-client met."""
    settings = {"issuer": provider.issuer, "username": person.email, "password": person.password}
    return run_node("openid_client_answers.mjs", settings)


@pytest.mark.spec("RFC 7591 §3.2.1", "OpenID Connect Discovery 1.0 §3")
def test_client_registers_itself_when_it_knows_the_issuer_alone(report: Report, provider: Server) -> None:
    assert report["metadata"]["registration_endpoint"] == f"{provider.issuer}/oauth/register"
    assert "pushed_authorization_request_endpoint" not in report["metadata"]
    assert report["registered"]["response_types"] == ["id_token"]
    assert "client_secret" not in report["registered"]


@pytest.mark.parametrize("mode", ["fragment", "form_post"])
@pytest.mark.spec("OpenID Connect Core 1.0 §3.2.2.5", "OpenID Connect Core 1.0 §3.2.2.11")
def test_id_token_is_taken_from_the_answer_when_nothing_else_was_asked_for(
    report: Report, person: Account, mode: str
) -> None:
    found = report[f"implicit {mode}"]
    assert found["posted"] is (mode == "form_post")
    assert {"id_token", "state", "iss"} <= set(found["answer"]) <= {"id_token", "state", "iss", "session_state"}
    assert found["claims"]["sub"] == person.subject
    assert found["claims"]["email"] == person.email, "without an access token the claims stand in the ID token"
    assert not {"at_hash", "c_hash"} & set(found["claims"])
    assert found["another nonce"]["refused"] is True


@pytest.mark.spec("OpenID Connect Core 1.0 §3.2.2.6", "RFC 9207 §2")
def test_client_reads_the_error_from_the_fragment_when_nobody_is_signed_in(report: Report) -> None:
    assert report["none"]["refused"] is True
    assert report["none"]["error"] == "login_required"


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.spec("OpenID Connect Core 1.0 §3.3", "JARM §2.4", "RFC 9101 §5")
def test_person_is_signed_in_when_the_flow_is_another_than_the_plain_code_flow(
    report: Report, person: Account, flow: str
) -> None:
    assert report[flow]["claims"]["sub"] == person.subject
    assert report[flow]["userinfo"]["email"] == person.email


@pytest.mark.parametrize("flow", ["hybrid", "hybrid form_post"])
@pytest.mark.spec("OpenID Connect Core 1.0 §3.3.2.5", "OpenID Connect Core 1.0 §3.3.2.10")
def test_code_comes_with_an_id_token_when_both_were_asked_for(report: Report, flow: str) -> None:
    assert {"code", "id_token", "state", "iss"} <= set(report[flow]["answer"])
    assert "access_token" not in report[flow]["answer"]


@pytest.mark.spec("OpenID Connect Core 1.0 §3.3.2.10")
def test_client_notices_when_the_code_is_another_answers(report: Report) -> None:
    assert report["swapped code"]["refused"] is True
    assert "c_hash" in report["swapped code"]["message"]


@pytest.mark.spec("JARM §2.3", "JARM §2.4")
def test_answer_is_one_signed_parameter_when_it_is_asked_for_as_a_token(report: Report) -> None:
    assert set(report["jarm"]["answer"]) == {"response"}
    assert report["changed answer"]["refused"] is True


@pytest.mark.spec("RFC 9101 §5", "RFC 7523 §2.2")
def test_nothing_but_the_object_is_sent_when_the_request_is_a_token(report: Report) -> None:
    assert sorted(report["jar"]["sent"]) == ["client_id", "request"]
