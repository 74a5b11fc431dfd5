"""What was disabled, deleted, revoked or retired is dead on every process within a second, on every path (INV-11).

For each ending a person signs in, a client gets codes and tokens for each of three server processes, and every path is
seen to work on every process, so that whatever a process keeps in memory is there. Then the ending is committed, on the
command line or through one of the processes; one second later every path that hangs on it is tried on every process.
What was spent or ended before stays so when user or client are enabled again.

python -m tests.races.matrix
python -m tests.races.matrix --record

Exit status: 0 when every cell that must be dead is dead, 1 when one lives.
"""

from __future__ import annotations

import argparse
import base64
import json
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from tests.interop.person import Person, challenge_of, forms_of
from tests.interop.registry import Account, RegisteredClient, create_account, create_client
from tests.races.connection import Answer, Connection, basic, post_request, request
from tests.races.results import conclude
from tests.races.stage import Stage, refresh_form, stage
from tests.support.servers import Server

DEADLINE_SECONDS = 1.0
_SCOPE = "openid"


def _create_machine(server: Server, *options: str) -> RegisteredClient:
    name = f"Robot {secrets.token_hex(3)}"
    created = server.run_json("clients", "create", name, "--type", "machine", *options)
    return RegisteredClient(created["client_id"], created["client_secret"], "")


def _cookie_of(answer: Answer) -> str:
    return answer.header("set-cookie").split(";")[0]


class World:
    """Everything one person and their clients hold, with a copy of what can be used once for each process."""

    scope = _SCOPE

    def __init__(self, on: Stage, api: RegisteredClient) -> None:
        self.on, self.api = on, api
        self.account: Account = create_account(on.servers[0])
        self.web = create_client(on.servers[0], "web", "--refresh-token-policy", "always", scope=_SCOPE)
        self.machine = _create_machine(on.servers[0])
        self.person = Person(self.account.email, self.account.password)
        self.cookie = ""
        self.cookie = self._sign_in()
        self.refill()

    def refill(self) -> None:
        """New codes, tokens and consent pages for every process."""
        replicas = range(len(self.on.ports))
        self.codes = [self._new_code() for _ in replicas]
        self.tokens = [self._redeem(self._new_code(), number).members for number in replicas]
        self.consents = [self._park_consent() for _ in replicas]

    def _url(self, verifier: str, **more: str) -> str:
        query = {
            "response_type": "code",
            "client_id": self.web.client_id,
            "redirect_uri": self.web.redirect_uri,
            "scope": self.scope,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self.on.issuer}/oauth/authorize?{urlencode(query)}"

    def _sign_in(self) -> str:
        self.person.walk(self._url(secrets.token_urlsafe(48)), self.web.redirect_uri)
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.person.session.cookies)

    def send(self, replica: int, message: bytes) -> Answer:
        """One request to one process."""
        connection = Connection(self.on.ports[replica])
        try:
            return connection.exchange(message)
        finally:
            connection.close()

    def get(self, replica: int, url: str) -> Answer:
        """What the signed-in browser gets."""
        return self.send(replica, request("GET", urljoin(self.on.issuer, url), {"Cookie": self.cookie}))

    def as_client(self, replica: int, client: RegisteredClient, path: str, form: dict[str, str]) -> Answer:
        """A form post by a confidential client."""
        credentials = basic(client.client_id, client.client_secret)
        return self.send(replica, post_request(self.on.issuer + path, form, credentials))

    def _new_code(self) -> dict[str, str]:
        verifier = secrets.token_urlsafe(48)
        location = self.get(0, self._url(verifier, prompt="none")).header("location")
        return {
            "grant_type": "authorization_code",
            "code": dict(parse_qsl(urlsplit(location).query))["code"],
            "redirect_uri": self.web.redirect_uri,
            "code_verifier": verifier,
        }

    def _redeem(self, form: dict[str, str], replica: int) -> Answer:
        return self.as_client(replica, self.web, "/oauth/token", form)

    def _park_consent(self) -> dict[str, str]:
        location = self.get(0, self._url(secrets.token_urlsafe(48), prompt="consent")).header("location")
        page = self.get(0, location)
        return dict(forms_of(page.body.decode())[0].hidden())

    def is_redeemed(self, replica: int) -> bool:
        return self._redeem(self.codes[replica], replica).status == 200

    def is_refreshed(self, replica: int) -> bool:
        form = refresh_form(self.tokens[replica]["refresh_token"])
        return self.as_client(replica, self.web, "/oauth/token", form).status == 200

    def is_given_its_own_token(self, replica: int) -> bool:
        form = {"grant_type": "client_credentials"}
        return self.as_client(replica, self.machine, "/oauth/token", form).status == 200

    def is_told_claims(self, replica: int) -> bool:
        headers = {"Authorization": f"Bearer {self.tokens[replica]['access_token']}"}
        return self.send(replica, request("GET", self.on.issuer + "/oauth/userinfo", headers)).status == 200

    def _is_active(self, replica: int, name: str) -> bool:
        form = {"token": str(self.tokens[replica][name])}
        return self.as_client(replica, self.api, "/oauth/introspect", form).members["active"] is True

    def is_access_token_active(self, replica: int) -> bool:
        return self._is_active(replica, "access_token")

    def is_refresh_token_active(self, replica: int) -> bool:
        return self._is_active(replica, "refresh_token")

    def is_authorized_silently(self, replica: int) -> bool:
        location = self.get(replica, self._url(secrets.token_urlsafe(48), prompt="none")).header("location")
        return "code" in dict(parse_qsl(urlsplit(location).query))

    def is_consent_taken(self, replica: int) -> bool:
        body = urlencode({**self.consents[replica], "decision": "allow"}).encode()
        headers = {"Cookie": self.cookie, "Origin": self.on.issuer}
        answer = self.send(replica, request("POST", self.on.issuer + "/consent", headers, body))
        if answer.status != 303:
            return False
        return "code=" in self.get(replica, answer.header("location")).header("location")

    def is_known_at_the_door(self, replica: int) -> bool:
        return b"Ada Lovelace" in self.get(replica, "/").body

    def is_signed_in_anew(self, replica: int) -> bool:
        page = self.send(replica, request("GET", self.on.issuer + "/login", {}))
        form = dict(forms_of(page.body.decode())[0].hidden())
        form |= {"username": self.account.email, "password": self.account.password}
        headers = {"Cookie": _cookie_of(page), "Origin": self.on.issuer}
        answer = self.send(replica, request("POST", self.on.issuer + "/login", headers, urlencode(form).encode()))
        return answer.status == 303

    def is_client_heard(self, replica: int) -> bool:
        return self.as_client(replica, self.web, "/oauth/revoke", {"token": "x"}).status == 200

    def is_client_answered(self, replica: int) -> bool:
        return self.as_client(replica, self.web, "/oauth/introspect", {"token": "x"}).status == 200

    def is_key_published(self, replica: int) -> bool:
        header = str(self.tokens[replica]["id_token"]).split(".")[0]
        kid = json.loads(base64.urlsafe_b64decode(header + "=="))["kid"]
        return kid.encode() in self.send(replica, request("GET", self.on.issuer + "/.well-known/jwks.json", {})).body

    def gatepost(self, *arguments: str, stdin: str | None = None) -> None:
        """Runs a command as the operator."""
        self.on.servers[0].run(*arguments, stdin=stdin)


Path = Callable[[World, int], bool]
PATHS: dict[str, Path] = {
    "token: code": World.is_redeemed,
    "token: refresh": World.is_refreshed,
    "token: client credentials": World.is_given_its_own_token,
    "userinfo": World.is_told_claims,
    "introspect: access token": World.is_access_token_active,
    "introspect: refresh token": World.is_refresh_token_active,
    "introspect: as the client": World.is_client_answered,
    "revoke: as the client": World.is_client_heard,
    "authorize: prompt=none": World.is_authorized_silently,
    "authorize: consent resumed": World.is_consent_taken,
    "front door": World.is_known_at_the_door,
    "sign-in": World.is_signed_in_anew,
    "JWKS": World.is_key_published,
}
_AS_CLIENT = {"introspect: as the client", "revoke: as the client"}
_OF_GRANTS = {
    "token: code", "token: refresh", "userinfo", "introspect: access token", "introspect: refresh token",
}  # fmt: skip
_OF_SESSION = {"authorize: prompt=none", "authorize: consent resumed", "front door"}
_OF_CLIENT = _OF_GRANTS | _AS_CLIENT | {"authorize: prompt=none", "authorize: consent resumed"}


def _sign_out(world: World) -> None:
    page = world.get(0, "/logout")
    fields = dict(forms_of(page.body.decode())[0].hidden()) | {"decision": "sign_out"}
    headers = {"Cookie": world.cookie, "Origin": world.on.issuer}
    answer = world.send(0, request("POST", world.on.issuer + "/logout", headers, urlencode(fields).encode()))
    # The browser is known by a new secret; it is still the browser that was signed in.
    world.cookie = _cookie_of(answer)


def _revoke(world: World) -> None:
    for tokens in world.tokens:
        world.as_client(0, world.web, "/oauth/revoke", {"token": str(tokens["refresh_token"])})


def _retire_keys(world: World) -> None:
    server = world.on.servers[0]
    active = [
        key for key in server.run_json("keys", "list") if key["state"] == "active" and key["algorithm"] == "RS256"
    ]
    world.gatepost("keys", "rotate", "--algorithm", "RS256")
    for key in active:
        world.gatepost("keys", "retire", key["kid"], "--yes")


def _new_secrets(world: World) -> None:
    for client in (world.web, world.machine):
        world.gatepost("clients", "rotate-secret", client.client_id, "--overlap", "0")


def _command(noun: str, verb: str, *options: str) -> Callable[[World], None]:
    def run(world: World) -> None:
        names = [world.account.email] if noun == "users" else [world.web.client_id, world.machine.client_id]
        for name in names:
            world.gatepost(noun, verb, name, *options)

    return run


@dataclass(frozen=True)
class Ending:
    """How something ends, and the paths that must then be dead; the others must live."""

    act: Callable[[World], None]
    dead: set[str]
    undo: Callable[[World], None] | None = None


_CLIENT_DEAD = _OF_CLIENT | {"token: client credentials"}
ENDINGS: dict[str, Ending] = {
    "user disabled": Ending(
        _command("users", "disable"), _OF_GRANTS | _OF_SESSION | {"sign-in"}, _command("users", "enable")
    ),
    "user deleted": Ending(_command("users", "delete", "--yes"), _OF_GRANTS | _OF_SESSION | {"sign-in"}),
    "password replaced": Ending(
        lambda world: world.gatepost(
            "users", "set-password", world.account.email, "--password-stdin", stdin=secrets.token_urlsafe(18)
        ),
        _OF_GRANTS | _OF_SESSION | {"sign-in"},
    ),
    "client disabled": Ending(_command("clients", "disable"), _CLIENT_DEAD, _command("clients", "enable")),
    "client deleted": Ending(_command("clients", "delete", "--yes"), _CLIENT_DEAD),
    "client secret replaced": Ending(
        _new_secrets, {"token: code", "token: refresh", "token: client credentials"} | _AS_CLIENT
    ),
    "session ended": Ending(_sign_out, _OF_GRANTS | _OF_SESSION),
    "grants revoked": Ending(_revoke, _OF_GRANTS - {"token: code"}),
    "signing key retired": Ending(_retire_keys, {"userinfo", "introspect: access token", "JWKS"}),
}


def _replicas(world: World) -> range:
    return range(len(world.on.ports))


def _tried(world: World, paths: Sequence[str]) -> dict[tuple[str, int], bool]:
    return {(path, replica): PATHS[path](world, replica) for path in paths for replica in _replicas(world)}


def check_ending(on: Stage, api: RegisteredClient, name: str) -> tuple[int, list[str]]:
    """One ending on every process; how many cells had to be dead, and every fault in words."""
    ending, world = ENDINGS[name], World(on, api)
    faults = [
        f"{path} did not work on process {replica} before: {name}"
        for (path, replica), is_alive in _tried(world, sorted(PATHS)).items()
        if not is_alive
    ]
    spent = world.codes, world.tokens
    world.refill()
    ending.act(world)
    time.sleep(DEADLINE_SECONDS)
    cells = _tried(world, sorted(PATHS))
    for (path, replica), is_alive in cells.items():
        if is_alive and path in ending.dead:
            faults.append(f"{name}, yet alive on process {replica}: {path}")
        elif not is_alive and path not in ending.dead:
            faults.append(f"{name}, which has nothing to do with it, yet dead on process {replica}: {path}")
    dead = sum(path in ending.dead for path, _ in cells)
    if ending.undo is not None:
        revived, count = _check_undone(world, ending.undo, spent)
        faults, dead = faults + [f"{name}, then enabled: {fault}" for fault in revived], dead + count
    world.person.session.close()
    return dead, faults


def _check_undone(
    world: World, undo: Callable[[World], None], spent: tuple[list[dict[str, str]], list[dict[str, object]]]
) -> tuple[list[str], int]:
    """Whether anything spent or revoked works again once its owner does."""
    undo(world)
    time.sleep(DEADLINE_SECONDS)
    faults = [] if world.is_authorized_silently(0) else ["nothing works again"]
    world.refill()
    _revoke(world)
    for replica in _replicas(world):
        world.is_redeemed(replica)
    undo(world)
    cells = {("spent code", replica): world.is_redeemed(replica) for replica in _replicas(world)}
    for path in sorted(_OF_GRANTS - {"token: code"}):
        cells |= {(f"revoked, {path}", replica): PATHS[path](world, replica) for replica in _replicas(world)}
    world.codes, world.tokens = spent
    cells |= {("code spent before", replica): world.is_redeemed(replica) for replica in _replicas(world)}
    faults += [f"alive on process {replica}: {path}" for (path, replica), is_alive in cells.items() if is_alive]
    return faults, len(cells)


def run(on: Stage, names: Sequence[str] = tuple(ENDINGS)) -> tuple[dict[str, int], list[str]]:
    """All endings; the cells that had to be dead by ending, and every fault."""
    api = _create_machine(on.servers[0], "--introspect-any")
    cells: dict[str, int] = {}
    faults: list[str] = []
    for name in names:
        cells[name], found = check_ending(on, api, name)
        faults += found
        print(f"{name}: {cells[name]} cells, {len(found)} faults", file=sys.stderr, flush=True)
    return cells, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ending", choices=tuple(ENDINGS), action="append", help="by default all; may be repeated")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    with stage("postgres") as on:
        cells, faults = run(on, options.ending or tuple(ENDINGS))
    alive = sum("yet alive" in fault or ": alive" in fault for fault in faults)
    figures = {
        "processes": 3,
        "endings": len(cells),
        "cells that had to be dead": sum(cells.values()),
        f"alive after {DEADLINE_SECONDS:g} s": alive,
    }
    return conclude("matrix", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
