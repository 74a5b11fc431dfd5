"""`/v1/leaked-keys` over HTTP: signed reports end keys at once, and nothing else does (K-14)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from server.domain.api_key_issuing import Maker
from server.domain.leak_report_signature import LeakReportKeys
from server.domain.memberships import add_member
from server.domain.outgoing_mail import OutgoingMail
from server.domain.policy import api_key_format
from server.domain.scopes import rights_of_role
from server.domain.users import get_user
from server.infra.outbound_http import FetchFailed
from tests.domain.test_leaked_keys import URL, Scanner
from tests.support.altered import altered
from tests.support.deployment import GatepostMaker
from tests.support.gateway import API_SCOPES, Gateway

Report = Callable[..., TestResponse]


@pytest.fixture
def scanner() -> Scanner:
    return Scanner()


@pytest.fixture
def gateway(make_gatepost: GatepostMaker, scanner: Scanner) -> Gateway:
    gatepost = make_gatepost(scopes=API_SCOPES, smtp_url="smtp://localhost:25")
    keys: Any = LeakReportKeys(scanner, gatepost.clock, URL)  # type: ignore[arg-type]  # stands for the way out
    object.__setattr__(gatepost.runtime, "leak_report_keys", keys)
    return Gateway(gatepost)


@pytest.fixture
def report(gateway: Gateway, scanner: Scanner) -> Report:
    def send(*tokens: str, path: str = "/v1/leaked-keys", body: bytes | None = None, **headers: str) -> TestResponse:
        found = [
            {"token": token, "type": "gatepost_key", "url": f"https://github.com/a/b#{number}", "source": "content"}
            for number, token in enumerate(tokens)
        ]
        sent = json.dumps(found).encode() if body is None else body
        signed = {
            "Github-Public-Key-Identifier": "current",
            "Github-Public-Key-Signature": scanner.sign(body=sent),
            "Content-Type": "application/json",
            **headers,
        }
        # Whoever does not sign leaves the header out.
        given = {name: value for name, value in signed.items() if value}
        return gateway.gatepost.browser().post(path, data=sent, headers=given)

    return send


def refused_reports(gateway: Gateway) -> int:
    gateway.gatepost.clock.advance(60)
    gateway.flush_usage()
    return sum(int(row.details.get("count", 1)) for row in gateway.gatepost.audit_rows("leak_report.refused"))


@pytest.mark.spec("K-14")
def test_reported_key_is_dead_with_the_answer_and_its_owner_is_told(gateway: Gateway, report: Report) -> None:
    with gateway.gatepost.work() as work:
        owner = get_user(work, "ada@example.com")
        add_member(work, gateway.acme, owner, "admin")
        maker = Maker(rights_of_role(work.settings, "admin"), owner)
    row, leaked = gateway.key(maker=maker)
    _, other = gateway.key()
    assert gateway.ask(leaked).status_code == 200
    answer = report(leaked)
    assert answer.status_code == 200
    assert answer.get_json() == [{"token_raw": leaked, "token_type": "gatepost_key", "label": "true_positive"}]
    assert gateway.ask(leaked).status_code == 401
    assert gateway.ask(other).status_code == 200
    (found,) = gateway.gatepost.audit_rows("api_key.leaked")
    assert found.details["key_id"] == row.id
    assert leaked not in json.dumps(found.details)
    with gateway.gatepost.work() as work:
        assert [mail.recipient for mail in work.db.scalars(select(OutgoingMail))] == ["ada@example.com"]


@pytest.mark.spec("K-14")
def test_texts_that_are_no_keys_of_ours_are_told_apart(gateway: Gateway, report: Report) -> None:
    row, key = gateway.key()
    unknown = api_key_format.make("gp_live_", "z" * api_key_format.RANDOM_LENGTH)
    same_id = api_key_format.make("gp_live_", row.public_id + "z" * 22)
    texts = (unknown, same_id, altered(key), "ghp_something", "gp_live_")
    answer = report(*texts)
    assert [each["label"] for each in answer.get_json()] == ["false_positive"] * len(texts)
    assert gateway.ask(key).status_code == 200
    assert gateway.gatepost.audit_rows("api_key.leaked") == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Github-Public-Key-Signature": ""},
        {"Github-Public-Key-Identifier": ""},
        {"Github-Public-Key-Identifier": "", "Github-Public-Key-Signature": ""},
        {"Github-Public-Key-Identifier": "old"},
        {"Github-Public-Key-Identifier": "nobody"},
        {"Github-Public-Key-Signature": "AAAA"},
        {"Github-Public-Key-Signature": "no base64!"},
    ],
)
@pytest.mark.spec("K-14")
def test_report_that_is_not_signed_by_a_current_key_ends_nothing(
    gateway: Gateway, report: Report, headers: dict[str, str]
) -> None:
    _, key = gateway.key()
    answer = report(key, **headers)
    assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden")
    assert gateway.ask(key).status_code == 200
    assert refused_reports(gateway) == 1


@pytest.mark.spec("K-14")
def test_signature_is_of_every_byte(gateway: Gateway, report: Report, scanner: Scanner) -> None:
    _, key = gateway.key()
    body = json.dumps([{"token": key}]).encode()
    of_another = {"Github-Public-Key-Signature": scanner.sign(body=body)}
    assert report(body=body + b" ", **of_another).status_code == 403
    assert report(body=b" " + body, **of_another).status_code == 403
    withdrawn = {
        "Github-Public-Key-Identifier": "old",
        "Github-Public-Key-Signature": scanner.sign("old", body),
    }
    assert report(body=body, **withdrawn).status_code == 403
    assert gateway.ask(key).status_code == 200
    assert report(body=body).status_code == 200
    assert gateway.ask(key).status_code == 401


@pytest.mark.spec("K-14")
def test_report_counts_once(gateway: Gateway, report: Report) -> None:
    _, key = gateway.key()
    assert report(key).status_code == 200
    again = report(key)
    assert (again.status_code, again.get_json()["error"]) == (409, "conflict")
    assert report(key, path="/api/v1/leaked-keys").status_code == 409
    assert len(gateway.gatepost.audit_rows("api_key.leaked")) == 1
    assert refused_reports(gateway) == 2


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[1]", b'["gp_live_x"]', b"[{}]", b'[{"token": 1}]', b'[{"token": ""}]', b"\xff", b"[" * 500),
        *(b'{"token": "x"}', b"null", json.dumps([{"token": "x"}] * 501).encode()),
        json.dumps([{"token": "x" * 1001}]).encode(),
    ],
)
def test_report_that_cannot_be_read_is_refused_though_it_is_signed(
    gateway: Gateway, report: Report, body: bytes
) -> None:
    answer = report(body=body)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_scanner_may_say_more_than_we_read(gateway: Gateway, report: Report) -> None:
    _, key = gateway.key()
    entry = {"token": key, "type": "t", "url": "", "source": "commit", "commit": "0" * 40, "more": {"x": [1]}}
    assert report(body=json.dumps([entry]).encode()).get_json()[0]["label"] == "true_positive"
    assert report(body=b"[]").get_json() == []


def test_sender_is_asked_to_come_again_when_its_keys_cannot_be_fetched(
    gateway: Gateway, report: Report, scanner: Scanner
) -> None:
    _, key = gateway.key()
    scanner.document = FetchFailed("no answer", None)
    answer = report(key)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert gateway.ask(key).status_code == 200
    assert refused_reports(gateway) == 0
