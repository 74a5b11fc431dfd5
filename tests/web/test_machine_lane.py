"""Both lanes leave the same rows: the short one, and Flask, which answers when the content type has a parameter."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.domain.tables import METADATA
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import VERIFIER, Flow, basic, flow_of

SHORT = "application/x-www-form-urlencoded"
BY_FLASK = f"{SHORT};charset=utf-8"
#: What differs from one run to the next by design: ids, digests, moments.
LASTING = {
    "audit_events": ("event", "actor_kind", "actor_id", "client_id", "ip", "user_agent"),
    "authorization_codes": ("client_id", "redirect_uri"),
    "grants": ("client_id", "scopes", "revocation_reason"),
    "refresh_tokens": ("client_id", "replay_scope"),
    "revoked_access_tokens": (),
}

Send = Callable[..., TestResponse]
Walk = Callable[[Flow, Send], list[TestResponse]]


def exchange(flow: Flow, send: Send) -> list[TestResponse]:
    form = {"grant_type": "authorization_code", "redirect_uri": "https://app.example/cb", "code_verifier": VERIFIER}
    code = flow.code()
    return [send("token", form | {"code": code}), send("token", form | {"code": code})]


def wrong_verifier(flow: Flow, send: Send) -> list[TestResponse]:
    form = {"grant_type": "authorization_code", "redirect_uri": "https://app.example/cb", "code_verifier": "x" * 43}
    return [send("token", form | {"code": flow.code()})]


def refresh(flow: Flow, send: Send) -> list[TestResponse]:
    token = flow.tokens()["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}
    answers = [send("token", form), send("token", form), send("token", form | {"scope": "openid"})]
    flow.gatepost.clock.advance(60)
    return [*answers, send("token", form)]


def narrower_scope(flow: Flow, send: Send) -> list[TestResponse]:
    form = {"grant_type": "refresh_token", "refresh_token": flow.tokens()["refresh_token"]}
    return [send("token", form | {"scope": scope}) for scope in ("openid phone", "openid notes", "openid email")]


def machine(flow: Flow, send: Send) -> list[TestResponse]:
    return [send("token", {"grant_type": "client_credentials"})]


def wrong_secret(_flow: Flow, send: Send) -> list[TestResponse]:
    return [send("token", {"grant_type": "client_credentials"}, secret="wrong") for _ in range(3)]


def introspection(flow: Flow, send: Send) -> list[TestResponse]:
    tokens = flow.tokens()
    return [send("introspect", {"token": tokens[name]}) for name in ("access_token", "refresh_token", "id_token")]


def rows_of(gatepost: Gatepost) -> dict[str, list[tuple[Any, ...]]]:
    """How many rows each table has, and what of them does not differ by design."""
    with gatepost.work() as work:
        found = {}
        for name, table in METADATA.tables.items():
            columns = [table.c[column] for column in LASTING.get(name, ())] or [table.c[next(iter(table.c.keys()))]]
            rows = work.db.execute(table.select().with_only_columns(*columns)).all()
            found[name] = sorted(map(repr, rows)) if LASTING.get(name) else [(len(rows),)]
    return found


@pytest.mark.parametrize(
    "walk", [exchange, wrong_verifier, refresh, narrower_scope, machine, wrong_secret, introspection]
)
def test_rows_are_the_same_when_either_lane_answers(make_gatepost: GatepostMaker, walk: Walk) -> None:
    seen = []
    for content_type in (SHORT, BY_FLASK):
        gatepost = make_gatepost()
        is_machine = walk in (machine, wrong_secret)
        flow = (
            flow_of(gatepost, "machine") if is_machine else flow_of(gatepost, redirect_uris=("https://app.example/cb",))
        )

        def send(endpoint: str, form: dict[str, str], secret: str | None = None, flow: Flow = flow) -> TestResponse:
            headers = basic(flow.client.id, secret or flow.secret or "")
            return flow.gatepost.browser().post(
                f"/oauth/{endpoint}",
                data=form,
                headers=headers,
                content_type=content_type,  # noqa: B023
            )

        answers = walk(flow, send)
        shapes = [(answer.status_code, sorted(answer.headers.keys()), sorted(answer.get_json())) for answer in answers]
        seen.append((shapes, rows_of(gatepost)))
    assert seen[0] == seen[1]


def test_fault_of_ours_is_told_as_one_when_it_happens_on_the_short_lane(
    gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("server.web.machine_lane.require_bearer_token", fail)
    answer = gatepost.browser().get("/oauth/userinfo")
    assert answer.status_code == 500
    assert answer.get_json()["error"] == "server_error"
    assert "a secret of ours" not in answer.text
    assert "unhandled fault" in caplog.text
