"""What ends in an organization is dead on every process within a second, on every path (INV-11, K-06, K-12).

As `matrix.py`, for members, organizations, API keys, applications and what comes of them. When what ended is resumed,
what was spent, revoked or rotated before stays so; of a member who was removed and comes back all keys do.

python -m tests.races.organization_matrix
python -m tests.races.organization_matrix --record

Exit status: 0 when every cell that must be dead is dead, 1 when one lives.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.interop.registry import RegisteredClient, create_account
from tests.races import matrix
from tests.races.matrix import DEADLINE_SECONDS
from tests.races.organization_world import PATHS, SETTINGS, Boss, OrganizationWorld, create_alias_client
from tests.races.results import conclude
from tests.races.stage import Stage, stage

Act = Callable[[OrganizationWorld], None]


def _of(*bearers: str) -> set[str]:
    return {f"{face}: {bearer}" for face in ("/v1", "/v1/verify", "introspect") for bearer in bearers}


_KEY = {"token: exchange"} | _of("API key", "exchanged token")
_GRANT = {"token: code", "token: refresh", "userinfo", "introspect: refresh token"} | _of("person's token")
_SESSION = {"authorize: prompt=none", "/v1: session", "dashboard"}
_ASKING = {"token: client credentials", "token: code", "token: refresh", "introspect: as the client"}
_SIGNING = {"token: jwt-bearer"} | _of("client-made JWT")
_APPLICATION = _ASKING | _SIGNING | _GRANT | {"authorize: prompt=none"} | _of("application's token")
_PERSON_HERE = {"/v1: person's token", "/v1/verify: person's token", "/v1: session"}
#: What somebody made has no more than they have, as long as they are there.
_MADE = _of("application's token", "client-made JWT")
_PERSON = _MADE | _KEY | _GRANT | _SESSION | {"invitation", "session alias"}
_MEMBER = _MADE | _KEY | _PERSON_HERE | {"dashboard", "invitation"}


@dataclass(frozen=True)
class Ending:
    """How something ends, what must then be dead, and how it is taken back; the other paths must live."""

    act: Act
    dead: set[str]
    undo: Act | None = None
    #: What must work again when it was taken back.
    revived: frozenset[str] = frozenset()
    #: What must not, although it was not spent.
    stays_dead: frozenset[str] = frozenset()
    #: What has to do with it and yet may go on.
    either: frozenset[str] = frozenset()


def _command(noun: str, verb: str, *options: str) -> Act:
    def act(world: OrganizationWorld) -> None:
        world.gatepost(noun, verb, world.account.email if noun == "users" else world.organization, *options)

    return act


def _as_owner(method: str, path: str, document: object = None) -> Act:
    def act(world: OrganizationWorld) -> None:
        world.boss.ask(method, world.path + path.format(key=world.key_id, member=world.member_id), document)

    return act


def _to_clients(method: str, suffix: str = "", document: object = None) -> Act:
    def act(world: OrganizationWorld) -> None:
        for client in (world.web, world.machine):
            world.boss.ask(method, f"{world.path}/clients/{client.client_id}{suffix}", document)

    return act


def _demote(world: OrganizationWorld) -> None:
    world.boss.ask("POST", f"{world.path}/roles", {"name": "watcher", "permissions": ["audit:read"]})
    world.boss.ask("PATCH", f"{world.path}/members/{world.member_id}", {"role": "watcher"})


def _come_back(world: OrganizationWorld) -> None:
    assert world.join(world.invited(world.boss, world.account.email, "admin"))


_ALL = frozenset(PATHS)
_HERE = _ALL - {"session alias"}
ENDINGS: dict[str, Ending] = {
    "user disabled": Ending(
        _command("users", "disable"), _PERSON, _command("users", "enable"),
        frozenset({"token: exchange", "/v1: API key", "/v1/verify: API key", "invitation"}),
    ),
    "user deleted": Ending(_command("users", "delete", "--yes"), _PERSON),
    "member suspended": Ending(
        _as_owner("PATCH", "/members/{member}", {"suspended": True}), _MEMBER | {"introspect: person's token"},
        _as_owner("PATCH", "/members/{member}", {"suspended": False}), frozenset(_MEMBER),
        either=frozenset({"introspect: refresh token"}),
    ),
    "member removed": Ending(
        _as_owner("DELETE", "/members/{member}"), _MEMBER, _come_back, frozenset(_PERSON_HERE | {"dashboard"}),
        frozenset(_KEY),
    ),
    "role lowered": Ending(
        _demote, {"/v1: API key", "/v1/verify: API key", "/v1: exchanged token", "/v1/verify: exchanged token",
                  "invitation"} | _PERSON_HERE | {name for name in _MADE if name.startswith("/v1")},
        either=frozenset({"token: exchange"}),
    ),
    "organization suspended": Ending(
        _command("organizations", "suspend"), set(_HERE), _command("organizations", "resume"), _HERE
    ),
    "organization deleted": Ending(_as_owner("DELETE", ""), set(_HERE)),
    "application disabled": Ending(
        _to_clients("PATCH", document={"disabled": True}), _APPLICATION,
        _to_clients("PATCH", document={"disabled": False}), frozenset(_ASKING | _SIGNING),
    ),
    "application deleted": Ending(_to_clients("DELETE"), _APPLICATION),
    "client secret replaced": Ending(_to_clients("POST", "/secrets", {"overlap": "0h"}), _ASKING | _SIGNING),
    "API key revoked": Ending(_as_owner("DELETE", "/api-keys/{key}"), _KEY),
    "API key rotated": Ending(_as_owner("POST", "/api-keys/{key}/rotate", {"overlap": "0h"}), _KEY),
    "session ended": Ending(matrix._sign_out, _SESSION),
    "grants revoked": Ending(matrix._revoke, _GRANT - {"token: code"}),
    "signing key retired": Ending(
        matrix._retire_keys, {"userinfo"} | _of("exchanged token", "person's token", "application's token")
    ),
}  # fmt: skip


def _tried(world: OrganizationWorld, paths: Sequence[str]) -> dict[tuple[str, int], bool]:
    replicas = range(len(world.on.ports))
    return {(path, replica): PATHS[path](world, replica) for path in paths for replica in replicas}


def check_ending(on: Stage, api: RegisteredClient, boss: Boss, name: str) -> tuple[int, list[str]]:
    """One ending on every process; how many cells had to be dead, and every fault in words."""
    ending, world = ENDINGS[name], OrganizationWorld(on, api, boss)
    faults = [
        f"{path} did not work on process {replica} before: {name}"
        for (path, replica), is_alive in _tried(world, sorted(PATHS)).items()
        if not is_alive
    ]
    spent = world.codes, world.tokens, world.invitations
    world.refill()
    ending.act(world)
    time.sleep(DEADLINE_SECONDS)
    cells = _tried(world, sorted(_ALL - ending.either))
    dead = sum(path in ending.dead for path, _ in cells)
    for (path, replica), is_alive in cells.items():
        if is_alive and path in ending.dead:
            faults.append(f"{name}, yet alive on process {replica}: {path}")
        elif not is_alive and path not in ending.dead:
            faults.append(f"{name}, which has nothing to do with it, yet dead on process {replica}: {path}")
    if ending.undo is not None:
        revived, count = _check_undone(world, ending, spent)
        faults, dead = faults + [f"{name}, then taken back: {fault}" for fault in revived], dead + count
    world.person.session.close()
    return dead, faults


def _check_undone(
    world: OrganizationWorld, ending: Ending, spent: tuple[list[dict[str, str]], list[dict[str, object]], list[str]]
) -> tuple[list[str], int]:
    """Whether all works again that should, and nothing that was spent or revoked before."""
    assert ending.undo is not None  # or there is nothing to check
    ending.undo(world)
    time.sleep(DEADLINE_SECONDS)
    works = _tried(world, sorted(ending.revived))
    faults = [f"dead on process {replica}: {path}" for (path, replica), is_alive in works.items() if not is_alive]
    cells = _tried(world, sorted(ending.stays_dead))
    for replica in range(len(world.on.ports)):
        for number, key in enumerate(world.gone_keys):
            cells[f"key that ended before, {number}", replica] = world.passes(replica, key)
    world.codes, world.tokens, world.invitations = spent
    cells |= _tried(world, ["token: code", "invitation"])
    faults += [f"alive on process {replica}: {path}" for (path, replica), is_alive in cells.items() if is_alive]
    return faults, len(cells)


def run(on: Stage, names: Sequence[str] = tuple(ENDINGS)) -> tuple[dict[str, int], list[str]]:
    """All endings; the cells that had to be dead by ending, and every fault."""
    api = matrix._create_machine(on.servers[0], "--introspect-any")
    create_alias_client(on)
    boss = Boss(on, create_account(on.servers[0], "Grace Hopper"))
    cells: dict[str, int] = {}
    faults: list[str] = []
    for name in names:
        cells[name], found = check_ending(on, api, boss, name)
        faults += found
        print(f"{name}: {cells[name]} cells, {len(found)} faults", file=sys.stderr, flush=True)
    return cells, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ending", choices=tuple(ENDINGS), action="append", help="by default all; may be repeated")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    with stage("postgres", settings=SETTINGS) as on:
        cells, faults = run(on, options.ending or tuple(ENDINGS))
    alive = sum("alive on process" in fault for fault in faults)
    figures = {
        "processes": 3,
        "endings": len(cells),
        "cells that had to be dead": sum(cells.values()),
        f"alive after {DEADLINE_SECONDS:g} s": alive,
    }
    return conclude("organization-matrix", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
