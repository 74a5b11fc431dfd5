"""The bench's own arithmetic: answers taken apart, processes added up, ratios within a round."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import http, load, processes, report, targets
from bench.campaign import GATEPOST_POSTGRES, Plan, Results
from bench.floors.subjects import SERVER, SIGN
from bench.load import Limits
from bench.subject import CLIENT_CREDENTIALS, Sample

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc")
HEAD = b"HTTP/1.1 200 OK\r\n"


def sample(subject: str, operation: str, cpu_us: float, number: int, failures: int = 0) -> Sample:
    return Sample(subject, operation, 100, 1.0, cpu_us, None, 1.0, 2.0, failures, "", number)


def results(*samples: Sample) -> Results:
    return Results(samples=list(samples), pss={GATEPOST_POSTGRES: 170_000_000})


@pytest.mark.parametrize("cut", range(1, 45))
def test_answer_is_awaited_when_some_of_it_is_missing(cut: int) -> None:
    whole = HEAD + b"Content-Length: 5\r\n\r\nhello"
    assert load._parse(whole[:-cut], ended=False) is None


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (HEAD + b"Content-Length: 5\r\nX: y\r\n\r\nhello", b"hello"),
        (HEAD + b"X: y\r\ncontent-length: 5\r\n\r\nhello", b"hello"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
    ],
)
def test_answer_is_taken_apart_when_it_is_whole(raw: bytes, body: bytes) -> None:
    answer = load._parse(raw, ended=False)
    assert answer is not None
    assert (answer.status, answer.body) == (200, body)


def test_header_is_found_whatever_its_case() -> None:
    assert http.Answer(303, HEAD + b"location: https://a.example/?code=b", b"").header("Location").endswith("code=b")


def test_chain_goes_on_where_it_was_when_a_source_is_used_again() -> None:
    source = http.each_after_the_other([b"first"], lambda answer: answer.body)
    assert source(0, None) == b"first"
    assert source(0, http.Answer(200, b"", b"second")) == b"second"
    assert source(0, None) == b"second"


def test_percentile_is_the_worst_when_there_are_few() -> None:
    assert load.percentile([3.0, 1.0, 2.0], 99) == 3.0
    assert load.percentile([], 50) == 0.0


@needs_proc
def test_cpu_of_a_tree_counts_children_that_have_ended() -> None:
    before = processes.cpu_seconds(os.getpid())
    burn = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert processes.cpu_seconds(os.getpid()) - before >= 0.19


@needs_proc
def test_tree_holds_grandchildren_that_run() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'], stdin=sys.stdin)"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    try:
        while len(processes.tree(child.pid)) < 2:
            assert child.poll() is None
        assert processes.pss_bytes(child.pid) > 0
    finally:
        child.communicate(b"\n")


def test_ratio_divides_within_a_round_and_leaves_out_what_has_no_floor() -> None:
    cell, floor = (GATEPOST_POSTGRES, CLIENT_CREDENTIALS), (SERVER, SIGN)
    rows = [sample(*cell, 400, 1), sample(*floor, 200, 1), sample(*cell, 900, 2), sample(*floor, 300, 2)]
    assert targets.ratios([*rows, sample(*cell, 1, 3)], cell, floor) == [2.0, 3.0]


def test_report_says_what_missed_what_was_wrong_and_what_was_left_out() -> None:
    found = results(
        sample(GATEPOST_POSTGRES, CLIENT_CREDENTIALS, 400, 1, failures=3),
        sample(SERVER, SIGN, 200, 1),
    )
    found.absent["oidc-provider"] = "node and npm\nare not installed"
    text = report.render(found, Plan(1, Limits(1, 10), 2, ("postgres",), ()), "python -m bench --quick")
    assert "| client_credentials RS256, PostgreSQL ÷ sign only, floor: WSGI | 2.00 | 1.6 | **missed** |" in text
    assert "3 wrong answers" in text
    assert "* oidc-provider: node and npm are not installed" in text
    assert "PSS in MB | 170 | 175 | holds |" in text


def test_command_in_the_report_names_no_file_of_the_machine(tmp_path: Path) -> None:
    given = ["--output", str(tmp_path / "a.md"), "--rounds", "3", f"--json={tmp_path / 'b.json'}", "--quick"]
    assert command._command(given) == "python -m bench --rounds 3 --quick"
