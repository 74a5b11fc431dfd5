"""`/oauth/register`: clients register, look at, replace and remove their own registration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.domain import clients
from server.domain.client_registration import OWN_MEMBERS
from server.domain.initial_access_tokens import create_initial_access_token, revoke_initial_access_token
from server.infra import jose
from tests.support.application import Gatepost
from tests.support.flow import Flow, basic, flow_of
from tests.support.stored_pages import StoredPages

REDIRECT_URI = "https://app.example/cb"
SECTOR = "https://sector.example/uris.json"
MINIMAL = {"redirect_uris": [REDIRECT_URI]}


@pytest.fixture
def gatepost(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    """One that anybody may register at."""
    return make_gatepost(registration="open")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def post(gatepost: Gatepost, document: Any, headers: dict[str, str] | None = None, ip: str = "") -> TestResponse:
    environ = {"REMOTE_ADDR": ip} if ip else {}
    return gatepost.browser().post("/oauth/register", json=document, headers=headers, environ_overrides=environ)


def registered(gatepost: Gatepost, **members: Any) -> dict[str, Any]:
    response = post(gatepost, {**MINIMAL, **members})
    assert response.status_code == 201, response.text
    document: dict[str, Any] = response.get_json()
    return document


def manage(
    gatepost: Gatepost, registration: dict[str, Any], method: str, document: Any = None, token: str | None = None
) -> TestResponse:
    """Asks the client's own registration, by its token unless another is given."""
    path = registration["registration_client_uri"].removeprefix(gatepost.settings.issuer)
    headers = bearer(token or registration["registration_access_token"])
    return gatepost.browser().open(path, method=method, headers=headers, json=document)


def replace(gatepost: Gatepost, registration: dict[str, Any], **members: Any) -> TestResponse:
    return manage(gatepost, registration, "PUT", {"client_id": registration["client_id"], **MINIMAL, **members})


def assert_refused(response: TestResponse, error: str, status: int = 400) -> None:
    assert (response.status_code, response.mimetype) == (status, "application/json"), response.text
    assert response.get_json()["error"] == error, response.text
    assert response.headers.getlist("Cache-Control") == ["no-store"]


def dynamic_clients(gatepost: Gatepost) -> list[str]:
    with gatepost.work() as work:
        return [client.id for client in clients.list_clients(work)]


# ------------------------------------------------------------------------------------------------------------ register


@pytest.mark.spec("RFC 7591 §3.2.1", "RFC 7592 §3", "OpenID Connect Registration §3.2")
def test_answer_has_all_that_a_client_needs_when_it_registers(gatepost: Gatepost) -> None:
    response = post(
        gatepost, {**MINIMAL, "client_name": "My app", "contacts": ["ops@app.example"], "no_such": {"x": 1}}
    )
    assert (response.status_code, response.mimetype) == (201, "application/json")
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    document = response.get_json()
    assert document["client_secret"].startswith("cs_")
    assert document["client_secret_expires_at"] == 0
    assert document["registration_access_token"].startswith("rat_")
    assert document["registration_client_uri"] == gatepost.settings.url(f"/oauth/register/{document['client_id']}")
    assert document["client_id_issued_at"] == int(gatepost.clock.now().timestamp())
    assert (document["client_name"], document["contacts"]) == ("My app", ["ops@app.example"])
    assert "no_such" not in document
    assert not set(OWN_MEMBERS) & set(document)


@pytest.mark.spec("RFC 7591 §2")
def test_client_that_says_nothing_gets_the_defaults_of_the_specification(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    assert document["grant_types"] == ["authorization_code"]
    assert document["response_types"] == ["code"]
    assert document["token_endpoint_auth_method"] == "client_secret_basic"
    assert (document["application_type"], document["subject_type"]) == ("web", "public")
    assert document["id_token_signed_response_alg"] == "RS256"
    assert document["client_name"] == document["client_id"]
    assert set(document["scope"].split()) == {"openid", "profile", "email", "address", "phone", "offline_access"}
    assert "error" not in document


def test_client_that_registered_itself_is_nobody_special(gatepost: Gatepost) -> None:
    with gatepost.work() as work:
        row = clients.get_client(work, registered(gatepost)["client_id"])
    assert (row.registered_dynamically, row.id_token_claims, row.require_pkce) == (True, "lean", False)
    assert (row.is_first_party, row.may_introspect_any, row.is_demo) == (False, False, False)
    with gatepost.work() as work:
        row = clients.get_client(work, registered(gatepost, token_endpoint_auth_method="none")["client_id"])
    assert (row.require_pkce, row.rotate_refresh_tokens, row.is_public) == (True, True, True)


@pytest.mark.spec("RFC 7591 §2", "OpenID Connect Registration §2")
@pytest.mark.parametrize(
    ("asked", "client_type", "has_secret"),
    [
        ({}, "web", True),
        ({"token_endpoint_auth_method": "client_secret_post"}, "web", True),
        ({"token_endpoint_auth_method": "client_secret_jwt"}, "web", True),
        ({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.example/jwks"}, "web", False),
        ({"token_endpoint_auth_method": "none"}, "spa", False),
        ({"application_type": "native", "redirect_uris": ["com.example.app:/cb"]}, "native", True),
        ({"application_type": "native", "token_endpoint_auth_method": "none"}, "native", False),
    ],
    ids=str,
)
def test_secret_is_given_to_those_who_need_one(
    gatepost: Gatepost, asked: dict[str, Any], client_type: str, has_secret: bool
) -> None:
    document = registered(gatepost, **asked)
    assert ("client_secret" in document, "client_secret_expires_at" in document) == (has_secret, has_secret)
    with gatepost.work() as work:
        row = clients.get_client(work, document["client_id"])
    assert row.client_type == client_type
    assert row.require_pkce is (client_type != "web")


@pytest.mark.spec("RFC 7591 §2.1")
def test_grant_types_follow_when_only_response_types_are_named(gatepost: Gatepost) -> None:
    document = registered(gatepost, response_types=["id_token code"])
    assert document["response_types"] == ["code id_token"]
    assert document["grant_types"] == ["authorization_code", "implicit"]
    assert registered(gatepost, response_types=["id_token"])["grant_types"] == ["implicit"]
    assert registered(gatepost, response_types=["none"])["grant_types"] == ["authorization_code"]


def test_tokens_are_issued_to_a_client_that_registered_itself(gatepost: Gatepost) -> None:
    document = registered(gatepost, grant_types=["authorization_code", "refresh_token"])
    with gatepost.work() as work:
        client = clients.get_client(work, document["client_id"])
    tokens = Flow(gatepost, client, document["client_secret"], gatepost.browser()).tokens()
    assert {"access_token", "id_token", "refresh_token"} <= set(tokens)


def test_registration_leaves_its_audit_rows(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    replace(gatepost, document)
    (created,) = gatepost.audit_rows("client.created")
    assert (created.client_id, created.actor_kind) == (document["client_id"], "anonymous")
    (updated,) = gatepost.audit_rows("client.updated")
    assert (updated.client_id, updated.actor_kind, updated.actor_id) == (
        document["client_id"],
        "client",
        document["client_id"],
    )
    assert [row.client_id for row in gatepost.audit_rows("registration_token.rotated")] == [document["client_id"]]


def test_neither_token_nor_secret_is_kept(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    with gatepost.engine.connect() as connection:
        dump = "\n".join(connection.connection.driver_connection.iterdump())  # type: ignore[union-attr]
    assert document["client_id"] in dump
    assert document["registration_access_token"] not in dump
    assert document["client_secret"] not in dump


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"redirect_uris": ["http://app.example/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://app.example/cb#fragment"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript://x/%0aalert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["com.example.app:/cb"]}, "invalid_redirect_uri"),
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": 5}, "invalid_client_metadata"),
        ({"redirect_uris": [5]}, "invalid_client_metadata"),
        ({"redirect_uris": REDIRECT_URI}, "invalid_client_metadata"),
        ({"post_logout_redirect_uris": ["http://app.example/"]}, "invalid_client_metadata"),
        ({"initiate_login_uri": "http://app.example/start"}, "invalid_client_metadata"),
        ({"client_uri": 5}, "invalid_client_metadata"),
        ({"client_uri": "javascript:alert(1)"}, "invalid_client_metadata"),
        ({"grant_types": 5}, "invalid_client_metadata"),
        ({"grant_types": ["password"]}, "invalid_client_metadata"),
        ({"grant_types": ["authorization_code", "client_credentials"]}, "invalid_client_metadata"),
        ({"grant_types": ["authorization_code"], "response_types": ["id_token"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"scope": 5}, "invalid_client_metadata"),
        ({"scope": "openid admin"}, "invalid_client_metadata"),
        ({"application_type": "desktop"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "tls_client_auth"}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata"),
        ({"jwks": "x"}, "invalid_client_metadata"),
        ({"jwks": {}}, "invalid_client_metadata"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}}, "invalid_client_metadata"),
        ({"jwks_uri": "https://127.0.0.1/jwks"}, "invalid_client_metadata"),
        ({"jwks_uri": "http://app.example/jwks"}, "invalid_client_metadata"),
        ({"default_max_age": "5"}, "invalid_client_metadata"),
        ({"default_max_age": True}, "invalid_client_metadata"),
        ({"default_max_age": 1.5}, "invalid_client_metadata"),
        ({"require_auth_time": "true"}, "invalid_client_metadata"),
        ({"contacts": "ops@app.example"}, "invalid_client_metadata"),
        ({"client_name": "nul\0"}, "invalid_client_metadata"),
        ({"client_name": {"de": "x"}}, "invalid_client_metadata"),
        ({"software_id": "\u2028"}, "invalid_client_metadata"),
        ({"software_statement": 5}, "invalid_client_metadata"),
        ({"software_statement": "x"}, "invalid_software_statement"),
    ],
    ids=str,
)
@pytest.mark.spec("TK-24", "RFC 7591 §3.2.2")
def test_registration_is_refused_in_the_words_of_the_specification_when(
    gatepost: Gatepost, members: dict[str, Any], error: str
) -> None:
    response = post(gatepost, {**MINIMAL, **members})
    assert_refused(response, error)
    description = response.get_json()["error_description"]
    assert description.isascii()
    assert not {'"', "\\"} & set(description)
    assert dynamic_clients(gatepost) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"null",
        b"\xff",
        b'{"redirect_uris": ["https://a.example/"], "redirect_uris": ["https://b.example/"]}',
        b'{"redirect_uris": ["https://a.example/"], "default_max_age": NaN}',
        b'{"redirect_uris": ["https://a.example/"], "client_name": "\\ud800"}',
        b'{"default_max_age": ' + b"9" * 5000 + b"}",
        b'{"jwks": ' + b"[" * 30000 + b"]" * 30000 + b"}",
    ],
    ids=lambda body: ascii(body[:30]),
)
def test_body_is_refused_when_it_is_no_json_object(gatepost: Gatepost, body: bytes) -> None:
    response = gatepost.browser().post("/oauth/register", data=body, content_type="application/json")
    assert_refused(response, "invalid_client_metadata")


@pytest.mark.spec("RFC 7591 §3.1")
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "", "application/jsonx"])
def test_body_is_refused_when_it_says_to_be_something_else(gatepost: Gatepost, content_type: str) -> None:
    """A page of another origin could send these without asking; nobody's browser shall register clients for it."""
    response = gatepost.browser().post("/oauth/register", data=json.dumps(MINIMAL), content_type=content_type)
    assert_refused(response, "invalid_client_metadata")


@pytest.mark.spec("INV-41", "TK-24")
@pytest.mark.parametrize(("levels", "is_taken"), [(32, True), (33, False), (870, False), (900, False), (940, False)])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_body_is_refused_when_it_is_nested_deeper_than_can_be_kept(
    gatepost: Gatepost, opening: str, closing: str, levels: int, is_taken: bool
) -> None:
    """Python reads some that are too deep for it to write again; what is kept is written at every look at it."""
    inside = levels - len(("the body", "jwks", "keys", "the key"))
    deep = f'{{"kty": "XX", "x": {opening * inside}1{closing * inside}}}'
    uris, client = json.dumps(MINIMAL)[1:-1], registered(gatepost)
    path, headers = f"/oauth/register/{client['client_id']}", bearer(client["registration_access_token"])
    body = f'{{"client_id": "{client["client_id"]}", {uris}, "jwks": {{"keys": [{deep}]}}}}'
    for method, url, sent, status in (("POST", "/oauth/register", {}, 201), ("PUT", path, headers, 200)):
        response = gatepost.browser().open(url, method=method, data=body, headers=sent, content_type="application/json")
        if is_taken:
            assert response.status_code == status, response.text
        else:
            assert_refused(response, "invalid_client_metadata")


def test_charset_of_the_body_does_not_matter(gatepost: Gatepost) -> None:
    body, kind = json.dumps({**MINIMAL, "client_name": "Größe"}), "application/json; charset=utf-8"
    assert gatepost.browser().post("/oauth/register", data=body, content_type=kind).status_code == 201


# ------------------------------------------------------------------------------------------------- who cannot be chosen


@pytest.mark.spec("TK-29", "RFC 9700 §4.15")
def test_client_chooses_nothing_that_is_confused_with_a_person_or_with_the_server(gatepost: Gatepost) -> None:
    user = gatepost.add_user("admin@example.com")
    asked = {"client_id": user.id, "sub": user.id, "client_secret": "mine", "registration_access_token": "mine"}
    own = {"is_first_party": True, "may_introspect_any": True, "registered_dynamically": False, "require_pkce": False}
    document = registered(gatepost, **asked, **own, client_name="admin", token_endpoint_auth_method="none")
    assert document["client_id"] != user.id
    assert not document["client_id"].startswith("usr_")
    assert "mine" not in document.values()
    with gatepost.work() as work:
        row = clients.get_client(work, document["client_id"])
    assert (row.is_first_party, row.may_introspect_any, row.registered_dynamically) == (False, False, True)
    assert row.require_pkce
    for name in ("Gatepost", "ＧＡＴＥＰＯＳＴ", "gate\u202epost"):
        assert_refused(post(gatepost, {**MINIMAL, "client_name": name}), "invalid_client_metadata")


@pytest.mark.spec("TK-24")
def test_scope_is_what_everybody_may_ask_for_when_none_is_named(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="open", scopes={"payments": "Pay with your account"})
    assert "payments" not in registered(gatepost)["scope"]
    assert registered(gatepost, scope="openid payments")["scope"] == "openid payments"


# ----------------------------------------------------------------------------------------------------- who may register


@pytest.mark.parametrize("headers", [{}, bearer("iat_x"), {"Authorization": "Basic eDp5"}])
def test_nobody_registers_when_registration_is_off(
    make_gatepost: Callable[..., Gatepost], headers: dict[str, str]
) -> None:
    gatepost = make_gatepost()
    assert_refused(post(gatepost, MINIMAL, headers), "access_denied", 403)
    assert dynamic_clients(gatepost) == []


@pytest.mark.spec("RFC 7591 §3", "TK-24")
def test_client_registers_only_with_a_token_when_the_deployment_asks_for_one(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    gatepost = make_gatepost(registration="token")
    response = post(gatepost, MINIMAL)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == f'Bearer realm="{gatepost.settings.issuer}"'
    for wrong in ("iat_" + "x" * 43, "x", "é"):
        response = post(gatepost, MINIMAL, {"Authorization": f"Bearer {wrong}"})
        assert_refused(response, "invalid_token", 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer realm=")
    with gatepost.work() as work:
        row, token = create_initial_access_token(work, "a partner", uses=2, expires_in=None)
    refused = post(gatepost, {**MINIMAL, "scope": "admin"}, bearer(token))
    assert_refused(refused, "invalid_client_metadata")
    for status in (201, 201, 401):
        assert post(gatepost, MINIMAL, bearer(token)).status_code == status
    assert len(dynamic_clients(gatepost)) == 2
    assert [each.details["initial_access_token"] for each in gatepost.audit_rows("client.created")] == [row.id] * 2


def test_token_registers_nobody_when_it_is_expired_or_revoked(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="token")
    with gatepost.work() as work:
        _, short = create_initial_access_token(work, "short", uses=None, expires_in=60)
        row, long = create_initial_access_token(work, "long", uses=None, expires_in=None)
    assert post(gatepost, MINIMAL, bearer(short)).status_code == 201
    gatepost.clock.advance(60)
    assert_refused(post(gatepost, MINIMAL, bearer(short)), "invalid_token", 401)
    assert post(gatepost, MINIMAL, bearer(long)).status_code == 201
    with gatepost.work() as work:
        revoke_initial_access_token(work, row.id)
    assert_refused(post(gatepost, MINIMAL, bearer(long)), "invalid_token", 401)


def test_token_in_the_url_opens_nothing(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="token")
    with gatepost.work() as work:
        _, token = create_initial_access_token(work, "a partner", uses=None, expires_in=None)
    response = gatepost.browser().post(f"/oauth/register?access_token={token}", json=MINIMAL)
    assert response.status_code == 401


@pytest.mark.spec("TK-24")
def test_network_waits_when_it_has_registered_too_many_in_an_hour(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="open", registration_per_hour=3)
    for status in (201, 201, 201, 429):
        response = post(gatepost, MINIMAL, ip="203.0.113.7")
        assert response.status_code == status
    assert 0 < int(response.headers["Retry-After"]) <= 3600
    assert post(gatepost, MINIMAL, ip="203.0.113.8").status_code == 201
    gatepost.clock.advance(3600)
    assert post(gatepost, MINIMAL, ip="203.0.113.7").status_code == 201


def test_refused_metadata_cost_nothing_of_the_quota(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="open", registration_per_hour=1)
    for _ in range(3):
        assert_refused(post(gatepost, {**MINIMAL, "scope": "admin"}), "invalid_client_metadata")
    assert post(gatepost, MINIMAL).status_code == 201


@pytest.mark.spec("TK-24")
def test_nobody_registers_when_there_is_no_room(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="open", registration_maximum=2)
    flow_of(gatepost)
    first, _ = registered(gatepost), registered(gatepost)
    response = post(gatepost, MINIMAL)
    assert_refused(response, "temporarily_unavailable", 429)
    assert "Retry-After" in response.headers
    assert manage(gatepost, first, "DELETE").status_code == 204
    assert post(gatepost, MINIMAL).status_code == 201


# ---------------------------------------------------------------------------------------------- what is asked of others


@pytest.mark.spec("OpenID Connect Registration §5", "OpenID Connect Core §8.1")
def test_client_is_registered_when_its_sector_names_its_redirect_uris(gatepost: Gatepost) -> None:
    pages = StoredPages({SECTOR: [REDIRECT_URI, "https://other.example/cb"]}).put_into(gatepost)
    document = registered(
        gatepost,
        redirect_uris=[REDIRECT_URI, "https://other.example/cb"],
        subject_type="pairwise",
        sector_identifier_uri=SECTOR,
    )
    assert (document["subject_type"], document["sector_identifier_uri"]) == ("pairwise", SECTOR)
    assert pages.asked == [SECTOR]


@pytest.mark.spec("OpenID Connect Registration §5", "TK-24")
@pytest.mark.parametrize(
    "page", [None, "no JSON", [], {}, "[5]", ["https://other.example/cb"], {"redirect_uris": [REDIRECT_URI]}], ids=str
)
def test_registration_is_refused_when_the_sector_does_not_name_its_redirect_uris(gatepost: Gatepost, page: Any) -> None:
    StoredPages({} if page is None else {SECTOR: page}).put_into(gatepost)
    for subject_type in ("pairwise", "public"):
        response = post(gatepost, {**MINIMAL, "subject_type": subject_type, "sector_identifier_uri": SECTOR})
        assert_refused(response, "invalid_client_metadata")
    document = registered(gatepost)
    assert_refused(replace(gatepost, document, sector_identifier_uri=SECTOR), "invalid_client_metadata")
    assert manage(gatepost, document, "GET").status_code == 200


def test_nothing_else_is_fetched_when_a_client_registers(gatepost: Gatepost) -> None:
    pages = StoredPages().put_into(gatepost)
    uris = {
        name: f"https://app.example/{name}"
        for name in (
            "client_uri",
            "logo_uri",
            "policy_uri",
            "tos_uri",
            "jwks_uri",
            "initiate_login_uri",
            "backchannel_logout_uri",
            "frontchannel_logout_uri",
        )
    }
    document = registered(gatepost, **uris, request_uris=["https://app.example/request.jwt"])
    assert uris.items() <= document.items()
    assert pages.asked == []


def test_initial_access_token_is_not_spent_when_the_sector_does_not_answer(
    make_gatepost: Callable[..., Gatepost],
) -> None:
    gatepost = make_gatepost(registration="token")
    StoredPages().put_into(gatepost)
    with gatepost.work() as work:
        _, token = create_initial_access_token(work, "a partner", uses=1, expires_in=None)
    refused = post(gatepost, {**MINIMAL, "sector_identifier_uri": SECTOR}, bearer(token))
    assert_refused(refused, "invalid_client_metadata")
    assert post(gatepost, MINIMAL, bearer(token)).status_code == 201


# ---------------------------------------------------------------------------------------------------------------- read


@pytest.mark.spec("RFC 7592 §2.1", "RFC 7592 §3")
def test_client_reads_what_it_registered_however_often(gatepost: Gatepost) -> None:
    document = registered(gatepost, initiate_login_uri="https://app.example/start")
    for _ in range(2):
        response = manage(gatepost, document, "GET")
        assert (response.status_code, response.mimetype) == (200, "application/json")
        assert response.headers.getlist("Cache-Control") == ["no-store"]
        expected = {name: value for name, value in document.items() if name != "client_secret"}
        assert response.get_json() == expected


@pytest.mark.spec("RFC 7592 §2.1", "RFC 6750 §3")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_registration_is_closed_to_whoever_has_not_its_token(gatepost: Gatepost, method: str) -> None:
    document, other = registered(gatepost), registered(gatepost)
    static, _ = gatepost.add_client()
    body = {"client_id": document["client_id"], **MINIMAL}
    for token in (other["registration_access_token"], document["client_secret"], "x"):
        response = manage(gatepost, document, method, body, token)
        assert_refused(response, "invalid_token", 401)
        assert response.headers["WWW-Authenticate"].startswith("Bearer realm=")
    for client_id in (static.id, "unknown", "nul%00", "%F0%9F%A6%8A", "x" * 200):
        uri = {**document, "registration_client_uri": gatepost.settings.url(f"/oauth/register/{client_id}")}
        assert_refused(manage(gatepost, uri, method, body), "invalid_token", 401)
    path = f"/oauth/register/{document['client_id']}"
    for headers in ({}, basic(document["client_id"], document["client_secret"]), {"Authorization": "Bearer"}):
        response = gatepost.browser().open(path, method=method, headers=headers, json=body)
        assert response.status_code == 401
        assert "error" not in response.get_json()
    assert manage(gatepost, document, "GET").status_code == 200


def test_registration_is_closed_when_the_operator_has_disabled_the_client(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    gatepost.change_client(document["client_id"], disabled_at=gatepost.clock.now())
    for method in ("GET", "DELETE"):
        assert_refused(manage(gatepost, document, method), "invalid_token", 401)
    assert_refused(replace(gatepost, document), "invalid_token", 401)
    with gatepost.work() as work:
        assert clients.get_client(work, document["client_id"]).disabled_at is not None


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_other_methods_are_answered_with_those_there_are(gatepost: Gatepost, method: str) -> None:
    response = manage(gatepost, registered(gatepost), method, MINIMAL)
    assert response.status_code == 405
    assert {"GET", "PUT", "DELETE"} <= set(response.headers["Allow"].split(", "))


# ------------------------------------------------------------------------------------------------------------- replace


@pytest.mark.spec("RFC 7592 §2.2")
def test_everything_is_replaced_and_what_is_left_out_takes_its_default(gatepost: Gatepost) -> None:
    document = registered(gatepost, client_name="Before", logo_uri="https://app.example/logo.png", default_max_age=5)
    response = replace(gatepost, document, redirect_uris=["https://new.example/cb"], default_max_age=None)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    after = response.get_json()
    assert after["redirect_uris"] == ["https://new.example/cb"]
    assert after["client_id_issued_at"] == document["client_id_issued_at"]
    assert not {"logo_uri", "default_max_age", "client_secret"} & set(after)
    assert after["client_name"] == document["client_id"]
    assert {"registration_client_uri", "client_secret_expires_at"} <= set(after)


def sent_back(document: dict[str, Any]) -> dict[str, Any]:
    """The registration as its client sends it back: without what the server alone says (RFC 7592 §2.2)."""
    own = {"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"}
    return {name: value for name, value in document.items() if name not in own}


MACHINE_TOO = {"grant_types": ["authorization_code", "client_credentials"]}


@pytest.fixture
def with_scopes(make_gatepost: Callable[..., Gatepost]) -> Gatepost:
    return make_gatepost(registration="open", scopes={"notes": "Read your notes", "admin": "Do everything"})


@pytest.mark.spec("RFC 7592 §2.2")
def test_registration_may_be_sent_back_as_it_was_read_when_the_operator_gave_more(with_scopes: Gatepost) -> None:
    document = registered(with_scopes, scope="openid notes")
    with_scopes.change_client(document["client_id"], **MACHINE_TOO)
    read = manage(with_scopes, document, "GET").get_json()
    response = manage(with_scopes, document, "PUT", sent_back(read))
    assert response.status_code == 200, response.text
    assert sent_back(response.get_json()) == sent_back(read)
    assert response.get_json()["grant_types"] == MACHINE_TOO["grant_types"]


@pytest.mark.spec("TK-24")
def test_access_that_the_operator_gave_the_machine_is_not_enlarged_by_the_client(with_scopes: Gatepost) -> None:
    document = registered(with_scopes, scope="openid notes")
    with_scopes.change_client(document["client_id"], **MACHINE_TOO)
    for scope, status in (("admin", 400), ("openid notes admin", 400), ("notes email", 200), ("email", 200)):
        response = replace(with_scopes, document, **MACHINE_TOO, scope=scope)
        assert response.status_code == status, scope
        document = document if status == 400 else response.get_json()
    assert_refused(replace(with_scopes, document, **MACHINE_TOO, scope="notes"), "invalid_client_metadata")
    document = replace(with_scopes, document, scope="openid admin").get_json()
    assert (document["scope"], document["grant_types"]) == ("openid admin", ["authorization_code"])
    assert_refused(replace(with_scopes, document, **MACHINE_TOO, scope="openid"), "invalid_client_metadata")


@pytest.mark.spec("TK-24")
def test_access_that_the_operator_takes_back_while_the_sector_answers_stays_taken_back(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    gatepost.change_client(document["client_id"], **MACHINE_TOO)

    class SlowPages(StoredPages):
        def get_json(self, *args: Any, **options: Any) -> Any:
            gatepost.change_client(document["client_id"], grant_types=["authorization_code"])
            return super().get_json(*args, **options)

    SlowPages({SECTOR: [REDIRECT_URI]}).put_into(gatepost)
    refused = replace(gatepost, document, **MACHINE_TOO, sector_identifier_uri=SECTOR)
    assert_refused(refused, "invalid_client_metadata")
    assert manage(gatepost, document, "GET").get_json()["grant_types"] == ["authorization_code"]


@pytest.mark.spec("TK-24", "RFC 7592 §5")
def test_token_is_replaced_with_every_change(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    after = replace(gatepost, document).get_json()
    assert after["registration_access_token"] != document["registration_access_token"]
    for method in ("GET", "DELETE"):
        assert_refused(manage(gatepost, document, method), "invalid_token", 401)
    again = replace(gatepost, after)
    assert again.status_code == 200
    assert manage(gatepost, again.get_json(), "GET").status_code == 200


def test_change_may_be_retried_when_its_answer_was_lost(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    first = replace(gatepost, document).get_json()
    gatepost.clock.advance(gatepost.settings.refresh_replay_window)
    assert replace(gatepost, document).get_json() == first
    gatepost.clock.advance(1)
    assert_refused(replace(gatepost, document), "invalid_token", 401)
    assert manage(gatepost, first, "GET").status_code == 200
    newest = replace(gatepost, first).get_json()
    assert_refused(replace(gatepost, document), "invalid_token", 401)
    assert manage(gatepost, newest, "GET").status_code == 200


@pytest.mark.spec("RFC 7592 §2.2")
@pytest.mark.parametrize(
    "members",
    [
        {"client_id": None},
        {"client_id": "another"},
        {"client_id": 5},
        {"client_secret": "chosen"},
        {"client_secret": 5},
        {"registration_access_token": "x"},
        {"registration_client_uri": "https://app.example/"},
        {"client_secret_expires_at": 0},
        {"client_id_issued_at": 5},
    ],
    ids=str,
)
def test_change_is_refused_when_it_says_what_is_the_servers_to_say(gatepost: Gatepost, members: Any) -> None:
    document = registered(gatepost)
    assert_refused(replace(gatepost, document, **members), "invalid_request")
    assert manage(gatepost, document, "GET").status_code == 200


def test_client_may_send_its_present_secret(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    assert replace(gatepost, document, client_secret=document["client_secret"]).status_code == 200


def test_registration_stays_as_it_was_when_a_change_is_refused(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    before = manage(gatepost, document, "GET").get_json()
    assert_refused(replace(gatepost, document, redirect_uris=["http://x.example/"]), "invalid_redirect_uri")
    assert_refused(replace(gatepost, document, grant_types=["client_credentials"]), "invalid_client_metadata")
    assert manage(gatepost, document, "GET").get_json() == before


@pytest.mark.parametrize(
    ("before", "after", "is_new"),
    [
        ("client_secret_basic", "client_secret_post", False),
        ("client_secret_basic", "client_secret_jwt", True),
        ("client_secret_jwt", "client_secret_basic", True),
        ("none", "client_secret_basic", True),
        ("client_secret_basic", "none", False),
        ("client_secret_jwt", "client_secret_jwt", False),
    ],
)
def test_secret_is_new_when_the_old_one_does_not_serve_the_method(
    gatepost: Gatepost, before: str, after: str, is_new: bool
) -> None:
    document = registered(gatepost, token_endpoint_auth_method=before)
    answer = replace(gatepost, document, token_endpoint_auth_method=after).get_json()
    assert ("client_secret" in answer) is is_new
    secret = answer.get("client_secret") or document.get("client_secret")
    if after == "client_secret_basic":
        form = {"token": "x"}
        headers = basic(document["client_id"], secret or "")
        assert gatepost.browser().post("/oauth/revoke", data=form, headers=headers).status_code == 200
        old = basic(document["client_id"], document.get("client_secret", "x"))
        assert gatepost.browser().post("/oauth/revoke", data=form, headers=old).status_code == 401


def test_redirect_uri_that_was_replaced_is_no_longer_good(gatepost: Gatepost) -> None:
    document = registered(gatepost)
    query = {"client_id": document["client_id"], "response_type": "code", "scope": "openid", "nonce": "n"}
    replace(gatepost, document, redirect_uris=["https://new.example/cb"])
    response = gatepost.browser().get("/oauth/authorize", query_string={**query, "redirect_uri": REDIRECT_URI})
    assert response.status_code == 400


# -------------------------------------------------------------------------------------------------------------- delete


@pytest.mark.spec("RFC 7592 §2.3")
def test_client_is_gone_with_its_tokens_when_it_removes_itself(gatepost: Gatepost) -> None:
    document = registered(gatepost, grant_types=["authorization_code", "refresh_token"])
    with gatepost.work() as work:
        client = clients.get_client(work, document["client_id"])
    flow = Flow(gatepost, client, document["client_secret"], gatepost.browser())
    tokens = flow.tokens()
    response = manage(gatepost, document, "DELETE")
    assert (response.status_code, response.data) == (204, b"")
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    assert_refused(manage(gatepost, document, "GET"), "invalid_token", 401)
    assert_refused(manage(gatepost, document, "DELETE"), "invalid_token", 401)
    assert flow.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_client"
    headers = bearer(tokens["access_token"])
    assert gatepost.browser().get("/oauth/userinfo", headers=headers).status_code == 401
    (row,) = gatepost.audit_rows("client.deleted")
    assert (row.client_id, row.actor_kind, row.actor_id) == (client.id, "client", client.id)


def test_clients_go_on_managing_themselves_when_registration_was_closed(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="open")
    document = registered(gatepost)
    object.__setattr__(gatepost.settings, "registration", "off")
    assert_refused(post(gatepost, MINIMAL), "access_denied", 403)
    assert manage(gatepost, document, "GET").status_code == 200
    assert manage(gatepost, document, "DELETE").status_code == 204


# --------------------------------------------------------------------------------------------------------------- paths


def test_management_uri_stands_under_the_issuers_path(make_gatepost: Callable[..., Gatepost]) -> None:
    gatepost = make_gatepost(registration="open", issuer="http://localhost:8000/tenant")
    document = gatepost.browser().post("/tenant/oauth/register", json=MINIMAL).get_json()
    uri = document["registration_client_uri"]
    assert uri == f"http://localhost:8000/tenant/oauth/register/{document['client_id']}"
    path = uri.removeprefix("http://localhost:8000")
    assert gatepost.browser().get(path, headers=bearer(document["registration_access_token"])).status_code == 200


def test_keys_by_value_are_kept_as_they_came(gatepost: Gatepost) -> None:
    keys = {"keys": [jose.public_jwk(jose.generate_key("EdDSA"))]}
    document = registered(gatepost, jwks=keys, token_endpoint_auth_method="private_key_jwt")
    assert document["jwks"] == keys
    assert manage(gatepost, document, "GET").get_json()["jwks"] == keys
