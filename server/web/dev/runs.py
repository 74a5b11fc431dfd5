"""Runs of the try-it client: what one person's visit has done so far, kept in memory and bounded."""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode

from server.infra import secrets
from server.web.dev.exchanges import DemoClient, Exchange, Field
from server.web.dev.token_views import Check, TokenView

_KEPT: Final = 64
_STEPS_KEPT: Final = 40


@dataclass(frozen=True)
class Step:
    """One numbered step of a run, as the page shows it."""

    title: str
    text: str
    fields: tuple[Field, ...] = ()
    exchange: Exchange | None = None
    checks: tuple[Check, ...] = ()
    tokens: tuple[TokenView, ...] = ()
    #: The heading under which the exchange is folded away, because it is not the point of the step.
    folded: str = ""
    refused: bool = False
    #: Whether the tokens are the point of the step, and stand open.
    tokens_opened: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether nothing in the step was refused or failed a check."""
        verified = all(token.verified for token in self.tokens) and all(check.passed for check in self.checks)
        sent = self.exchange is None or self.exchange.succeeded
        return sent and verified and not self.refused


@dataclass
class Run:
    """One authorization from its first URL on; `state` is its key, and known to nobody but the person's browser."""

    client: DemoClient
    state: str = field(default_factory=secrets.new_id)
    nonce: str = field(default_factory=secrets.new_id)
    code_verifier: str = field(default_factory=secrets.new_secret)
    authorization_url: str = ""
    answered: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tokens: Mapping[str, Any] = field(default_factory=dict)
    spent_refresh_token: str | None = None
    steps: list[Step] = field(default_factory=list)

    @property
    def code_challenge(self) -> str:
        """The S256 challenge of the run's verifier (RFC 7636 §4.2)."""
        digest = hashlib.sha256(self.code_verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    @property
    def can_go_on(self) -> bool:
        """Whether the page still offers actions: there are tokens, and the page is not endless."""
        return bool(self.tokens) and len(self.steps) < _STEPS_KEPT

    def authorization_parameters(self, scope: str, prompt: str) -> dict[str, str]:
        """The parameters of the authorization request (OpenID Connect Core §3.1.2.1)."""
        parameters = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uri,
            "scope": scope,
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": self.code_challenge,
            "code_challenge_method": "S256",
            "prompt": prompt,
        }
        return {name: value for name, value in parameters.items() if value}

    def point_to(self, authorization_endpoint: str, parameters: Mapping[str, str]) -> None:
        """Sets the URL that the person's browser is sent to."""
        self.authorization_url = f"{authorization_endpoint}?{urlencode(parameters)}"


class RunStore:
    """The last runs, by `state`; the oldest gives way."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._lock = Lock()

    def add(self, run: Run) -> None:
        """Keeps `run`."""
        with self._lock:
            self._runs[run.state] = run
            while len(self._runs) > _KEPT:
                self._runs.popitem(last=False)

    def find(self, state: str) -> Run | None:
        """The run of `state`, or None when it was never started or has given way."""
        with self._lock:
            return self._runs.get(state)

    def claim_answer(self, run: Run) -> bool:
        """Whether this is the first answer to `run`; a callback that is loaded again must not spend the code again."""
        with self._lock:
            first, run.answered = not run.answered, True
            return first
