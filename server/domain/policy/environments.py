"""Which world does a credential belong to? Test and live never see each other."""

from __future__ import annotations

from typing import Final, Literal

Environment = Literal["live", "test"]
ENVIRONMENTS: Final[tuple[Environment, ...]] = ("live", "test")
