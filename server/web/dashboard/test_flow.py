"""Trying an application: its authorization request explained word by word, and then the answer that came back.

The request uses a redirect URI of the application's own: one of ours would have to be registered with it, and whoever
could make it answer there would have its codes. So the answer is read from the address that the browser was sent to,
which the developer pastes here; nothing of it is kept.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlencode

from flask import request
from flask.wrappers import Response

from server.domain.client_secrets import needs_secret
from server.domain.clients import Client
from server.domain.errors import Conflict, Invalid
from server.infra import secrets
from server.web.dashboard.application_types import type_of
from server.web.dashboard.applications import application_of, trail_to
from server.web.dashboard.quick_start import LANGUAGES, snippet
from server.web.dashboard.shell import OrganizationShell

PROMPTS: Final = (
    ("", "Only what is needed"),
    ("login", "Sign in again"),
    ("consent", "Ask for consent again"),
    ("select_account", "Choose an account"),
    ("none", "Show nothing at all"),
)
_ASKED: Final = {
    "response_type": "What to answer with: a code, which is worth nothing without the verifier below.",
    "client_id": "Which application asks.",
    "redirect_uri": "Where to answer. It must be registered, character by character.",
    "scope": "What the application wants to be allowed.",
    "state": "A random word of this request. The answer has the same, or it belongs to another request.",
    "nonce": "Another, which comes back inside the ID token.",
    "code_challenge": "The SHA-256 of the verifier. The code is traded only to whoever has the verifier itself (PKCE).",
    "code_challenge_method": "How the challenge was made.",
    "prompt": "Which pages to show even if they are not needed.",
}
_ANSWERED: Final = {
    "code": "The code: good once, and for a minute.",
    "state": "The word that the request sent along.",
    "iss": "Who answered. An application that uses several servers checks it (RFC 9207).",
    "error": "Why there is no code.",
    "error_description": "The same in words.",
    "session_state": "The state of the browser’s session here, for applications that watch it.",
}


@dataclass(frozen=True)
class Explained:
    """One parameter, and what it is for."""

    name: str
    value: str
    meaning: str
    #: Whether it is as it must be; None where nothing is to be compared.
    is_right: bool | None = None


@dataclass(frozen=True)
class Trial:
    """One request: what is random in it travels in the form, as nothing is kept."""

    redirect_uri: str
    prompt: str
    state: str
    nonce: str
    verifier: str


def show_test_flow(shell: OrganizationShell, client_id: str) -> Response:
    """The request, explained; or for a machine the two commands that are its whole flow."""
    client = application_of(shell, client_id)
    return _show(shell, client, _trial(client), [])


def explain_answer(shell: OrganizationShell, client_id: str) -> Response:
    """What came back, explained, and the command that trades the code.

    Raises:
        Invalid: when what was pasted is not an address of the application's.
    """
    client = application_of(shell, client_id)
    trial = _trial(client)
    answered = _after(trial.redirect_uri, shell.value("answer").strip())
    found = dict(parse_qsl(answered, keep_blank_values=True))
    if not {"code", "error"} & set(found):
        raise Invalid("answer", "There is neither a code nor an error in this address. Copy the whole of it.")
    right = {"state": trial.state, "iss": shell.work.settings.issuer}
    answer = [
        Explained(
            name,
            value,
            _ANSWERED.get(name, "Not known to us."),
            secrets.equal(value, right[name]) if name in right else None,
        )
        for name, value in found.items()
    ]
    return _show(shell, client, trial, answer)


def _after(redirect_uri: str, address: str) -> str:
    """The parameters that were added to the redirect URI.

    Raises:
        Invalid: when the address is another one, also one that only begins alike.
    """
    rest = address.removeprefix(redirect_uri)
    # Browsers write the path that stands for none.
    if redirect_uri.count("/") == 2 and rest.startswith("/"):
        rest = rest[1:]
    marks = ("&", "#") if "?" in redirect_uri else ("?", "#")
    if not address.startswith(redirect_uri) or (rest and not rest.startswith(marks)):
        raise Invalid("answer", f"The address begins with {redirect_uri}")
    return rest[1:]


def _show(shell: OrganizationShell, client: Client, trial: Trial, answer: list[Explained]) -> Response:
    settings = shell.work.settings
    parameters = _parameters(client, trial) if client.redirect_uris else {}
    code = next((each.value for each in answer if each.name == "code"), None)
    return shell.render(
        "dashboard/applications/test_flow.html",
        client=client,
        kind=type_of(client.client_type),
        trial=trial,
        prompts=PROMPTS,
        uri_options=[(uri, uri) for uri in client.redirect_uris],
        parameters=[Explained(name, value, _ASKED[name]) for name, value in parameters.items()],
        request_url=settings.url(f"/oauth/authorize?{urlencode(parameters)}"),
        answer=answer,
        is_answer_right=all(each.is_right is not False for each in answer),
        command=_trade(settings.url("/oauth/token"), client, trial, code) if code else None,
        machine_code=None if client.redirect_uris else snippet(settings, client, LANGUAGES["curl"]),
        action=shell.url("applications", client.id, "test-flow"),
        trail_links=trail_to(shell, client),
    )


def _trial(client: Client) -> Trial:
    """A new request, or the one whose form was posted."""
    if not client.redirect_uris and request.method == "POST":
        raise Conflict("Nobody signs in to this application.")
    asked = request.values.get("redirect_uri", "")
    known = [value for value, _ in PROMPTS]
    prompt = request.values.get("prompt", "")
    return Trial(
        redirect_uri=asked if asked in client.redirect_uris else next(iter(client.redirect_uris), ""),
        prompt=prompt if prompt in known else "",
        state=request.form.get("state") or secrets.new_id(),
        nonce=request.form.get("nonce") or secrets.new_id(),
        verifier=request.form.get("verifier") or secrets.new_secret(""),
    )


def _parameters(client: Client, trial: Trial) -> dict[str, str]:
    digest = hashlib.sha256(trial.verifier.encode()).digest()
    parameters = {
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": trial.redirect_uri,
        "scope": client.scope,
        "state": trial.state,
        "nonce": trial.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
        "prompt": trial.prompt,
    }
    return {name: value for name, value in parameters.items() if value}


def _trade(token_url: str, client: Client, trial: Trial, code: str) -> str:
    """The token request as a command; the secret is left to whoever runs it."""
    in_body = client.token_endpoint_auth_method == "client_secret_post"
    proof = '-u "$CLIENT_ID:$CLIENT_SECRET"' if needs_secret(client) and not in_body else '-d "client_id=$CLIENT_ID"'
    proof += ' -d "client_secret=$CLIENT_SECRET"' if in_body else ""
    form = {
        "code": code,
        "redirect_uri": trial.redirect_uri,
        "code_verifier": trial.verifier,
    }
    lines = [
        f"CLIENT_ID={shlex.quote(client.id)}",
        f"curl {shlex.quote(token_url)} {proof} \\",
        "  -d grant_type=authorization_code \\",
        *(f"  --data-urlencode {shlex.quote(f'{name}={value}')} \\" for name, value in form.items()),
    ]
    return "\n".join(lines).removesuffix(" \\")
