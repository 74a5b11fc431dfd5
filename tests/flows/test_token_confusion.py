"""Each artefact is accepted where it belongs and nowhere else (INV-05): every kind in every place."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from server.domain.policy.client_metadata import JWT_BEARER, TOKEN_EXCHANGE
from server.infra import jose
from server.protocol.credentials import CredentialRefused, verify_credential
from server.protocol.grants.token_exchange import API_KEY_TYPE
from tests.support.application import ISSUER, Gatepost
from tests.support.flow import CHALLENGE, VERIFIER, Flow, answer_of, basic, flow_of, form_fields, jwt_claims
from tests.support.makers import Makers


def unsigned(token: str) -> str:
    """The same token, with nobody's signature."""
    header = {**jose.peek_header(token), "alg": "none"}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{encoded}.{token.split('.')[1]}."


def retyped(token: str, typ: str) -> str:
    """The same token under another `typ`."""
    header = {**jose.peek_header(token), "typ": typ}
    encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return ".".join((encoded, *token.split(".")[1:]))


class World:
    """One of each kind, all live, and the places they could be presented at."""

    def __init__(self, gatepost: Gatepost) -> None:
        self.gatepost = gatepost
        self.flow: Flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
        machine = flow_of(gatepost, "machine")
        tokens = self.flow.tokens()
        code = self.flow.code()
        page = self.flow.open_page("/login", self.flow.authorize(prompt="login"))
        cookie = self.flow.browser.get_cookie("gatepost")
        assert cookie is not None
        machine_token = machine.post_token(grant_type="client_credentials").get_json()["access_token"]
        self.artefacts: dict[str, str] = {
            "code": code,
            "access token": tokens["access_token"],
            "machine token": machine_token,
            "refresh token": tokens["refresh_token"],
            "ID token": tokens["id_token"],
            "client secret": self.flow.secret or "",
            "cookie": cookie.value,
            "CSRF token": form_fields(page.text)["csrf_token"],
            "request id": form_fields(page.text)["request"],
            "session id": jwt_claims(tokens["id_token"])["sid"],
            "jti": jwt_claims(tokens["access_token"])["jti"],
            "verifier": VERIFIER,
            "challenge": CHALLENGE,
            "user id": jwt_claims(tokens["id_token"])["sub"],
            "client id": self.flow.client.id,
            "unsigned access token": unsigned(tokens["access_token"]),
            "unsigned ID token": unsigned(tokens["id_token"]),
            "access token called ID token": retyped(tokens["access_token"], "JWT"),
            "ID token called access token": retyped(tokens["id_token"], "at+jwt"),
            **self._of_keys_and_makers(),
        }

    def _of_keys_and_makers(self) -> dict[str, str]:
        makers = Makers(self.gatepost, scope="")
        _, key = makers.gateway.key("organizations:read")
        _, scim = makers.gateway.key("scim", kind="scim")
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": key, "subject_token_type": API_KEY_TYPE}
        exchanged = self.gatepost.browser().post("/oauth/token", data=form).get_json()["access_token"]
        of_client = {name: makers.token(name, aud=ISSUER) for name in ("sharer", "signer")}
        return {
            "API key": key,
            "SCIM key": scim,
            "token of a key": exchanged,
            "token of a key called ID token": retyped(exchanged, "JWT"),
            "token made with a secret": of_client["sharer"],
            "token made with a key": of_client["signer"],
            "token made with a key called access token": retyped(of_client["signer"], "at+jwt"),
            "unsigned token of a client": unsigned(of_client["signer"]),
            "assertion": makers.token("signer", aud=ISSUER, jti="once"),
        }

    def _authenticated(self, endpoint: str, **form: str) -> Any:
        headers = basic(self.flow.client.id, self.flow.secret or "")
        return self.gatepost.browser().post(f"/oauth/{endpoint}", data=form, headers=headers)

    def as_code(self, value: str) -> bool:
        return self.flow.redeem(value).status_code == 200

    def as_refresh_token(self, value: str) -> bool:
        return self.flow.refresh(value).status_code == 200

    def as_bearer(self, value: str) -> bool:
        headers = {"Authorization": f"Bearer {value}"}
        response = self.gatepost.browser().get("/oauth/userinfo", headers=headers)
        # 403: it is an access token, only not one for this.
        return response.status_code in (200, 403)

    def as_posted_bearer(self, value: str) -> bool:
        response = self.gatepost.browser().post("/oauth/userinfo", data={"access_token": value})
        return response.status_code in (200, 403)

    def as_hint(self, value: str) -> bool:
        answer = answer_of(self.flow.authorize(id_token_hint=value, prompt="none").headers["Location"])
        return answer.get("error") != "invalid_request"

    def as_introspected(self, value: str) -> bool:
        self.gatepost.change_client(self.flow.client.id, may_introspect_any=True)
        return bool(self._authenticated("introspect", token=value).get_json()["active"])

    def as_basic_secret(self, value: str) -> bool:
        headers = basic(self.flow.client.id, value)
        return self.gatepost.browser().post("/oauth/revoke", data={"token": "x"}, headers=headers).status_code == 200

    def as_client_id(self, value: str) -> bool:
        return self.flow.authorize(client_id=value).status_code == 303

    def as_cookie(self, value: str) -> bool:
        browser: FlaskClient = self.gatepost.browser()
        browser.set_cookie("gatepost", value)
        return "Ada Example" in browser.get("/").text

    def as_request_id(self, value: str) -> bool:
        return self.flow.browser.get("/login", query_string={"request": value}).status_code == 200

    def as_verifier(self, value: str) -> bool:
        return self.flow.redeem(self.flow.code(), code_verifier=value).status_code == 200

    def as_assertion(self, value: str) -> bool:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form = {"token": "x", "client_assertion": value, "client_assertion_type": kind}
        return self.gatepost.browser().post("/oauth/revoke", data=form).status_code == 200

    def as_subject_token(self, value: str) -> bool:
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token": value, "subject_token_type": API_KEY_TYPE}
        return self.gatepost.browser().post("/oauth/token", data=form).status_code == 200

    def as_grant(self, value: str) -> bool:
        form = {"grant_type": JWT_BEARER, "assertion": value}
        return self.gatepost.browser().post("/oauth/token", data=form).status_code == 200

    def as_credential(self, value: str) -> bool:
        try:
            with self.gatepost.work() as work:
                verify_credential(work, value)
        except CredentialRefused:
            return False
        return True

    def as_csrf_token(self, value: str) -> bool:
        """On a form that signs in: with a wrong token it signs nobody in."""
        before = self.gatepost.audit_events().count("login.succeeded")
        form = {"csrf_token": value, "request": self.artefacts["request id"]}
        self.flow.browser.post("/login", data={**form, "username": self.flow.email, "password": self.flow.password})
        return self.gatepost.audit_events().count("login.succeeded") > before


MADE = {"token made with a secret", "token made with a key"}
PLACES: dict[str, tuple[Callable[[World, str], bool], set[str]]] = {
    "code": (World.as_code, {"code"}),
    "refresh token": (World.as_refresh_token, {"refresh token"}),
    "bearer token": (World.as_bearer, {"access token", "machine token"}),
    "posted bearer token": (World.as_posted_bearer, {"access token", "machine token"}),
    "id_token_hint": (World.as_hint, {"ID token"}),
    "introspected token": (
        World.as_introspected,
        {"access token", "machine token", "refresh token", "API key", "token of a key", *MADE},
    ),
    "credential": (
        World.as_credential,
        {"access token", "machine token", "API key", "token of a key", *MADE},
    ),
    "subject token": (World.as_subject_token, {"API key"}),
    "grant": (World.as_grant, MADE),
    "client secret": (World.as_basic_secret, {"client secret"}),
    "client id": (World.as_client_id, {"client id"}),
    "cookie": (World.as_cookie, {"cookie"}),
    "request id": (World.as_request_id, {"request id"}),
    "verifier": (World.as_verifier, {"verifier"}),
    "client assertion": (World.as_assertion, {"assertion"}),
    "CSRF token": (World.as_csrf_token, {"CSRF token"}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.spec("RFC 9068 §4", "RFC 7519 §7.2", "RFC 9700 §4.15")
@pytest.mark.spec("INV-05", "TK-19")
def test_artefact_is_accepted_only_where_it_belongs_when_every_kind_is_presented(
    gatepost: Gatepost, place: str
) -> None:
    world = World(gatepost)
    accepts, expected = PLACES[place]
    # Those that are accepted come last: a sign-in or a redemption would change what the others meet.
    for name in sorted(world.artefacts, key=lambda each: each in expected):
        assert accepts(world, world.artefacts[name]) is (name in expected), name
