"""Counts what a request costs where a clock would only tell how busy the machine is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc import jwk
from sqlalchemy import Engine, event

from server.infra import jose
from tests.support.statements import watch_statements


@dataclass(frozen=True)
class Counts:
    """What one request did."""

    #: SQL statements, without those that open and close transactions.
    statements: int
    commits: int
    signatures: int
    #: Private keys parsed: an RSA one costs as much as sixty signatures.
    private_keys: int = 0
    #: Public keys parsed, to verify with.
    public_keys: int = 0


class Recorder:
    """Listens to an engine and to joserfc; `what_happens` tells the difference that one call made."""

    def __init__(self, engines: Iterable[Engine], monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: Counter[str] = Counter()
        self.statements: list[str] = []
        engines = tuple(engines)
        watch_statements(engines, self._on_statement, monkeypatch)
        for engine in engines:
            event.listen(engine, "commit", lambda _connection: self.seen.update(["commits"]))
        self._count_signatures(monkeypatch)
        for key_class in (jwk.RSAKey, jwk.ECKey, jwk.OKPKey):
            self._count_parses(monkeypatch, key_class.binding)

    @contextmanager
    def counting(self) -> Iterator[Callable[[], Counts]]:
        """Counts from here; the yielded function tells how much it was."""
        before = self.seen.copy()
        self.statements.clear()
        yield lambda: Counts(
            **{name: self.seen[name] - before[name] for name in ("statements", "commits", "signatures")},
            **{name: self.seen[name] - before[name] for name in ("private_keys", "public_keys")},
        )

    def _on_statement(self, statement: str) -> None:
        if statement == "COMMIT":
            self.seen["commits"] += 1
        elif not statement.startswith(("BEGIN", "PRAGMA")):
            self.seen["statements"] += 1
            self.statements.append(statement)

    def _count_signatures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sign = jose.signature

        def counted(*arguments: Any) -> bytes:
            self.seen["signatures"] += 1
            return sign(*arguments)

        monkeypatch.setattr(jose, "signature", counted)

    def _count_parses(self, monkeypatch: pytest.MonkeyPatch, binding: Any) -> None:
        parse_dict, parse_bytes = binding.import_from_dict, binding.import_from_bytes

        def from_dict(value: dict[str, Any]) -> Any:
            self.seen["private_keys" if "d" in value else "public_keys"] += 1
            return parse_dict(value)

        def from_bytes(*arguments: Any) -> Any:
            # A PEM; every one of ours would be private.
            self.seen["private_keys"] += 1
            return parse_bytes(*arguments)

        monkeypatch.setattr(binding, "import_from_dict", from_dict)
        monkeypatch.setattr(binding, "import_from_bytes", from_bytes)
