"""Sessions and their cookie: the rules S, each seen from outside."""

import re

import pytest

from server.domain.users import delete_user, disable_user, get_user
from server.infra import secrets
from tests.security.replicas import replica_of, same_browser
from tests.support.application import Gatepost
from tests.support.deployment import GatepostMaker
from tests.support.flow import Flow, answer_of, flow_of, form_fields
from tests.support.words import words_of

SITE = "https://app.example/cb"


@pytest.fixture
def flow(gatepost: Gatepost) -> Flow:
    return flow_of(gatepost, redirect_uris=(SITE,))


def cookie_of(flow: Flow) -> str:
    found = flow.browser.get_cookie("gatepost")
    assert found is not None
    return found.value


def is_signed_in(browser: object) -> bool:
    return "You are signed in" in browser.get("/").text  # type: ignore[attr-defined, no-any-return]


@pytest.mark.spec("S-01")
def test_session_secret_cannot_be_guessed(gatepost: Gatepost) -> None:
    found = {secrets.new_secret() for _ in range(20_000)}
    assert len(found) == 20_000
    # Each of the 62 characters is as likely as any other: 256 random bits.
    counts = [sum(secret.count(character) for secret in found) for character in "09AZaz"]
    expected = 20_000 * 43 / 62
    assert all(0.93 * expected < count < 1.07 * expected for count in counts)
    gatepost.browser().get("/login")
    assert re.fullmatch(
        r"bs_[0-9A-Za-z]{43}", gatepost.browser().get("/login").headers["Set-Cookie"].split("=")[1].split(";")[0]
    )


@pytest.mark.spec("S-02")
def test_cookie_changes_and_the_old_one_is_dead_at_every_sign_in_step_up_and_sign_out(flow: Flow) -> None:
    flow.browser.get("/login")
    seen = [cookie_of(flow)]
    flow.code()
    seen.append(cookie_of(flow))
    flow.code(prompt="login")
    seen.append(cookie_of(flow))
    flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    seen.append(cookie_of(flow))
    assert len(set(seen)) == 4
    for old in seen:
        thief = flow.gatepost.browser()
        thief.set_cookie("gatepost", old)
        assert not is_signed_in(thief)


@pytest.mark.spec("S-03", "INV-43")
def test_copied_cookie_is_dead_on_another_replica_when_its_person_signed_out(flow: Flow) -> None:
    flow.code()
    with replica_of(flow.gatepost) as app:
        copy = same_browser(app, flow.browser)
        assert is_signed_in(copy)
        flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
        assert not is_signed_in(copy)
        silent = copy.get("/oauth/authorize", query_string=flow.parameters(prompt="none"))
        assert answer_of(silent.headers["Location"])["error"] == "login_required"


@pytest.mark.parametrize("end", [disable_user, delete_user], ids=["disabled", "deleted"])
@pytest.mark.spec("S-04", "INV-11", "INV-43")
def test_everything_of_a_person_is_dead_on_another_replica_when_they_are_gone(flow: Flow, end: object) -> None:
    tokens = flow.tokens()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    with replica_of(flow.gatepost) as app:
        copy = same_browser(app, flow.browser)
        assert app.test_client().get("/oauth/userinfo", headers=bearer).status_code == 200
        with flow.gatepost.work() as work:
            end(work, get_user(work, flow.email))  # type: ignore[operator]
        assert not is_signed_in(copy)
        assert app.test_client().get("/oauth/userinfo", headers=bearer).status_code == 401
    assert flow.refresh(tokens["refresh_token"]).status_code == 400


@pytest.mark.spec("S-06", "INV-46")
def test_session_ends_to_the_second_and_use_does_not_extend_its_last_day(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(session_idle_lifetime=1000, session_lifetime=2500)
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    flow.code()
    for _ in range(2):
        gatepost.clock.advance(999)
        assert is_signed_in(flow.browser)
        flow.code()
    gatepost.clock.advance(501)
    assert is_signed_in(flow.browser)
    gatepost.clock.advance(1)
    assert not is_signed_in(flow.browser)
    flow.code()
    gatepost.clock.advance(1000)
    assert not is_signed_in(flow.browser)


@pytest.mark.spec("S-08", "C-05")
def test_cookie_is_the_hosts_alone_and_stays_small_when_many_flows_run(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example/tenant")
    browser, base = gatepost.browser(), {"base_url": "https://login.example"}
    flow = flow_of(gatepost, redirect_uris=(SITE,))
    cookies = []
    for _ in range(50):
        answer = browser.get("/tenant/oauth/authorize", query_string=flow.parameters(), **base)  # type: ignore[arg-type]
        cookies += answer.headers.getlist("Set-Cookie")
    assert len(cookies) == 1
    name, _, attributes = cookies[0].partition("=")
    assert name == "__Host-gatepost"
    for attribute in ("Secure", "HttpOnly", "Path=/", "SameSite=Lax"):
        assert f"; {attribute}" in attributes
    assert "Domain" not in attributes
    assert len(cookies[0]) < 200


@pytest.mark.parametrize(
    "form", ["={name}={value}", "{value}", '{name}="{value}', "{name} ={value}x", "x{name}={value}"]
)
@pytest.mark.spec("S-09")
def test_cookie_opens_nothing_when_it_is_written_oddly(flow: Flow, form: str) -> None:
    flow.code()
    header = form.format(name="gatepost", value=cookie_of(flow))
    stranger = flow.gatepost.app.test_client(use_cookies=False)
    assert "You are signed in" not in stranger.get("/", headers={"Cookie": header}).text


@pytest.mark.spec("S-09")
def test_cookie_of_a_subdomain_opens_nothing_when_it_lacks_the_prefix(make_gatepost: GatepostMaker) -> None:
    gatepost = make_gatepost(issuer="https://login.example")
    stranger = gatepost.app.test_client(use_cookies=False)
    secret = gatepost.browser().get("/login").headers["Set-Cookie"].partition("=")[2].partition(";")[0]
    for header in (f"gatepost={secret}", f"__host-gatepost={secret}", f"__Secure-gatepost={secret}"):
        answer = stranger.get("/login", headers={"Cookie": header})
        # A new one is planted: what was sent named no browser.
        assert answer.headers["Set-Cookie"].startswith("__Host-gatepost="), header


@pytest.mark.spec("S-10", "INV-22")
def test_answer_about_a_person_is_kept_by_no_cache(flow: Flow) -> None:
    flow.code()
    for path in ("/", "/login", "/logout", "/signed-out"):
        page = flow.browser.get(path)
        assert page.headers["Cache-Control"] == "no-store", path
        assert "Cookie" in page.headers["Vary"], path
    for path in (
        "/x.css",
        "/logout/x.css",
        "/login/x.png",
        "/;x.css",
        "/logout%2fx.css",
        "/consent/.js",
        "/logout;/x.js",
    ):
        page = flow.browser.get(path)
        assert page.status_code == 404, path
        assert "Ada" not in words_of(page.text), path


@pytest.mark.spec("S-11")
def test_browser_is_told_to_forget_when_the_person_signs_out(flow: Flow) -> None:
    flow.code()
    out = flow.submit(flow.browser.get("/logout"), "/logout", decision="sign_out")
    assert out.headers["Clear-Site-Data"] == '"cache", "storage"'


@pytest.mark.spec("S-12", "INV-25")
def test_no_step_can_be_skipped_and_no_two_tabs_mix(flow: Flow) -> None:
    fresh = flow.authorize()
    request_id = fresh.headers["Location"].partition("request=")[2]
    for path, fields in (
        ("/consent", {"decision": "allow"}),
        ("/select-account", {"another": "1"}),
        ("/login", {"decision": "sign_in"}),
    ):
        answer = flow.browser.post(path, data={"request": request_id, "csrf_token": "x", **fields})
        assert "code=" not in answer.headers.get("Location", ""), path
    assert "code=" not in flow.browser.get(f"/oauth/authorize/resume/{request_id}").headers["Location"]
    other = Flow(
        flow.gatepost,
        flow_of(flow.gatepost, client_id="another", redirect_uris=("https://b.example/cb",)).client,
        None,
        flow.browser,
    )
    one, two = (
        flow.open_page("/consent", flow.authorize(state="one")),
        other.open_page("/consent", other.authorize(state="two")),
    )
    mixed = {**form_fields(one.text), "request": form_fields(two.text)["request"], "decision": "allow"}
    assert flow.browser.post("/consent", data=mixed).status_code == 403
    second = flow.walk(flow.submit(two, "/consent", decision="allow")).headers["Location"]
    first = flow.walk(flow.submit(one, "/consent", decision="allow")).headers["Location"]
    assert first.startswith(SITE)
    assert second.startswith("https://b.example/cb")
    assert (answer_of(first)["state"], answer_of(second)["state"]) == ("one", "two")
