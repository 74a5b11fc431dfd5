"""The session cookie: its attributes, its rotation, and that an old one is worth nothing."""

import re

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, flow_of, form_fields

SECRET = re.compile(r"bs_[0-9A-Za-z]{43}")


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=("https://app.example/cb",))


def secret_of(browser: FlaskClient, name: str = "gatepost", domain: str = "localhost") -> str:
    cookie = browser.get_cookie(name, domain=domain)
    assert cookie is not None
    return cookie.value


def with_cookie(gatepost: Gatepost, secret: str) -> FlaskClient:
    """Another browser that got hold of a cookie."""
    browser = gatepost.browser()
    browser.set_cookie("gatepost", secret)
    return browser


def attributes_of(response: TestResponse) -> tuple[str, set[str]]:
    (header,) = response.headers.getlist("Set-Cookie")
    name_and_value, *attributes = header.split("; ")
    return name_and_value.partition("=")[0], {each for each in attributes if not each.startswith("Expires")}


@pytest.mark.spec("RFC 6265 §4.1.2")
def test_cookie_is_plain_when_the_issuer_is_http_on_localhost(flow: Flow) -> None:
    response = flow.browser.get("/login")
    assert attributes_of(response) == ("gatepost", {"Max-Age=1209600", "HttpOnly", "Path=/", "SameSite=Lax"})
    assert SECRET.fullmatch(secret_of(flow.browser))


@pytest.mark.parametrize("issuer", ["https://login.example", "https://login.example/auth"])
@pytest.mark.spec("S-08")
def test_cookie_is_bound_to_the_host_when_the_issuer_is_https(make_gatepost: GatepostMaker, issuer: str) -> None:
    gatepost = make_gatepost(issuer=issuer)
    response = gatepost.browser().get(f"{gatepost.settings.issuer_path}/login", base_url="https://login.example")
    assert attributes_of(response) == (
        "__Host-gatepost",
        {"Max-Age=1209600", "Secure", "HttpOnly", "Path=/", "SameSite=Lax"},
    )


def test_cookie_without_the_prefix_is_ignored_when_the_issuer_is_https(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    browser = gatepost.browser()
    planted = "bs_" + "x" * 43
    response = browser.get("/login", base_url="https://login.example", headers={"Cookie": f"gatepost={planted}"})
    assert attributes_of(response)[0] == "__Host-gatepost"


@pytest.mark.parametrize(
    "header",
    [
        "gatepost=bs_unknown",
        "gatepost=rt_x",
        "gatepost=",
        "=gatepost=bs_x",
        'gatepost="bs_x"',
        "gatepost=bs_x; gatepost=bs_y",
        "GATEPOST=bs_x",
        "gatepost=" + "x" * 5000,
        "gatepost=bs_\xff\xfe",
        "gatepost=bs_%00",
    ],
)
@pytest.mark.spec("S-09")
def test_new_cookie_is_made_when_the_one_sent_is_none_of_ours(gatepost: Gatepost, header: str) -> None:
    response = gatepost.app.test_client(use_cookies=False).get("/login", headers={"Cookie": header})
    assert response.status_code == 200
    assert attributes_of(response)[0] == "gatepost"


def test_no_cookie_is_set_when_none_is_needed(flow: Flow) -> None:
    browser = flow.gatepost.browser()
    for path in ("/", "/healthz", "/.well-known/openid-configuration", "/static/gatepost.css", "/signed-out", "/nope"):
        assert "Set-Cookie" not in browser.get(path, buffered=True).headers
    for path in ("/oauth/token", "/oauth/introspect", "/oauth/revoke", "/oauth/userinfo"):
        assert "Set-Cookie" not in browser.post(path).headers
    assert "Set-Cookie" not in browser.get("/oauth/authorize").headers
    assert "Set-Cookie" not in flow.browser.get("/oauth/authorize", query_string=flow.parameters(scope='"')).headers


def test_cookie_stays_small_when_fifty_requests_are_under_way(flow: Flow) -> None:
    for _ in range(50):
        flow.authorize()
    assert len(flow.browser._cookies) == 1
    assert len(secret_of(flow.browser)) == 46


@pytest.mark.spec("NIST SP 800-63B-4 §5.1")
def test_cookie_is_replaced_and_the_old_one_dead_when_the_person_signs_in(flow: Flow) -> None:
    flow.authorize()
    before = secret_of(flow.browser)
    flow.code()
    after = secret_of(flow.browser)
    assert after != before
    stranger = with_cookie(flow.gatepost, before)
    answer = stranger.get("/oauth/authorize", query_string=flow.parameters(prompt="none"))
    assert answer_of(answer.headers["Location"])["error"] == "login_required"
    assert "You are signed in" not in with_cookie(flow.gatepost, before).get("/").text
    assert "You are signed in" in flow.browser.get("/").text


def test_cookie_is_replaced_again_when_the_same_person_confirms(flow: Flow) -> None:
    flow.code()
    before = secret_of(flow.browser)
    flow.code(prompt="login")
    assert secret_of(flow.browser) != before
    assert "You are signed in" not in with_cookie(flow.gatepost, before).get("/").text


def test_cookie_is_kept_when_the_password_was_wrong(flow: Flow) -> None:
    page = flow.open_page("/login", flow.authorize())
    before = secret_of(flow.browser)
    response = flow.submit(page, "/login", username=flow.email, password="wrong")
    assert "Set-Cookie" not in response.headers
    assert secret_of(flow.browser) == before


@pytest.mark.parametrize("seconds", [0, 9, 11])
def test_old_cookie_does_not_reach_the_persons_session_when_somebody_else_signs_in_with_it(
    flow: Flow, seconds: int
) -> None:
    """Session fixation: whoever planted the cookie knows it, and has the moment after the sign-in to use it."""
    flow.gatepost.add_user("mallory@example.com", name="Mallory", password="a password of mallory")
    mallory = Flow(
        flow.gatepost, flow.client, flow.secret, flow.gatepost.browser(), "mallory@example.com", "a password of mallory"
    )
    planted_form = form_fields(mallory.browser.get("/login").text)
    planted = secret_of(mallory.browser)
    flow.browser.set_cookie("gatepost", planted)
    flow.code()
    flow.gatepost.clock.advance(seconds)
    mallory.browser.set_cookie("gatepost", planted)
    mallory.browser.post("/login", data={**planted_form, "username": mallory.email, "password": mallory.password})
    answer = mallory.authorize(prompt="select_account")
    # Within the moment the planted cookie gets no page at all; later it is a new browser's.
    chooser = answer if seconds < 10 else mallory.open_page("/select-account", answer)
    assert chooser.status_code == (403 if seconds < 10 else 200)
    assert "ada@example.com" not in chooser.text
    # Ada does not notice: her own cookie still works.
    assert "Ada Example" in flow.browser.get("/").text


def test_session_ends_when_it_was_idle_or_is_too_old(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(session_idle_lifetime=1000, session_lifetime=2500)
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    flow.code()

    def is_signed_in() -> bool:
        return "code" in answer_of(flow.authorize(prompt="none").headers["Location"])

    for _ in range(2):
        gatepost.clock.advance(999)
        assert is_signed_in()
    # Used or not, its time is over at 2500 s.
    gatepost.clock.advance(2500 - 2 * 999 - 1)
    assert is_signed_in()
    gatepost.clock.advance(1)
    assert not is_signed_in()
    flow.code()
    gatepost.clock.advance(1000)
    assert not is_signed_in()


def test_use_is_noted_at_most_once_a_minute_when_the_session_is_used_often(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(session_idle_lifetime=1000)
    flow = flow_of(gatepost, redirect_uris=("https://app.example/cb",))
    flow.code()
    gatepost.clock.advance(59)
    flow.authorize(prompt="none")
    gatepost.clock.advance(941)
    assert "error" in answer_of(flow.authorize(prompt="none").headers["Location"])


def test_no_cookie_is_set_when_the_answer_is_an_error_that_rolls_the_new_one_back(flow: Flow) -> None:
    location = flow.browser.post("/oauth/authorize", data=flow.parameters()).headers["Location"]
    flow.gatepost.change_client(flow.client.id, disabled_at=flow.gatepost.clock.now())
    response = flow.gatepost.browser().get(location)
    assert response.status_code == 400
    assert "Set-Cookie" not in response.headers
