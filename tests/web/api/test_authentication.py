"""Who asks: what is taken for a credential, what is not, and what is said about it."""

import base64

import pytest

from tests.support.application import Gatepost
from tests.web.api.conftest import Api, Session

UNAUTHORIZED = {"error", "message", "request_id"}


def refused(answer, status: int, error: str) -> dict:  # type: ignore[no-untyped-def, type-arg]
    assert answer.status_code == status, answer.text
    document = answer.get_json()
    assert set(document) == UNAUTHORIZED
    assert document["error"] == error
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return document  # type: ignore[no-any-return]


def test_request_is_unauthorized_when_it_has_no_credential(api: Api) -> None:
    answer = api.ask("GET", "/v1/me")
    refused(answer, 401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="http://localhost:8000"'


@pytest.mark.parametrize("text", ["nonsense", "gp_live_" + "0" * 32 + "_000000", "a.b.c", "", "Bearer"])
def test_request_is_unauthorized_when_its_credential_is_none(api: Api, text: str) -> None:
    answer = api.ask("GET", "/v1/me", headers={"Authorization": f"Bearer {text}"})
    refused(answer, 401, "unauthorized")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


@pytest.mark.spec("K-13")
def test_key_is_refused_when_it_stands_anywhere_but_in_the_header(api: Api) -> None:
    key = api.key("organizations:read")
    basic = base64.b64encode(f"{key}:".encode()).decode()
    assert api.ask("GET", "/v1/me", key=key).status_code == 200
    refused(api.ask("GET", f"/v1/me?api_key={key}"), 401, "unauthorized")
    refused(api.ask("GET", f"/v1/me?anything={key}", key=key), 401, "unauthorized")
    refused(api.ask("GET", "/v1/me", headers={"Authorization": f"Basic {basic}"}), 401, "unauthorized")
    refused(api.ask("GET", "/v1/me", headers={"Cookie": f"key={key}"}), 401, "unauthorized")
    refused(api.ask("GET", "/v1/me", headers={"X-Api-Key": key}), 401, "unauthorized")
    refused(api.ask("POST", "/v1/organizations", {"name": "X", "key": key}), 401, "unauthorized")
    rows = api.gatepost.audit_rows("api_key.carrier.refused")
    assert [row.details["carrier"] for row in rows] == ["query", "basic", "cookie"]
    assert all(key not in str(row.details) for row in rows)


@pytest.mark.spec("K-17")
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "…/api-keys"), ("PATCH", "…/api-keys/key_nothing"), ("POST", "…/clients")]
)
def test_nobody_acts_for_somebody_when_the_body_names_them(api: Api, method: str, path: str) -> None:
    """CVE-2025-61928: an unauthenticated request that named a user made keys of theirs."""
    body = {"name": "stolen", "permissions": ["*"], "userId": api.owner.id, "user_id": api.owner.id}
    refused(api.ask(method, path, body), 401, "unauthorized")
    assert "api_key.created" not in api.gatepost.audit_events()
    key = api.key("api-keys:write")
    document = refused(api.ask("POST", "…/api-keys", body, key=key), 400, "invalid_request")
    assert "user" in document["message"]


def test_session_is_nobody_when_the_request_has_no_token(api: Api, session: Session) -> None:
    assert session.ask("GET", "/v1/me").status_code == 200
    refused(session.browser.get("/v1/me"), 401, "unauthorized")
    refused(session.browser.get("/v1/me", headers={"X-CSRF-Token": "0" * 64}), 403, "forbidden")
    refused(session.ask("GET", "/v1/me", headers={"Origin": "https://evil.example"}), 403, "forbidden")
    refused(session.ask("GET", "/v1/me", headers={"Sec-Fetch-Site": "cross-site"}), 403, "forbidden")
    refused(api.ask("GET", "/v1/me", headers={"X-CSRF-Token": session.token}), 401, "unauthorized")


@pytest.mark.spec("S-07")
def test_session_must_be_fresh_when_the_act_is_dangerous(api: Api, session: Session) -> None:
    body = {"name": "k", "permissions": ["organizations:read"]}
    assert session.ask("POST", "…/api-keys", body).status_code == 201
    api.gatepost.clock.advance(16 * 60)
    document = refused(session.ask("POST", "…/api-keys", body), 403, "forbidden")
    assert "15 minutes" in document["message"]
    assert session.ask("GET", "…/api-keys").status_code == 200


def test_nothing_works_when_the_person_is_disabled(api: Api, session: Session) -> None:
    key = api.key("organizations:read")
    api.gatepost.change_user("ada@example.com", disabled_at=api.gatepost.clock.now())
    refused(session.ask("GET", "/v1/me"), 401, "unauthorized")
    refused(api.ask("GET", "/v1/me", key=key), 401, "unauthorized")


def test_key_for_scim_is_refused_when_it_comes_here(api: Api) -> None:
    refused(api.ask("GET", "/v1/me", key=api.key("scim", kind="scim")), 401, "unauthorized")


def test_answers_tell_what_is_left_when_requests_are_counted(make_gatepost, make_api) -> None:  # type: ignore[no-untyped-def]
    api: Api = make_api(make_gatepost(api_requests_per_minute=3))
    key, other = api.key("organizations:read"), api.key("organizations:read")
    left = [api.ask("GET", "/v1/me", key=key).headers["RateLimit-Remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    answer = api.ask("GET", "/v1/me", key=key)
    refused(answer, 429, "rate_limited")
    assert 0 < int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit-Remaining"] == "0"
    assert answer.headers["RateLimit-Limit"] == "3"
    assert api.ask("GET", "/v1/me", key=other).status_code == 200
    api.gatepost.clock.advance(seconds=61)
    assert api.ask("GET", "/v1/me", key=key).status_code == 200


def test_key_has_its_own_limit_when_its_maker_said_so(api: Api) -> None:
    key = api.key("organizations:read", rate_limit_per_minute=1)
    assert api.ask("GET", "/v1/me", key=key).headers["RateLimit-Limit"] == "1"
    refused(api.ask("GET", "/v1/me", key=key), 429, "rate_limited")
    assert api.ask("GET", "/v1/verify", key=key).status_code == 429


def test_allow_list_holds_when_the_key_comes_from_elsewhere(api: Api) -> None:
    key = api.key("organizations:read", ip_allow_list=["203.0.113.0/24"])
    refused(api.ask("GET", "/v1/me", key=key), 401, "unauthorized")
    inside = {"environ_overrides": {"REMOTE_ADDR": "203.0.113.9"}}
    assert api.ask("GET", "/v1/me", key=key, **inside).status_code == 200


def test_database_away_is_no_refusal_when_it_does_not_answer(
    api: Api, gatepost: Gatepost, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    from server.web.api import dispatch

    def away() -> None:
        raise OperationalError("SELECT 1", {}, Exception("gone"))

    key = api.key("organizations:read")
    monkeypatch.setattr(dispatch, "authenticate", away)
    answer = api.ask("GET", "/v1/me", key=key)
    refused(answer, 503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "5"
