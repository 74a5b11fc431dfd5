"""The long runs of the property tests: `python -m tests.properties NAME [options]` prints the figures and keeps them.

malformed   anything at any endpoint (INV-41), in this process and over real connections
redirects   the corpus of near misses of redirect URIs, and what must never redirect (AZ-01, AZ-02, AZ-05)
machine     a long life of one deployment, step by step beside a model of it (INV-01 to INV-28)
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

from tests.properties import malformed, raw_socket
from tests.properties.catalogue import World
from tests.properties.malformed import Tally
from tests.properties.results import keep
from tests.support.application import Gatepost
from tests.support.servers import start_server

#: Examples of one Hypothesis run; a long run is many of these, each with a seed of its own.
_ROUND = 1500
MEBIBYTE = 1024


def run_malformed(folder: Path, requests: int, connections: int, number: int) -> None:
    """Sends `requests` in this process and over `connections` to `gatepost serve`."""
    started = time.monotonic()
    gatepost = Gatepost(folder / "inside", scopes={"notes:read": "Read your notes"})
    gatepost.add_user()
    world, raw, faulty, anywhere = World(gatepost), Tally(), Tally(), Tally()
    while raw.requests + faulty.requests + anywhere.requests < requests:
        number += 1
        malformed.send_raw_bytes(world, raw, _ROUND // len(world.routes()) * 2, number)
        malformed.send_faulty_requests(world, faulty, _ROUND, number)
        malformed.send_to_any_path(world, anywhere, _ROUND // 10, number)
    figures = {
        "requests": raw.requests + faulty.requests + anywhere.requests,
        "routes of the URL map": len(world.routes()),
        "raw bytes to every route": raw.figures(),
        "valid requests with 0 to 2 faults": faulty.figures(),
        "any path": anywhere.figures(),
    }
    gatepost.close()
    if connections:
        figures["over real connections"] = _over_connections(folder / "served", connections, number)
    # The first one would have ended the run.
    figures["error texts outside RFC 6749's characters"] = figures["answers that gave input back"] = 0
    figures["seconds"] = round(time.monotonic() - started)
    command = f"python -m tests.properties malformed --requests {requests} --connections {connections}"
    keep("malformed-input", "Anything at any endpoint: no fault, no input reflected, within 2 s", figures, command)


def _over_connections(folder: Path, connections: int, number: int) -> dict[str, object]:
    tally, done = Tally(), 0
    with start_server(folder) as server:
        raw_socket.send_bytes(server, Tally(), 100, number)
        before = raw_socket.resident_kib(server.process.pid)
        while done < connections:
            number += 1
            raw_socket.send_bytes(server, tally, min(_ROUND, connections - done), number)
            done += _ROUND
        grown = (raw_socket.resident_kib(server.process.pid) - before) / MEBIBYTE
    assert grown <= 16, f"memory grew by {grown:.1f} MiB"
    return {**tally.figures(), "memory grew by MiB": round(grown, 1)}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.properties", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=0)
    runs = parser.add_subparsers(dest="run", required=True)
    run = runs.add_parser("malformed")
    run.add_argument("--requests", type=int, default=50_000)
    run.add_argument("--connections", type=int, default=3_000)
    return parser.parse_args()


def main() -> None:
    """Runs what the command line names."""
    arguments = _arguments()
    # What the application refuses is no news here, and fifty thousand lines of it are many.
    logging.getLogger("server").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        run_malformed(Path(folder), arguments.requests, arguments.connections, arguments.seed)


if __name__ == "__main__":
    main()
