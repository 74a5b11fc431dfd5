"""What a developer is told, word by word: each row of THE TABLE and PKCE, with the error, the sentence and the member.

Nothing in these sentences comes from the request, so they are the same for everybody (TK-17).
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode

import pytest

from server.domain.clients import find_client
from server.infra import jose
from server.protocol.authorization.checks import run_checks
from server.protocol.authorization.context import AuthorizationContext, proven_client
from server.protocol.authorization.response_modes import (
    AuthorizationResponse,
    FormPost,
    Redirect,
    encode_error,
    encode_response,
)
from server.protocol.errors import InvalidRequest, OAuth2Error, ProtocolError
from server.protocol.request import Parameters
from tests.domain.factories import make_client
from tests.support.application import ISSUER, REDIRECT_URI, Gatepost
from tests.support.flow import CHALLENGE, VERIFIER, Flow, flow_of

GONE = {"code_challenge": None, "code_challenge_method": None}
REFUSALS: tuple[tuple[dict[str, str | None], str, str, str | None], ...] = (
    # what is changed, error, description, parameter
    ({"client_id": None}, "invalid_request", "client_id is missing or repeated.", "client_id"),
    ({"client_id": "nobody"}, "unauthorized_client", "There is no such client.", "client_id"),
    ({"redirect_uri": None}, "invalid_request", "redirect_uri is missing or repeated.", "redirect_uri"),
    ({"redirect_uri": "x"}, "invalid_request", "redirect_uri is not registered for this client.", "redirect_uri"),
    ({"response_mode": "x"}, "invalid_request", "response_mode is not supported.", "response_mode"),
    ({"nonce": "a\0b"}, "invalid_request", "A parameter has a NUL character.", "nonce"),
    ({"scope": "openid\0"}, "invalid_request", "A parameter has a NUL character.", "scope"),
    ({"login_hint": "\0"}, "invalid_request", "A parameter has a NUL character.", "login_hint"),
    ({"state": "x" * 4001}, "invalid_request", "A parameter is too long.", "state"),
    ({"login_hint": "x" * 4001}, "invalid_request", "A parameter is too long.", "login_hint"),
    ({"request": "x"}, "invalid_request_object", "The request object is not signed by the client.", "request"),
    ({"request_uri": "x"}, "invalid_request_uri", "request_uri is not registered for this client.", "request_uri"),
    ({"registration": "x"}, "registration_not_supported", "registration is not supported.", "registration"),
    ({"response_type": None}, "invalid_request", "response_type is missing.", "response_type"),
    (
        {"response_type": "token"},
        "unsupported_response_type",
        "This response_type is not supported.",
        "response_type",
    ),
    ({"scope": '"'}, "invalid_scope", "scope is malformed.", "scope"),
    ({"scope": "admin"}, "invalid_scope", "No requested scope is known and allowed for this client.", "scope"),
    ({"scope": None}, "invalid_scope", "No requested scope is known and allowed for this client.", "scope"),
    (GONE, "invalid_request", "PKCE is required: code_challenge is missing.", "code_challenge"),
    (
        {"code_challenge_method": "plain"},
        "invalid_request",
        "code_challenge_method must be S256.",
        "code_challenge_method",
    ),
    ({"code_challenge": "x" * 42}, "invalid_request", "code_challenge is malformed.", "code_challenge"),
    ({"code_challenge": "x" * 44}, "invalid_request", "code_challenge is malformed.", "code_challenge"),
    ({"code_challenge": "!" * 43}, "invalid_request", "code_challenge is malformed.", "code_challenge"),
    ({"prompt": "create"}, "invalid_request", "prompt has an unknown value.", "prompt"),
    ({"prompt": "none login"}, "invalid_request", "prompt=none cannot stand with another value.", "prompt"),
    (
        {"prompt": "none login consent select_account"},
        "invalid_request",
        "prompt=none cannot stand with another value.",
        "prompt",
    ),
    ({"max_age": "soon"}, "invalid_request", "max_age is not a number of seconds.", "max_age"),
    ({"max_age": "1" * 11}, "invalid_request", "max_age is not a number of seconds.", "max_age"),
    ({"id_token_hint": "x"}, "invalid_request", "id_token_hint is not an ID token of this issuer.", "id_token_hint"),
)


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost)


def checked(flow: Flow, ending: str = "", **changes: str | None) -> AuthorizationContext:
    """The context after the whole table."""
    query = urlencode(flow.parameters(**changes)) + ending
    with flow.gatepost.work() as work:
        context = AuthorizationContext(work, Parameters.decode(query))
        run_checks(context)
        return context


def refusal(flow: Flow, ending: str = "", **changes: str | None) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        checked(flow, ending, **changes)
    return caught.value


@pytest.mark.parametrize(("changes", "error", "description", "parameter"), REFUSALS)
@pytest.mark.spec("TK-17", "RFC 6749 §4.1.2.1")
def test_refusal_says_what_and_where_when(
    flow: Flow, changes: dict[str, str | None], error: str, description: str, parameter: str | None
) -> None:
    found = refusal(flow, **changes)
    assert (found.error, found.description, found.parameter) == (error, description, parameter)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_refusal_says_that_it_is_repeated_when_client_or_redirect_uri_stand_twice(flow: Flow, name: str) -> None:
    found = refusal(flow, f"&{name}={flow.parameters()[name]}")
    told = (found.error, found.description, found.parameter)
    assert told == ("invalid_request", f"{name} is missing or repeated.", name)


def test_refusal_says_so_when_the_client_may_not_use_the_response_type(flow: Flow) -> None:
    for values in ({"response_types": []}, {"response_types": ["code"], "grant_types": ["refresh_token"]}):
        flow.gatepost.change_client(flow.client.id, **values)
        found = refusal(flow)
        assert found.error == "unauthorized_client"
        assert (found.description, found.parameter) == ("The client may not use this response_type.", "response_type")


def test_refusal_says_so_when_the_hint_is_another_clients(flow: Flow) -> None:
    hint = flow_of(flow.gatepost, client_id="other").tokens()["id_token"]
    found = refusal(flow, id_token_hint=hint)
    assert (found.error, found.parameter) == ("invalid_request", "id_token_hint")
    assert found.description == "id_token_hint was issued to another client."


def test_refusal_keeps_for_the_log_why_the_hint_did_not_verify(flow: Flow) -> None:
    found = refusal(flow, id_token_hint="x")
    assert isinstance(found.__cause__, jose.InvalidToken)
    assert found.detail == str(found.__cause__)


def test_method_without_a_challenge_is_refused_when_pkce_is_not_required(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, require_pkce=False)
    found = refusal(flow, code_challenge=None)
    assert found.description == "PKCE is required: code_challenge is missing."
    assert checked(flow, **GONE).code_challenge is None


def test_client_is_asked_for_when_the_table_has_not_run(flow: Flow) -> None:
    with flow.gatepost.work() as work, pytest.raises(InvalidRequest) as caught:
        proven_client(AuthorizationContext(work, Parameters({})))
    assert (caught.value.description, caught.value.parameter) == ("client_id is missing.", "client_id")


def test_parked_request_keeps_checked_values_when_everything_is_right(flow: Flow) -> None:
    tokens = flow.tokens()
    context = checked(
        flow, scope="email unknown openid", prompt="login consent", max_age="9999999999", login_hint="ada",
        response_mode="form_post", id_token_hint=tokens["id_token"], state="a\0b", acr_values="9 1",
        claims='{"userinfo": {"name": null, "unknown": null}, "id_token": {"email": {"essential": true}}}',
    )  # fmt: skip
    assert context.as_stored() == {
        "response_type": "code",
        "response_mode": "form_post",
        "redirect_uri": REDIRECT_URI,
        "state": "a\0b",
        "nonce": "a-nonce",
        "scope": "openid email",
        "code_challenge": CHALLENGE,
        "prompt": ["consent", "login"],
        "max_age": 10 * 365 * 86400,
        "hint_subject": context.hint_subject,
        "login_hint": "ada",
        "acr_values": ["9", "1"],
        "is_acr_essential": False,
        "claims": {"userinfo": ["name"], "id_token": ["email"]},
        "claims_scopes": ["email", "profile"],
    }
    assert context.hint_subject == jose.peek_claims(tokens["id_token"])["sub"]


@pytest.mark.parametrize("prompt", ["none", "login", "consent", "select_account", "login consent select_account"])
def test_prompt_is_taken_when_it_is_known_and_none_stands_alone(flow: Flow, prompt: str) -> None:
    assert checked(flow, prompt=prompt).prompts == frozenset(prompt.split())


@pytest.mark.spec("INV-07")
def test_scope_is_what_client_and_deployment_both_have(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, scope="openid notes:read")
    assert checked(flow, scope="openid email notes:read").scope_set == {"openid"}


def test_parked_request_has_defaults_when_little_is_asked(flow: Flow) -> None:
    stored = checked(flow, nonce=None, state=None, max_age="0", scope="openid").as_stored()
    assert (stored["response_mode"], stored["prompt"], stored["max_age"]) == ("query", [], 0)
    assert [stored[name] for name in ("state", "nonce", "login_hint", "hint_subject")] == [None] * 4
    assert checked(flow).max_age is None


@pytest.mark.parametrize("size", [4000, 3999])
def test_parameter_is_kept_when_it_is_as_long_as_may_be(flow: Flow, size: int) -> None:
    assert checked(flow, state="x" * size, nonce="x" * size, login_hint="x" * size).as_stored()["state"] == "x" * size


# PKCE at the token endpoint -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verifier", "description"),
    [
        (None, "The code_verifier is missing, or was not announced by a code_challenge."),
        (VERIFIER[:42], "The code_verifier does not fit the code_challenge."),
        (VERIFIER + "x", "The code_verifier does not fit the code_challenge."),
        ("x" * 129, "The code_verifier does not fit the code_challenge."),
    ],
)
@pytest.mark.spec("RFC 7636 §4.6", "TK-04")
def test_redemption_says_what_is_wrong_with_the_verifier_when(
    flow: Flow, verifier: str | None, description: str
) -> None:
    response = flow.redeem(flow.code(), code_verifier=verifier)
    assert response.status_code == 400
    assert response.get_json() == {"error": "invalid_grant", "error_description": description}


def test_redemption_says_so_when_a_verifier_was_not_announced(flow: Flow) -> None:
    flow.gatepost.change_client(flow.client.id, require_pkce=False)
    code = flow.code(**GONE)
    told = flow.redeem(code).get_json()["error_description"]
    assert told == "The code_verifier is missing, or was not announced by a code_challenge."
    assert flow.redeem(code, code_verifier=None).status_code == 200


# The encoder ----------------------------------------------------------------------------------------------------------


def encoded(
    gatepost: Gatepost, parameters: dict[str, str | None], answer: dict[str, str] | OAuth2Error
) -> AuthorizationResponse:
    with gatepost.work() as work:
        client = find_client(work, "sample-web") or make_client(work, client_id="sample-web")
        if isinstance(answer, OAuth2Error):
            return encode_error(work, client, parameters, answer)
        return encode_response(work, client, parameters, answer)


@pytest.mark.spec("RFC 6749 §3.1.2", "RFC 9207 §2")
def test_answer_is_put_behind_the_registered_query_when_there_is_one(gatepost: Gatepost) -> None:
    for uri, separator in (("https://app.example/cb", "?"), ("https://app.example/cb?x=1", "&")):
        answer = encoded(gatepost, {"redirect_uri": uri}, {"code": "c d"})
        assert isinstance(answer, Redirect)
        assert answer.location.startswith(f"{uri}{separator}code=c+d&")
        assert parse_qs(answer.location.removeprefix(uri + separator)) == {"code": ["c d"], "iss": [ISSUER]}


def test_answer_is_a_form_when_the_mode_says_so(gatepost: Gatepost) -> None:
    wanted = {"redirect_uri": REDIRECT_URI, "response_mode": "form_post", "state": ""}
    answer = encoded(gatepost, wanted, {"code": "c"})
    assert answer == FormPost(REDIRECT_URI, (("code", "c"), ("state", ""), ("iss", ISSUER)))


def test_error_has_a_description_only_when_there_is_one(gatepost: Gatepost) -> None:
    wanted = {"redirect_uri": REDIRECT_URI, "response_mode": "form_post", "state": None}
    told = InvalidRequest("A sentence.")
    answer = encoded(gatepost, wanted, told)
    fields = (("error", "invalid_request"), ("error_description", "A sentence."), ("iss", ISSUER))
    assert answer == FormPost(REDIRECT_URI, fields)
    told.description = ""
    assert encoded(gatepost, wanted, told) == FormPost(REDIRECT_URI, (fields[0], fields[2]))
