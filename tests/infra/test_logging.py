"""Logging: one line per event with the request's id, and no library that would write secrets."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from server.config import Settings
from server.infra.database import open_engine
from server.infra.logging import configure_logging, request_id

NOISY = ("authlib", "sqlalchemy")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., io.StringIO]]:
    """`log(log_level="debug")`: sets logging up and returns what is written."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in NOISY}
    written = io.StringIO()

    def start(**settings: Any) -> io.StringIO:
        # Setting up closes the handlers it replaces; pytest's own shall live.
        root.handlers.clear()
        monkeypatch.setattr("sys.stderr", written)
        configure_logging(Settings(_env_file=None, **settings))
        return written

    yield start
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def test_event_is_one_line_of_text_with_the_request_id_when_the_format_is_text(log: Callable[..., io.StringIO]) -> None:
    written = log(log_format="text")
    token = request_id.set("req_1")
    try:
        logging.getLogger("server.web").warning("a thing happened to %s", "it")
    finally:
        request_id.reset(token)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING server\.web \[req_1\] a thing happened to it\n",
        written.getvalue(),
    )


def test_event_is_one_json_object_when_the_format_is_json(log: Callable[..., io.StringIO]) -> None:
    written = log(log_format="json")
    token = request_id.set("req_2")
    try:
        logging.getLogger("server.web").error('two\nlines and a "quote"')
    finally:
        request_id.reset(token)
    (line,) = written.getvalue().splitlines()
    document = json.loads(line)
    at = document.pop("at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", at)
    assert document == {
        "level": "error",
        "logger": "server.web",
        "request_id": "req_2",
        "message": 'two\nlines and a "quote"',
    }


def test_traceback_stands_in_the_object_when_an_exception_is_logged(log: Callable[..., io.StringIO]) -> None:
    written = log(log_format="json")
    try:
        raise ValueError("went wrong")
    except ValueError:
        logging.getLogger("server").exception("caught")
    (line,) = written.getvalue().splitlines()
    assert json.loads(line)["exception"].endswith("ValueError: went wrong")


def test_request_id_is_a_dash_when_no_request_is_served(log: Callable[..., io.StringIO]) -> None:
    written = log(log_format="json")
    logging.getLogger("server").error("starting")
    assert json.loads(written.getvalue())["request_id"] == "-"


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_only_events_of_the_level_are_written(log: Callable[..., io.StringIO], level: str, shown: int) -> None:
    written = log(log_level=level)
    for write in (logging.debug, logging.info, logging.warning, logging.error):
        write("an event")
    assert len(written.getvalue().splitlines()) == shown


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
@pytest.mark.parametrize("name", ["authlib", "authlib.oauth2.rfc6749", "sqlalchemy", "sqlalchemy.engine.Engine"])
def test_noisy_library_stays_silent_at_every_level(log: Callable[..., io.StringIO], level: str, name: str) -> None:
    written = log(log_level=level)
    logging.getLogger(name).debug("token=%s", "SECRET")
    logging.getLogger(name).info("token=%s", "SECRET")
    assert written.getvalue() == ""


def test_no_statement_or_parameter_is_logged_when_the_level_is_debug(
    log: Callable[..., io.StringIO], tmp_path: Path
) -> None:
    written = log(log_level="debug")
    engine = open_engine(Settings(_env_file=None, database_url=f"sqlite:///{tmp_path / 'x.sqlite'}"))
    with engine.connect() as connection:
        connection.execute(text("SELECT :value"), {"value": "SECRET"})
    engine.dispose()
    assert "SELECT" not in written.getvalue()
    assert "SECRET" not in written.getvalue()


HOSTILE = [
    "\n2026-01-01 00:00:00,000 INFO    server.web [req_9] forged",
    "\r\nforged",
    "\x1b[2J\x1b[1;31mforged",
    "\x9b31mforged",
    "\x00\x08\x7f",
    "\u2028forged\u2029\x85",
    "\u202eforged\u2066",
    '", "level": "error", "message": "forged',
]


@pytest.mark.spec("L-03")
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_is_forged_and_no_terminal_controlled_when_a_message_carries_it(
    log: Callable[..., io.StringIO], form: str, text: str
) -> None:
    written = log(log_format=form)
    logging.getLogger("server").warning("refused: %s", text)
    (line,) = written.getvalue().splitlines()
    assert line.isprintable()
    if form == "json":
        assert json.loads(line)["message"] == f"refused: {text}"
        assert json.loads(line)["level"] == "warning"


@pytest.mark.spec("L-03")
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("text", HOSTILE)
def test_no_line_is_forged_when_an_exception_carries_it(log: Callable[..., io.StringIO], form: str, text: str) -> None:
    written = log(log_format=form)
    try:
        raise ValueError(text)
    except ValueError:
        logging.getLogger("server").exception("caught")
    first, *others = written.getvalue().splitlines()
    assert all(line.isprintable() for line in (first, *others))
    assert all(line.startswith("    ") for line in others)
    assert (not others) == (form == "json")
