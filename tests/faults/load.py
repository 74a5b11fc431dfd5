"""Requests at a steady rate while something breaks, and what became of each."""

from __future__ import annotations

import base64
import collections
import http.client
import json
import select
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

import requests

from tests.interop.person import LostOnTheWay, Person, challenge_of
from tests.interop.registry import Account, RegisteredClient
from tests.support.servers import Server

SCOPE = "openid profile email offline_access"
VERIFIER = "a-verifier-that-is-long-enough-for-rfc-7636-to-allow-it"
#: Answered from memory whatever becomes of the database.
IN_MEMORY = frozenset({"jwks", "metadata"})
LOGINS_PER_SECOND = 0.5


@dataclass(frozen=True)
class Sample:
    """One request: when it began (monotonic seconds), how long it took, and what came back; status 0 is no answer."""

    kind: str
    began: float
    seconds: float
    status: int
    error: str = ""
    retry_after: str | None = None
    is_stored: bool = True

    @property
    def is_polite_failure(self) -> bool:
        """Whether it asks the client to come again, and nothing else."""
        return self.status == 503 and self.retry_after is not None and not self.is_stored


@dataclass
class Load:
    """Where requests go, on whose behalf, and what came back so far."""

    #: The address that is asked; the issuer's may be another.
    origin: str
    client: RegisteredClient
    machine: RegisteredClient
    account: Account
    per_second: float = 50.0
    kinds: tuple[str, ...] = ("token", "refresh", "introspect", "userinfo", "authorize", "login", "jwks", "metadata")
    samples: list[Sample] = field(default_factory=list)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        """Begins, once every kind of request has what it needs."""
        sessions = [_Session(self, kind) for kind in self.kinds]
        for session in sessions:
            thread = threading.Thread(target=self._run, args=(session,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        """Ends, with the last answers in."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self, session: _Session) -> None:
        # A password hash costs as much as forty tokens, and guessing is limited.
        rate = LOGINS_PER_SECOND if session.kind == "login" else self.per_second / len(self.kinds)
        due = time.monotonic()
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + 1 / rate, time.monotonic() - 1)
            self.samples.extend(session.ask())
        session.close()


class _Session:
    """One kind of request on one connection, kept alive as long as the server does."""

    def __init__(self, load: Load, kind: str) -> None:
        self.kind = kind
        self._load = load
        self._host = urlsplit(load.origin).netloc
        self._connection = http.client.HTTPConnection(self._host, timeout=20)
        self._basic = _basic(load.machine if kind == "token" else load.client)
        self._tokens = self._sign_in() if kind in {"refresh", "introspect", "userinfo"} else {}

    def ask(self) -> list[Sample]:
        """One request, or all those of one sign-in; a connection that broke is opened again by the next."""
        return self._walk() if self.kind == "login" else [self._exchange()]

    def close(self) -> None:
        """Lets go of the connection."""
        self._connection.close()

    def _exchange(self) -> Sample:
        method, path, headers, form = self._request()
        body = urlencode(form) if form is not None else None
        if body is not None:
            headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
        self._drop_what_was_closed()
        began = time.monotonic()
        try:
            answer, text = self._send(method, path, body, headers)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            return Sample(self.kind, began, time.monotonic() - began, 0, type(error).__name__)
        seconds = time.monotonic() - began
        return Sample(
            self.kind,
            began,
            seconds,
            answer.status,
            self._learn(answer.status, text),
            answer.getheader("Retry-After"),
            "no-store" not in answer.getheader("Cache-Control", ""),
        )

    def _send(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """Sends it, and once more when the other side closed the connection in that moment (RFC 9112 §9.3.1).

        A GET may be repeated whatever became of it, anything else only if it could not be written.
        """
        is_reused = self._connection.sock is not None
        try:
            self._connection.request(method, path, body, dict(headers))
            answer = self._connection.getresponse()
            return answer, answer.read()
        except ConnectionError as error:
            self._connection.close()
            may_repeat = method == "GET" or isinstance(error, BrokenPipeError)
            if not (is_reused and may_repeat):
                raise
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        return answer, answer.read()

    def _drop_what_was_closed(self) -> None:
        """As every HTTP client does: an idle connection that the other side has closed is not used again."""
        idle = self._connection.sock
        if idle is not None and select.select([idle], [], [], 0)[0]:
            self._connection.close()

    def _request(self) -> tuple[str, str, Mapping[str, str], Mapping[str, str] | None]:
        token = self._tokens.get("access_token", "")
        match self.kind:
            case "token":
                return "POST", "/oauth/token", self._basic, {"grant_type": "client_credentials"}
            case "refresh":
                form = {"grant_type": "refresh_token", "refresh_token": self._tokens["refresh_token"]}
                return "POST", "/oauth/token", self._basic, form
            case "introspect":
                return "POST", "/oauth/introspect", self._basic, {"token": token}
            case "userinfo":
                return "GET", "/oauth/userinfo", {"Authorization": f"Bearer {token}"}, None
            case "authorize":
                return "GET", self._authorization_request(), {}, None
            case "jwks":
                return "GET", "/.well-known/jwks.json", {}, None
        return "GET", "/.well-known/openid-configuration", {}, None

    def _learn(self, status: int, text: bytes) -> str:
        try:
            document = json.loads(text)
        except ValueError:
            return ""
        if status == 200 and self.kind == "refresh":
            self._tokens = document
        if status == 200 and self.kind == "introspect" and not document["active"]:
            return "inactive"
        return str(document.get("error", ""))

    def _authorization_request(self) -> str:
        return "/oauth/authorize?" + urlencode(
            {
                "response_type": "code",
                "client_id": self._load.client.client_id,
                "redirect_uri": self._load.client.redirect_uri,
                "scope": SCOPE,
                "state": "a-state",
                "code_challenge": challenge_of(VERIFIER),
                "code_challenge_method": "S256",
            }
        )

    def _sign_in(self) -> dict[str, str]:
        person = Person(self._load.account.email, self._load.account.password)
        back = person.walk(self._load.origin + self._authorization_request(), self._load.client.redirect_uri)
        form = {
            "grant_type": "authorization_code",
            "code": back.parameters["code"],
            "redirect_uri": self._load.client.redirect_uri,
            "code_verifier": VERIFIER,
        }
        answer = person.session.post(self._load.origin + "/oauth/token", data=form, headers=self._basic, timeout=30)
        person.session.close()
        tokens: dict[str, str] = answer.json()
        return tokens

    def _walk(self) -> list[Sample]:
        """Signs in with an empty browser, as far as the pages lead."""
        samples = []

        def note(answer: requests.Response, *_: object, **__: object) -> None:
            seconds = answer.elapsed.total_seconds()
            is_stored = "no-store" not in answer.headers.get("Cache-Control", "")
            retry_after = answer.headers.get("Retry-After")
            samples.append(
                Sample("login", time.monotonic() - seconds, seconds, answer.status_code, "", retry_after, is_stored)
            )

        person = Person(self._load.account.email, self._load.account.password)
        person.session.hooks["response"].append(note)
        began = time.monotonic()
        try:
            person.walk(self._load.origin + self._authorization_request(), self._load.client.redirect_uri)
        except LostOnTheWay:
            pass  # what it met instead is among the samples
        except requests.RequestException as error:
            samples.append(Sample("login", began, time.monotonic() - began, 0, type(error).__name__))
        finally:
            person.session.close()
        return samples


def _basic(client: RegisteredClient) -> dict[str, str]:
    pair = f"{quote(client.client_id, safe='')}:{quote(client.client_secret, safe='')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def create_machine(server: Server) -> RegisteredClient:
    """A client that acts for itself."""
    created = server.run_json("clients", "create", "Nightly export", "--type", "machine")
    return RegisteredClient(created["client_id"], created["client_secret"], "")


def count(samples: list[Sample], key: Callable[[Sample], object]) -> dict[str, int]:
    """How many samples have each value, the most frequent first."""
    return {str(value): number for value, number in collections.Counter(map(key, samples)).most_common()}


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0
