"""The bench's own arithmetic: answers taken apart, processes added up, ratios within a round."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bench import http, load, processes, report, targets
from bench.campaign import GATEPOST_POSTGRES, GATEPOST_SQLITE, Plan
from bench.floors.subjects import SERVER, SIGN
from bench.growth import __main__ as growth
from bench.growth import loading
from bench.journal import Journal, Results
from bench.load import Limits
from bench.subject import BESIDE_LOGINS, CLIENT_CREDENTIALS, CODE_EXCHANGE, REFRESH, Sample

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc")
HEAD = b"HTTP/1.1 200 OK\r\n"


def sample(subject: str, operation: str, cpu_us: float, number: int, failures: int = 0) -> Sample:
    return Sample(subject, operation, 100, 1.0, cpu_us, None, 1.0, 2.0, failures, round=number)


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
    assert "| must | client_credentials RS256, PostgreSQL: CPU ÷ sign only | 2.00 | ≤ 1.6 | **missed** |" in text
    assert "3 wrong answers" in text
    assert "* oidc-provider: node and npm are not installed" in text
    assert "| must | Gatepost, PostgreSQL: memory | 170 MB | ≤ 175 | met |" in text


def verdicts(found: Results) -> dict[str, targets.Verdict]:
    return {f"{each.kind} {each.text}": each for each in targets.judged(found)}


def test_code_exchange_is_held_to_two_signatures() -> None:
    found = verdicts(results(sample(GATEPOST_SQLITE, CODE_EXCHANGE, 620, 1), sample(SERVER, SIGN, 200, 1)))
    verdict = found["must code exchange, SQLite: CPU ÷ 2 × sign only"]
    assert (verdict.values, verdict.holds) == ((1.55,), True)


def test_tail_is_held_to_the_tail_without_logins() -> None:
    alone = sample(GATEPOST_SQLITE, CLIENT_CREDENTIALS, 400, 1)
    beside = replace(sample(GATEPOST_SQLITE, BESIDE_LOGINS, 900, 1), p99_ms=4.2)
    verdict = verdicts(results(alone, beside))[
        "must client_credentials beside logins, SQLite: p99 ÷ client_credentials RS256, Gatepost, SQLite"
    ]
    assert (verdict.values, verdict.holds) == ((2.1,), False)


def test_one_server_error_is_one_too_many() -> None:
    cells = [replace(sample(GATEPOST_SQLITE, REFRESH, 400, number), server_errors=number == 2) for number in (1, 2, 3)]
    assert not verdicts(results(*cells))["must refresh RS256, SQLite FULL: answers of 500 and above"].holds


def test_memory_that_grew_is_a_miss() -> None:
    found = results()
    found.growth[GATEPOST_POSTGRES] = [100_000_000, 107_000_000]
    assert not verdicts(found)["must Gatepost, PostgreSQL: memory after ÷ before"].holds


def test_peer_that_is_ahead_is_named_with_what_is_different() -> None:
    found = results(sample(GATEPOST_POSTGRES, REFRESH, 400, 1), sample("peer, memory", REFRESH, 300, 1))
    found.differs["peer, memory"] = {REFRESH: "it forgets everything"}
    found.pss["peer, memory"], found.about["peer, memory"] = 20_000_000, "one process"
    text = report.render(found, Plan(1, Limits(1, 10), 2, ("postgres",), ()), "python -m bench")
    figures = "300 instead of 400 CPU µs"
    assert f"refresh RS256: peer, memory before Gatepost, PostgreSQL with {figures}; it forgets everything." in text
    assert "memory: peer, memory before Gatepost, PostgreSQL with 20 instead of 170 MB; one process." in text


def test_run_goes_on_where_it_was_when_the_plan_is_the_same(tmp_path: Path) -> None:
    path, cell = tmp_path / "journal.jsonl", sample(GATEPOST_SQLITE, REFRESH, 400, 1)
    journal = Journal(path, "a plan", resume=False, results=Results())
    journal.sample(cell)
    journal.memory(GATEPOST_SQLITE, 5)
    journal.growth(GATEPOST_SQLITE, [5, 6])
    same, other = Results(), Results()
    Journal(path, "a plan", resume=True, results=same)
    assert same.has(GATEPOST_SQLITE, REFRESH, 1)
    assert not same.has(GATEPOST_SQLITE, REFRESH, 2)
    assert (same.pss, same.growth) == ({GATEPOST_SQLITE: 5}, {GATEPOST_SQLITE: [5, 6]})
    Journal(path, "another plan", resume=True, results=other)
    assert other.samples == []


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (
            b'{"access_token": "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCJ9.a.b", "refresh_token": "rt_1"}',
            "access_token RS256 at+jwt, refresh_token opaque, 89 bytes",
        ),
        (b'{"active": true, "sub": "a"}', "active: true, 2 members, 28 bytes"),
        (b"<html>", "6 bytes"),
        (b"[]", "2 bytes"),
    ],
)
def test_answer_is_described_for_who_compares_servers(body: bytes, shape: str) -> None:
    assert http.shape(http.Answer(200, HEAD, body)) == shape


def test_command_in_the_report_names_no_file_of_the_machine(tmp_path: Path) -> None:
    given = [
        "--output",
        str(tmp_path / "a.md"),
        "--rounds",
        "3",
        f"--output={tmp_path / 'b.md'}",
        "--resume",
        "--quick",
    ]
    assert report.command("bench", given) == "python -m bench --rounds 3 --quick"


def test_each_chapter_leaves_the_other_as_it_was(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    for chapter, text in (
        (report.REQUESTS, "older\n"),
        (report.GROWTH, "grows\n"),
        (report.REQUESTS, "old\n"),
        (report.REQUESTS, "new\n"),
    ):
        report.write(text, page, chapter=chapter)
    assert page.read_text().startswith("new\n")
    assert page.read_text().endswith("grows\n")
    assert "old" not in page.read_text()
    assert page.read_text().count("another run") == 1


def test_growth_is_of_both_servers_together() -> None:
    few, many = (
        replace(sample(f"{rows:,} rows", "refresh ES256, of all", cpu, 1), database_us=database)
        for rows, cpu, database in ((1000, 300, 100.0), (100_000, 300, 240.0))
    )
    text = growth.render(growth.Findings([few, many]), (1000, 100_000), 1, Limits(1, 10), "python -m bench.growth")
    assert "| refresh ES256, of all | 300 + 100, 1.0 | 300 + 240, 1.0 | 1.35 [1.35–1.35] | **missed** |" in text


def test_copies_can_be_told_from_their_numbers() -> None:
    rows = 1000
    web = {loading.client_of_grant(number, rows) for number in range(1, rows + 1)}
    assert web == set(range(1, rows, 2))
    assert loading.client_of_grant(7, rows) == loading.client_of_grant(7 + rows // 2, rows)
