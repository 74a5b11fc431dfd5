"""A long life of one deployment beside a model of it: whatever order things happen in, both say the same.

Hypothesis makes the lives up: people sign in and out, clients authorize, redeem, refresh, replay, revoke and ask,
operators disable, delete and rotate, time passes, replicas restart. The invariants INV-… are those of
`docs/security.md`.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from flask.testing import FlaskClient
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from server.domain import clients, housekeeping, key_rotation, signing_keys, users
from server.domain.authorization_codes import AuthorizationCode
from server.domain.client_secrets import issue_client_secret, rotate_client_secret
from server.domain.consents import Consent
from server.domain.grants import Grant as GrantRow
from server.domain.refresh_tokens import RefreshToken
from server.infra import jose
from tests.properties.model import DAY, Access, App, Code, Grant, Person, Refresh, SignedIn, Window
from tests.properties.replicas import Replicas
from tests.support.application import ISSUER, PASSWORD, Gatepost
from tests.support.flow import CHALLENGE, VERIFIER, basic, form_fields

ALGORITHM = "ES256"
SCOPES = ("openid", "openid email", "openid offline_access", "openid email profile offline_access")
ACTIONS = (
    *("disable person", "enable person", "enable person", "disable app", "enable app", "enable app", "delete person"),
    *("delete app", "another secret", "rotate key", "retire keys", "sweep"),
)
_NUMBERS = itertools.count()

wrong = st.sampled_from(("nothing", "nothing", "nothing", "verifier", "no verifier", "redirect", "secret"))
coin = st.booleans()
mostly = st.sampled_from((True, True, True, False))
ages = st.sampled_from((0, 0, 0, 1, 2))


class Deployment(RuleBasedStateMachine):
    """The server and the model, step by step."""

    prepared: ClassVar[Path | None] = None
    root: ClassVar[Path | None] = None
    #: What happened in all lives so far, for the figures.
    told: ClassVar[Counter[str]] = Counter()

    people = st.runner().flatmap(lambda machine: st.sampled_from(machine.all_people))
    apps = st.runner().flatmap(lambda machine: st.sampled_from(machine.all_apps))
    windows = st.runner().flatmap(lambda machine: st.sampled_from(machine.all_windows))
    codes = Bundle("codes")
    refreshes = Bundle("refreshes")

    def __init__(self) -> None:
        super().__init__()
        self.told["lives"] += 1
        if Deployment.prepared is None:
            Deployment.root = Deployment.root or Path(tempfile.mkdtemp(prefix="gatepost-machine-"))
            prepared = Deployment.root / f"prepared{next(_NUMBERS)}"
            Gatepost(prepared).close()
            # Not before it is whole: when that fails, Hypothesis tries once more.
            Deployment.prepared = prepared
        self.replicas = Replicas(Deployment.prepared, Deployment.prepared.with_name(f"life{next(_NUMBERS)}"))
        self.grants: list[Grant] = []
        self.consents: dict[tuple[str, str], frozenset[str]] = {}
        self.removed_keys: set[str] = set()
        self.everything: list[Code | Refresh | Access] = []
        self.browsers: dict[Window, FlaskClient] = {}
        self.codes_redeemed: dict[str, int] = {}
        self.all_people = [self.add_person(name) for name in ("ada", "grace")]
        self.all_apps = [self.add_app(name) for name in ("one", "two")]
        self.all_windows = [self.add_window() for _ in range(2)]

    @classmethod
    def forget(cls) -> None:
        """Removes what the lives left on disk."""
        if cls.root is not None:
            shutil.rmtree(cls.root)
        cls.prepared = cls.root = None

    @property
    def now(self) -> int:
        return self.replicas.now

    # Who there is -------------------------------------------------------------------------------------------------

    def add_person(self, name: str) -> Person:
        user = self.replicas.next().add_user(f"{name}@example.com")
        return Person(user.email, user.id)

    def add_app(self, name: str) -> App:
        uri = f"https://{name}.example/cb"
        algorithms = {"id_token_signed_response_alg": ALGORITHM, "access_token_signed_response_alg": ALGORITHM}
        client, secret = self.replicas.next().add_client(
            client_id=name, redirect_uris=(uri,), refresh_token_policy="always", **algorithms
        )
        self.replicas.redirect_uris += (uri,)
        return App(client.id, uri, {str(secret): None})

    def add_window(self) -> Window:
        window = Window()
        self.browsers[window] = self.replicas.next().browser()
        return window

    @initialize(target=refreshes, scope=st.sampled_from(SCOPES))
    def one_in_use(self, scope: str) -> Any:
        """Everybody has signed in somewhere, and one client holds tokens."""
        self.authorize(self.all_windows[1], self.all_apps[1], self.all_people[1], scope, True)
        code = self.authorize(self.all_windows[0], self.all_apps[0], self.all_people[0], scope, True)
        return self.redeem(code, self.all_apps[0], True, "nothing", 0, True)

    # In the browser -----------------------------------------------------------------------------------------------

    def visit(self, window: Window, path: str, **options: Any) -> TestResponse:
        return self.replicas.send("GET", path, self.browsers[window], **options)

    def answer(self, window: Window, path: str, page: TestResponse, **fields: str) -> TestResponse:
        data = {**form_fields(page.text), **fields}
        return self.replicas.send("POST", path, self.browsers[window], data=data)

    def ask(self, window: Window, app: App, scope: str, state: str, nonce: str, **more: str) -> TestResponse:
        wanted = {"response_type": "code", "client_id": app.id, "redirect_uri": app.redirect_uri, "scope": scope}
        wanted |= {"state": state, "nonce": nonce, "code_challenge": CHALLENGE, "code_challenge_method": "S256", **more}
        return self.visit(window, "/oauth/authorize", query_string=wanted)

    def walk(self, window: Window, response: TestResponse, person: Person) -> tuple[TestResponse, list[str]]:
        """Does what the pages ask; the last answer, and the pages that were shown."""
        shown: list[str] = []
        for _ in range(12):
            location = response.headers.get("Location", "")
            if response.status_code != 303 or not location.startswith("/"):
                return response, shown
            page, path = self.visit(window, location), urlsplit(location).path
            if page.status_code != 200:
                response = page
                continue
            shown.append(path)
            if path == "/login":
                response = self.answer(window, path, page, username=person.email, password=PASSWORD)
            else:
                assert path == "/consent", path
                response = self.answer(window, path, page, decision="allow")
        raise AssertionError("the pages go round in circles")

    @rule(target=codes, window=windows, app=apps, person=people, scope=st.sampled_from(SCOPES), login=coin)
    def authorize(self, window: Window, app: App, person: Person, scope: str, login: bool) -> Any:
        state, nonce = f'state "{next(_NUMBERS)}" é&=+ %00', f"nonce-{next(_NUMBERS)}"
        more = {"prompt": "login"} if login else {}
        response, shown = self.walk(window, self.ask(window, app, scope, state, nonce, **more), person)
        if not app.is_usable:
            assert response.status_code == 400
            assert "Location" not in response.headers, "INV-20: no redirect before the client is proven"
            assert shown == []
            return multiple()
        session = None if login else window.answering(self.now)
        assert ("/login" in shown) == (session is None)
        if session is None:
            if not person.is_usable:
                assert response.status_code == 400, "INV-11: nobody disabled signs in"
                self.replicas.forget_failures()
                return multiple()
            session = window.sign_in(person, self.now)
        asked = frozenset(scope.split())
        remembered = self.consents.get((session.person.id, app.id), frozenset())
        assert ("/consent" in shown) == (not asked <= remembered), "INV-26: consent is asked when it is not remembered"
        self.consents[session.person.id, app.id] = remembered | asked
        return self.take_code(response, session, app, asked, state, nonce)

    def take_code(
        self, response: TestResponse, session: SignedIn, app: App, asked: frozenset[str], state: str, nonce: str
    ) -> Code:
        session.touch(self.now)
        pairs = parse_qsl(urlsplit(response.headers["Location"]).query, keep_blank_values=True)
        answer = dict(pairs)
        names = sorted(name for name, _ in pairs)
        assert names == ["code", "iss", "session_state", "state"], "INV-21 and INV-22: each once, no more"
        assert answer["state"] == state, "INV-21: the state comes back byte by byte"
        assert answer["iss"] == ISSUER, "INV-15"
        grant = Grant(app, session, asked, nonce, self.now)
        self.told["codes issued"] += 1
        code = Code(answer["code"], grant, self.now)
        self.grants.append(grant)
        self.everything.append(code)
        return code

    @rule(target=codes, window=windows, app=apps, scope=st.sampled_from(SCOPES))
    def authorize_silently(self, window: Window, app: App, scope: str) -> Any:
        response = self.ask(window, app, scope, "silent", "silent", prompt="none")
        if not app.is_usable:
            assert response.status_code == 400
            assert "Location" not in response.headers, "INV-20"
            return multiple()
        session, asked = window.answering(self.now), frozenset(scope.split())
        if session is not None and asked <= self.consents.get((session.person.id, app.id), frozenset()):
            return self.take_code(response, session, app, asked, "silent", "silent")
        answer = dict(parse_qsl(urlsplit(response.headers["Location"]).query))
        assert answer["error"] == ("login_required" if session is None else "consent_required"), "INV-26"
        return multiple()

    @rule(window=windows, thief=windows, app=apps, person=people, kind=st.integers(0, 3), known=coin)
    def try_something(self, window: Window, thief: Window, app: App, person: Person, kind: int, known: bool) -> None:
        if kind == 0:
            for prompt in ("none", "login", ""):
                self.ask_for_a_stranger(window, app, known, prompt)
        elif kind == 1:
            self.carry_on_in_another_browser(window, thief, app)
        elif kind == 2:
            self.guess_a_password(window, person, known)
        else:
            self.only_look(window)

    def ask_for_a_stranger(self, window: Window, app: App, unknown: bool, prompt: str) -> None:
        other = {"client_id": "nobody"} if unknown else {"redirect_uri": app.redirect_uri + "/"}
        response = self.ask(window, app, "openid", "x", "x", **({"prompt": prompt} if prompt else {}), **other)
        assert response.status_code == 400
        assert "Location" not in response.headers, "INV-19 and INV-20"

    def carry_on_in_another_browser(self, window: Window, thief: Window, app: App) -> None:
        if window is thief or not app.is_usable:
            return
        location = self.ask(window, app, "openid", "x", "x", prompt="consent").headers["Location"]
        request = location.partition("=")[2]
        for path in (location, f"/oauth/authorize/resume/{request}"):
            response = self.visit(thief, path)
            assert response.status_code == 403, "INV-25: another browser never advances a flow"
            assert "Location" not in response.headers

    def guess_a_password(self, window: Window, person: Person, known: bool) -> None:
        name = person.email if known else f"nobody{next(_NUMBERS)}@example.com"
        response = self.answer(window, "/login", self.visit(window, "/login"), username=name, password="a guess")
        assert response.status_code == 400
        assert "Email or password is incorrect." in response.text, "INV-28: one sentence whether or not there is one"
        self.replicas.forget_failures()

    @rule(window=windows)
    def sign_out(self, window: Window) -> None:
        page = self.visit(window, "/logout")
        assert (page.status_code == 200) == window.has_anybody(self.now)
        forged = self.replicas.send("POST", "/logout", self.browsers[window], data={"decision": "sign_out"})
        assert forged.status_code == 403, "INV-23: nothing changes without proof of the form"
        if page.status_code == 200:
            assert self.answer(window, "/logout", page, decision="sign_out").status_code == 303
            window.sign_out(self.grants)
            self.answer(window, "/logout", page, decision="sign_out")
            self.check_newest()

    def only_look(self, window: Window) -> None:
        before = self.rows()
        for path in ("/", "/login", "/logout", "/consent", "/select-account", "/oauth/token"):
            for method in ("GET", "HEAD", "OPTIONS"):
                self.replicas.send(method, path, self.browsers[window])
        assert self.rows() == before, "INV-23: looking changes nothing"

    # At the token endpoint ----------------------------------------------------------------------------------------

    def post(self, app: App, secret: str | None, path: str, **form: str) -> TestResponse:
        return self.replicas.send("POST", path, data=form, headers=basic(app.id, secret or "cs_wrong"))

    def a_secret(self, app: App, age: int = 0) -> str:
        """One of the secrets that the client ever had, 0 being the newest."""
        return list(app.secrets)[-1 - age % len(app.secrets)]

    def newest(self, kind: type[Code] | type[Refresh]) -> Any:
        """What was issued last of this kind."""
        return [each for each in self.everything if isinstance(each, kind)][-1]

    def is_refused(self, response: TestResponse, app: App, secret: str | None) -> bool:
        """Whether the client was not proven, as both have to say."""
        if secret is not None and app.is_proven_by(secret, self.now):
            assert response.status_code != 401
            return False
        assert response.status_code == 401, "INV-06: a client that is not proven gets nothing"
        assert response.get_json().get("error") == "invalid_client"
        return True

    @rule(
        target=refreshes,
        code=codes,
        app=apps,
        is_own=mostly,
        fault=wrong,
        age=ages,
        is_newest=mostly,
    )
    def redeem(self, code: Code, app: App, is_own: bool, fault: str, age: int, is_newest: bool) -> Any:
        code = self.newest(Code) if is_newest else code
        presenter = code.grant.app if is_own else app
        secret = None if fault == "secret" else self.a_secret(presenter, age)
        form = {"grant_type": "authorization_code", "code": code.text, "redirect_uri": code.grant.app.redirect_uri}
        if fault == "redirect":
            form["redirect_uri"] += "/"
        if fault != "no verifier":
            form["code_verifier"] = "x" * 43 if fault == "verifier" else VERIFIER
        response = self.post(presenter, secret, "/oauth/token", **form)
        if self.is_refused(response, presenter, secret):
            return multiple()
        if not code.redeem(presenter, self.now, is_right=fault == "nothing"):
            assert (response.status_code, response.get_json().get("error")) == (400, "invalid_grant"), (
                "INV-01 and INV-06"
            )
            self.told["redemptions refused"] += 1
            return multiple()
        assert response.status_code == 200, response.text
        self.codes_redeemed[code.text] = self.codes_redeemed.get(code.text, 0) + 1
        assert self.codes_redeemed[code.text] == 1, "INV-01: one success ever"
        self.told["codes redeemed"] += 1
        return self.take_tokens(response, code.grant, code.grant.scopes, None, nonce=code.grant.nonce)

    def take_tokens(
        self,
        response: TestResponse,
        grant: Grant,
        scopes: frozenset[str],
        predecessor: Refresh | None,
        nonce: str | None,
    ) -> Refresh:
        answer = response.get_json()
        assert frozenset(answer["scope"].split()) == scopes, "INV-07: as asked, allowed and consented"
        assert scopes <= grant.scopes <= self.consents[grant.person.id, grant.app.id], "INV-02: consent covers it"
        header = jose.peek_header(answer["access_token"])
        claims = self.verify(answer["access_token"])
        assert (header["typ"], claims["sub"], claims["aud"]) == ("at+jwt", grant.person.id, ISSUER), "INV-05, 08, 13"
        access = Access(answer["access_token"], grant, scopes, self.now, header["kid"])
        assert claims["exp"] - claims["iat"] == access.expires_at - self.now, "INV-09: never longer than its grant"
        self.check_id_token(self.verify(answer["id_token"]), grant, nonce)
        refresh = Refresh(answer["refresh_token"], grant, self.now, predecessor)
        self.everything += [access, refresh]
        return refresh

    def check_id_token(self, claims: dict[str, Any], grant: Grant, nonce: str | None) -> None:
        session = grant.session
        start = self.replicas.all[0].clock.now().timestamp() - self.now
        assert claims["iss"] == ISSUER, "INV-15"
        assert claims["aud"] == grant.app.id
        assert claims["sub"] == grant.person.id, "INV-13"
        assert claims.get("nonce") == nonce
        told = (claims["auth_time"] - start, claims["amr"], claims["acr"])
        assert told == (session.auth_time, ["pwd"], "1"), "INV-12: as the sign-in was"
        assert claims["sid"] == session.sids.setdefault(grant.app.id, claims["sid"]), "INV-12"
        assert len(set(session.sids.values())) == len(session.sids), "no two apps know it by one name"

    def verify(self, token: str) -> dict[str, Any]:
        """The claims, verified with the keys that every replica serves now (INV-14)."""
        for _ in self.replicas.all:
            keys = self.replicas.send("GET", "/.well-known/jwks.json").get_json()["keys"]
            assert all("d" not in key for key in keys), "INV-14: no private member"
            claims = dict(jose.verify(token, keys).claims)
        return claims

    @rule(
        target=refreshes,
        token=refreshes,
        app=apps,
        is_own=mostly,
        scope=st.sampled_from(("", "", "", "openid", "openid email phone")),
        age=ages,
        is_newest=mostly,
    )
    def refresh(self, token: Refresh, app: App, is_own: bool, scope: str, age: int, is_newest: bool) -> Any:
        token = self.newest(Refresh) if is_newest else token
        presenter = token.grant.app if is_own else app
        secret = self.a_secret(presenter, age)
        form = {"grant_type": "refresh_token", "refresh_token": token.text, **({"scope": scope} if scope else {})}
        response = self.post(presenter, secret, "/oauth/token", **form)
        if self.is_refused(response, presenter, secret):
            return multiple()
        outcome = token.present(presenter, self.now, frozenset(scope.split()))
        self.told[f"refreshes: {outcome}"] += 1
        if outcome in {"invalid_grant", "invalid_scope"}:
            assert (response.status_code, response.get_json().get("error")) == (400, outcome), "INV-04, INV-06, INV-07"
            return multiple()
        assert response.status_code == 200, response.text
        if outcome == "same":
            assert response.get_json() == token.answer, "INV-03: a retry is answered with the very same response"
            return multiple()
        token.answer = response.get_json()
        return self.take_tokens(response, token.grant, token.asked, token, nonce=None)

    @rule(target=refreshes, scope=st.sampled_from(SCOPES), window=windows, app=apps, person=people)
    def sign_in_and_redeem(self, window: Window, app: App, person: Person, scope: str) -> Any:
        code = self.authorize(window, app, person, scope, True)
        return self.redeem(code, app, True, "nothing", 0, False) if isinstance(code, Code) else multiple()

    @rule(code=codes, is_newest=mostly)
    def redeem_again(self, code: Code, is_newest: bool) -> None:
        """A code that comes back ends what it gave (INV-01)."""
        code = self.newest(Code) if is_newest else code
        for _ in range(2):
            self.redeem(code, code.grant.app, True, "nothing", 0, False)
        self.check_newest()

    @rule(token=refreshes, pause=st.sampled_from((0, 29, 30, 31)), is_newest=mostly)
    def retry(self, token: Refresh, pause: int, is_newest: bool) -> None:
        """The same token twice: a retry in its window, a reuse that ends the family after it (INV-03, INV-04)."""
        token = self.newest(Refresh) if is_newest else token
        for seconds in (0, pause):
            self.advance(seconds)
            self.refresh(token, token.grant.app, True, "", 0, False)
        self.check_newest()

    @rule(code=codes, token=refreshes, app=apps)
    def mistake_one_thing_for_another(self, code: Code, token: Refresh, app: App) -> None:
        accesses = [each.text for each in self.everything if isinstance(each, Access)][-1:]
        secret, uri = self.a_secret(app), app.redirect_uri
        for text in (code.text, *accesses):
            response = self.post(app, secret, "/oauth/token", grant_type="refresh_token", refresh_token=text)
            assert response.status_code in {400, 401}, "INV-05: no refresh token"
        for text in (token.text, *accesses):
            form = {"grant_type": "authorization_code", "code": text, "redirect_uri": uri, "code_verifier": VERIFIER}
            assert self.post(app, secret, "/oauth/token", **form).status_code in {400, 401}, "INV-05: no code"
        for text in (token.text, code.text, str((token.answer or {}).get("id_token", "x"))):
            assert self.claims_of_person(text).status_code == 401, "INV-05: no access token"

    # Who asks about tokens, and ends them -------------------------------------------------------------------------

    def claims_of_person(self, token: str) -> TestResponse:
        return self.replicas.send("GET", "/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})

    def a_token(self, index: int) -> Access | Refresh | None:
        tokens = [each for each in self.everything if not isinstance(each, Code)]
        return tokens[-1 - index % len(tokens)] if tokens else None

    @rule(index=st.integers(0, 9), app=apps, is_own=mostly, twice=coin)
    def revoke(self, index: int, app: App, is_own: bool, twice: bool) -> None:
        token = self.a_token(index)
        if token is None:
            return
        presenter = token.grant.app if is_own else app
        secret = self.a_secret(presenter)
        for _ in range(1 + twice):
            response = self.post(presenter, secret, "/oauth/revoke", token=token.text)
            if self.is_refused(response, presenter, secret):
                return
            assert (response.status_code, response.data) == (200, b""), "INV-18: twice is once"
        if presenter is not token.grant.app:
            return
        if isinstance(token, Access):
            token.is_revoked = True
        elif not token.is_swept:
            token.grant.is_revoked = True
        self.check_newest()

    @rule(index=st.integers(0, 9), place=st.floats(0, 1), flip=st.integers(1, 63))
    def change_a_byte(self, index: int, place: float, flip: int) -> None:
        token = self.a_token(index)
        if token is None or not token.grant.app.is_usable:
            return
        at = min(int(place * len(token.text)), len(token.text) - 1)
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        other = alphabet[(alphabet.find(token.text[at]) + flip) % 64]
        for text in (
            token.text[:at] + other + token.text[at + 1 :],
            token.text[:-1],
            token.text + "=",
            token.text + "A",
        ):
            if text != token.text:
                assert self.is_active(text, token.grant.app) is not True, "INV-17"

    def is_active(self, text: str, app: App) -> bool | None:
        """What introspection says; None when the client is not let in."""
        secret = self.a_secret(app)
        response = self.post(app, secret, "/oauth/introspect", token=text)
        if self.is_refused(response, app, secret):
            return None
        if not response.get_json()["active"]:
            assert response.get_json() == {"active": False}, "INV-16: nothing but that"
        return bool(response.get_json()["active"])

    def check_token(self, token: Access | Refresh) -> None:
        """Introspection and userinfo say what the model says (INV-10, INV-11, INV-16)."""
        if isinstance(token, Refresh):
            active = self.is_active(token.text, token.grant.app)
            self.told[f"refresh tokens asked about: active {active}"] += 1
            assert active in (None, token.is_live(self.now) and not token.is_swept), "INV-03, INV-04, INV-10, INV-11"
            return
        live = token.is_live(self.now, self.removed_keys)
        self.told[f"access tokens asked about: active {live}"] += 1
        assert self.is_active(token.text, token.grant.app) in (None, live), "INV-10, INV-11"
        told = self.claims_of_person(token.text)
        assert told.status_code == (200 if live else 401), "INV-16: both say the same"
        if live:
            assert told.get_json()["sub"] == token.grant.person.id, "INV-13"

    def check_newest(self) -> None:
        """Asks about what was issued last."""
        for index in range(4):
            token = self.a_token(index)
            if token is not None:
                self.check_token(token)

    @rule(index=st.integers(0, 9))
    def ask_about(self, index: int) -> None:
        token = self.a_token(index)
        if token is not None:
            self.check_token(token)

    # What operators do --------------------------------------------------------------------------------------------

    @rule(action=st.sampled_from(ACTIONS), person=people, app=apps, sure=st.integers(0, 3))
    def operate(self, action: str, person: Person, app: App, sure: int) -> None:
        match action:
            case "disable person" | "enable person":
                self.disable_person(person, action.startswith("disable"))
            case "disable app" | "enable app":
                self.disable_app(app, action.startswith("disable"))
            case "delete person" if sure == 0:
                self.delete_person(person)
            case "delete app" if sure == 0:
                self.delete_app(app)
            case "another secret":
                self.another_secret(app, (None, 0, 60, 3600)[sure])
            case "rotate key":
                self.rotate_key(sure % 2 == 0)
            case "retire keys":
                self.retire_keys()
            case "sweep":
                self.sweep()
        self.check_newest()
        for each in self.all_apps:
            for secret in each.secrets:
                self.is_refused(self.post(each, secret, "/oauth/revoke", token="x"), each, secret)

    def disable_person(self, person: Person, disable: bool) -> None:
        if not person.is_deleted:
            with self.replicas.work() as work:
                (users.disable_user if disable else users.enable_user)(work, users.get_user(work, person.id))
            person.is_disabled = disable

    def disable_app(self, app: App, disable: bool) -> None:
        if not app.is_deleted:
            with self.replicas.work() as work:
                (clients.disable_client if disable else clients.enable_client)(work, clients.get_client(work, app.id))
            app.is_disabled = disable

    def delete_person(self, person: Person) -> None:
        if not person.is_deleted:
            with self.replicas.work() as work:
                users.delete_user(work, users.get_user(work, person.id))
            person.is_deleted = True
            self.consents = {key: value for key, value in self.consents.items() if key[0] != person.id}

    def delete_app(self, app: App) -> None:
        if not app.is_deleted:
            with self.replicas.work() as work:
                clients.delete_client(work, clients.get_client(work, app.id))
            app.is_deleted = True
            self.consents = {key: value for key, value in self.consents.items() if key[1] != app.id}

    def another_secret(self, app: App, overlap: int | None) -> None:
        if app.is_deleted:
            return
        with self.replicas.work() as work:
            client = clients.get_client(work, app.id)
            if overlap is None:
                app.secrets[issue_client_secret(work, client)] = None
            else:
                app.rotate_secrets(rotate_client_secret(work, client, overlap), self.now, overlap)

    def rotate_key(self, prepare: bool) -> None:
        with self.replicas.work() as work:
            if prepare:
                key_rotation.prepare_next_key(work, ALGORITHM)
            key_rotation.rotate_key(work, ALGORITHM)

    def retire_keys(self) -> None:
        with self.replicas.work() as work:
            for stored in signing_keys.list_keys(work):
                if stored.state == signing_keys.KeyState.RETIRING:
                    key_rotation.retire_key(work, stored.kid)
                    self.removed_keys.add(stored.kid)

    def sweep(self) -> None:
        """Nothing but memory of what nobody can use is lost (R-34)."""
        with self.replicas.work() as work:
            housekeeping.sweep(work)
        for each in self.everything:
            if isinstance(each, Code):
                each.is_swept |= each.issued_at + 60 + DAY < self.now
            elif isinstance(each, Refresh):
                each.is_swept |= each.expires_at < self.now

    @rule(seconds=st.sampled_from((1, 1, 29, 31, 59, 61, 600, 3601, DAY + 1, 15 * DAY, 31 * DAY)))
    def advance(self, seconds: int) -> None:
        live = {token for token in self.everything if not isinstance(token, Code) and self.is_live(token)}
        self.replicas.advance(seconds)
        assert {token for token in self.everything if not isinstance(token, Code) and self.is_live(token)} <= live, (
            "INV-46"
        )

    def is_live(self, token: Access | Refresh) -> bool:
        return token.is_live(self.now, self.removed_keys) if isinstance(token, Access) else token.is_live(self.now)

    @rule(index=st.integers(0, 1))
    def restart(self, index: int) -> None:
        self.replicas.restart(index)

    # What is always true ------------------------------------------------------------------------------------------

    def rows(self) -> list[Any]:
        """How many rows of each kind there are, and in which state."""
        with self.replicas.work() as work:
            counts = [
                work.db.scalar(select(func.count()).select_from(table).where(condition))
                for table, condition in (
                    (AuthorizationCode, AuthorizationCode.consumed_at.is_not(None)),
                    (RefreshToken, RefreshToken.consumed_at.is_not(None)),
                    (GrantRow, GrantRow.revoked_at.is_not(None)),
                    (GrantRow, GrantRow.revoked_at.is_(None)),
                )
            ]
            return [*counts, *self.stored_consents(work)]

    def stored_consents(self, work: Any) -> list[tuple[str, str, tuple[str, ...]]]:
        return sorted((row.user_id, row.client_id, tuple(row.scopes)) for row in work.db.scalars(select(Consent)))

    @invariant()
    def each_family_has_at_most_one_leaf(self) -> None:
        self.told["steps"] += 1
        with self.replicas.work() as work:
            leaf = select(func.count()).where(RefreshToken.consumed_at.is_(None)).group_by(RefreshToken.grant_id)
            assert all(count == 1 for count in work.db.scalars(leaf)), "INV-03"

    @invariant()
    def consents_are_those_that_people_gave(self) -> None:
        with self.replicas.work() as work:
            given = sorted((*key, tuple(sorted(scopes))) for key, scopes in self.consents.items())
            assert self.stored_consents(work) == given, "INV-26"

    @invariant()
    def tokens_come_from_spent_codes(self) -> None:
        with self.replicas.work() as work:
            spent = select(AuthorizationCode.grant_id).where(AuthorizationCode.consumed_at.is_(None))
            unspent_with_tokens = select(func.count()).where(RefreshToken.grant_id.in_(spent))
            assert work.db.scalar(unspent_with_tokens) == 0, "INV-02"

    def teardown(self) -> None:
        """Everybody is enabled again, which revives nothing that was spent or revoked (INV-11)."""
        try:
            for person in self.all_people:
                self.disable_person(person, False)
            for app in self.all_apps:
                self.disable_app(app, False)
            for token in self.everything:
                if not isinstance(token, Code):
                    self.check_token(token)
        finally:
            self.replicas.close()
