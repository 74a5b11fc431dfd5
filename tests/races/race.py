"""Races many clients for the same single-use artefact and counts who won.

Every authorization code, and every refresh token, is presented by many clients at the same instant: all connections
are opened and everything but the last byte of the body is sent, then the last bytes are released together, so that
the requests meet inside the server and not on the way to it.

What must be seen (RFC 6749 §4.1.2, RFC 9700 §4.14.2):

* an authorization code has exactly one success; every other answer is 400 invalid_grant; a second valid redemption
  revokes what the first one gave;
* a refresh token has exactly one successor: retries inside the replay window get the identical answer, and the
  successor still works afterwards;
* no answer is a 5xx, no connection is dropped.

The script needs a running server and a confidential client with client_secret_basic whose refresh tokens rotate.
"""

import argparse
import asyncio
import base64
import collections
import dataclasses
import json
import secrets
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

if __package__ in {None, ""}:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.interop.person import Person, challenge_of

REFUSED = (400, "invalid_grant")


@dataclasses.dataclass(frozen=True)
class Target:
    """Where the race runs and who runs it.

    servers are origins (scheme, host, port) that reach replicas of one issuer; redemptions are dealt out over them.
    """

    issuer: str
    servers: tuple[str, ...]
    client_id: str
    client_secret: str
    redirect_uri: str
    username: str
    password: str
    scope: str = "openid profile email offline_access"

    def path(self, name: str) -> str:
        """The path of an endpoint, under the issuer's own path."""
        return urlsplit(self.issuer).path.rstrip("/") + name

    def authorization(self) -> str:
        """The client's credentials for client_secret_basic (RFC 6749 §2.3.1)."""
        pair = f"{quote(self.client_id, safe='')}:{quote(self.client_secret, safe='')}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


@dataclasses.dataclass(frozen=True)
class Answer:
    """One response: status (0 when the connection broke), raw body, and the JSON members that matter here."""

    status: int
    body: bytes

    @property
    def members(self) -> dict[str, object]:
        """The JSON object of the body, empty when it is none."""
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}

    @property
    def outcome(self) -> tuple[int, str]:
        """Status and error code, for counting."""
        return self.status, str(self.members.get("error", ""))


@dataclasses.dataclass
class Result:
    """What a race showed. `faults` lists every broken promise in words; it is empty when all were kept."""

    kind: str
    artefacts: int
    clients: int
    answers: dict[str, int]
    exactly_one: int
    more_than_one: int
    none: int
    most: int
    server_errors: int
    dropped: int
    seconds: float
    faults: list[str]


def _head(target: Target, path: str, length: int) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: {urlsplit(target.issuer).netloc}\r\nAuthorization: {target.authorization()}\r\n"
        f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    ).encode()


def _parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    try:
        return Answer(int(head.split(b" ", 2)[1]), body)
    except (IndexError, ValueError):
        return Answer(0, raw)


async def _read(reader: asyncio.StreamReader, timeout: float) -> Answer:
    try:
        return _parse(await asyncio.wait_for(reader.read(), timeout))
    except (TimeoutError, OSError) as error:
        return Answer(0, repr(error).encode())


async def _open(server: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(server)
    return await asyncio.open_connection(parts.hostname, parts.port)


async def post_together(
    target: Target, form: dict[str, str], clients: int, *, pause: float, timeout: float, path: str = "/oauth/token"
) -> list[Answer]:
    """Posts one form as the client from many connections whose last bytes leave together.

    pause: seconds between the last withheld body and the release, so that the heads have arrived everywhere.
    """
    body = urlencode(form).encode()
    servers = [target.servers[index % len(target.servers)] for index in range(clients)]
    connections = await asyncio.gather(*(_open(server) for server in servers))
    try:
        for _, writer in connections:
            writer.write(_head(target, target.path(path), len(body)) + body[:-1])
        await asyncio.gather(*(writer.drain() for _, writer in connections))
        await asyncio.sleep(pause)
        for _, writer in connections:
            writer.write(body[-1:])
        return list(await asyncio.gather(*(_read(reader, timeout) for reader, _ in connections)))
    finally:
        for _, writer in connections:
            writer.close()


async def post(target: Target, path: str, form: dict[str, str], timeout: float = 30) -> Answer:
    """Posts one form as the client, alone."""
    reader, writer = await _open(target.servers[0])
    body = urlencode(form).encode()
    writer.write(_head(target, target.path(path), len(body)) + body)
    try:
        return await _read(reader, timeout)
    finally:
        writer.close()


class Minter:
    """Signs a person in once and then lets every authorization request answer with a code straight away."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._person = Person(target.username, target.password)

    def code(self) -> dict[str, str]:
        """The form that redeems a fresh authorization code."""
        verifier = secrets.token_urlsafe(48)
        query = {
            "response_type": "code",
            "client_id": self._target.client_id,
            "redirect_uri": self._target.redirect_uri,
            "scope": self._target.scope,
            "state": secrets.token_urlsafe(16),
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        url = f"{self._target.issuer}/oauth/authorize?{urlencode(query)}"
        parameters = self._person.walk(url, self._target.redirect_uri).parameters
        if "code" not in parameters:
            raise SystemExit(f"no code came back, but {dict(parameters)}")
        return {
            "grant_type": "authorization_code",
            "code": parameters["code"],
            "redirect_uri": self._target.redirect_uri,
            "code_verifier": verifier,
        }

    async def refresh_token(self) -> dict[str, str]:
        """The form that uses a fresh refresh token."""
        answer = await post(self._target, "/oauth/token", self.code())
        if "refresh_token" not in answer.members:
            raise SystemExit(f"no refresh token came back, but {answer.status} {answer.body!r}")
        return {"grant_type": "refresh_token", "refresh_token": str(answer.members["refresh_token"])}


def _batches(total: int, size: int) -> Iterator[int]:
    while total > 0:
        yield min(total, size)
        total -= size


async def _judge_code(target: Target, number: int, answers: Sequence[Answer]) -> list[str]:
    winners = [answer for answer in answers if answer.status == 200]
    faults = []
    if len(winners) != 1:
        faults.append(f"code {number}: {len(winners)} successes")
    odd = {answer.outcome for answer in answers if answer.status != 200 and answer.outcome != REFUSED}
    if odd:
        faults.append(f"code {number}: neither success nor invalid_grant: {sorted(odd)}")
    for winner in winners[:1]:
        token = str(winner.members["access_token"])
        introspected = await post(target, "/oauth/introspect", {"token": token})
        if len(answers) > 1 and introspected.members.get("active") is not False:
            faults.append(f"code {number}: replayed, yet the token it gave is {introspected.members.get('active')}")
    return faults


async def _judge_refresh(target: Target, number: int, answers: Sequence[Answer]) -> list[str]:
    successes = [answer for answer in answers if answer.status == 200]
    successors = {str(answer.members.get("refresh_token")) for answer in successes}
    faults = []
    if len(successors) != 1:
        faults.append(f"refresh token {number}: {len(successors)} successors")
    if len(successes) != len(answers):
        faults.append(f"refresh token {number}: {len(answers) - len(successes)} retries inside the window refused")
    if len({answer.body for answer in successes}) > 1:
        faults.append(f"refresh token {number}: the answers differ")
    if len(successors) == 1:
        form = {"grant_type": "refresh_token", "refresh_token": successors.pop()}
        after = await post(target, "/oauth/token", form)
        if after.status != 200:
            faults.append(f"refresh token {number}: its successor answers {after.outcome}")
    return faults


async def race(
    target: Target,
    kind: str,
    artefacts: int,
    clients: int,
    *,
    batch: int = 20,
    pause: float = 0.02,
    timeout: float = 60,
) -> Result:
    """Races `clients` connections for each of `artefacts` codes or refresh tokens; kind is "codes" or "refresh"."""
    minter = Minter(target)
    judge = _judge_code if kind == "codes" else _judge_refresh
    outcomes: collections.Counter[str] = collections.Counter()
    successes: list[int] = []
    faults: list[str] = []
    seconds = 0.0
    for size in _batches(artefacts, batch):
        # A code lives for a minute: only as many are minted as are redeemed at once.
        forms = [minter.code() if kind == "codes" else await minter.refresh_token() for _ in range(size)]
        for form in forms:
            started = time.monotonic()
            answers = await post_together(target, form, clients, pause=pause, timeout=timeout)
            seconds += time.monotonic() - started
            outcomes.update(f"{status} {error}".strip() for status, error in (answer.outcome for answer in answers))
            won = [answer for answer in answers if answer.status == 200]
            distinct = {answer.members.get("refresh_token") for answer in won}
            successes.append(len(won) if kind == "codes" else len(distinct))
            faults += await judge(target, len(successes), answers)
    server_errors = sum(count for outcome, count in outcomes.items() if outcome[0] == "5")
    dropped = sum(count for outcome, count in outcomes.items() if outcome[0] == "0")
    return Result(
        kind=kind,
        artefacts=artefacts,
        clients=clients,
        answers=dict(sorted(outcomes.items())),
        exactly_one=sum(count == 1 for count in successes),
        more_than_one=sum(count > 1 for count in successes),
        none=sum(count == 0 for count in successes),
        most=max(successes, default=0),
        server_errors=server_errors,
        dropped=dropped,
        seconds=round(seconds, 1),
        faults=faults,
    )


def _parser() -> argparse.ArgumentParser:
    examples = """
        Start a server with four workers, make a client and a person, race:

          export GATEPOST_ISSUER=http://127.0.0.1:8000
          gatepost keyring create && gatepost db upgrade
          gatepost clients create racer --type web --redirect-uri https://racer.example/callback \\
              --refresh-token-policy always --first-party --json
          printf 'a long enough password' | gatepost users create racer@example.com --password-stdin
          gatepost serve --bind 127.0.0.1:8000 --workers 4 &
          python tests/races/race.py --issuer http://127.0.0.1:8000 --client-id ID --client-secret SECRET \\
              --redirect-uri https://racer.example/callback --username racer@example.com \\
              --password 'a long enough password'

        Full size, three replicas of one issuer on one database:

          … --server http://127.0.0.1:8000 --server http://127.0.0.1:8001 --server http://127.0.0.1:8002 \\
              --artefacts 10000 --clients 50

        Exit status: 0 when every promise was kept, 1 when one was broken.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=textwrap.dedent(examples), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--issuer", required=True, help="the issuer, with its path if it has one")
    parser.add_argument(
        "--server",
        action="append",
        dest="servers",
        metavar="URL",
        help="a replica's base URL; repeat it; default: the issuer's",
    )
    parser.add_argument("--client-id", required=True)
    parser.add_argument("--client-secret", required=True)
    parser.add_argument("--redirect-uri", required=True, help="registered; nothing needs to listen there")
    parser.add_argument("--username", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--scope", default=Target.scope, help="requested scopes (default: %(default)s)")
    parser.add_argument(
        "--kind", choices=("codes", "refresh", "both"), default="both", help="what to race for (default: both)"
    )
    parser.add_argument("--artefacts", type=int, default=100, help="codes, and refresh tokens (default: %(default)s)")
    parser.add_argument(
        "--clients", type=int, default=20, help="simultaneous redemptions of each (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=20, help="minted before each heat (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=0.02, help="seconds before the last bytes leave (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    return parser


def _describe(result: Result) -> str:
    lines = [
        f"{result.artefacts} {result.kind} × {result.clients} clients in {result.seconds} s of racing",
        f"  exactly one: {result.exactly_one}   none: {result.none}",
        f"  more than one: {result.more_than_one}   at most: {result.most}",
        f"  answers: {', '.join(f'{count} × {outcome}' for outcome, count in result.answers.items())}",
        f"  server errors: {result.server_errors}   dropped: {result.dropped}",
    ]
    return "\n".join(lines + [f"  BROKEN {fault}" for fault in result.faults[:20]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the races that the command line asks for; returns the exit status."""
    options = _parser().parse_args(arguments)
    root = "{0.scheme}://{0.netloc}".format(urlsplit(options.issuer))
    target = Target(
        issuer=options.issuer,
        servers=tuple(options.servers or [root]),
        client_id=options.client_id,
        client_secret=options.client_secret,
        redirect_uri=options.redirect_uri,
        username=options.username,
        password=options.password,
        scope=options.scope,
    )
    kinds = ("codes", "refresh") if options.kind == "both" else (options.kind,)
    results = [
        asyncio.run(race(target, kind, options.artefacts, options.clients, batch=options.batch, pause=options.pause))
        for kind in kinds
    ]
    if options.json:
        print(json.dumps([dataclasses.asdict(result) for result in results], indent=2))
    else:
        print("\n".join(_describe(result) for result in results))
    return 1 if any(result.faults or result.server_errors or result.dropped for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
