"""A process is killed at each point of a request in turn, and the client tries again on another process (R-04).

The points are found by going on until none is left: before and after every call that reaches the database, and before
the response. After each kill the database must be consistent, and the retry must have the promised outcome:

* a code gives its tokens, unless it had given them: then it is refused, and what it gave is revoked;
* a refresh token gives its one successor, the same that was issued if one was issued;
* a replayed code is refused, and what the first redemption gave is revoked;
* a retried refresh gets the same successor;
* a reused refresh token ends its family;
* a revocation is in force.

python -m tests.races.failpoints
python -m tests.races.failpoints --record

Exit status: 0 when every point is consistent, 1 when one is not.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.races.consistency import contradictions, count
from tests.races.results import conclude
from tests.races.stage import DatabaseKind, Minter, Stage, refresh_form, stage

#: No request has nearly as many.
MOST_POINTS = 200


class Doomed:
    """The process whose forks are killed; see `doomed.py`."""

    def __init__(self, on: Stage, process: subprocess.Popen[str]) -> None:
        self._on, self._process = on, process

    def serve(self, path: str, form: dict[str, str], point: int) -> dict[str, Any]:
        """Has one request answered by a new process that is killed at this point; what became of it."""
        order = {
            "path": path,
            "body": urlencode(form),
            "host": urlsplit(self._on.issuer).netloc,
            "authorization": self._on.authorization,
            "point": point,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def doomed(on: Stage) -> Iterator[Doomed]:
    """A process that waits for orders, with the stage's settings."""
    server = on.servers[0]
    with (server.directory / "doomed.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.races.doomed"],
            cwd=server.directory,
            env=server.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        yield Doomed(on, process)
        assert process.stdin is not None
        process.stdin.close()


@dataclass
class Scenario:
    """One request of one client: what is sent, and what must be true when it was sent again."""

    path: str
    form: dict[str, str]
    #: Gives the broken promises, in words, after the retry's outcome.
    judge: Callable[[], list[str]]


def _digest(token: object) -> str:
    return hashlib.sha256(str(token).encode()).hexdigest()


def _is_spent(on: Stage, table: str, column: str, digest: str) -> bool:
    query = f"SELECT COUNT(*) FROM {table} WHERE {column} = '{digest}' AND consumed_at IS NOT NULL"
    return count(on.database_url, query) == 1


def _exchange(on: Stage, minter: Minter) -> Scenario:
    form = minter.code()

    def judge() -> list[str]:
        was_spent = _is_spent(on, "authorization_codes", "code_digest", _digest(form["code"]))
        answer = on.ask("/oauth/token", form)
        if answer.outcome != ("400 invalid_grant" if was_spent else "200"):
            return [f"the retry of a code that was {'spent' if was_spent else 'not spent'} answers {answer.outcome}"]
        if was_spent:
            return _unless_revoked(on, form["code"])
        return [] if on.is_active(answer.members["access_token"]) else ["the retry's token is inactive"]

    return Scenario("/oauth/token", form, judge)


def _unless_revoked(on: Stage, code: str) -> list[str]:
    query = (
        "SELECT COUNT(*) FROM grants g JOIN authorization_codes c ON c.grant_id = g.id"
        f" WHERE c.code_digest = '{_digest(code)}' AND g.revoked_at IS NOT NULL"
    )
    return [] if count(on.database_url, query) == 1 else ["what a code gave that came twice is not revoked"]


def _refresh(on: Stage, minter: Minter) -> Scenario:
    token = minter.tokens()["refresh_token"]
    return Scenario("/oauth/token", refresh_form(token), lambda: _unless_succeeded(on, token))


def _unless_succeeded(on: Stage, token: str) -> list[str]:
    issued = (
        "SELECT COUNT(*) FROM refresh_tokens s JOIN refresh_tokens p ON p.id = s.predecessor_id"
        f" WHERE p.token_digest = '{_digest(token)}'"
    )
    was_spent = _is_spent(on, "refresh_tokens", "token_digest", _digest(token))
    answer = on.refresh(token)
    if answer.status != 200:
        return [f"the retry of a refresh answers {answer.outcome}"]
    successor = answer.members["refresh_token"]
    faults = []
    if count(on.database_url, f"{issued} AND s.token_digest = '{_digest(successor)}'") != 1:
        faults.append(f"the retry's successor is not the one that was issued (spent before: {was_spent})")
    if on.refresh(successor).status != 200:
        faults.append("the successor does not work")
    return faults


def _replayed_code(on: Stage, minter: Minter) -> Scenario:
    form = minter.code()
    given = on.ask("/oauth/token", form).members

    def judge() -> list[str]:
        answer = on.ask("/oauth/token", form)
        faults = [] if answer.outcome == "400 invalid_grant" else [f"a replayed code answers {answer.outcome}"]
        if on.is_active(given["access_token"]) or on.refresh(given["refresh_token"]).status == 200:
            faults.append("what a replayed code gave still works")
        return faults

    return Scenario("/oauth/token", form, judge)


def _retried_refresh(on: Stage, minter: Minter) -> Scenario:
    token = minter.tokens()["refresh_token"]
    on.refresh(token)
    return Scenario("/oauth/token", refresh_form(token), lambda: _unless_succeeded(on, token))


def _reused_refresh(on: Stage, minter: Minter) -> Scenario:
    token = minter.tokens()["refresh_token"]
    successor = on.refresh(token).members["refresh_token"]
    last = on.refresh(successor).members["refresh_token"]

    def judge() -> list[str]:
        answer = on.refresh(token)
        faults = [] if answer.outcome == "400 invalid_grant" else [f"a reused refresh token answers {answer.outcome}"]
        return faults + (["the family of a reused token lives on"] if on.refresh(last).status == 200 else [])

    return Scenario("/oauth/token", refresh_form(token), judge)


def _revocation(on: Stage, minter: Minter) -> Scenario:
    given = minter.tokens()
    form = {"token": given["refresh_token"]}

    def judge() -> list[str]:
        answer = on.ask("/oauth/revoke", form)
        faults = [] if answer.status == 200 else [f"the retry of a revocation answers {answer.outcome}"]
        if on.is_active(given["access_token"]) or on.refresh(given["refresh_token"]).status == 200:
            faults.append("what was revoked still works")
        return faults

    return Scenario("/oauth/revoke", form, judge)


SCENARIOS: dict[str, Callable[[Stage, Minter], Scenario]] = {
    "code exchange": _exchange,
    "refresh": _refresh,
    "replayed code": _replayed_code,
    "retried refresh": _retried_refresh,
    "reused refresh token": _reused_refresh,
    "revocation": _revocation,
}


def every_point(on: Stage, name: str) -> tuple[list[str], list[str]]:
    """Kills at each point of one scenario in turn; the points and every broken promise."""
    points: list[str] = []
    faults: list[str] = []
    minter = Minter(on)
    with doomed(on) as victim:
        for number in range(1, MOST_POINTS):
            scenario = SCENARIOS[name](on, minter)
            told = victim.serve(scenario.path, scenario.form, number)
            if not told["is_killed"]:
                if "status" not in told or told["status"] >= 500:
                    faults.append(f"{name}: the process ended by itself: {told}")
                break
            points.append(told["point"])
            broken = contradictions(on.database_url) + scenario.judge() + contradictions(on.database_url)
            faults += [f"{name}, killed {told['point']}: {fault}" for fault in broken]
    return points, faults


def run(kind: DatabaseKind, database_url: str | None = None) -> tuple[dict[str, list[str]], list[str]]:
    """All scenarios on one kind of database; their points and every broken promise."""
    points: dict[str, list[str]] = {}
    faults: list[str] = []
    with stage(kind, replicas=1, database_url=database_url) as on:
        for name in SCENARIOS:
            points[name], found = every_point(on, name)
            faults += found
    return points, faults


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("postgres", "sqlite"), help="by default both")
    parser.add_argument("--list", action="store_true", help="print every point")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    status = 0
    for kind in [options.database] if options.database else ["postgres", "sqlite"]:
        points, faults = run(kind)
        if options.list:
            for name, labels in points.items():
                print(f"{name}:", *collections.Counter(labels), sep="\n    ")
        figures = {f"points of {name}": len(labels) for name, labels in points.items()}
        total = sum(figures.values())
        summary = {"points": total, **figures, "inconsistent": len(faults)}
        status |= conclude(f"failpoints-{kind}", summary, faults, is_recorded=options.record)
    return status


if __name__ == "__main__":
    sys.exit(main())
