"""Logging: one line of text or one JSON object per event, each with the request's id; no secrets at any level."""

from __future__ import annotations

import json
import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

from server.config import Settings

#: The id of the request being served, `-` outside one.
request_id: ContextVar[str] = ContextVar("request_id", default="-")

#: What begins a line, moves the cursor, hides text or turns its direction: control characters and their like.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def printable(text: str) -> str:
    """The text with everything escaped that could forge a line or reach a terminal's controls."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id.get()
        return True


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "request_id": getattr(record, "request_id", "-"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document)


class _TextFormatter(logging.Formatter):
    # The names are the library's.
    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        # Indented, so that no line of it can pass for an event of its own.
        return "\n".join(f"    {printable(line)}" for line in super().formatException(ei).splitlines())


def configure_logging(settings: Settings) -> None:
    """Sets up the process's logging; called once by `serve` and `dev`."""
    handler = logging.StreamHandler()
    handler.addFilter(_WithRequestId())
    if settings.log_format == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(_TextFormatter("%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s"))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # Authlib writes tokens to its debug log (ten places), SQLAlchemy every statement at info. Neither may.
    for name in ("authlib", "sqlalchemy"):
        logging.getLogger(name).setLevel(logging.WARNING)
