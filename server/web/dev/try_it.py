"""`/dev/try`: a client inside the development server that does the whole flow and shows every step of it.

Only `gatepost dev` registers it. No view here holds a database transaction while it sends a request to this server:
on SQLite the two would wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from flask import Flask, current_app, redirect, request
from flask.typing import ResponseReturnValue
from flask.wrappers import Response

from server.domain import demo_seed
from server.domain.errors import NotFound
from server.domain.unit_of_work import Runtime
from server.web.csrf import check_csrf, csrf_token
from server.web.dev.exchanges import DemoClient, LoopbackClient
from server.web.dev.runs import Run, RunStore
from server.web.dev.walkthrough import Walkthrough
from server.web.pages import page_url, render
from server.web.security_headers import stays_on_site
from server.web.session_cookie import ensure_browser
from server.web.transaction import in_transaction

CALLBACK_PATH: Final = "/dev/try/callback"

_EXTENSION: Final = "gatepost_try_it"
_CSRF_PURPOSE: Final = "try-it"
_RUN_PATH: Final = "dev/try/runs/"


@dataclass(frozen=True)
class Option:
    """Something to choose on a page, with the word that travels for it."""

    value: str
    label: str
    technical: str = ""
    hint: str = ""
    checked: bool = True


@dataclass(frozen=True)
class TryIt:
    """The client: its registrations, how it speaks to the server, and what it remembers."""

    clients: Mapping[str, DemoClient]
    walkthrough: Walkthrough
    runs: RunStore


_CLIENTS: Final = (
    Option(demo_seed.WEB, "A web app with a server", demo_seed.WEB, "Confidential: its server keeps a secret."),
    Option(demo_seed.SPA, "An app in the browser", demo_seed.SPA, "Public: whatever it holds, anyone can read."),
)
_SCOPES: Final = (
    Option("openid", "Who you are", "openid"),
    Option("profile", "Name and profile", "profile"),
    Option("email", "Email address", "email"),
    Option("address", "Postal address", "address", checked=False),
    Option("phone", "Phone number", "phone", checked=False),
    Option("offline_access", "Access while you are away", "offline_access"),
)
_PROMPTS: Final = (
    Option("", "Only what is needed", "no prompt"),
    Option("login", "Sign in again", "prompt=login"),
    Option("consent", "Consent again", "prompt=consent"),
    Option("select_account", "Choose an account", "prompt=select_account"),
    Option("none", "None at all", "prompt=none"),
)


def register_try_it(app: Flask, runtime: Runtime, web_secret: str, machine_secret: str) -> None:
    """Adds `/dev/try` to `app`, as the clients of `demo_seed`, whose redirect URI is the issuer + `CALLBACK_PATH`."""
    issuer = runtime.settings.issuer
    redirect_uri = issuer + CALLBACK_PATH
    clients = {
        demo_seed.WEB: DemoClient(demo_seed.WEB, web_secret, redirect_uri),
        demo_seed.SPA: DemoClient(demo_seed.SPA, None, redirect_uri),
        demo_seed.MACHINE: DemoClient(demo_seed.MACHINE, machine_secret),
    }
    walkthrough = Walkthrough(LoopbackClient(app, issuer), runtime.clock)
    app.extensions[_EXTENSION] = TryIt(clients, walkthrough, RunStore())
    path = f"{runtime.settings.issuer_path}/dev/try"
    app.add_url_rule(path, "try_it.show_start", show_start, methods=["GET"])
    app.add_url_rule(path, "try_it.begin", begin, methods=["POST"])
    app.add_url_rule(f"{path}/machine", "try_it.ask_as_machine", ask_as_machine, methods=["POST"])
    app.add_url_rule(f"{path}/callback", "try_it.callback", callback, methods=["GET"])
    app.add_url_rule(f"{path}/runs/<state>", "try_it.show_run", show_run, methods=["GET"])
    app.add_url_rule(f"{path}/runs/<state>", "try_it.go_on", go_on, methods=["POST"])


def _try_it() -> TryIt:
    return cast(TryIt, current_app.extensions[_EXTENSION])


@in_transaction
def show_start() -> Response:
    """What shall be tried. A browser that is new here gets its cookie, which the forms' tokens hang on."""
    ensure_browser()
    stays_on_site()
    return render(
        "dev/try.html",
        action=page_url("dev/try"),
        machine_action=page_url("dev/try/machine"),
        csrf_token=csrf_token(_CSRF_PURPOSE),
        request=None,
        clients=_CLIENTS,
        scopes=_SCOPES,
        prompts=_PROMPTS,
        machine=demo_seed.MACHINE,
        demo_email=demo_seed.EMAIL,
    )


def begin() -> ResponseReturnValue:
    """Prepares an authorization request from what was chosen."""
    check_csrf(_CSRF_PURPOSE)
    client = _CLIENTS[0].value if request.form.get("client") != demo_seed.SPA else demo_seed.SPA
    scope = " ".join(option.value for option in _SCOPES if option.value in request.form.getlist("scope"))
    prompt = next((option.value for option in _PROMPTS if option.value == request.form.get("prompt")), "")
    run = Run(_try_it().clients[client])
    _try_it().walkthrough.begin(run, scope, prompt)
    return _keep_and_show(run)


def ask_as_machine() -> ResponseReturnValue:
    """Runs the client credentials grant."""
    check_csrf(_CSRF_PURPOSE)
    run = Run(_try_it().clients[demo_seed.MACHINE])
    _try_it().walkthrough.ask_as_machine(run)
    return _keep_and_show(run)


def callback() -> ResponseReturnValue:
    """The redirect URI: finds the run by `state`, and spends the code once however often the page is loaded."""
    run = _find_run(request.args.get("state", ""))
    first = len(run.steps) + 1
    if _try_it().runs.claim_answer(run):
        _try_it().walkthrough.receive(run, request.args.to_dict())
    return _show(run, first)


def show_run(state: str) -> Response:
    """A run as far as it has come."""
    run = _find_run(state)
    stays_on_site()
    heading, lead = _headline(run)
    return render(
        "dev/try_result.html",
        heading=heading,
        lead=lead,
        steps=run.steps,
        continue_url=None if run.answered or run.tokens else run.authorization_url,
        actions=[option for option, is_possible in _ACTIONS if is_possible(run)],
        action=page_url(_RUN_PATH + run.state),
        start_url=page_url("dev/try"),
        csrf_token=csrf_token(_CSRF_PURPOSE),
        request=None,
    )


def go_on(state: str) -> ResponseReturnValue:
    """Does one more thing with the tokens of a run."""
    check_csrf(_CSRF_PURPOSE)
    run = _find_run(state)
    wanted = request.form.get("do")
    first = len(run.steps) + 1
    if any(option.value == wanted and is_possible(run) for option, is_possible in _ACTIONS):
        _DEEDS[str(wanted)](_try_it().walkthrough, run)
    return _show(run, first)


def _keep_and_show(run: Run) -> Response:
    _try_it().runs.add(run)
    return _show(run, 1)


def _show(run: Run, step: int) -> Response:
    fragment = f"#step-{step}" if 1 < step <= len(run.steps) else ""
    return cast(Response, redirect(page_url(_RUN_PATH + run.state) + fragment, 303))


def _find_run(state: str) -> Run:
    run = _try_it().runs.find(state)
    if run is None:
        raise NotFound("This try-out is not known here. It may be older than the server's last start.")
    return run


def _headline(run: Run) -> tuple[str, str]:
    if run.client.client_id == demo_seed.MACHINE:
        return "A token without a person", "One request, one answer."
    if run.tokens:
        return "Signed in, step by step", "Everything that happened between the question and the verified answer."
    if run.answered:
        return "Not signed in", "What was asked, and how far it came."
    return "The request is ready", "Read it, then go where the app would send you."


def _is_signed_in(run: Run) -> bool:
    return run.can_go_on and run.client.client_id != demo_seed.MACHINE


def _has_refresh_token(run: Run) -> bool:
    return run.can_go_on and "refresh_token" in run.tokens


def _has_spent_refresh_token(run: Run) -> bool:
    return run.can_go_on and run.spent_refresh_token is not None


def _may_introspect(run: Run) -> bool:
    return run.can_go_on and not run.client.is_public


def _can_go_on(run: Run) -> bool:
    return run.can_go_on


_ACTIONS: Final[tuple[tuple[Option, Callable[[Run], bool]], ...]] = (
    (Option("userinfo", "Ask userinfo"), _is_signed_in),
    (Option("refresh", "Refresh"), _has_refresh_token),
    (Option("replay", "Use the old refresh token"), _has_spent_refresh_token),
    (Option("introspect", "Introspect"), _may_introspect),
    (Option("revoke", "Revoke"), _can_go_on),
)
_DEEDS: Final[Mapping[str, Callable[[Walkthrough, Run], None]]] = {
    "userinfo": Walkthrough.ask_userinfo,
    "refresh": Walkthrough.refresh,
    "replay": Walkthrough.replay,
    "introspect": Walkthrough.introspect,
    "revoke": Walkthrough.revoke,
}
