"""`Idempotency-Key`: a request that is sent again is answered again, and acts once."""

import threading

import pytest

from server.domain.idempotent_responses import IdempotentResponse
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused

BODY = {"name": "k", "permissions": ["users:read"]}


def again(text: str) -> dict[str, dict[str, str]]:
    return {"headers": {"Idempotency-Key": text}}


def test_key_is_made_once_when_the_request_comes_twice(api: Api, session: Session) -> None:
    first = session.ask("POST", "…/api-keys", BODY, **again("one"))
    second = session.ask("POST", "…/api-keys", BODY, **again("one"))
    assert (second.status_code, second.data) == (201, first.data)
    assert (first.headers.get("Idempotency-Replayed"), second.headers["Idempotency-Replayed"]) == (None, "true")
    third = session.ask("POST", "…/api-keys", BODY, **again("two"))
    assert third.get_json()["id"] != first.get_json()["id"]
    assert api.gatepost.audit_events().count("api_key.created") == 2


def test_request_is_refused_when_the_key_stands_for_another(api: Api, session: Session) -> None:
    session.ask("POST", "…/api-keys", BODY, **again("one"))
    refused(session.ask("POST", "…/api-keys", BODY | {"name": "x"}, **again("one")), 409, "conflict")
    refused(session.ask("POST", "…/api-keys?environment=test", BODY, **again("one")), 409, "conflict")
    # Another operation, and another caller, have keys of their own.
    assert (
        session.ask("POST", "…/roles", {"name": "r", "permissions": ["users:read"]}, **again("one")).status_code == 201
    )
    assert api.ask("POST", "…/api-keys", BODY | {"name": "x"}, key=api.key("*"), **again("one")).status_code == 201


@pytest.mark.parametrize("text", ["", "a b", "x" * 256, "é"])
def test_request_is_refused_when_its_key_is_none(session: Session, text: str) -> None:
    refused(session.ask("POST", "…/api-keys", BODY, **again(text)), 400, "invalid_request")


def test_refused_request_may_be_mended_when_it_is_sent_again(session: Session) -> None:
    refused(
        session.ask("POST", "…/api-keys", BODY | {"permissions": ["no:such"]}, **again("one")), 400, "invalid_request"
    )
    assert session.ask("POST", "…/api-keys", BODY, **again("one")).status_code == 201


def test_key_may_be_used_again_when_a_day_has_passed(api: Api, session: Session) -> None:
    first = session.ask("POST", "…/api-keys", BODY, **again("one"))
    api.gatepost.clock.advance(86401)
    second = Session(api, "ada@example.com").ask("POST", "…/api-keys", BODY, **again("one"))
    assert second.status_code == 201
    assert second.get_json()["id"] != first.get_json()["id"]


@pytest.mark.spec("K-03")
def test_no_key_is_readable_in_the_database_when_its_answer_is_kept(api: Api, session: Session) -> None:
    text = session.ask("POST", "…/api-keys", BODY, **again("one")).get_json()["key"]
    with api.gatepost.work() as work:
        rows = work.db.query(IdempotentResponse).all()
        assert [row.status for row in rows] == [201]
        assert text not in str([vars(row) for row in rows])


def test_answer_is_not_given_when_the_caller_may_no_longer_ask(api: Api) -> None:
    grace = api.member("grace@example.com", "admin")
    key = api.key("api-keys:write", "users:read", owner=grace)
    assert api.ask("POST", "…/api-keys", BODY, key=key, **again("one")).status_code == 201
    api.ask("PATCH", f"…/members/{grace.id}", {"role": "member"}, key=api.key("*"))
    refused(api.ask("POST", "…/api-keys", BODY, key=key, **again("one")), 403, "forbidden")


def test_one_key_is_made_when_the_requests_come_at_once(api: Api) -> None:
    manager = api.key("api-keys:write", "users:read")
    answers = []

    def ask() -> None:
        answers.append(api.ask("POST", "…/api-keys", BODY, key=manager, **again("one")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.get_json()["id"] for answer in answers}) == 1
    made = api.gatepost.audit_rows("api_key.created")
    assert [row.actor_kind for row in made] == ["operator", "api_key"]
