"""The same small story many times, in a few threads at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.races.progress import Progress
from tests.races.stage import Minter, Stage

Story = Callable[[int, Minter], list[str]]
THREADS = 6


def each(label: str, on: Stage, count: int, story: Story, threads: int = THREADS) -> list[str]:
    """Tells the story `count` times, each thread with a minter of its own; returns every fault, in words."""
    faults: list[str] = []
    progress, minter, taking = Progress(label, count), Minter(on), threading.Lock()
    numbers = iter(range(1, count + 1))

    def run() -> None:
        mine = minter.copy()
        while True:
            with taking:
                number = next(numbers, None)
            if number is None:
                return
            found = story(number, mine)
            with taking:
                faults.extend(f"{label} {number}: {fault}" for fault in found)
            progress.step(f"({len(faults)} faults)")

    with ThreadPoolExecutor(threads) as executor:
        for future in [executor.submit(run) for _ in range(threads)]:
            future.result()
    return faults
