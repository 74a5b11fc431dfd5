"""Which build of Python it is that serves and that loads: one that was optimised by a profile takes less time."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import Final

_DISTRIBUTION: Final = Path("/usr")


def describe() -> str:
    """The version and whose build it is: the distribution's, which it names, or another."""
    if Path(sys.base_prefix) != _DISTRIBUTION:
        return f"Python {platform.python_version()}, not the distribution's"
    return f"Python {platform.python_version()} of {_distribution()}"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        # A report is not lost for want of a name.
        return "a distribution without a name"
