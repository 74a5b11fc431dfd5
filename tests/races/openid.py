"""What OpenID Connect adds, asked of three server processes by many connections at the same instant.

registrations   every one is answered with a client of its own; a quota gives out exactly what it has
replacements    one registration token changed by all of them has one successor, which all of them learn
deletions       one of them removes the client, the others find nothing
sign-outs       one session ends once, and its clients are told once, whichever answer the browser sees
request_uri     a request object is fetched while many wait for it, and all of them get it
first meetings  a pairwise client that meets a person in many answers at once calls them by one name

python -m tests.races.openid
python -m tests.races.openid --rounds 200 --database sqlite --record

Nothing is answered with 500 or more, and no connection is dropped. Exit status: 0 when every promise was kept.
"""

from __future__ import annotations

import argparse
import base64
import collections
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.interop.person import Person
from tests.races.connection import Answer, Connection, request
from tests.races.consistency import count
from tests.races.progress import Progress
from tests.races.results import Figures, conclude
from tests.races.stage import Stage, stage
from tests.support.relying_party import public_keys, signed

#: Many may register from this one machine, and documents may come from it.
SETTINGS = {
    "GATEPOST_REGISTRATION": "open",
    "GATEPOST_REGISTRATION_PER_HOUR": "1000000",
    "GATEPOST_REGISTRATION_MAXIMUM": "1000000",
    "GATEPOST_OUTBOUND_ALLOW_LOOPBACK": "true",
}
CONNECTIONS = 20
PAUSE = 0.005
Document = dict[str, object]


@dataclass
class Tally:
    """What the races showed; `faults` lists every broken promise in words."""

    rounds: int = 0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)

    def add(self, answers: Sequence[Answer]) -> None:
        """Counts the answers of one heat."""
        self.outcomes.update(answer.outcome for answer in answers)
        self.faults += [f"an answer of {answer.outcome}" for answer in answers if answer.status >= 500]
        self.faults += ["a connection was dropped" for answer in answers if answer.status == 0]

    def expect(self, holds: bool, otherwise: str) -> None:
        """Notes a broken promise."""
        if not holds:
            self.faults.append(otherwise)

    @property
    def server_errors(self) -> int:
        """Answers of 500 and more, and connections without an answer."""
        return sum(number for outcome, number in self.outcomes.items() if outcome[0] in "05")


def heat(on: Stage, messages: Sequence[bytes]) -> list[Answer]:
    """Sends each message on a connection of its own, dealt out over the replicas, the last bytes together."""
    connections = [Connection(on.ports[number % len(on.ports)]) for number in range(len(messages))]
    try:
        for connection, message in zip(connections, messages, strict=True):
            connection.open()
            connection.hold(message)
        time.sleep(PAUSE)
        for connection in connections:
            connection.release()
        return [connection.answer() for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def ask(on: Stage, message: bytes, replica: int = 0) -> Answer:
    """One request, alone."""
    connection = Connection(on.ports[replica % len(on.ports)])
    try:
        return connection.exchange(message)
    finally:
        connection.close()


# A client that registers itself -----------------------------------------------------------------------------------


def _json_request(method: str, url: str, document: Document | None, token: str = "") -> bytes:
    parts, body = urlsplit(url), b"" if document is None else json.dumps(document).encode()
    lines = [f"{method} {parts.path} HTTP/1.1", f"Host: {parts.netloc}"]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def metadata(**changes: object) -> Document:
    """What a client says of itself."""
    host = secrets.token_hex(6)
    return {
        "client_name": f"Racer {host}",
        "redirect_uris": [f"https://{host}.example/cb"],
        "post_logout_redirect_uris": [f"https://{host}.example/bye"],
        "grant_types": ["authorization_code", "implicit"],
        "response_types": ["code", "id_token", "code id_token token", "none"],
        "jwks": public_keys(),
        **changes,
    }


def registration_request(on: Stage, **changes: object) -> bytes:
    """The bytes that register a new client."""
    return _json_request("POST", f"{on.issuer}/oauth/register", metadata(**changes))


@dataclass
class Party:
    """A registered client, and a person at a browser of their own."""

    on: Stage
    registration: Document
    person: Person

    @classmethod
    def arrive(cls, on: Stage, **changes: object) -> Party:
        """Registers a client; nobody is signed in yet."""
        answer = ask(on, registration_request(on, **changes))
        assert answer.status == 201, answer
        return cls(on, dict(answer.members), on.account.at_a_browser())

    @property
    def client_id(self) -> str:
        """The client's id."""
        return str(self.registration["client_id"])

    def first(self, member: str) -> str:
        """The first value of a list in the registration."""
        values = self.registration[member]
        assert isinstance(values, list)
        return str(values[0])

    def url(self, **parameters: str) -> str:
        """An authorization request."""
        query = {
            "client_id": self.client_id,
            "redirect_uri": self.first("redirect_uris"),
            "response_type": "code",
            "scope": "openid",
            "state": secrets.token_urlsafe(6),
            "nonce": secrets.token_urlsafe(6),
            **parameters,
        }
        return f"{self.on.issuer}/oauth/authorize?{urlencode(query)}"

    def sign_in(self, response_type: str = "none") -> dict[str, str]:
        """Signs the person in and consents; the answer's parameters."""
        back = self.person.walk(self.url(response_type=response_type), self.first("redirect_uris")).url
        return answer_in(back)

    def get(self, url: str) -> bytes:
        """The bytes of a GET by the person's browser."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.person.session.cookies)
        return request("GET", url, {"Cookie": cookies} if cookies else {})

    def close(self) -> None:
        """Closes the browser."""
        self.person.session.close()


def answer_in(location: str) -> dict[str, str]:
    """The parameters of an authorization response in the fragment or the query."""
    parts = urlsplit(location)
    return dict(parse_qsl(parts.fragment or parts.query, keep_blank_values=True))


def claims_of(token: str) -> Document:
    """The claims of a token, unverified."""
    part = token.split(".")[1]
    found: Document = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


class Documents:
    """A server on this machine that gives request objects out and counts how often."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.asked: collections.Counter[str] = collections.Counter()
        documents, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with lock:
                    documents.asked[self.path] += 1
                body = documents.pages.get(self.path, "").encode()
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "application/oauth-authz-req+jwt")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, path: str) -> str:
        """The address of a document."""
        return f"http://127.0.0.1:{self.server.server_address[1]}{path}"


@contextmanager
def documents() -> Iterator[Documents]:
    """Such a server, until the context ends."""
    found = Documents()
    try:
        yield found
    finally:
        found.server.shutdown()
        found.server.server_close()


# The races --------------------------------------------------------------------------------------------------------


def race_registrations(on: Stage, tally: Tally) -> None:
    """Every registration is answered with a client, a secret and a token of its own."""
    before = count(on.database_url, "SELECT COUNT(*) FROM clients")
    answers = heat(on, [registration_request(on) for _ in range(CONNECTIONS)])
    tally.add(answers)
    tally.expect({answer.status for answer in answers} == {201}, "a registration was not answered with 201")
    for member in ("client_id", "client_secret", "registration_access_token"):
        values = {str(answer.members.get(member)) for answer in answers}
        tally.expect(len(values) == CONNECTIONS, f"two clients got the same {member}")
    made = count(on.database_url, "SELECT COUNT(*) FROM clients") - before
    tally.expect(made == CONNECTIONS, f"{made} clients came of {CONNECTIONS} registrations")


def race_replacements(on: Stage, tally: Tally) -> None:
    """One token has one successor; whoever came second learns it too, and the token itself is spent."""
    party = Party.arrive(on)
    uri, token = (
        str(party.registration["registration_client_uri"]),
        str(party.registration["registration_access_token"]),
    )
    document = {**metadata(), "client_id": party.client_id}
    answers = heat(on, [_json_request("PUT", uri, document, token) for _ in range(CONNECTIONS)])
    tally.add(answers)
    tokens = {str(answer.members.get("registration_access_token")) for answer in answers if answer.status == 200}
    tally.expect(len(tokens) == 1, f"{len(tokens)} successors of one registration token")
    tally.expect({answer.status for answer in answers} <= {200, 401}, "neither replaced nor refused")
    for replica in range(len(on.ports)):
        old = ask(on, _json_request("GET", uri, None, token), replica).status
        new = ask(on, _json_request("GET", uri, None, next(iter(tokens), "x")), replica).status
        tally.expect((old, new) == (401, 200), f"afterwards the old token is answered {old}, the new one {new}")
    party.close()


def race_deletions(on: Stage, tally: Tally) -> None:
    """One of them removes the client; then nothing of it is left on any process."""
    party = Party.arrive(on)
    party.sign_in("none")
    uri, token = (
        str(party.registration["registration_client_uri"]),
        str(party.registration["registration_access_token"]),
    )
    answers = heat(on, [_json_request("DELETE", uri, None, token) for _ in range(CONNECTIONS)])
    tally.add(answers)
    outcomes = collections.Counter(answer.status for answer in answers)
    tally.expect(outcomes == {204: 1, 401: CONNECTIONS - 1}, f"deleting was answered {dict(outcomes)}")
    for replica in range(len(on.ports)):
        tally.expect(ask(on, party.get(party.url(prompt="none")), replica).status == 400, "a deleted client is known")
    party.close()


def race_sign_outs(on: Stage, tally: Tally) -> None:
    """One session ends once, its back channel is told once, and every answer leads to the client."""
    party = Party.arrive(on, backchannel_logout_uri=f"https://{secrets.token_hex(6)}.example/out")
    hint, goodbye = party.sign_in("id_token")["id_token"], party.first("post_logout_redirect_uris")
    query = urlencode({"id_token_hint": hint, "post_logout_redirect_uri": goodbye, "state": "s"})
    answers = heat(on, [party.get(f"{on.issuer}/logout?{query}") for _ in range(CONNECTIONS)])
    tally.add(answers)
    targets = {answer.header("location") for answer in answers}
    tally.expect(targets == {f"{goodbye}?state=s"}, f"signing out led to {targets}")
    where = f"WHERE client_id = '{party.client_id}'"
    told = count(on.database_url, f"SELECT COUNT(*) FROM outbox {where}")
    tally.expect(told == 1, f"{told} logout tokens for one session")
    for replica in range(len(on.ports)):
        silent = answer_in(ask(on, party.get(party.url(prompt="none")), replica).header("location"))
        tally.expect(silent.get("error") == "login_required", f"after signing out: {sorted(silent)}")
    party.close()


def race_request_uri(on: Stage, tally: Tally) -> None:
    """All are answered by what the object says; its server is asked no more often than we were."""
    with documents() as server:
        path = f"/{secrets.token_hex(8)}"
        party = Party.arrive(on, request_uris=[server.url(path)])
        party.sign_in("none")
        claims = {**dict(parse_qsl(urlsplit(party.url(prompt="none")).query)), "aud": on.issuer}
        server.pages[path] = signed({**claims, "exp": int(time.time()) + 300}, "ES256", "oauth-authz-req+jwt")
        sent = {"client_id": party.client_id, "response_type": "code", "scope": "openid"}
        url = f"{on.issuer}/oauth/authorize?{urlencode({**sent, 'request_uri': server.url(path)})}"
        answers = heat(on, [party.get(url) for _ in range(CONNECTIONS)])
        tally.add(answers)
        coded = sum("code" in answer_in(answer.header("location")) for answer in answers)
        tally.expect(coded == CONNECTIONS, f"{coded} of {CONNECTIONS} requests by reference got a code")
        tally.expect(0 < server.asked[path] <= CONNECTIONS, f"the object was fetched {server.asked[path]} times")
        party.close()


def race_first_meetings(on: Stage, tally: Tally) -> None:
    """Many answers at once, in which a pairwise client first learns of a person: one name for them."""
    party = Party.arrive(on, subject_type="pairwise")
    party.sign_in("none")
    url = party.url(response_type="code id_token token", prompt="none")
    answers = heat(on, [party.get(url) for _ in range(CONNECTIONS)])
    tally.add(answers)
    found = [answer_in(answer.header("location")) for answer in answers]
    names = {str(claims_of(each["id_token"])["sub"]) for each in found if "id_token" in each}
    names |= {str(claims_of(each["access_token"])["sub"]) for each in found if "access_token" in each}
    tally.expect(len(names) == 1, f"one person has {len(names)} names in one sector")
    tally.expect(all("code" in each for each in found), "a hybrid answer without its code")
    codes = {each.get("code") for each in found}
    tally.expect(len(codes) == CONNECTIONS, "two answers have the same code")
    party.close()


def race_session_checks(on: Stage, tally: Tally) -> None:
    """The page is the same for everybody, from every process."""
    answers = heat(on, [request("GET", f"{on.issuer}/oauth/check-session", {}) for _ in range(CONNECTIONS)])
    tally.add(answers)
    tally.expect(len({(answer.status, answer.body) for answer in answers}) == 1, "the session page differs")


RACES: dict[str, Callable[[Stage, Tally], None]] = {
    "registrations": race_registrations,
    "replacements": race_replacements,
    "deletions": race_deletions,
    "sign-outs": race_sign_outs,
    "request_uri": race_request_uri,
    "first meetings": race_first_meetings,
    "session checks": race_session_checks,
}


def run(on: Stage, name: str, rounds: int) -> Tally:
    """Runs one of the races so many times."""
    tally, progress = Tally(), Progress(name, rounds)
    for _ in range(rounds):
        RACES[name](on, tally)
        tally.rounds += 1
        progress.step(f"({len(tally.faults)} faults)")
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the races that the command line asks for; returns the exit status."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--rounds", type=int, default=50, help="of each race (default: %(default)s)")
    found.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    found.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = found.parse_args(arguments)
    figures: Figures = {"connections at once": CONNECTIONS, "rounds of each": options.rounds}
    faults: list[str] = []
    with stage(options.database, settings=SETTINGS) as on:
        errors = 0
        for name in RACES:
            tally = run(on, name, options.rounds)
            figures[name] = dict(sorted(tally.outcomes.items()))
            errors += tally.server_errors
            faults += [f"{name}: {fault}" for fault in tally.faults]
    figures["answers ≥ 500 and dropped connections"] = errors
    return conclude("race-openid", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
