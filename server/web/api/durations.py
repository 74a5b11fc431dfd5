"""Spans of time as they are written in `/v1`: `365d`, `12h`, `30m`, `0`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field

from server.domain.errors import Invalid

_DURATION: Final = re.compile(r"([0-9]{1,9})([smhdw]?)", re.ASCII)
_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_LONGEST: Final = 3650 * 86400
#: What the schema says of them.
PATTERN: Final = "^[0-9]{1,9}[smhdw]?$"
NEVER: Final = "never"
Duration = Annotated[str, Field(pattern=PATTERN)]


def parse_duration(field: str, text: str) -> timedelta:
    """The span that `text` names; a bare number is seconds.

    Raises:
        Invalid: when it names none, or one of more than ten years.
    """
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match is not None else -1
    if not 0 <= seconds <= _LONGEST:
        raise Invalid(field, "this is a number and a unit of s, m, h, d or w, such as 12h or 365d; ten years at most.")
    return timedelta(seconds=seconds)
