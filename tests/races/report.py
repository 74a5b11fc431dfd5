"""Writes `docs/trust.md`: what Gatepost promises, what runs have shown, and the one command that shows it again.

Every figure comes from `docs/trust.json`, where the runs leave them with `--record`; none is typed.

python -m tests.races.report            writes it, with what further runs left in var/results
python -m tests.races.report --check    says whether it is up to date; exit code 1 when not
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.races.results import REPOSITORY, load, record, shown

PAGE = REPOSITORY / "docs" / "trust.md"
INTRODUCTION = """\
# Trust, and check

What Gatepost promises when many ask at once, when processes die, when answers get lost and when something is
disabled; what runs have shown; and the one command that shows it again, on your machine, against the server you would
deploy. Each starts its own PostgreSQL and its own servers, prints how far it is, and exits with 1 when a promise was
broken. The runs leave their figures in `docs/trust.json`; `python -m tests.races.report` writes this page from it.

The rules (R-…, INV-…) are those of [security.md](security.md). Smaller sizes of the same scripts run in CI. What a
pass is worth is shown by `make trust-naive`: the same race against a server that checks before it acts, which loses it.
"""
CLOSING = """\
## What is not promised

* A code whose answer was lost gives nothing when it is tried again: the second redemption of a code is refused and
  revokes what the first gave (RFC 6749 §4.1.2). The app sends the person through the authorization endpoint once more,
  which, signed in as they are, they hardly notice. A refresh whose answer was lost is answered again for 30 seconds.
* SIGKILL is not a power cut: what the kernel was given survives it. Against power cuts stand SQLite's
  `synchronous=FULL` and PostgreSQL's `synchronous_commit`; no power was cut for these figures.
* Audit rows about acts that change nothing else are written some milliseconds later, many at a time; a killed process
  may lose those. Rows about what was issued, spent or revoked stand or fall with it.
"""


@dataclass(frozen=True)
class Promise:
    """One promise, the run that shows it, and the command of that run at full size."""

    title: str
    rules: str
    sentence: str
    #: The names under which the run records its figures.
    results: tuple[str, ...]
    command: str


PROMISES: tuple[Promise, ...] = (
    Promise(
        "One code, one token set",
        "R-01, R-02, INV-01",
        "Fifty clients redeem the same code on three processes at once, each body withheld until every connection is "
        "open: exactly one succeeds, all others get `invalid_grant`, none an error; what the one got is revoked at "
        "once, because a second valid redemption is a theft. Afterwards the database agrees.",
        ("race-codes",),
        "make trust-races",
    ),
    Promise(
        "One refresh token, one successor",
        "R-08, INV-03",
        "Twenty clients use the same refresh token on three processes at once: all get the identical answer with the "
        "one successor, which works.",
        ("race-refresh",),
        "make trust-races",
    ),
    Promise(
        "Registration, sign-out and first meetings, all at once",
        "INV-13, INV-18, INV-41, TK-24, TK-31",
        "Twenty connections register clients, change or remove one, sign one session out, bring one request object by "
        "reference, or let a pairwise client meet a person for the first time, on three processes at the same instant: "
        "each thing happens once, all learn of it, nothing is answered with 500 or more.",
        ("race-openid",),
        "make trust-openid",
    ),
    Promise(
        "Processes may die at any moment",
        "R-03",
        "Workers and whole servers are killed with SIGKILL every 0.02 to 0.9 seconds while eight clients redeem and "
        "refresh: no row contradicts another, and no client is asked to sign in again because an answer was lost.",
        ("kills-postgres", "kills-sqlite"),
        "make trust-kills",
    ),
    Promise(
        "Processes may die at any point",
        "R-04",
        "The process is killed before and after every call that reaches the database, and before the response, of "
        "code exchange, refresh, their replays and revocation: each point is consistent, each retry has its promised "
        "outcome.",
        ("failpoints-postgres", "failpoints-sqlite"),
        "make trust-failpoints",
    ),
    Promise(
        "A replay does exactly what it must",
        "R-02, R-09, R-10, INV-04",
        "Replays of a code that are not fully valid revoke nothing; fully valid ones revoke within a second. A refresh "
        "token that comes back and is no retry ends its family, for thief and victim, also when every process was "
        "restarted in between.",
        ("replays",),
        "make trust-replays",
    ),
    Promise(
        "Lost answers cost nobody a sign-in",
        "R-07, R-12",
        "Answers to refreshes are lost, up to five in a row; the client tries again with the token it has.",
        ("lost-answers",),
        "make trust-losses",
    ),
    Promise(
        "A commit cut off is no riddle",
        "R-21",
        "The connection to PostgreSQL is cut before, during or after the commit that spends something: the client is "
        "told 503 with `Retry-After`, and trying again is safe.",
        ("cut-commits",),
        "make trust-losses",
    ),
    Promise(
        "Revoked is revoked",
        "R-11, INV-10",
        "A refresh and a revocation of the same token meet on two processes: nothing survives, whichever came first.",
        ("revocations",),
        "make trust-contention",
    ),
    Promise(
        "SQLite is honest",
        "R-06",
        "32 threads on one database file through three processes: no client is told that the database is locked.",
        ("sqlite",),
        "make trust-contention",
    ),
    Promise(
        "Disabled is disabled",
        "INV-10, INV-11",
        "User, membership, organization, client, secret, API key, session, grants, signing key: one second after the "
        "change is committed, every path that hangs on it is dead on every process; enabling again revives nothing "
        "that was spent or revoked.",
        ("matrix", "organization-matrix"),
        "make trust-matrix",
    ),
    Promise(
        "Keys change and nobody notices",
        "R-13, R-14, R-15",
        "Scheduled rotations in simulated time on three replicas under load: every token verifies for every verifier "
        "that keeps the JWKS for five minutes to a day. Three processes rotate at once: one active key for each "
        "algorithm at every moment. A leaked key is left by all replicas within seconds.",
        ("rotations",),
        "make trust-rotations",
    ),
    Promise(
        "Apps hear of a sign-out",
        "R-38",
        "Of twenty apps some are dead, some refuse, some are out of order: every one that answers hears within a "
        "minute, the page waits for none of them, and killing whoever sends loses nothing.",
        ("backchannel-logout",),
        "make trust-logout",
    ),
    Promise(
        "A redirect goes where it was registered to go",
        "AZ-01, AZ-02, AZ-05",
        "Hundreds of near misses of six shapes of redirect URI, sent in seven ways each, and every combination of "
        "other mistakes with an unproven client or URI: none is accepted that differs from what was registered, "
        "nothing redirects before both are proven.",
        ("redirect-uris",),
        "make trust-redirects",
    ),
    Promise(
        "No request is our fault",
        "INV-41, TK-17",
        "Made-up bytes and valid requests with up to two faults go to every endpoint: none is answered with 500 or "
        "more, none gets its input back, all within two seconds.",
        ("malformed-input",),
        "make trust-malformed",
    ),
    Promise(
        "Server and model agree",
        "INV-01 to INV-28",
        "Made-up lives of a deployment on two replicas (sign-ins, tokens, retries, thefts, operators, time, restarts) "
        "beside a model of it: after every step both say the same.",
        ("model",),
        "make trust-machine",
    ),
    Promise(
        "The database goes away",
        "R-18, R-19",
        "PostgreSQL is stopped, frozen (SIGSTOP), cut off without a word or 30 s late while requests arrive: each that "
        "needs it is answered 503 with Retry-After within 2.5 s, none 401 or `invalid_grant`; the JWKS and the "
        "metadata are served; 5 s after it is back everything works, and no worker was restarted.",
        ("outage",),
        "make trust-outage",
    ),
    Promise(
        "Restarts nobody notices",
        "R-27",
        "Three replicas behind nginx, configured as [operations.md](operations.md) shows, are restarted one after the "
        "other under load: no request fails.",
        ("rolling-restarts",),
        "make trust-restarts",
    ),
)


def page() -> str:
    """The whole page."""
    sections = [line for each in promises() for line in _section(each)]
    return "\n".join([INTRODUCTION, *_summary(), "", *sections, CLOSING])


def promises() -> list[Promise]:
    """Those of this folder, then those that other runs left figures of."""
    ours = {name for promise in PROMISES for name in promise.results}
    others = [
        Promise(name.replace("-", " ").capitalize(), "", str(kept["promise"]), (name,), str(kept["command"]))
        for name, kept in load().items()
        if name not in ours
    ]
    return [*PROMISES, *others]


def _summary() -> list[str]:
    results = load()
    rows = ["| Promise | Rules | Broken in the last run | Again |", "|---|---|---|---|"]
    for promise in promises():
        found = [results[name]["broken"] for name in promise.results if name in results]
        broken = ", ".join(str(number) for number in found) if len(found) == len(promise.results) else "not run yet"
        command = promise.command if promise.command.startswith("make ") else "as below"
        rows.append(f"| {promise.title} | {promise.rules} | {broken} | {_code(command)} |")
    return rows


def _code(command: str) -> str:
    return f"`{command}`" if command != "as below" else command


def _section(promise: Promise) -> list[str]:
    lines = [f"## {promise.title}", "", *textwrap.wrap(promise.sentence, 119), "", f"`{promise.command}`", ""]
    results = load()
    for name in promise.results:
        if name not in results:
            lines += [f"`{name}` was not run yet.", ""]
            continue
        result = results[name]
        figures = result["figures"]
        assert isinstance(figures, dict)
        lines += [f"| `{name}`, {result['on']}, commit {result['commit']}, {result['machine']} | |", "|---|---|"]
        lines += [f"| {label} | {shown(value)} |" for label, value in figures.items()]
        lines.append("")
    return lines


def collect(folder: Path) -> None:
    """Takes over what runs outside this folder left."""
    for path in sorted(folder.glob("*.json")):
        kept = json.loads(path.read_text("utf-8"))
        known = load().get(path.stem)
        if known is not None and known["figures"] == kept["figures"]:
            continue
        broken = kept["figures"].get("broken promises", "see its figures")
        record(path.stem, kept["figures"], broken, promise=kept["promise"], command=kept["command"])


def main(arguments: Sequence[str]) -> int:
    """Writes the page, or checks it; returns the exit status."""
    if "--check" not in arguments:
        collect(REPOSITORY / "var" / "results")
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.exists() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    print("docs/trust.md is not what docs/trust.json says. Run: python -m tests.races.report")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
