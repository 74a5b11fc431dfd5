"""CORS: where browser clients need it, without credentials, and nowhere else."""

import pytest

from server.web.urls import URLS
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, basic, flow_of

OPEN = (
    "/oauth/token",
    "/oauth/userinfo",
    "/oauth/revoke",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
)
CLOSED = sorted({path.replace("<request_id>", "0" * 22).replace("<path:path>", "gatepost.css") for path, *_ in URLS}
                - set(OPEN))  # fmt: skip
ORIGIN = {"Origin": "https://app.example"}
PREFLIGHT = {
    **ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization, content-type",
}


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


@pytest.mark.parametrize("path", OPEN)
def test_any_origin_may_read_the_answer_when_the_endpoint_is_for_browser_clients(flow: Flow, path: str) -> None:
    method = "GET" if "well-known" in path else "POST"
    response = flow.browser.open(path, method=method, headers=ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "WWW-Authenticate" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize("path", OPEN)
def test_preflight_is_answered_when_the_endpoint_is_for_browser_clients(flow: Flow, path: str) -> None:
    response = flow.gatepost.browser().options(path, headers=PREFLIGHT)
    assert response.status_code in (200, 204)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert "POST" in response.headers["Access-Control-Allow-Methods"]
    assert {"Authorization", "Content-Type"} <= set(response.headers["Access-Control-Allow-Headers"].split(", "))
    assert response.headers["Access-Control-Max-Age"] == "7200"
    assert "Access-Control-Allow-Credentials" not in response.headers
    assert "Set-Cookie" not in response.headers


@pytest.mark.parametrize("path", [*CLOSED, "/nope"])
@pytest.mark.parametrize("origin", ["https://app.example", "null", "http://localhost:8000"])
@pytest.mark.spec("RFC 9700 §2.6")
@pytest.mark.spec("C-04", "AZ-08")
def test_no_origin_may_read_the_answer_when_the_endpoint_is_not(gatepost: Gatepost, path: str, origin: str) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        headers = {**PREFLIGHT, "Origin": origin}
        response = gatepost.browser().open(path, method=method, headers=headers, buffered=True)
        assert [name for name, _ in response.headers if name.startswith("Access-Control")] == [], method


def test_errors_can_be_read_too_when_the_endpoint_is_for_browser_clients(flow: Flow) -> None:
    form = {"grant_type": "refresh_token"}
    refused = flow.browser.post("/oauth/token", data=form, headers={**ORIGIN, **basic("nobody", "x")})
    assert refused.status_code == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    challenged = flow.browser.get("/oauth/userinfo", headers=ORIGIN)
    assert challenged.status_code == 401
    assert challenged.headers["Access-Control-Allow-Origin"] == "*"


def test_metadata_at_its_other_place_can_be_read_when_the_issuer_has_a_path(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="http://localhost:8000/auth")
    for name in ("openid-configuration", "oauth-authorization-server"):
        for path in (f"/auth/.well-known/{name}", f"/.well-known/{name}/auth"):
            assert gatepost.browser().get(path, headers=ORIGIN).headers["Access-Control-Allow-Origin"] == "*"


def test_list_of_closed_endpoints_names_the_pages_when_counted() -> None:
    assert {"/oauth/authorize", "/login", "/consent", "/logout", "/select-account", "/oauth/introspect"} < set(CLOSED)
