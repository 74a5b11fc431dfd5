"""API keys over the API: the guide's own requests, and what no key may make."""

from datetime import datetime, timedelta

import pytest

from server.domain.usage_writing import flush_usage
from tests.web.api.conftest import Api, Session
from tests.web.api.test_authentication import refused


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_key_is_made_listed_used_and_revoked_when_the_guide_is_followed(api: Api) -> None:
    maker = api.key("api-keys:read", "api-keys:write", "users:read", never_expires=True)
    body = {"name": "CI", "permissions": ["users:read"], "expiresIn": "365d"}
    answer = api.ask("POST", "…/api-keys", body, key=maker)
    assert answer.status_code == 201
    made = answer.get_json()
    assert {"id", "name", "key", "permissions", "createdAt", "expiresAt"} <= made.keys()
    assert moment(made["expiresAt"]) - moment(made["createdAt"]) == timedelta(days=365)
    assert made["key"].startswith("gp_live_")
    assert api.ask("GET", "…/users", key=made["key"]).status_code == 200
    listed = api.ask("GET", "…/api-keys", key=maker).get_json()["data"]
    assert [each["id"] for each in listed if each["name"] == "CI"] == [made["id"]]
    gone = api.ask("DELETE", f"…/api-keys/{made['id']}", key=maker)
    assert (gone.status_code, gone.data, gone.content_type) == (204, b"", None)
    refused(api.ask("GET", "…/users", key=made["key"]), 401, "unauthorized")
    assert api.ask("GET", f"…/api-keys/{made['id']}", key=maker).get_json()["revokedReason"] == "api"
    assert api.ask("DELETE", f"…/api-keys/{made['id']}", key=maker).status_code == 204
    rows = api.gatepost.audit_rows("api_key.revoked")
    assert [row.details["key_id"] for row in rows] == [made["id"]]


def test_keys_are_listed_page_by_page_when_there_are_many(api: Api, session: Session) -> None:
    made = []
    for number in range(5):
        # Some at the same moment: then their ids decide.
        api.gatepost.clock.advance(number % 2)
        made.append(api.issue("users:read")[0])
    seen, cursor = [], ""
    while True:
        page = session.ask("GET", f"…/api-keys?limit=2{cursor}").get_json()
        assert len(page["data"]) <= 2
        seen += [each["id"] for each in page["data"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"
    assert seen == [key.id for key in sorted(made, key=lambda key: (key.created_at, key.id))]


@pytest.mark.spec("K-04")
def test_key_is_shown_exactly_once_when_it_is_made(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/api-keys", {"name": "k", "permissions": ["users:read"]})
    text = made.get_json()["key"]
    assert made.headers["Cache-Control"] == "no-store"
    for path in ("…/api-keys", f"…/api-keys/{made.get_json()['id']}", "…/audit-events", "…/audit-events/export"):
        answer = session.ask("GET", path)
        assert answer.status_code == 200
        assert text not in answer.text
        assert text[8:40] not in answer.text
    masked = session.ask("GET", f"…/api-keys/{made.get_json()['id']}").get_json()["maskedKey"]
    assert masked == f"gp_live_…{text[-4:]}"


@pytest.mark.parametrize(("said", "days"), [(None, 90), ("12h", 0.5), ("2w", 14), ("never", None), ("86400", 1)])
def test_key_ends_when_its_maker_says(api: Api, session: Session, said: str | None, days: float | None) -> None:
    body = {"name": "k", "permissions": ["users:read"], **({"expiresIn": said} if said else {})}
    made = session.ask("POST", "…/api-keys", body).get_json()
    if days is None:
        assert made["expiresAt"] is None
    else:
        assert moment(made["expiresAt"]) - moment(made["createdAt"]) == timedelta(days=days)


@pytest.mark.spec("K-11")
def test_key_makes_no_key_with_more_than_it_has_when_it_asks(api: Api) -> None:
    """INV: no more rights, no longer life, no other organization, no other environment."""
    parent, text = api.issue("api-keys:write", "api-keys:read", "users:read")
    body = {"name": "child", "permissions": ["users:write"]}
    refused(api.ask("POST", "…/api-keys", body, key=text), 403, "forbidden")
    refused(api.ask("POST", "…/api-keys", body | {"permissions": ["*"]}, key=text), 403, "forbidden")
    refused(api.ask("POST", "…/api-keys", body | {"permissions": ["users:*"]}, key=text), 403, "forbidden")
    body["permissions"] = ["users:read"]
    refused(api.ask("POST", "…/api-keys", body | {"expiresIn": "never"}, key=text), 403, "forbidden")
    refused(api.ask("POST", "…/api-keys", body | {"expiresIn": "91d"}, key=text), 403, "forbidden")
    refused(api.ask("POST", "…/api-keys", body | {"kind": "scim", "permissions": ["scim"]}, key=text), 403, "forbidden")
    refused(api.ask("POST", "…/api-keys?environment=test", body, key=text), 404, "not_found")
    other = api.other_organization()
    refused(api.ask("POST", f"/v1/organizations/{other.id}/api-keys", body, key=text), 404, "not_found")
    reasons = [row.details["reason"] for row in api.gatepost.audit_rows("api.request.refused")]
    assert reasons == ["denied"] * 6 + ["environment", "organization"]
    child = api.ask("POST", "…/api-keys", body, key=text).get_json()
    assert parent.expires_at is not None
    assert moment(child["expiresAt"]) <= parent.expires_at
    assert child["ownerId"] == api.owner.id


@pytest.mark.spec("K-11")
def test_key_changes_and_rotates_no_stronger_key_when_it_asks(api: Api) -> None:
    strong, _ = api.issue("*", ip_allow_list=["203.0.113.7"])
    weak = api.key("api-keys:write", "api-keys:read")
    refused(api.ask("POST", f"…/api-keys/{strong.id}/rotate", {}, key=weak), 403, "forbidden")
    refused(api.ask("PATCH", f"…/api-keys/{strong.id}", {"ipAllowList": []}, key=weak), 403, "forbidden")


@pytest.mark.spec("K-09", "K-11", "K-15")
def test_key_stays_in_its_networks_and_below_its_rate_when_it_asks(api: Api) -> None:
    terms = {"ip_allow_list": ["127.0.0.1"], "rate_limit_per_minute": 12}
    key, text = api.issue("api-keys:write", "api-keys:read", **terms)
    free, _ = api.issue("api-keys:read")
    own = f"…/api-keys/{key.id}"
    refused(api.ask("PATCH", own, {"ipAllowList": []}, key=text), 403, "forbidden")
    refused(api.ask("PATCH", own, {"rateLimitPerMinute": None}, key=text), 403, "forbidden")
    refused(api.ask("PATCH", f"…/api-keys/{free.id}", {"name": "Mine"}, key=text), 403, "forbidden")
    refused(api.ask("POST", f"…/api-keys/{free.id}/rotate", {}, key=text), 403, "forbidden")
    body = {"name": "Child", "permissions": ["api-keys:read"]}
    refused(api.ask("POST", "…/api-keys", {**body, "ipAllowList": ["0.0.0.0/0"]}, key=text), 403, "forbidden")
    child = api.ask("POST", "…/api-keys", body, key=text).get_json()
    assert (child["ipAllowList"], child["rateLimitPerMinute"]) == (["127.0.0.1"], 12)
    successor = api.ask("POST", f"{own}/rotate", {"overlap": "1h"}, key=text).get_json()
    assert (successor["ipAllowList"], successor["rateLimitPerMinute"]) == (["127.0.0.1"], 12)
    assert [row.details["key_id"] for row in api.gatepost.audit_rows("api_key.updated")] == []


@pytest.mark.spec("K-11")
def test_developer_changes_no_key_for_scim_when_they_ask(api: Api, session: Session) -> None:
    made = session.ask("POST", "…/api-keys", {"name": "People", "kind": "scim", "permissions": ["scim"]}).get_json()
    api.member("dev@example.com", "developer")
    developer = Session(api, "dev@example.com")
    refused(developer.ask("PATCH", f"…/api-keys/{made['id']}", {"name": "Mine"}), 403, "forbidden")
    assert api.gatepost.audit_rows("api_key.updated") == []


def test_key_changes_when_members_are_sent(api: Api, session: Session) -> None:
    key, _ = api.issue("users:read")
    path = f"…/api-keys/{key.id}"
    changed = session.ask("PATCH", path, {"name": "New", "ipAllowList": ["2001:db8::/32"], "rateLimitPerMinute": 9})
    document = changed.get_json()
    assert (document["name"], document["ipAllowList"], document["rateLimitPerMinute"]) == ("New", ["2001:db8::/32"], 9)
    assert session.ask("PATCH", path, {"rateLimitPerMinute": None}).get_json()["rateLimitPerMinute"] is None
    assert session.ask("PATCH", path, {}).get_json()["name"] == "New"
    refused(session.ask("PATCH", path, {"name": None}), 400, "invalid_request")
    refused(session.ask("PATCH", path, {"permissions": ["*"]}), 400, "invalid_request")
    refused(session.ask("PATCH", path, {"expiresAt": None}), 400, "invalid_request")


@pytest.mark.spec("K-06")
def test_old_key_goes_on_for_the_overlap_when_it_is_rotated(api: Api, session: Session) -> None:
    key, old = api.issue("users:read")
    answer = session.ask("POST", f"…/api-keys/{key.id}/rotate", {"overlap": "1h"})
    assert answer.status_code == 201
    new = answer.get_json()
    assert (new["permissions"], new["key"] != old) == (["users:read"], True)
    for text in (old, new["key"]):
        assert api.ask("GET", "…/users", key=text).status_code == 200
    assert session.ask("GET", f"…/api-keys/{key.id}").get_json()["replacedById"] == new["id"]
    refused(session.ask("POST", f"…/api-keys/{key.id}/rotate", {}), 409, "conflict")
    api.gatepost.clock.advance(3601)
    refused(api.ask("GET", "…/users", key=old), 401, "unauthorized")
    assert api.ask("GET", "…/users", key=new["key"]).status_code == 200


def test_old_key_ends_at_once_when_there_is_no_overlap(api: Api) -> None:
    manager = api.key("api-keys:write", "users:read")
    key, old = api.issue("users:read")
    new = api.ask("POST", f"…/api-keys/{key.id}/rotate", {"overlap": "0"}, key=manager).get_json()["key"]
    refused(api.ask("GET", "…/users", key=old), 401, "unauthorized")
    assert api.ask("GET", "…/users", key=new).status_code == 200


@pytest.mark.spec("K-16")
def test_many_keys_end_at_once_when_they_fit(api: Api, session: Session) -> None:
    early = api.key("users:read")
    api.gatepost.clock.advance(60)
    since = api.gatepost.clock.now().isoformat()
    late, restricted = api.key("users:read"), api.key("users:read", kind="restricted")
    in_test = api.key("users:read", environment="test")
    refused(session.ask("POST", "…/api-keys/revoke", {}), 400, "invalid_request")
    refused(session.ask("POST", "…/api-keys/revoke", {"all": True, "prefix": "gp_"}), 400, "invalid_request")
    refused(session.ask("POST", "…/api-keys/revoke", {"createdAfter": "2026-11-22T12:00:00"}), 400, "invalid_request")
    refused(session.ask("POST", "…/api-keys/revoke", {"createdAfter": 5}), 400, "invalid_request")
    body = {"createdAfter": since, "prefix": "gp_live_"}
    assert session.ask("POST", "…/api-keys/revoke", body).get_json() == {"revoked": 1}
    for text, status in ((early, 200), (late, 401), (restricted, 200), (in_test, 200)):
        assert api.ask("GET", "…/users", key=text).status_code == status
    assert session.ask("POST", "…/api-keys/revoke", {"all": True}).get_json() == {"revoked": 2}
    assert api.ask("GET", "…/users", key=in_test).status_code == 200
    assert [row.details["count"] for row in api.gatepost.audit_rows("api_keys.revoked")] == [1, 2]


@pytest.mark.spec("K-16")
def test_reports_name_keys_that_end_or_rest_when_asked(api: Api, session: Session) -> None:
    ending, _ = api.issue("users:read", expires_at=api.gatepost.clock.now() + timedelta(days=20))
    lasting, text = api.issue("users:read", never_expires=True)
    assert [each["id"] for each in session.ask("GET", "…/api-keys/reports/expiring").get_json()["data"]] == [ending.id]
    assert session.ask("GET", "…/api-keys/reports/unused").get_json()["data"] == []
    api.gatepost.clock.advance(91 * 86400)
    again = Session(api, "ada@example.com")
    assert lasting.id in [each["id"] for each in again.ask("GET", "…/api-keys/reports/unused").get_json()["data"]]
    api.ask("GET", "…/users", key=text)
    with api.gatepost.work() as work:
        flush_usage(work)
    assert lasting.id not in [each["id"] for each in again.ask("GET", "…/api-keys/reports/unused").get_json()["data"]]


def test_use_is_told_when_a_key_was_used(api: Api, session: Session) -> None:
    key, text = api.issue("users:read")
    for _ in range(3):
        api.ask("GET", "…/users", key=text)
    with api.gatepost.work() as work:
        flush_usage(work)
    usage = session.ask("GET", f"…/api-keys/{key.id}/usage").get_json()
    assert [(each["uses"], each["failures"]) for each in usage["days"]] == [(3, 0)]
    assert usage["lastUsedIp"] == "127.0.0.1"
    assert session.ask("GET", f"…/api-keys/{key.id}").get_json()["lastUsedIp"] == "127.0.0.1"
