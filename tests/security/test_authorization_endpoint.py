"""The authorization endpoint: the rules AZ, each seen from outside."""

import itertools
import re
from urllib.parse import quote, urlencode, urlsplit

import pytest
from werkzeug.test import TestResponse

from server.domain.authorization_codes import AuthorizationCode
from server.domain.errors import Invalid
from server.domain.redirect_uris import is_registered
from tests.domain.redirect_uri_mutations import SHAPES, mutations
from tests.support.application import ISSUER, Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import CHALLENGE, Flow, answer_of, flow_of, form_fields, jwt_claims

SITE = "https://app.example/cb"


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=(SITE,))


def assert_stays_here(response: TestResponse, what: object = None) -> None:
    """An error on our own origin and nowhere to go."""
    assert response.status_code == 400, what
    assert "Location" not in response.headers, what
    assert "http-equiv" not in response.text.lower(), what


def error_of(response: TestResponse) -> str | None:
    return answer_of(response.headers.get("Location", "")).get("error")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.spec("AZ-01", "RED")
def test_near_miss_of_a_redirect_uri_leads_nowhere_when_asked_for(gatepost: Gatepost, shape: str) -> None:
    """The matcher meets all of the corpus in tests/domain; here every eleventh goes through the whole endpoint."""
    registered, native = SHAPES[shape]
    flow = flow_of(gatepost, "native" if native else "web", redirect_uris=(registered,))
    for uri in mutations(registered)[::11]:
        if is_registered(uri, (registered,), native=native):
            continue
        for changes in ({}, {"prompt": "none"}, {"response_type": "bad"}):
            assert_stays_here(flow.authorize(redirect_uri=uri, **changes), uri[:100])


@pytest.mark.spec("AZ-02")
def test_port_alone_is_free_when_a_native_client_listens_on_loopback(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=("http://127.0.0.1/cb",))
    for port in (1, 80, 1024, 49152, 65535):
        assert flow.authorize(redirect_uri=f"http://127.0.0.1:{port}/cb").status_code == 303, port
    for uri in (
        *("http://127.0.0.1:1/cb2", "http://localhost:1/cb", "https://127.0.0.1:1/cb", "http://127.0.0.2:1/cb"),
        *("http://[::1]:1/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:65536/cb", "http://127.0.0.1:080/cb"),
    ):
        assert_stays_here(flow.authorize(redirect_uri=uri), uri)
    web = flow_of(gatepost, "web", redirect_uris=("http://127.0.0.1:9000/cb",))
    assert_stays_here(web.authorize(redirect_uri="http://127.0.0.1:9001/cb"))


REFUSED_REDIRECTS = {
    "AZ-03": ["http://app.example/cb", "http://10.0.0.1/cb", "http://localhost.evil.example/cb"],
    "AZ-04": ["app:/cb", "com.example.app://cb", "com.example.app:cb", "javascript:/x", "data:/x"],
    "AZ-31": ["urn:ietf:wg:oauth:2.0:oob", "urn:ietf:wg:oauth:2.0:oob:auto"],
}


@pytest.mark.parametrize(("rule", "uri"), [(rule, uri) for rule, uris in REFUSED_REDIRECTS.items() for uri in uris])
@pytest.mark.spec("AZ-03", "AZ-04", "AZ-31")
def test_redirect_uri_cannot_be_registered_when_others_could_read_the_answer(
    make_gatepost: GatepostMaker, rule: str, uri: str
) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    for client_type in ("web", "spa", "native"):
        with pytest.raises(Invalid) as refusal:
            gatepost.add_client(client_type, redirect_uris=(uri,))
        assert refusal.value.field == "redirect_uris", rule


@pytest.mark.spec("AZ-04")
def test_private_use_scheme_is_registered_when_it_is_a_domain_in_reverse(gatepost: Gatepost) -> None:
    assert gatepost.add_client("native", redirect_uris=("com.example.app:/cb",))


UNPROVEN: dict[str, dict[str, str | None]] = {
    "unknown client": {"client_id": "nobody"},
    "no client": {"client_id": None},
    "unregistered URI": {"redirect_uri": "https://evil.example/cb"},
    "no URI": {"redirect_uri": None},
}
ALSO_WRONG: dict[str, dict[str, str | None]] = {
    "nothing else": {},
    "response_type": {"response_type": "token"},
    "no response_type": {"response_type": None},
    "scope": {"scope": "\x01"},
    "no openid": {"scope": "profile"},
    "prompt=none": {"prompt": "none"},
    "prompt": {"prompt": "none login"},
    "request object": {"request": "e30.e30."},
    "request_uri": {"request_uri": "urn:ietf:params:oauth:request_uri:gone"},
    "response_mode": {"response_mode": "fragment"},
    "form_post": {"response_mode": "form_post"},
    "no PKCE": {"code_challenge": None, "code_challenge_method": None},
    "plain": {"code_challenge_method": "plain"},
    "hint": {"id_token_hint": "x.y.z"},
    "max_age": {"max_age": "-1"},
    "max_age=0": {"max_age": "0"},
    "no state": {"state": None},
}


@pytest.mark.parametrize("signed_in", [False, True], ids=["signed out", "signed in"])
@pytest.mark.spec("AZ-05", "INV-20", "RFC 6749 §3.1.2.4")
def test_nothing_leaves_when_client_or_redirect_uri_are_unproven_whatever_else_is_wrong(
    flow: Flow, signed_in: bool
) -> None:
    if signed_in:
        flow.code()
    for (who, unproven), (what, wrong) in itertools.product(UNPROVEN.items(), ALSO_WRONG.items()):
        changes = {**wrong, **unproven}
        assert_stays_here(flow.authorize(**changes), (who, what))
        posted = flow.browser.post("/oauth/authorize", data=flow.parameters(**changes))
        assert_stays_here(posted, (who, what, "posted"))


@pytest.mark.spec("AZ-06", "RFC 9700 §4.11.2")
def test_error_is_redirected_only_where_an_operator_registered_it(flow: Flow) -> None:
    """Clients come from the operator's command line until they open registration: no target is a stranger's."""
    assert error_of(flow.authorize(scope="nope")) == "invalid_scope"
    document = flow.browser.get("/.well-known/openid-configuration").get_json()
    assert "registration_endpoint" not in document
    assert "client_id_metadata_document_supported" not in document
    stranger = {"redirect_uris": ["https://evil.example/cb"]}
    assert flow.gatepost.browser().post("/oauth/register", json=stranger).status_code == 403
    assert_stays_here(flow.authorize(client_id="https://evil.example/client.json"))


@pytest.mark.spec("AZ-07")
def test_redirect_after_a_form_is_303_and_never_one_that_repeats_it(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    answers = [flow.submit(page, "/login", username=flow.email, password=flow.password)]
    consent = flow.open_page("/consent", answers[0])
    answers.append(flow.submit(consent, "/consent", decision="allow"))
    answers.append(flow.walk(answers[1]))
    answers.append(flow.browser.post("/oauth/authorize", data=flow.parameters()))
    answers.append(flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out"))
    assert [answer.status_code for answer in answers] == [303] * 5


@pytest.mark.parametrize("path", ["/oauth/authorize", "/login", "/consent", "/select-account", "/logout", "/"])
@pytest.mark.spec("AZ-08", "RFC 9700 §2.6")
def test_page_is_closed_to_scripts_of_other_origins_when_they_ask(flow: Flow, path: str) -> None:
    headers = {"Origin": "https://x.example", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET", "POST"):
        answer = flow.browser.open(path, method=method, headers=headers)
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")], method


def pages(flow: Flow) -> dict[str, TestResponse]:
    """One answer of every page, errors among them."""
    found = {
        "login": flow.open_page("/login", flow.authorize()),
        "consent": flow.open_page("/consent", flow.authorize()),
        "chooser": flow.open_page("/select-account", flow.authorize(prompt="select_account")),
        "logout": flow.browser.get("/logout"),
        "signed out": flow.browser.get("/signed-out"),
        "home": flow.browser.get("/"),
        "error": flow.browser.get("/oauth/authorize"),
        "not found": flow.browser.get("/nope", headers={"Accept": "text/html"}),
        "method": flow.browser.delete("/login", headers={"Accept": "text/html"}),
        "form_post": flow.walk(flow.authorize(response_mode="form_post")),
        "refused": flow.browser.post("/login", data={"username": "x"}),
    }
    assert all(page.mimetype == "text/html" for page in found.values())
    return found


@pytest.mark.spec("AZ-09", "INV-24")
def test_page_cannot_be_framed_when_it_is_any_page(flow: Flow) -> None:
    for name, page in pages(flow).items():
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"], name
        assert page.headers["X-Frame-Options"] == "DENY", name


@pytest.mark.spec("AZ-10", "RFC 9700 §4.2.4")
def test_page_loads_nothing_from_elsewhere_and_tells_nobody_where_it_was(flow: Flow) -> None:
    for name, page in pages(flow).items():
        assert page.headers["Referrer-Policy"] == "no-referrer", name
        loaded = re.findall(
            r"<(?:img|script|link|iframe|source|video|audio|object|embed)\b[^>]*?(?:src|href)=\"([^\"]*)\"", page.text
        )
        assert loaded, name
        assert all(re.match(r"/(?!/)", address) for address in loaded), (name, loaded)


@pytest.mark.parametrize("client_type", ["web", "spa", "native"])
@pytest.mark.spec("AZ-11", "INV-20")
def test_request_is_refused_already_here_when_it_has_no_challenge(gatepost: Gatepost, client_type: str) -> None:
    flow = flow_of(gatepost, client_type, redirect_uris=(SITE,))  # type: ignore[arg-type]
    assert error_of(flow.authorize(code_challenge=None, code_challenge_method=None)) == "invalid_request"


@pytest.mark.parametrize("method", ["plain", None, "s256", "S512", "S256 ", "SHA256"])
@pytest.mark.spec("AZ-12")
def test_request_is_refused_when_the_challenge_method_is_not_s256(flow: Flow, method: str | None) -> None:
    assert error_of(flow.authorize(code_challenge_method=method)) == "invalid_request"


@pytest.mark.parametrize(
    "challenge", ["a" * 42, "a" * 129, "a" * 42 + "=", "a" * 42 + "+", "a" * 42 + "\u00e4", "a" * 43 + "\n"]
)
@pytest.mark.spec("AZ-13", "RFC 7636 §4.2")
def test_request_is_refused_when_the_challenge_is_malformed(flow: Flow, challenge: str) -> None:
    assert error_of(flow.authorize(code_challenge=challenge)) == "invalid_request"


@pytest.mark.spec("AZ-13")
def test_request_is_refused_when_there_are_two_challenges(flow: Flow) -> None:
    query = urlencode([*flow.parameters().items(), ("code_challenge", CHALLENGE)])
    assert error_of(flow.browser.get(f"/oauth/authorize?{query}")) == "invalid_request"


@pytest.mark.parametrize("name", ["openid-configuration", "oauth-authorization-server"])
@pytest.mark.spec("AZ-14")
def test_both_documents_offer_s256_alone(gatepost: Gatepost, name: str) -> None:
    document = gatepost.browser().get(f"/.well-known/{name}").get_json()
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True


@pytest.mark.spec("AZ-15", "INV-15", "INV-21", "RFC 9207 §2")
def test_issuer_stands_once_in_every_answer_when_it_succeeds_or_fails(flow: Flow) -> None:
    login_required = flow.authorize(prompt="none")
    page = flow.open_page("/consent", flow.authorize())
    answers = {
        "login_required": login_required,
        "access_denied": flow.submit(page, "/consent", decision="deny"),
        "invalid_scope": flow.authorize(scope="nope"),
        "code": flow.walk(flow.authorize()),
    }
    for name, response in answers.items():
        location = response.headers["Location"]
        assert location.count("iss=") == location.replace("session_state", "").count("state=") == 1, name
        assert name in (answer_of(location).get("error"), *answer_of(location)), name
        assert answer_of(location)["iss"] == ISSUER, name
    for response in (
        flow.authorize(response_mode="form_post", scope="nope"),
        flow.walk(flow.authorize(response_mode="form_post")),
    ):
        assert form_fields(response.text)["iss"] == ISSUER


@pytest.mark.parametrize(
    "state",
    [
        "x",
        "s" * 2000,
        "\u00e9\u6f22\U0001f511",
        "a\x00b",
        "a+b c%20d",
        "\"'><script>",
        "&code=evil&iss=evil",
        "a\r\nX: y",
        "\t",
    ],
)
@pytest.mark.spec("AZ-16", "INV-21", "RFC 6749 §4.1.2")
def test_state_comes_back_byte_by_byte_when_it_is_odd(flow: Flow, state: str) -> None:
    for response in (flow.authorize(state=state, scope="nope"), flow.walk(flow.authorize(state=state))):
        answer = answer_of(response.headers["Location"])
        assert answer["state"] == state
        success, failure = {"code", "session_state"}, {"error", "error_description"}
        assert set(answer) in (success | {"state", "iss"}, failure | {"state", "iss"})


@pytest.mark.spec("AZ-17", "RFC 6749 §3.1")
def test_request_is_refused_when_any_parameter_stands_twice(flow: Flow) -> None:
    for name, value in flow.parameters(max_age="10", prompt="login", login_hint="x").items():
        for second in (value, "other"):
            query = urlencode([*flow.parameters(**{name: value}).items(), (name, second)])
            response = flow.browser.get(f"/oauth/authorize?{query}")
            if name in ("client_id", "redirect_uri"):
                assert_stays_here(response, name)
            else:
                assert error_of(response) == "invalid_request", name


@pytest.mark.spec("AZ-18")
def test_answer_is_the_same_when_there_are_fifty_unknown_parameters(flow: Flow) -> None:
    unknown = {f"x_{number}": "y" for number in range(50)}
    assert flow.authorize(**unknown).headers["Location"].startswith("/login?request=")
    assert "code" in answer_of(flow.walk(flow.authorize(**unknown)).headers["Location"])


@pytest.mark.spec("AZ-19")
def test_request_is_carried_on_when_a_foreign_page_posts_it_without_our_cookie(flow: Flow) -> None:
    flow.code()
    stranger = flow.gatepost.browser()
    posted = stranger.post(
        "/oauth/authorize",
        data=flow.parameters(),
        headers={"Origin": "https://app.example", "Sec-Fetch-Site": "cross-site"},
    )
    assert posted.status_code == 303
    # The redirect is followed with the cookie that the cross-site POST lacked.
    assert "code" in answer_of(flow.walk(posted).headers["Location"])
    alone = stranger.post("/oauth/authorize", data=flow.parameters())
    assert stranger.get(alone.headers["Location"]).headers["Location"].startswith("/login?")


@pytest.mark.parametrize(
    "response_type", ["token", "id_token", "id_token token", "code token", "code id_token", "none"]
)
@pytest.mark.spec("AZ-20", "RFC 9700 §2.1.2")
def test_no_token_is_issued_here_when_the_client_was_not_registered_for_it(flow: Flow, response_type: str) -> None:
    response = flow.authorize(response_type=response_type, nonce="n")
    location = response.headers["Location"]
    error = answer_of(location.replace("#", "?"))["error"]
    assert error == ("unsupported_response_type" if response_type == "token" else "unauthorized_client")
    assert "token=" not in location


@pytest.mark.parametrize("mode", ["web_message", "QUERY", "okpost", "jwt.query", "query jwt"])
@pytest.mark.spec("AZ-21")
def test_answer_is_encoded_in_no_unknown_way_when_asked_for(flow: Flow, mode: str) -> None:
    response = flow.authorize(response_mode=mode)
    assert error_of(response) == "invalid_request"
    assert "#" not in response.headers["Location"]


@pytest.mark.parametrize("values", ["none login", "none consent", "login none", "none select_account", "none none2"])
@pytest.mark.spec("AZ-22")
def test_request_is_refused_when_prompt_none_does_not_stand_alone(flow: Flow, values: str) -> None:
    assert error_of(flow.authorize(prompt=values)) == "invalid_request"


@pytest.mark.spec("AZ-22", "INV-12")
def test_sign_in_is_asked_anew_and_told_in_auth_time_when_it_is_too_old(flow: Flow) -> None:
    first = jwt_claims(flow.tokens()["id_token"])["auth_time"]
    flow.gatepost.clock.advance(100)
    assert jwt_claims(flow.tokens(max_age="1000")["id_token"])["auth_time"] == first
    for max_age in ("0", "1"):
        flow.gatepost.clock.advance(2)
        assert urlsplit(flow.authorize(max_age=max_age).headers["Location"]).path == "/login"
        assert error_of(flow.authorize(max_age=max_age, prompt="none")) == "login_required"
    assert jwt_claims(flow.tokens(max_age="1")["id_token"])["auth_time"] > first


@pytest.mark.spec("AZ-22")
def test_login_is_required_when_the_hint_names_somebody_else(flow: Flow) -> None:
    hint = flow.tokens()["id_token"]
    flow.gatepost.add_user("bob@example.com", name="Bob")
    bob = Flow(flow.gatepost, flow.client, flow.secret, flow.gatepost.browser(), email="bob@example.com")
    bob.code()
    assert error_of(bob.authorize(id_token_hint=hint, prompt="none")) == "login_required"


@pytest.mark.spec("AZ-23", "RFC 8252 §8.6")
def test_person_is_asked_each_time_when_another_program_could_be_the_client(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, "native", redirect_uris=("http://127.0.0.1/cb",))
    flow.code()
    assert error_of(flow.authorize(prompt="none")) == "consent_required"
    assert flow.open_page("/consent", flow.authorize()).status_code == 200


NAMES = (
    "\u202eGatepost",
    "Gate\u200bpost",
    "Gate\npost",
    "Gate\x00post",
    "Ga\u2066te",
    "\ufeffGatepost",
    "",
    " ",
    "x" * 101,
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.spec("AZ-24")
def test_client_name_is_refused_when_it_could_rearrange_the_page(gatepost: Gatepost, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        gatepost.add_client(client_name=name)
    assert refusal.value.field == "client_name"


@pytest.mark.parametrize("name", ["Gatepost", "gatepost ", "\uff27\uff21\uff34\uff25\uff30\uff2f\uff33\uff34"])
@pytest.mark.spec("AZ-24", "TK-29")
def test_client_name_is_refused_when_it_reads_like_the_servers_own(gatepost: Gatepost, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        gatepost.add_client(client_name=name)
    assert refusal.value.field == "client_name"
    assert gatepost.add_client(client_name=name, is_first_party=True)


@pytest.mark.spec("AZ-24", "TK-29")
def test_consent_page_sets_names_apart_and_tells_where_the_answer_goes(gatepost: Gatepost) -> None:
    flow = flow_of(gatepost, redirect_uris=("https://notes.example:8443/cb?x=1",), client_name="\u05d0\u05d1 Notes")
    page = flow.open_page("/consent", flow.authorize(scope="openid phone"))
    # Letters that run the other way cannot reach beyond their own element.
    assert page.text.count("<bdi>\u05d0\u05d1 Notes</bdi>") >= 2
    assert "<strong>https://notes.example:8443</strong>" in page.text
    assert "See your phone number" in page.text


@pytest.mark.spec("AZ-25", "INV-25", "INV-26")
def test_consent_counts_once_for_its_person_session_and_request(flow: Flow) -> None:
    page = flow.open_page("/consent", flow.authorize())
    fields = {**form_fields(page.text), "decision": "allow"}
    other = flow_of(flow.gatepost, client_id="another", redirect_uris=(SITE,))
    other.code()
    stolen = other.browser.post("/consent", data=fields)
    assert stolen.status_code == 403
    assert flow.gatepost.audit_events().count("consent.given") == 1
    assert flow.browser.get(flow.browser.post("/consent", data=fields).headers["Location"]).status_code == 303
    assert flow.browser.post("/consent", data=fields).status_code in (403, 410)
    second = flow.open_page("/consent", flow.authorize(prompt="consent"))
    flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    before = flow.gatepost.audit_events().count("consent.given")
    late = flow.submit(second, "/consent", decision="allow")
    assert late.status_code in (303, 403)
    assert flow.gatepost.audit_events().count("consent.given") == before


@pytest.mark.parametrize("resource", ["https://api.example", "https://evil.example/#x", "x", ISSUER])
@pytest.mark.spec("AZ-26", "INV-08")
def test_token_is_for_the_configured_audience_alone_when_another_is_named(
    make_gatepost: GatepostMaker, resource: str
) -> None:
    flow = flow_of(make_gatepost(access_token_audience="https://api.example/v1"), redirect_uris=(SITE,))
    answer = flow.walk(flow.authorize(resource=resource)).headers["Location"]
    if "code" in answer_of(answer):
        redeemed = flow.redeem(answer_of(answer)["code"], resource=resource)
        if redeemed.status_code == 200:
            assert jwt_claims(redeemed.get_json()["access_token"])["aud"] == "https://api.example/v1"
            return
        answer = f"?error={redeemed.get_json()['error']}"
    assert answer_of(answer)["error"] == "invalid_target"


SCOPES = ("openid", "profile", "email", "address", "phone", "offline_access", "unknown")


@pytest.mark.spec("AZ-27", "INV-07", "RFC 6749 §3.3")
def test_scope_is_never_more_than_asked_allowed_and_consented(gatepost: Gatepost) -> None:
    allowed = {"openid", "email", "phone"}
    flow = flow_of(gatepost, redirect_uris=(SITE,), scope=" ".join(allowed))
    for size in (1, 2, 3):
        for asked in itertools.combinations(SCOPES, size):
            response = flow.walk(flow.authorize(scope=" ".join(asked)))
            answer = answer_of(response.headers["Location"])
            if not allowed & set(asked):
                assert answer["error"] == "invalid_scope"
                continue
            granted = flow.redeem(answer["code"]).get_json()["scope"].split()
            assert set(granted) == allowed & set(asked)


@pytest.mark.spec("AZ-30")
def test_code_dies_after_a_minute_and_cannot_be_guessed(flow: Flow) -> None:
    flow.gatepost.clock.advance(0)
    late, timely = flow.code(), None
    flow.gatepost.clock.advance(60)
    assert flow.redeem(late).get_json()["error"] == "invalid_grant"
    codes = set()
    for _ in range(40):
        timely = flow.code()
        codes.add(timely)
        # 43 characters of 62: 256 bits.
        assert re.fullmatch(r"[a-z]+_[0-9A-Za-z]{43}", timely)
    assert len(codes) == 40
    with flow.gatepost.work() as work:
        kept = work.db.query(AuthorizationCode).all()
    assert not any(code in str(vars(row)) for row in kept for code in codes)


@pytest.mark.spec("AZ-32")
def test_nobody_is_signed_in_when_another_site_sends_the_form(gatepost: Gatepost) -> None:
    victim = gatepost.browser()
    form = {"username": "ada@example.com", "password": "correct horse battery staple"}
    attacker = gatepost.browser()
    known = form_fields(attacker.get("/login").text)
    for fields in ({}, known, {"csrf_token": ""}):
        for headers in ({}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert victim.post("/login", data={**form, **fields}, headers=headers).status_code == 403
    victim.get("/login")
    assert victim.post("/login", data={**form, **known}).status_code == 403
    assert "login.succeeded" not in gatepost.audit_events()
    assert victim.get(f"/login?{quote('username')}=ada@example.com&password=x").status_code == 200
    assert "login.succeeded" not in gatepost.audit_events()
