"""The inputs that make plain Authlib 1.9.9 answer 500, sent to Gatepost, and a fuzzer over every endpoint.

Causes in Authlib: **A** an error description built from input outside RFC 6749's characters raises `ValueError`;
**B** a value of a type nobody expected; **C** a case nobody thought of. The same for what OpenID Connect adds is in
`test_malformed_openid.py`.

A refusal is an answer of the 400 class or, once client and redirect URI are proven, an error sent to that redirect URI.
"""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from server.domain.client_registration import ClientMetadata, create_client
from server.infra import jose
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, basic, flow_of

MARK = "zq9hostile"
#: RFC 6749 Appendix A.8, which is stricter than what a form or JSON would carry.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


def _encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).rstrip(b"=").decode()


def token_with(header: dict[str, Any], claims: dict[str, Any] | None = None) -> str:
    """A token that nobody signed."""
    return f"{_encoded(header)}.{_encoded(claims or {'sub': MARK})}.{_encoded('signature')}"


HOSTILE_KID = token_with({"alg": "RS256", "kid": f'{MARK}"é\\'})


@dataclass
class World:
    """What an input is sent to."""

    gatepost: Gatepost
    web: Flow
    machine: Flow

    def authorize(self, **changes: str | None) -> TestResponse:
        return self.web.authorize(**changes)

    def token(self, headers: dict[str, str] | None = None, **form: str) -> TestResponse:
        return self.gatepost.browser().post("/oauth/token", data=form, headers=headers)

    def register(self, document: object) -> TestResponse:
        return self.gatepost.browser().post("/oauth/register", json=document)

    def request_object(self, **claims: object) -> TestResponse:
        return self.authorize(request=token_with({"alg": "none"}, {"client_id": self.web.client.id, **claims}))

    def ask(self, endpoint: str, token: str) -> TestResponse:
        headers = basic(self.web.client.id, self.web.secret or "")
        return self.gatepost.browser().post(f"/oauth/{endpoint}", data={"token": token}, headers=headers)

    def userinfo(self, token: str) -> TestResponse:
        return self.gatepost.browser().get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})

    def machine_token(self) -> str:
        token: str = self.machine.post_token(grant_type="client_credentials").get_json()["access_token"]
        return token

    def behind_proxy(self, path: str, **form: str) -> TestResponse:
        """Over plain http, from a proxy that says it was https."""
        headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": f"{MARK}.example"}
        return self.gatepost.browser().post(path, data=form, headers=headers, base_url="http://inside.example")


def _basic_bytes(credentials: bytes) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credentials).decode()}


Send = Callable[[World], TestResponse]
CODE = {"grant_type": "authorization_code", "code": MARK}
INPUTS: tuple[tuple[str, str, Send], ...] = (
    # cause, what is wrong, the request
    ("A", "redirect_uri with a quote", lambda w: w.authorize(redirect_uri=f'https://{MARK}.example/"')),
    ("A", "redirect_uri not ASCII", lambda w: w.authorize(redirect_uri=f"https://{MARK}.example/é")),
    ("A", "response_type not ASCII", lambda w: w.authorize(response_type=f"{MARK}é")),
    ("A", "response_type with a quote", lambda w: w.authorize(response_type=f'{MARK}"')),
    ("A", "response_mode unknown", lambda w: w.authorize(response_mode=f"{MARK}")),
    (
        "A",
        "client assertion with a hostile kid",
        lambda w: w.token(
            **CODE,
            client_assertion=HOSTILE_KID,
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
    ),
    ("A", "id_token_hint with a hostile kid", lambda w: w.authorize(id_token_hint=HOSTILE_KID)),
    ("B", "Basic credentials not UTF-8", lambda w: w.token(_basic_bytes(b"\xff\xfe:" + MARK.encode()), **CODE)),
    ("B", "Basic secret not ASCII", lambda w: w.token(basic(w.web.client.id, f"{MARK}é"), **CODE)),
    (
        "B",
        "posted secret not ASCII",
        lambda w: w.token(**CODE, client_id=w.web.client.id, client_secret=f"{MARK}é"),
    ),
    ("B", "client without any secret", lambda w: w.token(basic("secretless", MARK), **CODE)),
    ("B", "request object: response_type is a number", lambda w: w.request_object(response_type=5)),
    ("B", "request object: scope is a number", lambda w: w.request_object(scope=5)),
    ("B", "request object: prompt is a list", lambda w: w.request_object(prompt=[MARK])),
    ("B", "request object: code_challenge is a number", lambda w: w.request_object(code_challenge=5)),
    ("B", "registration: redirect_uris is a number", lambda w: w.register({"redirect_uris": 5})),
    ("B", "registration: a redirect URI is a number", lambda w: w.register({"redirect_uris": [5]})),
    ("B", "registration: grant_types is a number", lambda w: w.register({"grant_types": 5})),
    ("B", "registration: scope is a number", lambda w: w.register({"scope": 5})),
    ("B", "registration: client_uri is a number", lambda w: w.register({"client_uri": 5})),
    ("B", "registration: jwks is text", lambda w: w.register({"jwks": MARK})),
    ("B", "registration: jwks is empty", lambda w: w.register({"jwks": {}})),
    ("B", "registration: the body is a list", lambda w: w.register([MARK])),
    (
        "B",
        "registration: http post_logout_redirect_uris of a public client",
        lambda w: w.register(
            {"token_endpoint_auth_method": "none", "post_logout_redirect_uris": [f"http://{MARK}.example"]}
        ),
    ),
    ("C", "POST on a registration", lambda w: w.gatepost.browser().post(f"/oauth/register/{MARK}", json={})),
    ("C", "opaque token without a secret at introspection", lambda w: _post(w, "introspect", token=MARK)),
    ("C", "opaque token without a client at revocation", lambda w: _post(w, "revoke", token=MARK)),
    ("C", "access token without scope at userinfo", lambda w: w.userinfo(w.machine_token())),
    ("C", "client_credentials token with scope at userinfo", lambda w: w.userinfo(_scoped_machine_token(w))),
    ("C", "userinfo: an alg the key does not allow", lambda w: w.userinfo(_with_alg(w, "PS256"))),
    ("C", "id_token_hint: an alg nobody knows", lambda w: w.authorize(id_token_hint=_with_alg(w, "ES384"))),
    ("C", "token request over http behind a proxy", lambda w: w.behind_proxy("/oauth/token", **CODE)),
    (
        "C",
        "authorization request over http behind a proxy",
        lambda w: w.behind_proxy("/oauth/authorize", client_id=MARK),
    ),
    ("C", "introspection over http behind a proxy", lambda w: w.behind_proxy("/oauth/introspect", token=MARK)),
)  # fmt: skip


def _post(world: World, endpoint: str, **form: str) -> TestResponse:
    return world.gatepost.browser().post(f"/oauth/{endpoint}", data=form)


def _scoped_machine_token(world: World) -> str:
    flow = flow_of(world.gatepost, "machine", client_id="scoped-machine", scope="notes:read")
    token: str = flow.post_token(grant_type="client_credentials").get_json()["access_token"]
    return token


def _with_alg(world: World, algorithm: str) -> str:
    """A live access token whose header claims another algorithm."""
    header, claims, signature = world.machine_token().split(".")
    changed = {**jose.peek_header(f"{header}.{claims}.{signature}"), "alg": algorithm}
    return f"{_encoded(changed)}.{claims}.{signature}"


@pytest.fixture
def world(make_gatepost: GatepostMaker) -> World:
    hosts = {"allowed_hosts": ("inside.example",)}
    gatepost = make_gatepost(registration="open", scopes={"notes:read": "Read your notes"}, **hosts)
    with gatepost.work() as work:
        create_client(work, ClientMetadata("Without a secret", "machine", client_id="secretless"))
    return World(gatepost, flow_of(gatepost), flow_of(gatepost, "machine"))


def sent_text(response: TestResponse) -> str:
    """All of the answer that a caller sees."""
    headers = "\n".join(f"{name}: {value}" for name, value in response.headers)
    return f"{headers}\n{response.text}"


def descriptions(response: TestResponse) -> list[str]:
    """Every error description in the answer, wherever it stands."""
    location = response.headers.get("Location", "")
    if location:
        return [answer_of(location)["error_description"]] if "error_description" in answer_of(location) else []
    if response.mimetype == "application/json":
        document = response.get_json()
        return [document["error_description"]] if "error_description" in document else []
    return [unescape(text) for text in re.findall(r"<dt>Description</dt><dd>(.*?)</dd>", response.text, re.DOTALL)]


@pytest.mark.parametrize(("cause", "what", "send"), INPUTS, ids=[f"{cause}-{what}" for cause, what, _ in INPUTS])
@pytest.mark.spec("RFC 6749 §4.1.2.1", "RFC 6749 §5.2")
def test_input_is_refused_when_plain_authlib_would_answer_500(world: World, cause: str, what: str, send: Send) -> None:
    response = send(world)
    location = response.headers.get("Location")
    if location is None:
        assert 400 <= response.status_code < 500, (what, response.status_code)
    else:
        assert response.status_code == 303
        assert location.startswith(f"{world.web.client.redirect_uris[0]}?")
        assert "error" in answer_of(location)
    assert descriptions(response) or response.mimetype == "text/html"
    for description in descriptions(response):
        assert DESCRIPTION.fullmatch(description), description
    assert MARK not in sent_text(response)


def test_list_has_all_34_inputs_when_counted_by_cause() -> None:
    causes = [cause for cause, _, _ in INPUTS]
    assert len(INPUTS) == 34
    assert {cause: causes.count(cause) for cause in "ABC"} == {"A": 7, "B": 17, "C": 10}


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
def test_opaque_token_is_answered_with_200_when_the_client_is_right(world: World, endpoint: str) -> None:
    """The other side of "opaque token at a JWT endpoint": for a client that may ask it is no error at all."""
    response = world.ask(endpoint, MARK)
    assert response.status_code == 200
    assert response.get_data() in (b"", b'{"active":false}\n')


def test_token_is_issued_when_a_proxy_passes_https_on_as_http(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example", allowed_hosts=("inside.example:8000",))
    machine = flow_of(gatepost, "machine")
    response = gatepost.browser().post(
        "/oauth/token",
        data={"grant_type": "client_credentials"},
        headers=basic(machine.client.id, machine.secret or ""),
        base_url="http://inside.example:8000",
    )
    assert response.status_code == 200
    assert jose.peek_claims(response.get_json()["access_token"])["iss"] == "https://login.example"


def test_body_is_refused_when_it_is_larger_than_64_kib(world: World) -> None:
    response = world.gatepost.browser().post("/oauth/token", data=urlencode({"code": "x" * 70_000}))
    assert response.status_code in (400, 413)
    response = world.token(grant_type="x" * 70_000)
    assert response.status_code == 413
    assert response.get_json()["error"] == "invalid_request"
