"""Back-channel logout: the request to a client, and what its answer means (Back-Channel Logout §2.5, §2.8)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from server.domain.clients import registered_client
from server.domain.outbox import Leased
from server.domain.unit_of_work import UnitOfWork
from server.infra.outbound_http import FetchFailed, FetchRefused, OutboundHttp
from server.protocol.tokens.logout_token import issue_logout_token


class Outcome(StrEnum):
    """What became of one attempt."""

    DELIVERED = "delivered"
    #: The client will not take it, ever.
    REFUSED = "refused"
    #: Worth another attempt.
    FAILED = "failed"
    #: Worth another attempt too, but each may take as long as the last one: nothing answered.
    UNANSWERED = "unanswered"


@dataclass(frozen=True)
class LogoutRequest:
    """One POST that is ready to be sent."""

    uri: str
    token: str


def prepare(work: UnitOfWork, message: Leased) -> LogoutRequest | None:
    """Signs the token of a queued message, anew for each attempt; None when the client takes no such requests any more.

    The client is asked for where it is registered now: an address that was mended counts at once.
    """
    client = registered_client(work, message.client_id)
    if client is None or client.disabled_at is not None or client.backchannel_logout_uri is None:
        return None
    told = message.payload
    token = issue_logout_token(work, client, told["sub"], told["sid"], told["jti"])
    return LogoutRequest(client.backchannel_logout_uri, token)


def send(http: OutboundHttp, request: LogoutRequest) -> Outcome:
    """Posts the token as §2.5 says: a form with nothing else in it."""
    try:
        status = http.post_form(request.uri, {"logout_token": request.token})
    except FetchFailed as error:
        return Outcome.UNANSWERED if error.status is None else outcome_of(error.status)
    except FetchRefused:
        # A name that leads to a forbidden address today may lead elsewhere tomorrow; asking again sends nothing.
        return Outcome.FAILED
    return outcome_of(status)


def outcome_of(status: int) -> Outcome:
    """What a status says (§2.8): a request that was wrong stays wrong, a server in trouble recovers."""
    if 200 <= status < 300:
        return Outcome.DELIVERED
    # 408: it did not wait for us; 429: too many at once.
    if 400 <= status < 500 and status not in {408, 429}:
        return Outcome.REFUSED
    return Outcome.FAILED
