"""`/v1/verify` says who asks, or what the client is to be answered; it takes no word of the client's for granted."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError
from werkzeug.test import create_environ, run_wsgi_app

from server.domain.api_key_issuing import Maker
from server.domain.api_keys import get_api_key, revoke_api_key
from server.domain.memberships import add_member, change_role, get_membership, remove_member, suspend_membership
from server.domain.organizations import get_organization, suspend_organization
from server.domain.scopes import rights_of_role
from server.domain.users import get_user
from server.web.api import verify
from tests.support.application import ISSUER
from tests.support.deployment import GatepostMaker
from tests.support.flow import flow_of
from tests.support.gateway import API_SCOPES, Gateway

UNKNOWN = "The credential is malformed, unknown, expired or revoked."


@pytest.fixture
def gateway(make_gatepost: GatepostMaker) -> Gateway:
    return Gateway(make_gatepost(scopes=API_SCOPES))


def refusals(gateway: Gateway) -> list[tuple[str, dict[str, Any]]]:
    """What was refused, and for whom."""
    rows = gateway.gatepost.audit_rows("api.request.refused")
    return [(str(row.actor_id), dict(row.details)) for row in rows]


def test_gateway_learns_who_asks_when_the_key_is_good(gateway: Gateway) -> None:
    key, text = gateway.key("users:read", "audit:*")
    answer = gateway.ask(text)
    assert answer.status_code == 200
    told = {name: value for name, value in answer.headers.items() if name.startswith("X-Auth-")}
    assert told == {
        "X-Auth-Type": "api_key",
        "X-Auth-Subject": key.id,
        "X-Auth-Organization": gateway.acme.id,
        "X-Auth-Environment": "live",
        "X-Auth-Scope": "audit:* users:read",
        "X-Auth-Key-Id": key.id,
    }
    assert answer.get_json() == {
        "type": "api_key",
        "subject": key.id,
        "organization": gateway.acme.id,
        "environment": "live",
        "scope": "audit:* users:read",
        "keyId": key.id,
    }
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-ID"].startswith("req_")
    assert text not in answer.text


def test_gateway_learns_who_asks_when_a_person_s_token_is_good(gateway: Gateway) -> None:
    flow = flow_of(gateway.gatepost, scope="openid email users:read")
    with_email = gateway.ask(flow.tokens(scope="openid email users:read")["access_token"])
    assert with_email.status_code == 200
    assert with_email.headers["X-Auth-Type"] == "access_token"
    assert with_email.headers["X-Auth-Client-Id"] == flow.client.id
    assert with_email.headers["X-Auth-User-Id"] == with_email.headers["X-Auth-Subject"]
    assert with_email.headers["X-Auth-Email"] == "ada@example.com"
    assert "X-Auth-Organization" not in with_email.headers
    without = gateway.ask(flow.tokens(scope="openid users:read")["access_token"])
    assert without.status_code == 200
    assert "X-Auth-Email" not in without.headers


def test_gateway_learns_which_client_asks_when_its_own_token_is_good(gateway: Gateway) -> None:
    flow = flow_of(gateway.gatepost, "machine", scope="users:read")
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    answer = gateway.ask(token, "scope=users:read")
    assert answer.status_code == 200
    assert answer.headers["X-Auth-Client-Id"] == flow.client.id
    assert "X-Auth-User-Id" not in answer.headers


@pytest.mark.parametrize("mount", ["/v1", "/api/v1"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
def test_answer_is_the_same_whatever_method_the_gateway_asks_with(gateway: Gateway, method: str, mount: str) -> None:
    key, text = gateway.key()
    answer = gateway.ask(text, path=f"{mount}/verify", method=method)
    assert (answer.status_code, answer.headers["X-Auth-Key-Id"]) == (200, key.id)
    assert gateway.ask(None, path=f"{mount}/verify", method=method).status_code == 401


# What is refused


def test_client_is_told_what_to_send_when_it_sent_no_credential(gateway: Gateway) -> None:
    answer = gateway.ask(None)
    body = answer.get_json()
    assert answer.status_code == 401
    assert sorted(body) == ["error", "message", "request_id"]
    assert body["error"] == "unauthorized"
    assert body["message"].startswith("Send an API key or an access token: Authorization: Bearer")
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{ISSUER}"'
    assert json.loads(answer.headers["X-Auth-Refusal"]) == body


@pytest.mark.spec("K-02")
@pytest.mark.parametrize("form", ["Bearer \xa0{}", "Bearer {}\x85", "Bearer \x1f{}", "Bearer {}\x0b", "Bearer {}\x0c"])
def test_key_is_unknown_when_anything_but_blanks_stands_around_it(gateway: Gateway, form: str) -> None:
    _, text = gateway.key()
    answer = gateway.ask(None, environ_overrides={"HTTP_AUTHORIZATION": form.format(text)})
    assert (answer.status_code, answer.get_json()["message"]) == (401, UNKNOWN)
    blanks = {"HTTP_AUTHORIZATION": f"Bearer  {text}\t "}
    assert gateway.ask(None, environ_overrides=blanks).status_code == 200


@pytest.mark.parametrize(
    ("value", "sent"), [("a b", "a b"), (" usr_1", "%20usr_1"), ("usr_1 ", "usr_1%20"), ("ü", "%C3%BC"), ("%", "%25")]
)
def test_value_of_a_header_arrives_as_it_is_or_encoded(value: str, sent: str) -> None:
    assert verify._as_header(value) == sent


@pytest.mark.spec("K-05")
def test_answer_is_the_same_when_the_credential_is_refused_for_whatever_reason(gateway: Gateway) -> None:
    gatepost = gateway.gatepost
    key, good = gateway.key()
    revoked, revoked_text = gateway.key()
    _, expired_text = gateway.key(expires_at=gatepost.clock.now() + timedelta(hours=1))
    _, elsewhere = gateway.key(ip_allow_list=("192.0.2.0/24",))
    _, sandbox = gateway.key(environment="test")
    other = gateway.organization("Other", "other")
    _, suspended = gateway.key(organization=other)
    with gatepost.work() as work:
        revoke_api_key(work, get_api_key(work, gateway.acme.id, "live", revoked.id), "test")
        suspend_organization(work, get_organization(work, other.id))
    gatepost.clock.advance(3600)
    wrong = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    presented = (revoked_text, expired_text, elsewhere, sandbox, suspended, wrong, "x", "", "eyJhbGciOiJub25lIn0.e30.")
    answers = [gateway.ask(text) for text in presented]
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.get_json()["message"] for answer in answers} == {UNKNOWN}
    challenge = f'Bearer realm="{ISSUER}", error="invalid_token"'
    assert {answer.headers["WWW-Authenticate"] for answer in answers} == {challenge}
    assert len({len(answer.data) for answer in answers}) == 1
    assert gateway.ask(good).headers["X-Auth-Key-Id"] == key.id


def test_scope_that_is_missing_is_named_and_leaves_a_row(gateway: Gateway) -> None:
    key, text = gateway.key("users:read")
    answer = gateway.ask(text, "scope=users:read+users:write")
    assert answer.status_code == 403
    assert answer.get_json()["error"] == "forbidden"
    challenge = f'Bearer realm="{ISSUER}", error="insufficient_scope", scope="users:write"'
    assert answer.headers["WWW-Authenticate"] == challenge
    (found,) = refusals(gateway)
    assert found[0] == key.id
    assert found[1]["reason"] == "insufficient_scope"
    assert found[1]["organization_id"] == gateway.acme.id
    assert found[1]["needed"] == "users:write"


# What a gateway may require


def test_wildcards_of_the_key_reach_what_is_required(gateway: Gateway) -> None:
    _, text = gateway.key("users:*")
    assert gateway.ask(text, "scope=users:read").status_code == 200
    assert gateway.ask(text, "scope=users:write+users:delete").status_code == 200
    assert gateway.ask(text, "scope=audit:read").status_code == 403


@pytest.mark.parametrize("header", ["X-Original-Method", "X-Forwarded-Method"])
def test_scope_of_a_method_is_required_when_the_request_has_that_method(gateway: Gateway, header: str) -> None:
    _, text = gateway.key("users:read")
    query = "scope=users:read&scope.DELETE=users:delete&scope.POST=users:write"
    statuses = {
        method: gateway.ask(text, query, headers={header: method}).status_code
        for method in ("GET", "HEAD", "POST", "DELETE", "delete")
    }
    assert statuses == {"GET": 200, "HEAD": 200, "POST": 403, "DELETE": 403, "delete": 403}
    reads = {"GET": 403, "HEAD": 403, "POST": 200}
    for method, status in reads.items():
        assert gateway.ask(text, "scope.GET=audit:read", headers={header: method}).status_code == status
    assert gateway.ask(text, query).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        *("scop=users:read", "scope", "scope=", "scopes=users:read", "scope.get=users:read", "scope.=users:read"),
        *("Scope=users:read", "environment=prod", "environment=", "organization=", "users:read", "=", "scope=%ff"),
        *("scope=%80", "&".join(f"scope=a{number}" for number in range(60))),
    ],
)
def test_question_is_refused_when_it_is_not_understood(gateway: Gateway, query: str) -> None:
    _, text = gateway.key("*")
    answer = gateway.ask(text, query)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_header_narrows_what_the_address_requires_and_never_widens_it(gateway: Gateway) -> None:
    _, live = gateway.key("users:read")
    _, test = gateway.key("users:read", environment="test")

    def status(text: str, query: str, **headers: str) -> int:
        named = {f"X-Required-{name.title()}": value for name, value in headers.items()}
        return gateway.ask(text, query, headers=named).status_code

    assert status(live, "scope=users:read", scope="audit:read") == 403
    assert status(live, "scope=audit:read", scope="users:read") == 403
    assert status(live, "", environment="test") == 401
    assert status(test, "", environment="test") == 401
    assert status(test, "", environment="any") == 401
    assert status(test, "environment=any", environment="test") == 200
    assert status(live, "environment=any", environment="test") == 401
    assert status(live, "organization=org_other", organization=gateway.acme.id) == 403
    assert status(live, "", organization=gateway.acme.id) == 200
    assert status(live, "", organization="acme") == 400
    assert status(live, "", environment="prod") == 400


@pytest.mark.spec("K-10")
def test_each_environment_is_a_world_of_its_own(gateway: Gateway) -> None:
    _, live = gateway.key()
    key, test = gateway.key(environment="test")
    wanted = {("", live): 200, ("", test): 401, ("environment=live", test): 401, ("environment=test", live): 401}
    wanted |= {("environment=test", test): 200, ("environment=any", test): 200, ("environment=any", live): 200}
    wanted |= {("environment=live&environment=test", live): 401, ("environment=live&environment=test", test): 401}
    found = {(query, text): gateway.ask(text, query).status_code for query, text in wanted}
    assert found == wanted
    assert gateway.ask(test, "environment=test").headers["X-Auth-Environment"] == "test"
    assert [row[1]["reason"] for row in refusals(gateway) if row[0] == key.id] == ["environment"] * 3


def test_key_is_good_for_its_own_organization_alone(gateway: Gateway) -> None:
    other = gateway.organization("Other", "other")
    key, text = gateway.key()
    assert gateway.ask(text, f"organization={gateway.acme.id}").status_code == 200
    for own in (gateway.acme.id, "acme"):
        assert gateway.ask(text, headers={"Organization-ID": own}).status_code == 200
    for foreign in (other.id, "org_nobody"):
        answer = gateway.ask(text, f"organization={foreign}")
        assert (answer.status_code, answer.get_json()["error"]) == (403, "forbidden"), foreign
    assert gateway.ask(text, headers={"Organization-ID": other.id}).status_code == 403
    own = f"organization={gateway.acme.id}"
    for foreign in (other.id, "nobody", "org_nobody", "acme\xff", "org_\xff", "org_%00", "org_.", "Acme", ""):
        assert gateway.ask(text, own, headers={"Organization-ID": foreign}).status_code == 403, foreign
    assert {(actor, details["reason"]) for actor, details in refusals(gateway)} == {(key.id, "organization")}


@pytest.mark.parametrize("name", ["acme", "org_", "org_%00", "org_a.b", "ORG_x", "acme%00", "%F0%9F%98%80", "org_x%0A"])
def test_gateway_is_told_when_it_requires_an_organization_by_what_can_become_another_s(
    gateway: Gateway, name: str
) -> None:
    _, text = gateway.key()
    answer = gateway.ask(text, f"organization={name}")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_request")


def test_client_must_name_its_organization_when_the_deployment_says_so(make_gatepost: GatepostMaker) -> None:
    settings = {"organization_header": "FirstQuadrant-Organization-ID", "organization_header_required": True}
    gateway = Gateway(make_gatepost(scopes=API_SCOPES, **settings))
    _, text = gateway.key()
    missing = gateway.ask(text)
    assert missing.status_code == 400
    assert "FirstQuadrant-Organization-ID" in missing.get_json()["message"]
    assert gateway.ask("x").status_code == 401
    named = {"FirstQuadrant-Organization-ID": gateway.acme.id}
    assert gateway.ask(text, headers=named).status_code == 200


@pytest.mark.spec("K-12")
def test_person_s_token_is_good_where_they_are_members_and_for_no_more_than_their_role(gateway: Gateway) -> None:
    flow = flow_of(gateway.gatepost, scope="openid users:read users:delete")
    token = flow.tokens(scope="openid users:read users:delete")["access_token"]
    assert gateway.ask(token, f"organization={gateway.acme.id}").status_code == 403
    with gateway.gatepost.work() as work:
        add_member(work, gateway.acme, get_user(work, flow.email), "member")
    assert gateway.ask(token, f"organization={gateway.acme.id}&scope=users:read").status_code == 200
    answer = gateway.ask(token, "scope=users:read", headers={"Organization-ID": "acme"})
    assert answer.headers["X-Auth-Organization"] == gateway.acme.id
    assert "users:delete" not in answer.headers["X-Auth-Scope"].split()
    assert gateway.ask(token, f"organization={gateway.acme.id}&scope=users:delete").status_code == 403


@pytest.mark.spec("K-12")
def test_person_s_token_of_an_organization_s_application_is_bounded_though_nobody_names_one(gateway: Gateway) -> None:
    scope = "openid users:read users:delete"
    flow = flow_of(gateway.gatepost, scope=scope, organization_id=gateway.acme.id)
    token = flow.tokens(scope=scope)["access_token"]
    other = gateway.organization("Other", "other")
    stranger = gateway.ask(token, "scope=users:delete")
    assert stranger.status_code == 200
    assert "X-Auth-Organization" not in stranger.headers
    assert "organization" not in stranger.get_json()
    with gateway.gatepost.work() as work:
        add_member(work, other, get_user(work, flow.email), "owner")
    ours, theirs = f"organization={gateway.acme.id}", f"organization={other.id}"
    for named in (ours, theirs, f"{ours}&{theirs}"):
        assert gateway.ask(token, named).status_code == 403, named
    assert gateway.ask(token, headers={"Organization-ID": "acme"}).status_code == 403
    with gateway.gatepost.work() as work:
        membership = add_member(work, gateway.acme, get_user(work, flow.email), "member")
    member = gateway.ask(token, "scope=users:read")
    assert member.headers["X-Auth-Organization"] == gateway.acme.id
    assert member.headers["X-Auth-Scope"] == "openid users:read"
    assert gateway.ask(token, "scope=openid").status_code == 200
    assert gateway.ask(token, "scope=users:delete").status_code == 403
    assert gateway.ask(token, theirs).status_code == 403
    with gateway.gatepost.work() as work:
        suspend_membership(work, get_membership(work, gateway.acme.id, membership.id))
    suspended = gateway.ask(token)
    assert (suspended.status_code, suspended.get_json()["error"]) == (403, "forbidden")
    with gateway.gatepost.work() as work:
        remove_member(work, get_membership(work, gateway.acme.id, membership.id))
    assert "X-Auth-Organization" not in gateway.ask(token).headers
    reasons = [row[1]["reason"] for row in refusals(gateway)]
    assert reasons == ["organization"] * 4 + ["insufficient_scope", "organization", "organization"]


@pytest.mark.spec("K-12")
def test_application_s_token_is_good_for_no_more_than_its_maker_s_role(gateway: Gateway) -> None:
    maker = gateway.gatepost.add_user("grace@example.com", name="Grace")
    with gateway.gatepost.work() as work:
        add_member(work, gateway.acme, get_user(work, "ada@example.com"), "owner")
        membership = add_member(work, gateway.acme, maker, "admin")
    scope = "users:read users:delete"
    flow = flow_of(
        gateway.gatepost, "machine", scope=scope, organization_id=gateway.acme.id, created_by=maker.id
    )  # fmt: skip
    token = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    header = {"Organization-ID": "acme"}
    answer = gateway.ask(token, "scope=users:delete", headers=header)
    assert answer.headers["X-Auth-Organization"] == gateway.acme.id
    with gateway.gatepost.work() as work:
        change_role(work, get_membership(work, gateway.acme.id, membership.id), "member")
    assert gateway.ask(token).headers["X-Auth-Scope"] == "users:read"
    for headers in ({}, header):
        assert gateway.ask(token, "scope=users:delete", headers=headers).status_code == 403
    with gateway.gatepost.work() as work:
        remove_member(work, get_membership(work, gateway.acme.id, membership.id))
    for headers in ({}, header):
        assert gateway.ask(token, headers=headers).status_code == 403
    reasons = [row[1]["reason"] for row in refusals(gateway)]
    assert reasons == ["insufficient_scope", "insufficient_scope", "organization", "organization"]


# How the request is told


def test_question_is_refused_when_the_request_is_told_in_two_ways(gateway: Gateway) -> None:
    _, text = gateway.key("users:read")
    told = {"X-Original-Method": "DELETE", "X-Forwarded-Method": "GET"}
    assert gateway.ask(text, "scope.DELETE=users:delete", headers=told).status_code == 400
    told = {"X-Original-URI": "/users", "X-Forwarded-Uri": "/scim/v2/Users"}
    assert gateway.ask(text, headers=told).status_code == 400
    told = {"X-Original-URI": "/users?a=b", "X-Original-URL": "https://api.example.com/users?a=b"}
    assert gateway.ask(text, headers=told).status_code == 200
    assert gateway.ask(text, headers={"X-Original-URL": "http://[/users"}).status_code == 400


def test_envoy_s_path_and_method_are_the_request_s_own(gateway: Gateway) -> None:
    """The query is a client's there, and requires nothing."""
    _, text = gateway.key("users:read")
    _, sandbox = gateway.key("users:read", environment="test")
    below = "/v1/verify/users/7"
    assert gateway.ask(text, path=below).status_code == 200
    assert gateway.ask(text, "page=2&scope=x&environment=nowhere", path=below, method="PUT").status_code == 200
    assert gateway.ask(sandbox, "environment=any", path=below).status_code == 401
    assert gateway.ask(text, path=below, headers={"X-Required-Scope": "audit:read"}).status_code == 403
    for wider in ("test", "any", "live"):
        # The header may be a client's.
        assert gateway.ask(sandbox, path=below, headers={"X-Required-Environment": wider}).status_code == 401
    assert gateway.ask(text, path=below, method="DELETE", headers={"X-Original-Method": "GET"}).status_code == 400
    assert gateway.ask(text, path="/v1/verify/").status_code == 200
    assert gateway.ask(sandbox, "environment=any", path="/v1/verify/").status_code == 401
    for odd in ("/v1/verify//users", "/v1/verify/%0Ausers", "/v1/verify/%00", "/v1/verify//"):
        assert gateway.ask(sandbox, "environment=any", path=odd).status_code == 404, odd
    assert gateway.ask(sandbox, "environment=any", path="/v1/verify/%C3%BC%FF").status_code == 401
    assert gateway.ask(text, path="/v1/verify/%C3%BC%FF").status_code == 200
    assert gateway.ask(text, path="/v1/verifyx").status_code == 404


def test_envoy_s_address_says_which_environment_is_good(gateway: Gateway) -> None:
    _, live = gateway.key("users:read")
    _, sandbox = gateway.key("users:read", environment="test")
    good = {
        path: tuple(gateway.ask(text, path=path).status_code for text in (live, sandbox))
        for path in ("/v1/verify/users", "/v1/verify.test/users", "/v1/verify.any/users", "/api/v1/verify.test/")
    }
    assert list(good.values()) == [(200, 401), (401, 200), (200, 200), (401, 200)]
    narrowed = gateway.ask(sandbox, path="/v1/verify.any/users", headers={"X-Required-Environment": "live"})
    assert narrowed.status_code == 401
    for odd in ("/v1/verify.test", "/v1/verify.live/users", "/v1/verify.other/users", "/v1/verify.test//users"):
        assert gateway.ask(sandbox, path=odd).status_code == 404, odd


@pytest.mark.parametrize(
    "query", ["q=%FF", "q=%", "&&&", "=", "%F0%9F", "&".join(f"a{number}=1" for number in range(300)), "a;b", "%61=%62"]
)
def test_query_of_the_request_is_the_api_s_own(gateway: Gateway, query: str) -> None:
    _, text = gateway.key()
    assert gateway.ask(text, headers={"X-Original-URI": f"/users?{query}"}).status_code == 200
    assert gateway.ask(text, query, path="/v1/verify/users").status_code == 200
    hidden = f"/users?{query}&x={text.replace('gp_', '%67p%5F')}"
    assert gateway.ask(text, headers={"X-Original-URI": hidden}).status_code == 401


SCIM_PATHS = {
    "/scim/v2": 200,
    "/scim/v2/": 200,
    "/scim/v2/Users?filter=x": 200,
    "/users": 401,
    "/scim/v2x": 401,
    "/scim/v22/Users": 401,
    "/x/scim/v2/Users": 401,
    "/scim/v2/../users": 401,
    "/scim/v2/%2e%2e/users": 401,
    "/scim/v2/..%2fusers": 401,
    "/scim/v2/%2e./users": 401,
    "/scim/v2//users": 401,
    "/scim/v2/..;/users": 401,
    "/scim/v2/\\..\\users": 401,
    "/scim/v2/./../users": 401,
    "//scim/v2/Users": 401,
    "/SCIM/v2/Users": 401,
    "/scim/v2/Users/2819c223-7f76%40example.com": 200,
    "/scim/v2/%252e%252e/admin": 401,
    "/scim/v2/..%5cadmin": 401,
    "/scim/v2/..%00/": 401,
    "/scim/v2/%c0%ae%c0%ae/x": 401,
    "/scim/v2/%2E/x": 401,
    "/scim/v2/a%2Fb": 401,
}


@pytest.mark.parametrize("path", SCIM_PATHS)
def test_provisioning_key_is_good_below_its_path_and_nowhere_else(gateway: Gateway, path: str) -> None:
    _, text = gateway.key("scim", kind="scim")
    _, ordinary = gateway.key("users:read")
    headers = {"X-Original-URI": path}
    assert gateway.ask(text, headers=headers).status_code == SCIM_PATHS[path]
    assert gateway.ask(ordinary, headers=headers).status_code == (401 if SCIM_PATHS[path] == 200 else 200)
    assert gateway.ask(text).status_code == 401


@pytest.mark.parametrize("path", ["/scim/v2/Users", "/scim/v2%3F/../../users", "/scim/v2/%2e%2e/users", "/users"])
def test_provisioning_key_is_good_below_its_path_when_envoy_asks(gateway: Gateway, path: str) -> None:
    _, text = gateway.key("scim", kind="scim")
    assert gateway.ask(text, path=f"/v1/verify{path}").status_code == (200 if path == "/scim/v2/Users" else 401)


# Limits, faults, lanes


@pytest.mark.spec("K-15")
def test_key_that_is_used_up_is_told_when_it_may_go_on(gateway: Gateway) -> None:
    _, text = gateway.key(rate_limit_per_minute=2)
    first, second, third = (gateway.ask(text, "scope=users:read") for _ in range(3))
    limits = [(answer.headers["RateLimit-Limit"], answer.headers["RateLimit-Remaining"]) for answer in (first, second)]
    assert limits == [("2", "1"), ("2", "0")]
    assert third.status_code == 429
    assert third.headers["Retry-After"] == "60"
    assert third.get_json()["error"] == "rate_limited"
    assert json.loads(third.headers["X-Auth-Refusal"]) == third.get_json()
    gateway.gatepost.clock.advance(60)
    assert gateway.ask(text).status_code == 200


@pytest.mark.spec("K-15")
def test_request_that_lacks_a_scope_counts_too(gateway: Gateway) -> None:
    _, text = gateway.key(rate_limit_per_minute=1)
    assert gateway.ask(text, "scope=audit:read").status_code == 403
    assert gateway.ask(text, "scope=audit:read").status_code == 429


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        (
            OperationalError("SELECT", {}, Exception("away"), connection_invalidated=True),
            503,
            "temporarily_unavailable",
        ),
        (RuntimeError("a secret of ours"), 500, "server_error"),
    ],
)
def test_nothing_passes_when_the_fault_is_ours(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int, error: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise fault

    _, text = gateway.key()
    monkeypatch.setattr(verify, "verify_credential", fail)
    answer = gateway.ask(text)
    assert (answer.status_code, answer.get_json()["error"]) == (status, error)
    assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]
    assert "a secret of ours" not in answer.text


def test_both_lanes_answer_alike(gateway: Gateway) -> None:
    _, text = gateway.key("users:read")
    _, sandbox = gateway.key("users:read", environment="test")

    def ask(application: Any, path: str, method: str, headers: dict[str, str]) -> tuple[Any, ...]:
        environ = create_environ(path, ISSUER, method=method, headers=headers)
        body, status, answered = run_wsgi_app(application, environ)
        document = b"".join(body).replace(answered["X-Request-ID"].encode(), b"")
        named = {name: value.replace(answered["X-Request-ID"], "") for name, value in answered.items()}
        return status[:3], sorted(named.items()), document

    app = gateway.gatepost.app
    bearers = [None, f"Bearer {text}", f"bearer  {text}", f"Bearer {sandbox}", "Basic eDp5", "Bearer \xe9", ""]
    questions = ["", "?scope=users:read", "?scope=audit:read", "?nope", "?environment=any", "?scope=%ff", "?scope=\xff"]
    seen = set()
    for authorization in bearers:
        headers = {} if authorization is None else {"Authorization": authorization}
        for path in ("/v1/verify", "/api/v1/verify", "/v1/verify/users", "/v1/verify.test/", "/v1/verify/%C3%BC%0A"):
            for question in questions:
                for method in ("GET", "POST", "HEAD", "DELETE", "OPTIONS"):
                    asked = (path + question, method, headers)
                    short = ask(app.wsgi_app, *asked)
                    whole = ask(lambda *arguments: Flask.wsgi_app(app, *arguments), *asked)
                    assert short == whole, asked
                    seen.add(short[0])
    assert seen >= {"200", "400", "401", "403"}


@pytest.mark.spec("K-12")
def test_key_can_do_no_more_than_its_owner_may_now(gateway: Gateway) -> None:
    with gateway.gatepost.work() as work:
        owner = get_user(work, "ada@example.com")
        add_member(work, gateway.acme, owner, "admin")
        maker = Maker(rights_of_role(work.settings, "admin"), owner)
    _, text = gateway.key("users:read", maker=maker)
    assert gateway.ask(text, "scope=users:read").status_code == 200
    gateway.gatepost.change_user(owner.email, disabled_at=gateway.gatepost.clock.now())
    assert gateway.ask(text).status_code == 401
