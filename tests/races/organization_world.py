"""An organization on live processes: a person of it, its keys and applications, and every path that uses them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from server.infra.secrets import keyed_digest
from tests.interop.person import Person, forms_of
from tests.interop.registry import WEB_CALLBACK, Account, RegisteredClient, create_client
from tests.protocol.client_authentication.assertions import signed_with_secret
from tests.races.connection import Answer, request
from tests.races.matrix import World
from tests.races.stage import Stage

_EXCHANGE = {
    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
    "subject_token_type": "urn:gatepost:params:oauth:token-type:api_key",
}
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_PERMISSION = "organizations:read"
_SCOPE = f"openid offline_access {_PERMISSION}"
_ALIAS = "first-party-front-end"
#: Setting up takes more requests than people send.
SETTINGS = {
    "GATEPOST_API_REQUESTS_PER_MINUTE": "1000000",
    "GATEPOST_SESSION_ALIAS_PATH": "/session",
    "GATEPOST_SESSION_ALIAS_CLIENT": _ALIAS,
}


def create_alias_client(on: Stage) -> RegisteredClient:
    """The deployment's own front end, whose refresh tokens are traded at the alias."""
    return create_client(on.servers[0], "spa", "--first-party", "--client-id", _ALIAS, scope=_SCOPE)


class Boss:
    """The owner of all organizations, signed in on a browser, and somebody's session at `/v1`."""

    def __init__(self, on: Stage, account: Account, person: Person | None = None) -> None:
        self.on, self.account = on, account
        self.person = person or Person(account.email, account.password)
        if person is None:
            page = self.person.request("GET", on.issuer + "/login")
            self.person.submit(
                page.url, forms_of(page.text)[0], "login-submit", username=account.email, password=account.password
            )

    @property
    def cookie(self) -> str:
        """What the browser sends."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.person.session.cookies)

    @property
    def headers(self) -> dict[str, str]:
        """What our own pages send to `/v1`."""
        secret = dict(each.split("=", 1) for each in self.cookie.split("; "))["gatepost"]
        return {"Cookie": self.cookie, "X-CSRF-Token": keyed_digest(secret, "csrf:api")}

    def ask(self, method: str, path: str, document: object = None) -> dict[str, Any]:
        """Asks `/v1`, on the first process."""
        answer = self.person.request(method, f"{self.on.issuer}/v1{path}", headers=self.headers, json=document)
        if answer.status_code >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:300]}")
        found: dict[str, Any] = answer.json() if answer.text else {}
        return found


class OrganizationWorld(World):
    """The person is an administrator, made what they use, and invited others."""

    scope = _SCOPE

    def __init__(self, on: Stage, api: RegisteredClient, boss: Boss) -> None:
        self.on, self.api, self.boss = on, api, boss
        made = boss.ask("POST", "/organizations", {"name": f"Works {secrets.token_hex(4)}"})
        self.organization, self.path = str(made["id"]), f"/organizations/{made['id']}"
        self.account = Account("", f"{secrets.token_hex(4)}@example.com", secrets.token_urlsafe(18))
        self.person = Person(self.account.email, self.account.password)
        self.accepted = self.invited(boss, self.account.email, "admin")
        self.join(self.accepted)
        self.itself = Boss(on, self.account, self.person)
        members = boss.ask("GET", f"{self.path}/members")["data"]
        self.member_id = next(str(each["id"]) for each in members if each["email"] == self.account.email)
        self.key_id, self.key = self._new_key()
        self.gone_keys = self._keys_that_ended()
        self.web = self._new_client(type="web", redirectUris=[WEB_CALLBACK], scopes=self.scope.split())
        self.machine = self._new_client(type="machine", scopes=[_PERMISSION], jwtAuthentication=True)
        self.cookie = self._sign_in()
        self.refill()

    def refill(self) -> None:
        """Besides codes and tokens: an exchanged token, the application's own, invitations, the front end's tokens."""
        self.exchanged = self._token_of(self.send(0, self._exchange()))
        form = {"grant_type": "client_credentials"}
        self.applications = self._token_of(self.as_client(0, self.machine, "/oauth/token", form))
        guests = [f"{secrets.token_hex(6)}@example.com" for _ in self.on.ports]
        self.invitations = [self.invited(self.itself, guest, "member") for guest in guests]
        super().refill()
        web, self.web = self.web, RegisteredClient(_ALIAS, "", WEB_CALLBACK)
        codes = [{**self._new_code(), "client_id": _ALIAS} for _ in self.on.ports]
        self.web = web
        answers = [self.send(0, form_post(self.on.issuer + "/oauth/token", code)) for code in codes]
        self.sessions = [str(answer.members["refresh_token"]) for answer in answers]

    @staticmethod
    def _token_of(answer: Answer) -> str:
        if answer.status != 200:
            raise RuntimeError(f"no token came back, but {answer.status} {answer.body[:300]!r}")
        return str(answer.members["access_token"])

    def invited(self, inviter: Boss, email: str, role: str) -> str:
        invitation = inviter.ask("POST", f"{self.path}/invitations", {"email": email, "role": role})
        return str(invitation["link"])

    def join(self, link: str, person: Person | None = None) -> bool:
        """Opens an invitation's link and does what its page asks; whether that makes a member."""
        person = person or self.person
        page = person.request("GET", link)
        form = next((form for form in forms_of(page.text) if form.has("invitation-accept")), None)
        if form is None:
            return False
        typed = {"name": "Grace Hopper", "password": person.password}
        return person.submit(link, form, "invitation-accept", **typed)[1].status_code == 303

    def _new_key(self) -> tuple[str, str]:
        made = self.itself.ask("POST", f"{self.path}/api-keys", {"name": "Job", "permissions": [_PERMISSION]})
        return str(made["id"]), str(made["key"])

    def _keys_that_ended(self) -> list[str]:
        """The texts of one that was revoked and of one that was rotated."""
        (revoked_id, revoked), (rotated_id, rotated) = self._new_key(), self._new_key()
        self.itself.ask("DELETE", f"{self.path}/api-keys/{revoked_id}")
        self.itself.ask("POST", f"{self.path}/api-keys/{rotated_id}/rotate", {"overlap": "0h"})
        return [revoked, rotated]

    def _new_client(self, **members: Any) -> RegisteredClient:
        made = self.itself.ask("POST", f"{self.path}/clients", {"name": f"App {secrets.token_hex(3)}", **members})
        return RegisteredClient(str(made["id"]), str(made["clientSecret"]), WEB_CALLBACK)

    def jwt(self) -> str:
        """A token that the application made for itself."""
        now = int(time.time())
        claims = {"iss": self.machine.client_id, "sub": self.machine.client_id, "aud": self.on.issuer, "iat": now,
                  "exp": now + 600, "scope": _PERMISSION}  # fmt: skip
        return signed_with_secret(claims, self.machine.client_secret)

    def _exchange(self) -> bytes:
        form = {**_EXCHANGE, "subject_token": self.key}
        return form_post(self.on.issuer + "/oauth/token", form)

    def is_exchanged(self, replica: int) -> bool:
        return self.send(replica, self._exchange()).status == 200

    def is_assertion_taken(self, replica: int) -> bool:
        form = {"grant_type": _JWT_BEARER, "assertion": self.jwt()}
        return self.send(replica, form_post(self.on.issuer + "/oauth/token", form)).status == 200

    def bearers(self, replica: int) -> dict[str, str]:
        """Everything that is presented to APIs."""
        return {
            "API key": self.key,
            "exchanged token": self.exchanged,
            "person's token": str(self.tokens[replica]["access_token"]),
            "application's token": self.applications,
            "client-made JWT": self.jwt(),
        }

    def is_heard(self, replica: int, bearer: str) -> bool:
        """Whether `/v1` answers it."""
        headers = {"Authorization": f"Bearer {bearer}"}
        return self.send(replica, request("GET", f"{self.on.issuer}/v1{self.path}", headers)).status == 200

    def passes(self, replica: int, bearer: str) -> bool:
        """Whether a gateway lets it pass."""
        url = f"{self.on.issuer}/v1/verify?organization={self.organization}&scope={_PERMISSION}"
        return self.send(replica, request("GET", url, {"Authorization": f"Bearer {bearer}"})).status == 200

    def is_called_active(self, replica: int, bearer: str) -> bool:
        """Whether an API that asks is told that it is alive."""
        answer = self.as_client(replica, self.api, "/oauth/introspect", {"token": bearer})
        return answer.members["active"] is True

    def is_heard_at_our_own_pages(self, replica: int) -> bool:
        headers = {**self.itself.headers, "Cookie": self.cookie}
        return self.send(replica, request("GET", f"{self.on.issuer}/v1{self.path}", headers)).status == 200

    def sees_the_dashboard(self, replica: int) -> bool:
        return self.get(replica, f"/dashboard/{self.organization}/live").status == 200

    def is_session_renewed(self, replica: int) -> bool:
        form = {"refresh_token": self.sessions[replica]}
        return self.send(replica, form_post(self.on.issuer + "/session", form)).status == 200

    def is_invitation_accepted(self, replica: int) -> bool:
        """Whether a new person comes in by it, at this process."""
        link = self.invitations[replica]
        page = self.send(replica, request("GET", link, {}))
        form = next((form for form in forms_of(page.body.decode()) if form.has("invitation-accept")), None)
        if form is None:
            return False
        fields = {**dict(form.hidden()), "name": "Grace Hopper", "password": secrets.token_urlsafe(18)}
        headers = {"Cookie": page.header("set-cookie").split(";")[0], "Origin": self.on.issuer}
        return self.send(replica, request("POST", link, headers, urlencode(fields).encode())).status == 303


def _presented(how: Callable[[OrganizationWorld, int, str], bool], name: str) -> Callable[[Any, int], bool]:
    return lambda world, replica: how(world, replica, world.bearers(replica)[name])


def form_post(url: str, form: dict[str, str]) -> bytes:
    """A form by whoever."""
    return request("POST", url, {}, urlencode(form).encode())


BEARERS = ("API key", "exchanged token", "person's token", "application's token", "client-made JWT")
PATHS: dict[str, Callable[[Any, int], bool]] = {
    "token: code": World.is_redeemed,
    "token: refresh": World.is_refreshed,
    "token: client credentials": World.is_given_its_own_token,
    "token: exchange": OrganizationWorld.is_exchanged,
    "token: jwt-bearer": OrganizationWorld.is_assertion_taken,
    "userinfo": World.is_told_claims,
    "introspect: refresh token": World.is_refresh_token_active,
    "introspect: as the client": World.is_client_answered,
    "authorize: prompt=none": World.is_authorized_silently,
    "/v1: session": OrganizationWorld.is_heard_at_our_own_pages,
    "dashboard": OrganizationWorld.sees_the_dashboard,
    "session alias": OrganizationWorld.is_session_renewed,
    "invitation": OrganizationWorld.is_invitation_accepted,
    **{f"/v1: {name}": _presented(OrganizationWorld.is_heard, name) for name in BEARERS},
    **{f"/v1/verify: {name}": _presented(OrganizationWorld.passes, name) for name in BEARERS},
    **{f"introspect: {name}": _presented(OrganizationWorld.is_called_active, name) for name in BEARERS},
}
