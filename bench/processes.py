"""What a tree of processes has used, from `/proc` (Linux)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def _stat(pid: str) -> list[str]:
    # The name in parentheses may hold anything; what follows the last one is numbers.
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def tree(root: int) -> list[int]:
    """The process and all its descendants that run now."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                children.setdefault(int(_stat(name)[1]), []).append(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """User and system time of the tree so far, of children that have ended too."""
    ticks = 0
    for pid in tree(root):
        with suppress(OSError):
            # utime, stime, cutime, cstime (proc_pid_stat(5), fields 14 to 17).
            ticks += sum(map(int, _stat(str(pid))[11:15]))
    return ticks / _TICKS


def pss_bytes(root: int) -> int:
    """The tree's memory, each shared page divided by the number of processes that share it."""
    total = 0
    for pid in tree(root):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total
