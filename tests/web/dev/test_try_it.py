"""The try-it client: each walk goes through the whole application, in this process."""

import re
from collections.abc import Iterator
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import Client, TestResponse

from server.app import create_app, create_dev_app
from server.config import Settings
from server.domain import demo_seed, signing_keys
from server.domain.actor import OPERATOR
from server.domain.unit_of_work import UnitOfWork, open_runtime
from server.infra import jose
from server.infra.clock import SystemClock
from server.infra.database import open_session
from server.infra.keyring import create_keyring
from server.infra.migrations import upgrade
from server.web.dev import try_it
from server.web.dev.exchanges import DemoClient, mask, shorten
from server.web.dev.runs import Run, RunStore
from server.web.dev.token_views import Expectation, view_token
from tests.interop.person import Form, forms_of

ALL_SCOPES = ["openid", "profile", "email", "offline_access"]


@pytest.fixture(scope="module", params=["", "/auth"], ids=["root", "path"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("try-it")
    return Settings(
        environment="development",
        issuer=f"http://localhost:8000{request.param}",
        database_url=f"sqlite:///{folder / 'dev.sqlite'}",
        keys_dir=folder / "keys",
        argon2_time_cost=1,
        argon2_memory_kib=8192,
    )


@pytest.fixture(scope="module")
def credentials(settings: Settings) -> demo_seed.DemoCredentials:
    create_keyring(settings.keys_dir)
    upgrade(settings)
    with open_session(settings) as db:
        work = UnitOfWork.begin(open_runtime(settings), db, OPERATOR)
        signing_keys.ensure_keys(work)
        return demo_seed.seed(work, settings.issuer + try_it.CALLBACK_PATH, None)


@pytest.fixture(scope="module")
def app(settings: Settings, credentials: demo_seed.DemoCredentials) -> Iterator[Flask]:
    app = create_dev_app(settings, credentials)
    yield app
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()


class Visitor:
    """A person at a browser without scripts; every answer but a redirect is `page`."""

    def __init__(self, app: Flask, settings: Settings, password: str) -> None:
        self.browser = Client(app)
        self.root = settings.issuer
        self.origin = "{0.scheme}://{0.netloc}".format(urlsplit(settings.issuer))
        self.password = password
        self.url = ""
        self.page: TestResponse

    @property
    def text(self) -> str:
        """The page as it reads, without markup."""
        words = re.sub(r"<[^>]*>", " ", self.page.get_data(as_text=True))
        return re.sub(r"\s+", " ", unescape(words))

    def go(self, url: str, **request: object) -> "Visitor":
        """Follows a URL, and its redirects, to a page."""
        path = url.removeprefix(self.origin)
        self.page = self.browser.open(path, base_url=self.origin, **request)  # type: ignore[arg-type]
        self.url = path
        while self.page.status_code == 303:
            self.url = self.page.headers["Location"].removeprefix(self.origin)
            self.page = self.browser.open(self.url.split("#")[0], base_url=self.origin)
        return self

    def press(self, button: str, **typed: str | list[str]) -> "Visitor":
        """Fills in the form with the button of that id, and presses it."""
        form = self.form(button)
        pressed = next(found for found in form.buttons if found.get("id") == button)
        data: dict[str, str | list[str]] = {**dict(form.hidden()), **typed}
        if "name" in pressed:
            data[pressed["name"]] = pressed["value"]
        return self.go(form.action, method="POST", data=data)

    def form(self, button: str) -> Form:
        """The form with the button of that id."""
        return next(form for form in forms_of(self.page.get_data(as_text=True)) if form.has(button))

    def offers(self, button: str) -> bool:
        """Whether the page has a button of that id."""
        return any(form.has(button) for form in forms_of(self.page.get_data(as_text=True)))

    def prepare(self, client: str = demo_seed.WEB, scope: list[str] = ALL_SCOPES, prompt: str = "consent") -> str:
        """Prepares a request on the try-it page; returns the authorization URL."""
        self.go(f"{self.root}/dev/try").press("try-start", client=client, scope=scope, prompt=prompt)
        link = re.search(r'id="try-continue" href="([^"]+)"', self.page.get_data(as_text=True))
        assert link is not None, self.text
        return unescape(link[1])

    def sign_in(self, **chosen: object) -> "Visitor":
        """Goes all the way to the page with the tokens."""
        self.go(self.prepare(**chosen))  # type: ignore[arg-type]
        if self.offers("login-submit"):
            self.press("login-submit", username=demo_seed.EMAIL, password=self.password)
        return self.press("consent-approve")


@pytest.fixture
def visitor(app: Flask, settings: Settings, credentials: demo_seed.DemoCredentials) -> Visitor:
    return Visitor(app, settings, credentials.password)


def test_authorization_url_is_explained_when_a_request_is_prepared(visitor: Visitor) -> None:
    url = visitor.prepare(prompt="login")
    sent = parse_qs(urlsplit(url).query)
    assert set(sent) == {
        "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method", "prompt",
    }  # fmt: skip
    assert all(name in visitor.text and values[0] in visitor.text for name, values in sent.items())
    assert url in visitor.text
    assert f"{visitor.root}/.well-known/openid-configuration" in visitor.text


@pytest.mark.parametrize("client", [demo_seed.WEB, demo_seed.SPA])
def test_every_step_is_shown_and_verified_when_the_person_allows(visitor: Visitor, client: str) -> None:
    visitor.sign_in(client=client)
    assert visitor.page.status_code == 200
    assert visitor.url.endswith("#step-2")
    for words in ("ID token: verified", "Access token: verified", "RS256", "at+jwt", "code_verifier", demo_seed.EMAIL):
        assert words in visitor.text, words
    assert "200 OK" in visitor.text
    assert "Refused" not in visitor.text
    assert visitor.page.get_data(as_text=True).count('<li class="step" ') == 5


def test_secret_is_masked_when_the_client_authenticates(
    visitor: Visitor, credentials: demo_seed.DemoCredentials
) -> None:
    visitor.sign_in()
    assert credentials.web_secret not in visitor.page.get_data(as_text=True)
    assert f"Basic base64(demo-web:{mask(credentials.web_secret)})" in visitor.text
    assert credentials.web_secret not in repr(DemoClient("demo-web", credentials.web_secret))


def test_code_is_spent_once_when_the_callback_is_loaded_again(visitor: Visitor) -> None:
    visitor.sign_in()
    run, steps = visitor.url, visitor.text
    state = run.rpartition("/")[2].partition("#")[0]
    visitor.go(f"{visitor.root}/dev/try/callback?code=another&state={state}&iss={visitor.root}")
    assert visitor.text == steps


def test_refusal_is_shown_when_the_person_cancels(visitor: Visitor) -> None:
    visitor.go(visitor.prepare(prompt="login")).press("login-cancel")
    assert "The person comes back without a code" in visitor.text
    assert "access_denied" in visitor.text
    assert not visitor.offers("try-revoke")


def test_refusal_is_shown_when_no_page_may_be(visitor: Visitor) -> None:
    visitor.go(visitor.prepare(prompt="none"))
    assert "login_required" in visitor.text
    assert "Not signed in" in visitor.text


@pytest.mark.spec("RFC 9207 §2.4")
def test_code_is_not_exchanged_when_another_issuer_answered(visitor: Visitor) -> None:
    state = parse_qs(urlsplit(visitor.prepare()).query)["state"][0]
    visitor.go(f"{visitor.root}/dev/try/callback?code=ac_stolen&state={state}&iss=https://evil.example")
    assert "No: iss is" in visitor.text
    assert "The app exchanges the code" not in visitor.text


def test_exchange_is_shown_as_refused_when_the_code_is_not_one(visitor: Visitor) -> None:
    state = parse_qs(urlsplit(visitor.prepare()).query)["state"][0]
    visitor.go(f"{visitor.root}/dev/try/callback?code=ac_made_up&state={state}&iss={visitor.root}")
    assert "invalid_grant" in visitor.text
    assert not visitor.offers("try-revoke")


@pytest.mark.parametrize("path", ["callback", "callback?state=unknown", "runs/unknown"])
def test_page_is_not_found_when_the_run_is_unknown(visitor: Visitor, path: str) -> None:
    visitor.go(f"{visitor.root}/dev/try/{path}")
    assert visitor.page.status_code == 404
    assert "not known here" in visitor.text


@pytest.mark.spec("RFC 9700 §4.14.2")
def test_rotation_is_shown_when_the_tokens_are_refreshed(visitor: Visitor) -> None:
    visitor.sign_in()
    assert not visitor.offers("try-replay")
    visitor.press("try-refresh")
    assert visitor.url.endswith("#step-6")
    assert "Yes: The refresh token was replaced by a new one (rotation)" in visitor.text
    visitor.press("try-replay")
    assert "Somebody uses the old refresh token again" in visitor.text


def test_tokens_are_dead_when_the_access_was_given_back(visitor: Visitor) -> None:
    visitor.sign_in().press("try-introspect")
    assert '"active": true' in visitor.text
    visitor.press("try-revoke")
    assert "No body." in visitor.text
    visitor.press("try-introspect")
    assert '"active": false' in visitor.text
    visitor.press("try-userinfo")
    assert "401 Unauthorized" in visitor.text
    visitor.press("try-refresh")
    assert "invalid_grant" in visitor.text


def test_access_token_is_revoked_when_there_is_no_refresh_token(visitor: Visitor) -> None:
    visitor.sign_in(scope=["openid"])
    assert not visitor.offers("try-refresh")
    visitor.press("try-revoke").press("try-userinfo")
    assert "401 Unauthorized" in visitor.text


def test_there_is_no_id_token_when_openid_is_not_asked_for(visitor: Visitor) -> None:
    visitor.sign_in(scope=["profile"])
    assert "Access token: verified" in visitor.text
    assert "ID token: verified" not in visitor.text


@pytest.mark.spec("RFC 7662 §2.1")
def test_introspection_is_not_offered_when_the_client_is_public(visitor: Visitor) -> None:
    visitor.sign_in(client=demo_seed.SPA)
    assert not visitor.offers("try-introspect")
    before = visitor.text
    form = visitor.form("try-revoke")
    visitor.go(form.action, method="POST", data={**dict(form.hidden()), "do": "introspect"})
    assert visitor.text == before


def test_machine_gets_a_token_of_its_own_when_it_asks(visitor: Visitor) -> None:
    visitor.go(f"{visitor.root}/dev/try").press("try-machine")
    assert "client_credentials" in visitor.text
    assert "Access token: verified" in visitor.text
    assert not visitor.offers("try-userinfo")
    visitor.press("try-introspect")
    assert '"active": true' in visitor.text


@pytest.mark.parametrize("path", ["", "/machine", "/runs/unknown"])
def test_form_is_refused_when_it_comes_from_elsewhere(visitor: Visitor, path: str) -> None:
    visitor.go(f"{visitor.root}/dev/try")
    visitor.go(f"{visitor.root}/dev/try{path}", method="POST", data={"csrf_token": "guess"})
    assert visitor.page.status_code == 403


def test_pages_hold_forms_to_this_site_and_run_no_script(visitor: Visitor) -> None:
    for page in (visitor.go(f"{visitor.root}/dev/try"), visitor.sign_in()):
        policy = page.page.headers["Content-Security-Policy"]
        assert "form-action 'self'" in policy
        assert "script-src" not in policy
        assert "<script" not in page.page.get_data(as_text=True)


def test_page_does_not_exist_when_it_is_no_development_server(
    settings: Settings, credentials: demo_seed.DemoCredentials
) -> None:
    served = create_app(settings)
    assert Client(served).get(f"{settings.issuer_path}/dev/try").status_code == 404
    with served.app_context():
        served.extensions["sqlalchemy"].engine.dispose()


def test_oldest_run_gives_way_when_there_are_many() -> None:
    store, client = RunStore(), DemoClient("demo-spa", None)
    runs = [Run(client) for _ in range(65)]
    for run in runs:
        store.add(run)
    assert store.find(runs[0].state) is None
    assert store.find(runs[1].state) is runs[1]


def test_token_is_not_verified_when_anything_about_it_is_wrong() -> None:
    now = SystemClock().now()
    key, other = jose.generate_key("ES256"), jose.generate_key("ES256")
    claims = {"iss": "https://a.example", "aud": ["x", "demo-web"], "exp": int(now.timestamp()) + 60, "amr": ["pwd"]}
    token = jose.sign(claims, key, "ES256", "JWT")
    keys = [jose.public_jwk(key)]
    good = Expectation({"iss": "https://a.example", "aud": "demo-web"}, now, typ="JWT")
    assert view_token("ID token", token, keys, good).verified
    assert not view_token("ID token", token, [jose.public_jwk(other)], good).verified
    assert not view_token("ID token", token, keys, Expectation({"iss": "https://b.example"}, now)).verified
    assert not view_token("ID token", token, keys, Expectation({}, now, typ="at+jwt")).verified
    expired = jose.sign({**claims, "exp": int(now.timestamp()) - 1}, key, "ES256", "JWT")
    assert not view_token("ID token", expired, keys, good).verified
    stolen = jose.sign({**claims, "at_hash": "x"}, key, "ES256", "JWT")
    assert not view_token("ID token", stolen, keys, Expectation({}, now, access_token="another")).verified
    opaque = view_token("ID token", "opaque", keys, good)
    assert (opaque.verified, opaque.header) == (False, ())


def test_long_value_is_shown_by_its_ends() -> None:
    assert shorten("short") == "short"
    assert shorten("a" * 100 + "b" * 100) == "a" * 40 + "…" + "b" * 16
