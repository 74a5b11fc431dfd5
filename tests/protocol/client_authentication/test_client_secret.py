"""Client authentication: exactly the registered method, once, on every endpoint, and one answer for every failure."""

import base64
from typing import Any

import pytest
from werkzeug.test import TestResponse

from server.domain.client_secrets import issue_client_secret, rotate_client_secret
from server.domain.clients import get_client
from tests.support.application import ISSUER, Gatepost
from tests.support.flow import basic, flow_of

ENDPOINTS = ("token", "introspect", "revoke")
REFUSAL = {"error": "invalid_client", "error_description": "Client authentication failed."}
CHALLENGE = f'Basic realm="{ISSUER}", charset="UTF-8"'


class Registry:
    """Clients of every method, and a way to present credentials."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        self.secrets: dict[str, str] = {}
        for method in ("client_secret_basic", "client_secret_post"):
            name = method.removeprefix("client_secret_")
            flow = flow_of(gatepost, client_id=name, token_endpoint_auth_method=method)
            self.secrets[name] = flow.secret or ""
        flow_of(gatepost, "spa", client_id="public")

    def post(self, endpoint: str, headers: dict[str, str] | None = None, **form: str) -> TestResponse:
        defaults = {"grant_type": "authorization_code", "code": "ac_x", "token": "x"}
        return self.gatepost.browser().post(f"/oauth/{endpoint}", data={**defaults, **form}, headers=headers)

    def failures(self) -> list[tuple[str | None, str]]:
        rows = self.gatepost.audit_rows("client.authentication.failed")
        return [(row.client_id, row.details["reason"]) for row in rows]


@pytest.fixture
def registry(gatepost: Gatepost) -> Registry:
    return Registry(gatepost)


def raw_basic(credentials: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}


def assert_refused(response: TestResponse, *, by_header: bool) -> None:
    assert response.status_code == 401
    assert response.get_json() == REFUSAL
    assert response.headers.getlist("WWW-Authenticate") == ([CHALLENGE] if by_header else [])
    assert response.headers.getlist("Cache-Control") == ["no-store"]
    assert response.headers.getlist("Content-Type") == ["application/json"]


def is_authenticated(response: TestResponse) -> bool:
    """Whether the request failed, if at all, for a reason behind client authentication."""
    return response.status_code == 200 or response.get_json()["error"] == "invalid_grant"


# The registered method works, on every endpoint -------------------------------------------------------------------


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.spec("RFC 6749 §2.3.1")
def test_client_is_known_when_it_uses_its_registered_method(registry: Registry, endpoint: str) -> None:
    assert is_authenticated(registry.post(endpoint, basic("basic", registry.secrets["basic"])))
    assert is_authenticated(
        registry.post(endpoint, client_id="post", client_secret=registry.secrets["post"]),
    )
    if endpoint != "introspect":
        assert is_authenticated(registry.post(endpoint, client_id="public"))
    assert registry.failures() == []


@pytest.mark.spec("RFC 6749 §2.3.1")
def test_credentials_are_form_decoded_when_they_stand_in_the_header(registry: Registry) -> None:
    secret = registry.secrets["basic"]
    escaped = "".join(f"%{ord(character):02x}" for character in secret)
    assert is_authenticated(registry.post("token", basic("basic", escaped)))
    assert is_authenticated(registry.post("token", basic("%62asic", secret)))


@pytest.mark.parametrize("scheme", ["basic", "BASIC", "Basic "])
def test_scheme_is_known_when_it_is_written_otherwise(registry: Registry, scheme: str) -> None:
    header = basic("basic", registry.secrets["basic"])["Authorization"].replace("Basic", scheme)
    assert is_authenticated(registry.post("token", {"Authorization": header}))


def test_client_id_may_stand_in_the_body_too_when_it_is_the_same(registry: Registry) -> None:
    assert is_authenticated(registry.post("token", basic("basic", registry.secrets["basic"]), client_id="basic"))


# Everything else is refused with one text -------------------------------------------------------------------------

BY_HEADER: dict[str, Any] = {
    "wrong secret": lambda r: basic("basic", "cs_wrong"),
    "another's secret": lambda r: basic("basic", r.secrets["post"]),
    "unknown client": lambda r: basic("nobody", "cs_x"),
    "header instead of body": lambda r: basic("post", r.secrets["post"]),
    "header for a public client": lambda r: basic("public", "cs_x"),
    "secret in other case": lambda r: basic("basic", r.secrets["basic"].swapcase()),
    "secret not ASCII": lambda r: basic("basic", "é"),
    "bad base64": lambda r: {"Authorization": "Basic !!!"},
    "base64 with a line break inside": lambda r: {"Authorization": "Basic Ym9 keg=="},
    "not UTF-8": lambda r: raw_basic(b"\xff\xfe:x"),
    "percent-encoded not UTF-8": lambda r: raw_basic(b"basic:%ff"),
    "no colon": lambda r: raw_basic(b"basic"),
    "no id": lambda r: raw_basic(b":cs_x"),
    "no secret": lambda r: raw_basic(b"basic:"),
    "NUL": lambda r: raw_basic(b"basic\0:cs_x"),
    "nothing": lambda r: {"Authorization": "Basic"},
    "Bearer": lambda r: {"Authorization": "Bearer x"},
    "scheme unknown": lambda r: {"Authorization": "Negotiate x"},
}
BY_BODY: dict[str, Any] = {
    "wrong secret": lambda r: {"client_id": "post", "client_secret": "cs_wrong"},
    "another's secret": lambda r: {"client_id": "post", "client_secret": r.secrets["basic"]},
    "unknown client": lambda r: {"client_id": "nobody", "client_secret": "cs_x"},
    "unknown public client": lambda r: {"client_id": "nobody"},
    "body instead of header": lambda r: {"client_id": "basic", "client_secret": r.secrets["basic"]},
    "none for a confidential client": lambda r: {"client_id": "basic"},
    "none for the other confidential client": lambda r: {"client_id": "post"},
    "secret for a public client": lambda r: {"client_id": "public", "client_secret": "cs_x"},
    "secret not ASCII": lambda r: {"client_id": "post", "client_secret": "é"},
    "secret without id": lambda r: {"client_secret": r.secrets["post"]},
    "nothing at all": lambda r: {},
    "client assertion": lambda r: {"client_id": "basic", "client_assertion": "e30.e30.x"},
    "id with NUL": lambda r: {"client_id": "post\0", "client_secret": r.secrets["post"]},
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("present", BY_HEADER.values(), ids=BY_HEADER)
@pytest.mark.spec("RFC 6749 §5.2", "RFC 7617 §2")
def test_refusal_has_a_challenge_when_credentials_in_the_header_are_wrong(
    registry: Registry, endpoint: str, present: Any
) -> None:
    assert_refused(registry.post(endpoint, present(registry)), by_header=True)
    assert len(registry.failures()) == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("present", BY_BODY.values(), ids=BY_BODY)
@pytest.mark.spec("RFC 6749 §5.2")
def test_refusal_has_no_challenge_when_credentials_in_the_body_are_wrong(
    registry: Registry, endpoint: str, present: Any
) -> None:
    assert_refused(registry.post(endpoint, **present(registry)), by_header=False)
    assert len(registry.failures()) == 1


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.spec("RFC 6749 §2.3")
def test_request_is_refused_when_it_uses_two_methods(registry: Registry, endpoint: str) -> None:
    for client, form in (
        ("basic", {"client_secret": registry.secrets["basic"]}),
        ("basic", {"client_id": "basic", "client_secret": registry.secrets["basic"]}),
        ("basic", {"client_id": "post", "client_secret": registry.secrets["post"]}),
        ("basic", {"client_id": "post"}),
        ("basic", {"client_id": "public"}),
    ):
        response = registry.post(endpoint, basic(client, registry.secrets[client]), **form)
        assert response.status_code == 400
        assert response.get_json()["error"] == "invalid_request"


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", ["basic", "post", "public"])
def test_client_is_refused_when_it_was_disabled(registry: Registry, endpoint: str, name: str) -> None:
    registry.gatepost.change_client(name, disabled_at=registry.gatepost.clock.now())
    if name == "basic":
        response = registry.post(endpoint, basic("basic", registry.secrets["basic"]))
    else:
        response = registry.post(endpoint, client_id=name, **_secret_of(registry, name))
    assert_refused(response, by_header=name == "basic")
    (failure,) = registry.failures()
    assert failure[0] == name


def _secret_of(registry: Registry, name: str) -> dict[str, str]:
    return {"client_secret": registry.secrets[name]} if name in registry.secrets else {}


def test_reason_is_audited_and_never_sent_when_authentication_fails(registry: Registry) -> None:
    registry.gatepost.change_client("post", disabled_at=registry.gatepost.clock.now())
    registry.post("token", basic("basic", "cs_wrong"))
    registry.post("token", basic("nobody", "cs_x"))
    registry.post("token", basic("post", registry.secrets["post"]))
    registry.post("token", client_id="post", client_secret=registry.secrets["post"])
    registry.post("introspect", client_id="public")
    assert registry.failures() == [
        ("basic", "wrong client secret"),
        (None, "unknown client"),
        ("post", "not the registered authentication method"),
        ("post", "client_disabled"),
        ("public", "a public client may not use this endpoint"),
    ]
    row = registry.gatepost.audit_rows("client.authentication.failed")[0]
    assert row.ip == "127.0.0.1"
    assert row.request_id is not None


# Several secrets --------------------------------------------------------------------------------------------------


def test_both_secrets_work_when_they_overlap_and_the_old_one_ends_to_the_second(registry: Registry) -> None:
    old = registry.secrets["basic"]
    with registry.gatepost.work() as work:
        new = rotate_client_secret(work, get_client(work, "basic"), overlap_seconds=3600)
    registry.gatepost.clock.advance(3599)
    assert is_authenticated(registry.post("token", basic("basic", old)))
    assert is_authenticated(registry.post("token", basic("basic", new)))
    registry.gatepost.clock.advance(1)
    assert_refused(registry.post("token", basic("basic", old)), by_header=True)
    assert is_authenticated(registry.post("token", basic("basic", new)))
    assert registry.failures() == [("basic", "wrong client secret")]
    assert registry.gatepost.audit_events().count("client.secret.rotated") == 1


def test_every_live_secret_works_when_there_are_several(registry: Registry) -> None:
    with registry.gatepost.work() as work:
        second = issue_client_secret(work, get_client(work, "basic"))
    for secret in (registry.secrets["basic"], second):
        assert is_authenticated(registry.post("token", basic("basic", secret)))


def test_client_is_refused_when_it_has_no_secret_at_all(registry: Registry) -> None:
    registry.gatepost.change_client("public", token_endpoint_auth_method="client_secret_basic")
    assert_refused(registry.post("token", basic("public", "cs_x")), by_header=True)
