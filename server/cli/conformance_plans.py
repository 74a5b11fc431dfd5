"""The configurations that the OpenID Foundation's conformance suite is given: clients, and what its browser is to do.

A plan's configuration names the pages by URL and by the ids of their elements. Where a module asks for a picture of a
page, an override of that module says on which page it is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from server.config import Settings
from server.domain.conformance_seed import (
    BACKCHANNEL,
    CLIENT,
    CLIENT2,
    CLIENT_SECRET_POST,
    FRONTCHANNEL,
    ConformanceCredentials,
)
from server.domain.demo_seed import EMAIL

ALIAS: Final = "gatepost"
_PICTURE: Final = "update-image-placeholder"
_SECONDS: Final = 10
_AUTHORIZE_ERRORS: Final = (
    "oidcc-ensure-registered-redirect-uri",
    "oidcc-ensure-redirect-uri-in-authorization-request",
    "oidcc-redirect-uri-query-mismatch",
    "oidcc-redirect-uri-query-added",
)
_SECOND_LOGINS: Final = ("oidcc-prompt-login", "oidcc-max-age-1")
_LOGIN_LINKS: Final = ("oidcc-registration-logo-uri", "oidcc-registration-policy-uri", "oidcc-registration-tos-uri")
_LOGOUT: Final = "oidcc-rp-initiated-logout-"
_LOGOUT_QUESTIONS: Final = tuple(
    _LOGOUT + name
    for name in (
        "bad-post-logout-redirect-uri",
        "query-added-to-post-logout-redirect-uri",
        "modified-id-token-hint",
        "bad-id-token-hint",
        "no-id-token-hint",
    )
)
_LOGOUT_ENDS: Final = tuple(_LOGOUT + name for name in ("no-params", "no-post-logout-redirect-uri", "only-state"))

_Json = dict[str, Any]


@dataclass(frozen=True)
class _Automation:
    """What the suite's browser does on the pages of one deployment."""

    settings: Settings
    password: str

    def browser(self) -> list[_Json]:
        """For every module that has nothing of its own."""
        return [self.authorize(self.login()), self.logout(self.confirm())]

    def overrides(self) -> _Json:
        """For the modules that want a picture."""
        pictured = ["wait", "id", "login-page", _SECONDS, ".*", _PICTURE]
        error = self.authorize_with(self.task("The error page", "/oauth/authorize", _see("error-page", "")))
        second = [{**self.authorize(self.login()), "match-limit": 1}, self.authorize(self.login(pictured))]
        question = self.task(
            "A question, or an error", "/logout", ["wait", "xpath", "//main", _SECONDS, ".*", _PICTURE]
        )
        signed_out = self.task("Signed out", "/", _see("logged-out", "Signed out"))
        before = self.authorize(self.login())
        return {
            **_each(_AUTHORIZE_ERRORS, error),
            **_each(_SECOND_LOGINS, *second),
            **_each(_LOGIN_LINKS, self.authorize(self.login(pictured))),
            **_each(_LOGOUT_QUESTIONS, before, self.logout(question)),
            **_each(_LOGOUT_ENDS, before, self.logout(self.confirm(), signed_out)),
        }

    def task(self, name: str, path: str, *commands: list[Any]) -> _Json:
        """What to do when the browser is at `path`."""
        return {"task": name, "match": f"{self.settings.url(path)}*", "commands": list(commands)}

    def login(self, *before: list[Any]) -> _Json:
        """Signs in, where the page is shown."""
        fill = (["text", "id", "username", EMAIL], ["text", "id", "password", self.password])
        return _optional(self.task("Sign in", "/login", *before, *fill, ["click", "id", "login-submit"]))

    def confirm(self) -> _Json:
        """Signs out, where the page asks."""
        return _optional(self.task("Confirm", "/logout", ["click", "id", "logout-confirm"]))

    def authorize(self, login: _Json) -> _Json:
        """An authorization request, all the way back to the suite."""
        consent = _optional(self.task("Consent", "/consent", ["click", "id", "consent-approve"]))
        return self.authorize_with(login, consent, _back_at("callback"))

    def authorize_with(self, *tasks: _Json) -> _Json:
        """An authorization request and what to do then."""
        return {"match": f"{self.settings.url('/oauth/authorize')}*", "tasks": list(tasks)}

    def logout(self, *tasks: _Json) -> _Json:
        """A logout request, what to do then, and back at the suite if it goes there."""
        back = _optional(_back_at("post_logout_redirect"))
        return {"match": f"{self.settings.url('/logout')}*", "tasks": [*tasks, back]}


def plans(settings: Settings, credentials: ConformanceCredentials) -> dict[str, _Json]:
    """Configurations by file name: one for all plans, and one for each plan whose static client is another."""
    return {
        "plan.json": _plan(settings, credentials, CLIENT),
        "plan-backchannel.json": _plan(settings, credentials, BACKCHANNEL),
        "plan-frontchannel.json": _plan(settings, credentials, FRONTCHANNEL),
    }


def _plan(settings: Settings, credentials: ConformanceCredentials, client_id: str) -> _Json:
    automation = _Automation(settings, credentials.password)

    def client(name: str) -> _Json:
        return {"client_id": name, "client_secret": credentials.secrets[name]}

    return {
        "alias": ALIAS,
        "description": f"{settings.issuer_name} at {settings.issuer}",
        "server": {
            "discoveryUrl": settings.url("/.well-known/openid-configuration"),
            "login_hint": EMAIL,
        },
        "client": client(client_id),
        "client2": client(CLIENT2),
        "client_secret_post": client(CLIENT_SECRET_POST),
        "browser": automation.browser(),
        "override": automation.overrides(),
    }


def _each(modules: tuple[str, ...], *browser: _Json) -> _Json:
    return {module: {"browser": list(browser)} for module in modules}


def _optional(task: _Json) -> _Json:
    return {**task, "optional": True}


def _see(element: str, text: str) -> list[Any]:
    return ["wait", "id", element, _SECONDS, f"(?s).*{text}.*", _PICTURE]


def _back_at(name: str) -> _Json:
    wait = ["wait", "id", "submission_complete", _SECONDS]
    return {"task": "Back at the suite", "match": f"*/test/a/{ALIAS}/{name}*", "commands": [wait]}
