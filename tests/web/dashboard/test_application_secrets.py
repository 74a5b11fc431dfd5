"""Secrets of an application: added with an overlap, shown once, ended one by one."""

from __future__ import annotations

import re

import pytest
from werkzeug.test import TestResponse

from server.domain.client_secrets import list_client_secrets
from server.domain.clients import Client
from tests.support.application import Gatepost
from tests.support.dashboard import Member, member, visible
from tests.support.flow import basic

HOUR = 3600


@pytest.fixture
def ada(gatepost: Gatepost) -> Member:
    return member(gatepost)


def secret_in(answer: TestResponse) -> str:
    found = re.search(r'id="client-secret">(cs_[0-9A-Za-z]+)<', answer.text)
    assert found is not None, visible(answer.text)
    return found[1]


@pytest.fixture
def app(ada: Member) -> tuple[Client, str]:
    """A machine and its first secret."""
    answer = ada.post("applications", "new", "machine", client_name="Exporter", permissions=["clients:read"])
    with ada.gatepost.work() as work:
        client = next(iter(work.db.query(Client).filter_by(client_name="Exporter")))
    return client, secret_in(answer)


def works(ada: Member, client: Client, secret: str) -> bool:
    answer = ada.gatepost.browser().post(
        "/oauth/token", data={"grant_type": "client_credentials"}, headers=basic(client.id, secret)
    )
    assert answer.status_code in (200, 401)
    return answer.status_code == 200


@pytest.mark.parametrize(
    ("overlap", "seconds"), [("0", 0), ("3600", HOUR), ("86400", 24 * HOUR), ("2592000", 720 * HOUR)]
)
def test_old_secret_works_until_the_overlap_ends(
    ada: Member, app: tuple[Client, str], overlap: str, seconds: int
) -> None:
    client, old = app
    new = secret_in(ada.post("applications", client.id, "secrets", "new", overlap=overlap))
    assert works(ada, client, new)
    if seconds:
        ada.gatepost.clock.advance(seconds - 1)
        assert works(ada, client, old)
        ada.gatepost.clock.advance(1)
    assert not works(ada, client, old)
    assert works(ada, client, new)
    row = ada.gatepost.audit_rows("client.secret.rotated")[-1]
    assert (row.details["overlap_seconds"], row.organization_id) == (seconds, ada.organization.id)


def test_old_secret_stays_as_it_is_when_the_new_one_is_one_more(ada: Member, app: tuple[Client, str]) -> None:
    client, old = app
    new = secret_in(ada.post("applications", client.id, "secrets", "new", overlap="keep"))
    ada.gatepost.clock.advance(10_000 * HOUR)
    assert works(ada, client, old)
    assert works(ada, client, new)
    assert ada.gatepost.audit_rows("client.secret.rotated") == []


def test_secret_is_made_once_when_its_form_is_sent_twice(ada: Member, app: tuple[Client, str]) -> None:
    client, _ = app
    page = ada.get("applications", client.id, "secrets", "new")
    answers = [ada.submit(page, "applications", client.id, "secrets", "new", overlap="keep") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 303, 303]
    with ada.gatepost.work() as work:
        assert len(list_client_secrets(work, client)) == 2


@pytest.mark.parametrize("overlap", ["", "-1", "60", "forever", "9" * 30])
def test_other_overlap_is_refused(ada: Member, app: tuple[Client, str], overlap: str) -> None:
    client, _ = app
    answer = ada.post("applications", client.id, "secrets", "new", overlap=overlap)
    assert (answer.status_code, 'id="overlap-error"' in answer.text) == (400, True)
    assert ada.gatepost.audit_rows("client.secret.rotated") == []


def test_one_secret_ends_and_the_others_go_on(ada: Member, app: tuple[Client, str]) -> None:
    client, old = app
    ada.gatepost.clock.advance(1)
    new = secret_in(ada.post("applications", client.id, "secrets", "new", overlap="keep"))
    with ada.gatepost.work() as work:
        first = list_client_secrets(work, client)[0]
    assert first.hint == old[-4:]
    page = visible(ada.get("applications", client.id, "secrets", first.id, "end").text)
    assert f"…{old[-4:]}" in page
    assert "last secret" not in page
    assert ada.post("applications", client.id, "secrets", first.id, "end").status_code == 303
    assert (works(ada, client, old), works(ada, client, new)) == (False, True)
    row = ada.gatepost.audit_rows("client.secret.ended")[-1]
    assert (row.client_id, row.actor_id, row.details["hint"]) == (client.id, ada.user.id, old[-4:])


def test_end_of_the_last_secret_is_said_to_be_the_end_of_tokens(ada: Member, app: tuple[Client, str]) -> None:
    client, _ = app
    with ada.gatepost.work() as work:
        (only,) = list_client_secrets(work, client)
    assert "last secret that works" in visible(ada.get("applications", client.id, "secrets", only.id, "end").text)
    ada.post("applications", client.id, "secrets", only.id, "end")
    assert "No secret works now" in visible(ada.get("applications", client.id, "secrets", "new").text)


@pytest.mark.spec("K-10")
def test_secret_of_another_application_is_not_there(ada: Member, app: tuple[Client, str]) -> None:
    _, secret = app
    ada.post("applications", "new", "machine", client_name="Other", permissions=["clients:read"])
    with ada.gatepost.work() as work:
        other = next(iter(work.db.query(Client).filter_by(client_name="Other")))
        (first,) = list_client_secrets(work, app[0])
    assert ada.get("applications", other.id, "secrets", first.id, "end").status_code == 404
    assert works(ada, app[0], secret)


def test_application_without_secrets_gets_none(ada: Member) -> None:
    ada.post("applications", "new", "spa", client_name="Page", redirect_uris="https://a.example/cb")
    with ada.gatepost.work() as work:
        client = next(iter(work.db.query(Client).filter_by(client_name="Page")))
    answer = ada.get("applications", client.id, "secrets", "new")
    assert (answer.status_code, "without a secret" in visible(answer.text)) == (409, True)
    assert "Secrets" not in visible(ada.get("applications", client.id).text)


def test_secrets_do_not_pile_up(ada: Member, app: tuple[Client, str]) -> None:
    client, _ = app
    for _ in range(9):
        assert ada.post("applications", client.id, "secrets", "new", overlap="keep").status_code == 200
    answer = ada.post("applications", client.id, "secrets", "new", overlap="keep")
    assert (answer.status_code, "at most 10 secrets" in visible(answer.text)) == (409, True)
