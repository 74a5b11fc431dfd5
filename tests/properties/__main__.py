"""The long runs of the property tests: `python -m tests.properties NAME [options]` prints the figures and keeps them.

malformed   anything at any endpoint (INV-41), in this process and over real connections
redirects   the corpus of near misses of redirect URIs, and what must never redirect (AZ-01, AZ-02, AZ-05)
machine     a long life of one deployment, step by step beside a model of it (INV-01 to INV-28)
keys        a million API keys made and revoked (K-01, K-16), and refusals timed against each other (K-05)
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.domain.redirect_uri_mutations import SHAPES, mutations
from tests.properties import api_keys, malformed, raw_socket, redirects
from tests.properties.catalogue import World
from tests.properties.machine import Deployment
from tests.properties.malformed import Tally
from tests.properties.results import keep
from tests.support.application import Gatepost
from tests.support.gateway import Gateway
from tests.support.servers import postgres_cluster, start_server

#: Examples of one Hypothesis run; a long run is many of these, each with a seed of its own.
_ROUND = 1500
MEBIBYTE = 1024


def run_malformed(folder: Path, requests: int, connections: int, number: int, database: dict[str, str]) -> None:
    """Sends `requests` in this process and over `connections` to `gatepost serve`."""
    started = time.monotonic()
    world = World.begin(folder / "inside", **database)
    raw, faulty, anywhere, odd = Tally(), Tally(), Tally(), Tally()
    malformed.send_odd_values(world, odd, malformed.ODD_VALUES)
    while raw.requests + faulty.requests + anywhere.requests + odd.requests < requests:
        number += 1
        malformed.send_raw_bytes(world, raw, _ROUND // len(world.routes()) * 2, number)
        malformed.send_faulty_requests(world, faulty, _ROUND, number)
        malformed.send_to_any_path(world, anywhere, _ROUND // 10, number)
    figures = {
        "requests": raw.requests + faulty.requests + anywhere.requests + odd.requests,
        "routes of the URL map": len(world.routes()),
        "raw bytes to every route": raw.figures(),
        "valid requests with 0 to 2 faults": faulty.figures(),
        "each parameter with each odd value": odd.figures(),
        "any path": anywhere.figures(),
    }
    world.gatepost.close()
    if connections:
        figures["over real connections"] = _over_connections(folder / "served", connections, number)
    # The first one would have ended the run.
    figures["error texts outside RFC 6749's characters"] = figures["answers that gave input back"] = 0
    figures["broken promises"] = 0
    figures["seconds"] = round(time.monotonic() - started)
    command = f"python -m tests.properties malformed --requests {requests} --connections {connections}"
    command += " --postgres" if database else ""
    on_postgres = " on PostgreSQL" if database else ""
    keep(
        "malformed-input" + on_postgres.lower().replace(" ", "-"),
        "Anything at any endpoint: no fault, no input reflected, within 2 s",
        figures,
        command,
    )


def _over_connections(folder: Path, connections: int, number: int) -> dict[str, object]:
    tally, done = Tally(), 0
    with start_server(folder, settings={"GATEPOST_REGISTRATION": "open"}) as server:
        raw_socket.send_bytes(server, Tally(), 100, number)
        before = raw_socket.resident_kib(server.process.pid)
        while done < connections:
            number += 1
            raw_socket.send_bytes(server, tally, min(_ROUND, connections - done), number)
            done += _ROUND
        grown = (raw_socket.resident_kib(server.process.pid) - before) / MEBIBYTE
    assert grown <= 16, f"memory grew by {grown:.1f} MiB"
    return {**tally.figures(), "memory grew by MiB": round(grown, 1)}


def run_redirects(folder: Path) -> None:
    """Sends the whole corpus, and every pair of faults beside what is unproven."""
    started = time.monotonic()
    gatepost = Gatepost(folder)
    gatepost.add_user()
    corpus, crossed = redirects.try_corpus(gatepost), redirects.try_cross_product(gatepost, faults=2)
    gatepost.close()
    figures = {
        "registered shapes": len(SHAPES),
        "near misses of each, at least": min(len(mutations(uri)) for uri, _ in SHAPES.values()),
        "near misses": corpus["near misses"],
        "requests with near misses": corpus["requests"],
        # The first one would have ended the run.
        "accepted that differ from the registered string, port rule excepted": 0,
        "combinations before client and URI are proven": crossed["requests"],
        "redirects among them": crossed["redirects"],
        "broken promises": crossed["redirects"],
        "seconds": round(time.monotonic() - started),
    }
    promise = "A redirect goes to a registered URI, character by character, and nowhere before it is proven"
    keep("redirect-uris", promise, figures, "python -m tests.properties redirects")


def run_machine(lives: int, steps: int, number: int) -> None:
    """Makes lives up and holds the server to the model through all of them."""
    started = time.monotonic()
    wanted = settings(
        max_examples=lives,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(seed(number)(Deployment), settings=wanted)
    finally:
        Deployment.forget()
    figures = {
        **dict(sorted(Deployment.told.items())),
        "broken promises": 0,
        "seconds": round(time.monotonic() - started),
    }
    command = f"python -m tests.properties --seed {number} machine --lives {lives} --steps {steps}"
    keep("model", "After any order of steps server and model agree (INV-01 to INV-28)", figures, command)


def run_keys(folder: Path, keys: int, samples: int, database: dict[str, str]) -> bool:
    """Makes and revokes `keys`, times `samples` refusals for each reason; whether no two could be told apart."""
    started = time.monotonic()
    gatepost = Gatepost(folder, **database)
    gateway, texts = Gateway(gatepost), api_keys.refused_texts(gatepost)
    directly = api_keys.time_verification(gatepost, texts, samples)
    answers = api_keys.time_answers(lambda text: gateway.ask(text).status_code, gateway.flush_usage, texts, samples)
    # Where nothing else is timed, tenths of a microsecond of the processor's caches show; nobody outside sees those.
    broken = answers["told apart"]
    figures = {
        **{f"verification, {label}": value for label, value in directly.items()},
        **{f"answers, {label}": value for label, value in answers.items()},
        **api_keys.make_many(keys),
        **api_keys.revoke_many(gatepost, keys),
        "broken promises": broken,
        "seconds": round(time.monotonic() - started),
    }
    gatepost.close()
    command = f"python -m tests.properties keys --keys {keys} --samples {samples}"
    promise = "Keys are all different, refusals take equally long whatever the reason, and a million end at once"
    name = "api-keys-on-postgresql" if database else "api-keys"
    keep(name, promise, figures, command + (" --postgres" if database else ""))
    return broken == 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.properties", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=0)
    runs = parser.add_subparsers(dest="run", required=True)
    run = runs.add_parser("malformed")
    run.add_argument("--requests", type=int, default=50_000)
    run.add_argument("--connections", type=int, default=3_000)
    run.add_argument("--postgres", action="store_true", help="on a PostgreSQL that is made and thrown away")
    runs.add_parser("redirects")
    run = runs.add_parser("machine")
    run.add_argument("--lives", type=int, default=300)
    run.add_argument("--steps", type=int, default=50)
    run = runs.add_parser("keys")
    run.add_argument("--keys", type=int, default=1_000_000)
    run.add_argument("--samples", type=int, default=10_000, help="of each reason to refuse a key")
    run.add_argument("--postgres", action="store_true", help="on a PostgreSQL that is made and thrown away")
    return parser.parse_args()


def main() -> int:
    """Runs what the command line names; returns the exit status."""
    arguments = _arguments()
    # What the application refuses is no news here, and fifty thousand lines of it are many.
    logging.getLogger("server").setLevel(logging.ERROR)
    is_kept = True
    with tempfile.TemporaryDirectory() as folder:
        if arguments.run in ("malformed", "keys"):
            with postgres_cluster() if arguments.postgres else nullcontext() as cluster:
                database = {"database_url": cluster.create_database()} if cluster else {}
                if arguments.run == "keys":
                    is_kept = run_keys(Path(folder), arguments.keys, arguments.samples, database)
                else:
                    run_malformed(Path(folder), arguments.requests, arguments.connections, arguments.seed, database)
        elif arguments.run == "redirects":
            run_redirects(Path(folder))
        else:
            run_machine(arguments.lives, arguments.steps, arguments.seed)
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
