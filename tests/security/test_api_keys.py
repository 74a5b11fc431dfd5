"""API keys against thieves: nothing stored opens anything, and no refusal tells by its time what a key was."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from server.domain import api_key_verification
from server.domain.api_key_issuing import OPERATOR_MAKER, rotate_api_key
from server.domain.api_key_verification import KeyRefused, verify_api_key
from server.domain.api_keys import ApiKey, mac_of
from server.domain.audit_events import AuditEvent
from server.domain.leaked_keys import LeakedToken, report_leaked_keys
from server.domain.organizations import create_organization
from server.domain.policy import api_key_format
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import flush_usage
from server.infra.keyring import Keyring
from tests.domain.api_key_factories import any_gatepost, coming_from, make_api_key, make_member, maker_of
from tests.domain.factories import audited
from tests.properties.api_keys import refused_texts
from tests.support.application import Gatepost
from tests.support.statements import watch_statements

__all__ = ["any_gatepost"]


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """Every log record while the test runs, with its arguments and its traceback."""
    lines: list[str] = []

    class Captured(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{self.format(record)} {vars(record)!r}")

    handler, root = Captured(logging.DEBUG), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.setLevel(level)
    root.removeHandler(handler)


def dump(gatepost: Gatepost) -> str:
    """All rows of all tables, and on SQLite the very bytes of the files."""
    with gatepost.work() as work:
        tables = inspect(work.db.get_bind()).get_table_names()
        rows = [[list(row) for row in work.db.execute(text(f'SELECT * FROM "{table}"'))] for table in tables]
    path = gatepost.engine.url.database
    files = sorted(Path(path).parent.glob(Path(path).name + "*")) if path and Path(path).is_file() else []
    return json.dumps(rows, default=str) + "".join(file.read_bytes().decode("latin-1") for file in files)


def outcome(work: UnitOfWork, presented: str) -> str:
    """What came of it, as a log would have it."""
    try:
        return repr(verify_api_key(work, presented))
    except KeyRefused as refused:
        return repr(refused)


@pytest.mark.spec("K-03", "L-01")
def test_no_key_is_in_the_database_or_a_log_after_everything_was_done(
    any_gatepost: Gatepost, logged: list[str]
) -> None:
    texts: list[str] = []
    said: list[str] = []
    with any_gatepost.work() as work:
        organization = create_organization(work, "Acme")
        maker = maker_of(work, organization, make_member(work, organization))
        for values in (
            {},
            {"kind": "restricted"},
            {"kind": "scim", "permissions": ["scim"]},
            {"ip_allow_list": ["::1"]},
        ):
            key, of_key = make_api_key(work, organization, maker, **values)
            texts += [of_key, rotate_api_key(work, key, 60, OPERATOR_MAKER)[1]]
    with any_gatepost.work() as work:
        for each in texts:
            attempts = (each, each + "x", api_key_format.make("gp_live_", each[-39:-7]))
            said += [outcome(coming_from(work, "192.0.2.7"), attempt) for attempt in attempts]
        report_leaked_keys(work, [LeakedToken(texts[0], "x", f"https://example.com/{texts[0]}")])
        flush_usage(work)
    everything = dump(any_gatepost) + "".join(logged + said)
    with any_gatepost.work() as work:
        assert audited(work, AuditEvent.API_KEY_LEAKED)
    # What is behind the public part, in one piece or as hex or reversed.
    for each in texts:
        secret = each[-29:-7]
        assert secret not in everything
        assert secret.encode().hex() not in everything
        assert secret[::-1] not in everything


@pytest.mark.spec("K-03")
def test_dump_forges_no_key_without_the_keyring(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        key, _ = make_api_key(work, create_organization(work, "Acme"))
        key_id = key.id
        # The thief writes into a stolen copy what they can compute: digests under keys of their own, and without any.
        forged = api_key_format.make("gp_live_", key.public_id + "a" * 22)
        own = Keyring({work.runtime.keyring.active: bytes(32)}, work.runtime.keyring.active)
        guesses = [mac_of(own, own.active, forged), hashlib.sha256(forged.encode()).hexdigest(), forged]
    for guess in guesses:
        with gatepost.work() as work:
            work.db.get_one(ApiKey, key_id).secret_mac = guess
        with gatepost.work() as work, pytest.raises(KeyRefused):
            verify_api_key(work, forged)


@pytest.mark.spec("K-03")
def test_digest_of_a_key_is_no_key(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        key, _ = make_api_key(work, create_organization(work, "Acme"))
        for presented in (key.secret_mac, key.prefix + key.secret_mac, key.id, key.public_id, key.hint):
            with pytest.raises(KeyRefused):
                verify_api_key(work, presented)


# Time (K-05) ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("K-05", "K-08")
def test_refusals_take_the_same_statement_and_digests(any_gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m tests.properties keys` compares times; what decides here is what is done."""
    texts = refused_texts(any_gatepost, each=3)
    done: list[str] = []
    watch_statements(any_gatepost.engines, done.append, monkeypatch)

    def counted(keyring: Keyring, pepper: str, presented: str) -> str:
        done.append(f"digest of {len(presented)} under {pepper}")
        return mac_of(keyring, pepper, presented)

    monkeypatch.setattr(api_key_verification, "mac_of", counted)
    found = set()
    with any_gatepost.work() as work:
        for presented in [each for those in texts.values() for each in those]:
            done.clear()
            assert outcome(work, presented) == "KeyRefused('unknown')"
            found.add(tuple(done))
    assert len(found) == 1
    assert len([each for each in found.pop() if each.startswith("SELECT")]) == 1
