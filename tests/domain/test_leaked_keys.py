"""Leaked keys: reports are signed as GitHub signs them, and what is found of ours is dead at once."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import revoke_api_key
from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied
from server.domain.leak_report_signature import LeakReportKeys, LeakReportKeysUnavailable
from server.domain.leaked_keys import LeakedToken, report_leaked_keys, use_leak_report
from server.domain.organizations import create_organization
from server.domain.outgoing_mail import OutgoingMail
from server.domain.policy import api_key_format
from server.domain.unit_of_work import UnitOfWork
from server.infra.outbound_http import FetchFailed
from tests.domain.api_key_factories import make_api_key, make_member, maker_of
from tests.domain.factories import audited
from tests.support.altered import altered
from tests.support.application import Gatepost
from tests.support.clock import FrozenClock
from tests.support.deployment import GatepostMaker

URL = "https://api.github.com/meta/public_keys/secret_scanning"
BODY = b'[{"token":"gp_live_x","type":"gatepost","url":"https://github.com/a/b","source":"content"}]'


# Signatures (K-14) ---------------------------------------------------------------------------------------------------


class Scanner:
    """What GitHub is to us: a key pair and a document at a URL."""

    def __init__(self) -> None:
        self.keys = {"current": ec.generate_private_key(ec.SECP256R1()), "old": ec.generate_private_key(ec.SECP256R1())}
        self.document: Any = {
            "public_keys": [self.entry("old", is_current=False), self.entry("current", is_current=True)]
        }
        self.asked = 0

    def entry(self, name: str, **members: Any) -> dict[str, Any]:
        pem = self.keys[name].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return {"key_identifier": name, "key": pem.decode(), **members}

    def sign(self, name: str = "current", body: bytes = BODY) -> str:
        return base64.b64encode(self.keys[name].sign(body, ec.ECDSA(SHA256()))).decode()

    def get_json(self, url: str, **options: Any) -> Any:
        assert url == URL
        self.asked += 1
        if isinstance(self.document, Exception):
            raise self.document
        return self.document


@pytest.fixture
def scanner() -> Scanner:
    return Scanner()


@pytest.fixture
def keys(scanner: Scanner, clock: FrozenClock) -> LeakReportKeys:
    return LeakReportKeys(scanner, clock, URL)  # type: ignore[arg-type]


@pytest.mark.spec("K-14")
def test_report_is_taken_when_a_current_key_signed_it(keys: LeakReportKeys, scanner: Scanner) -> None:
    for _ in range(3):
        keys.verify(BODY, "current", scanner.sign())
    assert scanner.asked == 1


def spoilt(signature: str) -> str:
    raw = bytearray(base64.b64decode(signature))
    raw[-1] ^= 1
    return base64.b64encode(raw).decode()


@pytest.mark.spec("K-14")
@pytest.mark.parametrize(
    ("identifier", "signature"),
    [
        (None, lambda scanner: scanner.sign()),
        ("current", lambda scanner: None),
        ("", lambda scanner: scanner.sign()),
        ("current", lambda scanner: ""),
        ("current", lambda scanner: "not base64!"),
        ("current", lambda scanner: base64.b64encode(b"not DER").decode()),
        ("current", lambda scanner: spoilt(scanner.sign())),
        ("current", lambda scanner: scanner.sign(body=BODY + b" ")),
        ("current", lambda scanner: scanner.sign("old")),
        ("old", lambda scanner: scanner.sign("old")),
        ("unknown", lambda scanner: scanner.sign()),
    ],
)
def test_report_is_refused_when_it_is_not_signed_by_a_current_key(
    keys: LeakReportKeys, scanner: Scanner, identifier: str | None, signature: Callable[[Scanner], str | None]
) -> None:
    with pytest.raises(Denied):
        keys.verify(BODY, identifier, signature(scanner))


@pytest.mark.spec("K-14")
def test_report_is_refused_when_the_key_is_of_another_kind(keys: LeakReportKeys, scanner: Scanner) -> None:
    larger, edwards = ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
    listed = scanner.document["public_keys"]
    for name, key in {"larger": larger, "edwards": edwards}.items():
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        listed.append({"key_identifier": name, "key": pem, "is_current": True})
    listed += [
        None,
        {},
        {"key_identifier": "x", "is_current": True},
        {"key_identifier": "y", "key": "-", "is_current": True},
    ]
    listed.append({**scanner.entry("old"), "is_current": "true"})
    signatures = {
        "larger": base64.b64encode(larger.sign(BODY, ec.ECDSA(SHA384()))).decode(),
        "edwards": base64.b64encode(edwards.sign(BODY)).decode(),
        "x": scanner.sign(),
        "y": scanner.sign(),
        "old": scanner.sign("old"),
    }
    for name, signature in signatures.items():
        with pytest.raises(Denied):
            keys.verify(BODY, name, signature)
    keys.verify(BODY, "current", scanner.sign())


@pytest.mark.spec("K-14")
def test_key_is_not_taken_when_it_is_withdrawn_and_a_new_one_soon_is(
    keys: LeakReportKeys, scanner: Scanner, clock: FrozenClock
) -> None:
    keys.verify(BODY, "current", scanner.sign())
    scanner.keys["new"] = ec.generate_private_key(ec.SECP256R1())
    scanner.document = {"public_keys": [scanner.entry("new", is_current=True)]}
    with pytest.raises(Denied):
        keys.verify(BODY, "new", scanner.sign("new"))
    clock.advance(30)
    keys.verify(BODY, "new", scanner.sign("new"))
    with pytest.raises(Denied):
        keys.verify(BODY, "current", scanner.sign())
    assert scanner.asked == 2


def test_nobody_makes_us_ask_for_keys_all_the_time(keys: LeakReportKeys, scanner: Scanner) -> None:
    for _ in range(50):
        with pytest.raises(Denied):
            keys.verify(BODY, "unknown", scanner.sign())
    assert scanner.asked == 1


@pytest.mark.parametrize("document", [FetchFailed("away"), [], {}, {"public_keys": "x"}, {"public_keys": [{}] * 101}])
def test_report_is_put_off_while_the_keys_cannot_be_had(
    keys: LeakReportKeys, scanner: Scanner, clock: FrozenClock, document: Any
) -> None:
    good, scanner.document = scanner.document, document
    for _ in range(3):
        with pytest.raises(LeakReportKeysUnavailable):
            keys.verify(BODY, "current", scanner.sign())
    assert scanner.asked == 1
    scanner.document = good
    clock.advance(30)
    keys.verify(BODY, "current", scanner.sign())


# Reports (K-14) ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("K-14")
def test_report_is_taken_once_however_it_is_signed(work: UnitOfWork, clock: FrozenClock, scanner: Scanner) -> None:
    use_leak_report(work, BODY)
    r, s = decode_dss_signature(base64.b64decode(scanner.sign()))
    # The other signature that the same key would accept for the same body.
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = encode_dss_signature(r, order - s)
    scanner.keys["current"].public_key().verify(twin, BODY, ec.ECDSA(SHA256()))
    for seconds in (0, 29 * 86400):
        clock.advance(seconds)
        with pytest.raises(Conflict):
            use_leak_report(work, BODY)
    use_leak_report(work, BODY + b" ")


def test_report_is_taken_again_when_it_came_to_nothing(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        use_leak_report(work, BODY)
        work.db.rollback()
    with gatepost.work() as work:
        use_leak_report(work, BODY)


@pytest.mark.spec("K-14")
def test_keys_of_ours_are_dead_and_everything_else_is_a_false_positive(work: UnitOfWork) -> None:
    organization = create_organization(work, "Acme")
    leaked, text = make_api_key(work, organization)
    other, other_text = make_api_key(work, organization)
    revoked, revoked_text = make_api_key(work, organization)
    revoke_api_key(work, revoked, "lost")
    texts = {
        text: ("true_positive", leaked.id),
        revoked_text: ("true_positive", revoked.id),
        altered(text): ("false_positive", None),
        api_key_format.make("gp_live_", "a" * 32): ("false_positive", None),
        api_key_format.make("gp_live_", other.public_id + "a" * 22): ("false_positive", None),
        api_key_format.make("gp_test_", other_text[8:40]): ("false_positive", None),
        "": ("false_positive", None),
        "\ud800": ("false_positive", None),
    }
    verdicts = report_leaked_keys(work, [LeakedToken(each, "gatepost", "https://github.com/a/b") for each in texts])
    assert {each.token.token: (each.label, each.key_id) for each in verdicts} == texts
    with pytest.raises(KeyRefused):
        verify_api_key(work, text)
    assert verify_api_key(work, other_text).key.id == other.id
    assert (leaked.revoked_reason, revoked.revoked_reason) == ("leaked", "lost")
    (row,) = audited(work, AuditEvent.API_KEY_LEAKED)
    assert row.details["key_id"] == leaked.id
    assert row.details["url"] == "https://github.com/a/b"
    assert row.organization_id == organization.id


@pytest.mark.spec("K-14", "K-03")
def test_key_stands_in_no_audit_row_and_no_mail_when_its_place_repeats_it(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(smtp_url="smtp://mail.example")
    with gatepost.work() as work:
        organization = create_organization(work, "Acme")
        user = make_member(work, organization)
        _, text = make_api_key(work, organization, maker_of(work, organization, user))
        url = f"https://example.com/?key={text}&a\r\nb" + "x" * 1000
        report_leaked_keys(work, [LeakedToken(text, "gatepost", url, text)])
        (row,) = audited(work, AuditEvent.API_KEY_LEAKED)
        assert text not in json.dumps(row.details)
        assert "\n" not in row.details["url"]
        assert len(row.details["url"]) <= 500
        (mail,) = work.db.scalars(select(OutgoingMail)).all()
        assert mail.recipient == user.email
