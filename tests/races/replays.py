"""What a second use of a code or a refresh token does, and what it must not do, over three processes.

R-02   a replay of a spent code that is not fully valid (wrong verifier, redirect URI, client or secret) is refused and
       revokes nothing; a fully valid one is refused and revokes what the first gave, on every process, within a second;
R-09   a spent refresh token that is no retry (its successor was used, or it is older than that, or the window is over,
       or another client or another scope is named) is refused, and the whole family is dead: thief and victim are out;
R-10   the same after every process was restarted in between; and a retry within the window still gets its answer.

python -m tests.races.replays
python -m tests.races.replays --misbound 100000 --valid 10000 --reuses 1000 --restarted 200 --record

Exit status: 0 when every promise was kept, 1 when one was broken.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tests.interop.registry import RegisteredClient, create_client
from tests.races.connection import Answer, Connection, basic, post_request
from tests.races.consistency import contradictions, count
from tests.races.parallel import each
from tests.races.results import Figures, conclude
from tests.races.stage import Minter, Stage, launch, refresh_form, stage

#: Seconds of the replay window on this stage; the default is 30.
WINDOW = 6
SETTINGS = {"GATEPOST_REFRESH_REPLAY_WINDOW": str(WINDOW)}
#: Mis-bound replays of one code.
EACH_CODE = 50


def _send(on: Stage, replica: int, form: dict[str, str], authorization: str | None) -> Answer:
    connection = Connection(on.ports[replica % len(on.ports)])
    try:
        return connection.exchange(post_request(on.issuer + "/oauth/token", form, authorization))
    finally:
        connection.close()


def misbound(on: Stage, other: RegisteredClient, replays: int) -> tuple[Figures, list[str]]:
    """R-02, first half."""
    right = on.authorization
    bindings: tuple[tuple[dict[str, str], str | None], ...] = (
        ({"code_verifier": "w" * 43}, right),
        ({"code_verifier": ""}, right),
        ({"redirect_uri": on.client.redirect_uri + "/"}, right),
        ({}, basic(other.client_id, other.client_secret)),
        ({"client_id": on.client.client_id}, None),
    )
    before = _revoked(on)

    def story(number: int, minter: Minter) -> list[str]:
        form = minter.code()
        given = on.ask("/oauth/token", form, number).members
        faults = []
        for turn in range(EACH_CODE):
            change, authorization = bindings[turn % len(bindings)]
            answer = _send(on, turn, form | change, authorization)
            if answer.status not in {400, 401, 429}:
                faults.append(f"a mis-bound replay ({change}) answers {answer.outcome}")
        if not on.is_active(given["access_token"], number) or on.refresh(given["refresh_token"]).status != 200:
            faults.append("mis-bound replays revoked what the code gave")
        return faults

    codes = max(replays // EACH_CODE, 1)
    faults = each("mis-bound replays, code", on, codes, story)
    return {"mis-bound replays": codes * EACH_CODE, "revocations they caused": _revoked(on) - before}, faults


def _revoked(on: Stage) -> int:
    return count(on.database_url, "SELECT COUNT(*) FROM grants WHERE revoked_at IS NOT NULL")


def valid(on: Stage, replays: int) -> tuple[Figures, list[str]]:
    """R-02, second half."""
    slowest, lock = [0.0], threading.Lock()

    def story(number: int, minter: Minter) -> list[str]:
        form = minter.code()
        given = on.ask("/oauth/token", form, number).members
        again = on.ask("/oauth/token", form, number + 1)
        started = asked = time.monotonic()
        while on.is_active(given["access_token"], number + 2) and time.monotonic() - started < 5:
            time.sleep(0.01)
            # As late as this it was active still, if it is: how long the answer takes tells nothing.
            asked = time.monotonic()
        took = asked - started
        with lock:
            slowest[0] = max(slowest[0], took)
        faults = [] if again.outcome == "400 invalid_grant" else [f"a second redemption answers {again.outcome}"]
        if on.refresh(given["refresh_token"], number).status == 200:
            faults.append("what the first redemption gave can be refreshed")
        return faults + ([f"revoked only after {took:.1f} s"] if took > 1 else [])

    faults = each("valid replay", on, replays, story)
    return {"valid replays": replays, "slowest revocation, seconds": round(slowest[0], 3)}, faults


def _spend(on: Stage, token: object, replica: int, times: int) -> object:
    """Refreshes so many times in a row; the last token."""
    for turn in range(times):
        token = on.refresh(token, replica + turn).members["refresh_token"]
    return token


Reuse = Callable[[Stage, RegisteredClient, str, int], tuple[Answer, object]]


def _predecessor(on: Stage, _: RegisteredClient, token: str, number: int) -> tuple[Answer, object]:
    leaf = _spend(on, token, number, 2)
    return on.refresh(token, number), leaf


def _grand_predecessor(on: Stage, _: RegisteredClient, token: str, number: int) -> tuple[Answer, object]:
    leaf = _spend(on, token, number, 3)
    return on.refresh(token, number), leaf


def _after_the_window(on: Stage, _: RegisteredClient, token: str, number: int) -> tuple[Answer, object]:
    leaf = _spend(on, token, number, 1)
    time.sleep(WINDOW + 1.1)
    return on.refresh(token, number), leaf


def _by_another_client(on: Stage, other: RegisteredClient, token: str, number: int) -> tuple[Answer, object]:
    leaf = _spend(on, token, number, 1)
    return _send(on, number, refresh_form(token), basic(other.client_id, other.client_secret)), leaf


def _for_another_scope(on: Stage, _: RegisteredClient, token: str, number: int) -> tuple[Answer, object]:
    leaf = _spend(on, token, number, 1)
    return on.ask("/oauth/token", refresh_form(token) | {"scope": "openid phone"}, number), leaf


REUSES: dict[str, Reuse] = {
    "the successor was used": _predecessor,
    "the grand-predecessor": _grand_predecessor,
    "the window is over": _after_the_window,
    "another client": _by_another_client,
    "another scope": _for_another_scope,
}


def reused(on: Stage, other: RegisteredClient, reuses: int) -> tuple[Figures, list[str]]:
    """R-09."""
    faults = []
    for name, reuse in REUSES.items():

        def story(number: int, minter: Minter, reuse: Reuse = reuse) -> list[str]:
            given = minter.tokens()
            answer, leaf = reuse(on, other, given["refresh_token"], number)
            found = [] if answer.outcome == "400 invalid_grant" else [f"the thief is answered {answer.outcome}"]
            if on.refresh(leaf, number + 1).outcome != "400 invalid_grant":
                found.append("the newest token of the family works")
            if on.is_active(given["access_token"], number + 2):
                found.append("an access token of the family is active")
            return found

        waits = reuse is _after_the_window
        faults += each(name, on, reuses, story, threads=min(reuses, 50) if waits else 6)
    return {"reuses of refresh tokens": reuses * len(REUSES), "of so many kinds": len(REUSES)}, faults


def _restart(on: Stage) -> None:
    for server in on.servers:
        with suppress(ProcessLookupError):
            os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
    for server in on.servers:
        launch(server, 1)


def restarted(on: Stage, families: int) -> tuple[Figures, list[str]]:
    """R-10; the stage has the default window, which a restart fits into."""
    minter = Minter(on)
    tokens = [minter.tokens()["refresh_token"] for _ in range(families)]
    stolen = [(token, _spend(on, token, number, 2)) for number, token in enumerate(tokens)]
    tokens = [minter.tokens()["refresh_token"] for _ in range(min(families, 50))]
    # As late as possible: the window is short.
    retried = [(token, on.refresh(token)) for token in tokens]
    _restart(on)
    faults = []
    for number, (token, answer) in enumerate(retried):
        again = on.refresh(token, number)
        if again.body != answer.body:
            faults.append(f"a retry after a restart is answered {again.outcome}, and not as before")
    for number, (token, leaf) in enumerate(stolen):
        if on.refresh(token, number).outcome != "400 invalid_grant" or on.refresh(leaf, number + 1).status == 200:
            faults.append("a family reused after a restart lives")
    return {"families reused after a restart": len(stolen), "retries answered after a restart": len(retried)}, faults


def run(on: Stage, sizes: dict[str, int]) -> tuple[Figures, list[str]]:
    """R-02 and R-09 on a stage with these `SETTINGS`; the figures and every broken promise."""
    other = create_client(on.servers[0], "web", "--first-party", "--refresh-token-policy", "always")
    figures: Figures = {}
    faults: list[str] = []
    for part in (
        lambda: misbound(on, other, sizes["misbound"]),
        lambda: valid(on, sizes["valid"]),
        lambda: reused(on, other, sizes["reuses"]),
    ):
        more, found = part()
        figures |= more
        faults += found
    return figures, faults + contradictions(on.database_url)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--misbound", type=int, default=500, help="mis-bound replays (default: %(default)s)")
    parser.add_argument("--valid", type=int, default=50, help="valid replays (default: %(default)s)")
    parser.add_argument("--reuses", type=int, default=10, help="reuses of each kind (default: %(default)s)")
    parser.add_argument("--restarted", type=int, default=10, help="families over a restart (default: %(default)s)")
    parser.add_argument("--record", action="store_true", help="leave the figures for docs/trust.md")
    options = parser.parse_args(arguments)
    with stage("postgres", settings=SETTINGS) as on:
        figures, faults = run(on, vars(options))
    with stage("postgres") as on:
        more, found = restarted(on, options.restarted)
    faults += found
    figures |= more | {"broken promises": len(faults)}
    return conclude("replays", figures, faults, is_recorded=options.record)


if __name__ == "__main__":
    sys.exit(main())
