"""`/v1/leaked-keys`: scanners of source code report keys that anybody can read, as GitHub's secret scanning does it.

Whoever sends a report is known by its signature, over the bytes of the body. The answer says of each text whether it is
a key of ours: `true_positive`, and then it is revoked, or `false_positive`.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from server.domain.audit_events import AuditEvent
from server.domain.errors import Conflict, Denied
from server.domain.leak_report_signature import LeakReportKeysUnavailable
from server.domain.leaked_keys import LeakedToken, Verdict, report_leaked_keys, use_leak_report
from server.domain.unit_of_work import UnitOfWork
from server.domain.usage_writing import record_unproven
from server.infra.database import commit_before_raising
from server.web.api.error_answers import Refusal
from server.web.api.operation import Operation
from server.web.context import current_work
from server.web.machine_errors import RETRY_AFTER_SECONDS
from server.web.transaction import in_transaction

log = logging.getLogger(__name__)

_KEY_IDENTIFIER: Final = "Github-Public-Key-Identifier"
_SIGNATURE: Final = "Github-Public-Key-Signature"
_MAXIMUM_TOKENS: Final = 500


class ReportedToken(BaseModel):
    """One entry of a report; scanners may say more than we read."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    token: str = Field(min_length=1, max_length=1000)
    type: str = Field("", max_length=200)
    url: str = Field("", max_length=2000)
    source: str = Field("", max_length=200)


_REPORT: Final = TypeAdapter(list[ReportedToken])


@in_transaction
def report() -> Response:
    """Takes one report."""
    work, body = current_work(), request.get_data()
    _check_signature(work, body)
    tokens = _tokens_of(body)
    try:
        use_leak_report(work, body)
    except Conflict as error:
        raise _refused(work, 409, error) from error
    verdicts = report_leaked_keys(work, tokens)
    return Response(json.dumps([_told(verdict) for verdict in verdicts]), mimetype="application/json")


def _check_signature(work: UnitOfWork, body: bytes) -> None:
    keys, headers = work.runtime.leak_report_keys, request.headers
    try:
        keys.verify(body, headers.get(_KEY_IDENTIFIER), headers.get(_SIGNATURE))
    except Denied as error:
        raise _refused(work, 403, error) from error
    except LeakReportKeysUnavailable as error:
        log.warning("a report of leaked keys cannot be checked: %s", error)
        wait = {"Retry-After": str(RETRY_AFTER_SECONDS)}
        raise Refusal(503, "The sender's keys cannot be fetched now. Send the report again.", wait) from error


def _tokens_of(body: bytes) -> list[LeakedToken]:
    try:
        found = _REPORT.validate_json(body)
    except ValidationError as error:
        raise Refusal(400, "A report is a JSON array of objects with token, type, url and source.") from error
    if len(found) > _MAXIMUM_TOKENS:
        raise Refusal(400, f"A report has {_MAXIMUM_TOKENS} entries at most.")
    return [LeakedToken(each.token, each.type, each.url, each.source) for each in found]


def _refused(work: UnitOfWork, status: int, error: Exception) -> Refusal:
    """The refusal, and the row that it leaves."""
    work.db.rollback()
    record_unproven(work, AuditEvent.LEAK_REPORT_REFUSED, reason=str(error))
    commit_before_raising(work.db)
    return Refusal(status, str(error))


def _told(verdict: Verdict) -> dict[str, Any]:
    token = verdict.token
    return {"token_raw": token.token, "token_type": token.type, "label": verdict.label}


OPERATIONS: Final = (
    Operation(
        name="report_leaked_keys",
        method="POST",
        path="/leaked-keys",
        view=report,
        summary="Report leaked keys",
        description=(
            "A JSON array of `{token, type, url, source}` as GitHub's secret scanning sends it, signed in the headers "
            f"`{_KEY_IDENTIFIER}` and `{_SIGNATURE}`. Keys of ours are revoked at once and their owners told. The "
            "answer is an array of `{token_raw, token_type, label}`, `label` being `true_positive` or `false_positive`."
        ),
        access="own",
        tag="Verification",
        refusals={
            400: "The report cannot be read.",
            403: "The report is not signed by a current key.",
            409: "The report was received before.",
            503: "The sender's keys cannot be fetched now.",
        },
    ),
)
