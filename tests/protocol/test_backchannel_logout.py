"""The request to a client: where it goes, what it holds, and what each answer means."""

from datetime import timedelta
from typing import Any

import pytest

from server.domain.clients import get_client
from server.domain.outbox import Leased
from server.infra import jose
from server.infra.outbound_http import FetchFailed, FetchRefused
from server.protocol.backchannel_logout import LogoutRequest, Outcome, outcome_of, prepare, send
from tests.support.application import Gatepost

URI = "https://app.example/backchannel"


class Http:
    """Answers every POST in the same way, and remembers it."""

    def __init__(self, answer: int | Exception) -> None:
        self.answer = answer
        self.sent: list[tuple[str, dict[str, str]]] = []

    def post_form(self, url: str, fields: dict[str, str]) -> int:
        self.sent.append((url, dict(fields)))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def message_of(gatepost: Gatepost, **payload: Any) -> Leased:
    told = {"sub": "usr_ada", "sid": "a-session", "jti": "an-id", **payload}
    return Leased(1, "backchannel_logout", "sample-web", told, 1, gatepost.clock.now() + timedelta(days=1))


def prepared(gatepost: Gatepost) -> LogoutRequest | None:
    with gatepost.work() as work:
        return prepare(work, message_of(gatepost))


@pytest.mark.spec("Back-Channel Logout 1.0 §2.5")
def test_request_is_a_form_with_the_token_alone(gatepost: Gatepost) -> None:
    gatepost.add_client(backchannel_logout_uri=URI)
    request, http = prepared(gatepost), Http(200)
    assert request is not None
    assert send(http, request) is Outcome.DELIVERED  # type: ignore[arg-type]
    assert http.sent == [(URI, {"logout_token": request.token})]


@pytest.mark.spec("R-38")
def test_token_is_signed_anew_with_the_same_id_when_it_is_sent_again(gatepost: Gatepost) -> None:
    gatepost.add_client(backchannel_logout_uri=URI)
    first = prepared(gatepost)
    gatepost.clock.advance(300)
    second = prepared(gatepost)
    assert first is not None
    assert second is not None
    before, after = jose.peek_claims(first.token), jose.peek_claims(second.token)
    assert after["jti"] == before["jti"]
    assert after["iat"] == before["iat"] + 300
    assert after["exp"] == after["iat"] + 120


def test_request_goes_to_where_the_client_is_registered_now(gatepost: Gatepost) -> None:
    gatepost.add_client(backchannel_logout_uri=URI)
    gatepost.change_client("sample-web", backchannel_logout_uri="https://app.example/mended")
    request = prepared(gatepost)
    assert request is not None
    assert request.uri == "https://app.example/mended"


def test_nothing_is_sent_when_the_client_takes_no_such_requests_any_more(gatepost: Gatepost) -> None:
    gatepost.add_client()
    assert prepared(gatepost) is None
    gatepost.change_client("sample-web", backchannel_logout_uri=URI, disabled_at=gatepost.clock.now())
    assert prepared(gatepost) is None
    with gatepost.work() as work:
        work.db.delete(get_client(work, "sample-web"))
    assert prepared(gatepost) is None


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (200, Outcome.DELIVERED),
        (204, Outcome.DELIVERED),
        (302, Outcome.FAILED),
        (400, Outcome.REFUSED),
        (401, Outcome.REFUSED),
        (404, Outcome.REFUSED),
        (410, Outcome.REFUSED),
        (408, Outcome.FAILED),
        (429, Outcome.FAILED),
        (500, Outcome.FAILED),
        (501, Outcome.FAILED),
        (503, Outcome.FAILED),
        (FetchFailed("no answer", None), Outcome.UNANSWERED),
        (FetchFailed("too long", 500), Outcome.FAILED),
        (FetchRefused("not public"), Outcome.FAILED),
    ],
    ids=str,
)
@pytest.mark.spec("Back-Channel Logout 1.0 §2.8")
@pytest.mark.spec("R-38")
def test_answer_is_final_or_worth_another_attempt(answer: int | Exception, outcome: Outcome) -> None:
    assert send(Http(answer), LogoutRequest(URI, "a token")) is outcome  # type: ignore[arg-type]


def test_status_of_a_failed_exchange_counts_when_there_was_one() -> None:
    assert outcome_of(400) is Outcome.REFUSED
    assert send(Http(FetchFailed("closed", 400)), LogoutRequest(URI, "t")) is Outcome.REFUSED  # type: ignore[arg-type]
