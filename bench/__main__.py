"""Measures Gatepost beside the machine's limits and beside other servers, and writes a report in Markdown."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

from bench import processors, report
from bench.campaign import Campaign, Plan
from bench.journal import Journal, Results
from bench.load import Limits
from bench.peers.registry import OUT_OF_REACH, PEERS
from tests.support.components import REPOSITORY

JOURNAL = REPOSITORY / "var" / "bench" / "journal.jsonl"

_EPILOG = """
    The figure is CPU-µs per request: user and system time of the server's whole process tree, ended children
    included, divided by the requests it answered. The load generator shares the machine's cores, so requests per
    second are what the machine does with both on it. Each round measures every cell once, in random order; the
    report shows medians over the rounds, their spread, and ratios to the floors of the same round. Everything
    listens on 127.0.0.1 only and lives in a temporary folder.

    It measures with the Python that it runs on, and that build matters: take one that was optimised as a
    distribution's is, as `make bench PYTHON=/usr/bin/python3 VENV=var/distribution` does.

    Needs the packages of requirements-dev.lock; PostgreSQL's initdb and pg_ctl for the half with PostgreSQL; node
    and npm for oidc-provider; a package index for django-oauth-toolkit and canaille; java and mvn for keycloak. They
    are installed into var/bench with pinned versions. What is missing is left out, and the report says so.

    Every cell is noted in var/bench/journal.jsonl as it comes; --resume goes on after the last one of a run of the
    same plan that was ended.

    Examples:

      python -m bench --quick                      every cell once, briefly: does it all run?
      python -m bench --output docs/performance.md the full report: a quiet machine, 25 minutes
      python -m bench --resume --output docs/performance.md   go on with it
      python -m bench --without-ifma --output docs/performance-without-ifma.md   as on an older processor
      python -m bench --only refresh --no-peers    one operation, with the floors
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=__doc__,
        epilog=textwrap.dedent(_EPILOG),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run: 1 round, 0.3 s a cell; its figures say nothing"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of load per cell and round (default: %(default)s)")
    parser.add_argument(
        "--requests", type=int, default=50_000, help="at most, per cell and round (default: %(default)s)"
    )
    parser.add_argument("--connections", type=int, default=16, help="keep-alive connections (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="server processes (default: one a core)"
    )
    parser.add_argument(
        "--database", choices=("sqlite", "postgres"), action="append", help="default: both; may be repeated"
    )
    parser.add_argument("--peer", choices=tuple(PEERS), action="append", help="default: all; may be repeated")
    parser.add_argument("--no-peers", action="store_true", help="Gatepost and the floors alone")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="operations whose name contains it")
    parser.add_argument("--seed", type=int, default=0, help="of the random order (default: %(default)s)")
    parser.add_argument(
        "--endurance",
        type=int,
        metavar="N",
        help="then watch memory over N requests (default: 200,000; 0 with --quick or --only)",
    )
    parser.add_argument(
        "--without-ifma", action="store_true", help="hide AVX-512 IFMA from OpenSSL, as on processors without it"
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run of the same plan that was ended")
    parser.add_argument("--output", type=Path, help="where the report goes; default: standard output")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    endurance = options.endurance
    if endurance is None:
        endurance = 0 if options.quick or options.only else 200_000
    return Plan(
        rounds=1 if options.quick else options.rounds,
        limits=Limits(0.3 if options.quick else options.seconds, options.requests, options.connections),
        workers=options.workers,
        databases=tuple(options.database or ("sqlite", "postgres")),
        peers=() if options.no_peers else tuple(options.peer or PEERS),
        only=tuple(options.only),
        seed=options.seed,
        endurance=endurance,
        left_out=() if options.no_peers else tuple(OUT_OF_REACH.items()),
        without_ifma=options.without_ifma,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for; 1 when something answered wrongly."""
    # Asked to end, it ends what it started: an exception runs the contexts' exits, the default would not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given)
    plan, results = _plan(options), Results()
    if options.without_ifma:
        processors.hide_ifma()
    journal = Journal(None if options.quick else JOURNAL, repr(plan), resume=options.resume, results=results)
    with tempfile.TemporaryDirectory(prefix="gatepost-bench-") as directory:
        Campaign(plan, Path(directory), results, journal).run()
    text = report.render(results, plan, report.command("bench", given))
    report.write(text, options.output, chapter=report.REQUESTS)
    return 1 if any(sample.failures for sample in results.samples) else 0


if __name__ == "__main__":
    sys.exit(main())
