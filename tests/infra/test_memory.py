"""The allocator of a serving process: one heap for all threads."""

from __future__ import annotations

import subprocess
import sys

import pytest

_COUNT_HEAPS = """
import ctypes, threading
from server.infra import memory
{prelude}
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
barrier = threading.Barrier(8)
def hold():
    blocks = [library.malloc(ctypes.c_size_t(4000)) for _ in range(100)]
    barrier.wait()
    for block in blocks:
        library.free(block)
threads = [threading.Thread(target=hold) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
memory.give_back()
library.fdopen.restype, library.malloc_info.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
library.malloc_info(0, library.fdopen(1, b"w"))
library.fflush(None)
"""


def _heaps(prelude: str) -> int:
    program = [sys.executable, "-c", _COUNT_HEAPS.format(prelude=prelude)]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.count("<heap ")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has several heaps")
def test_that_threads_share_one_heap() -> None:
    assert _heaps("") > 1
    assert _heaps("memory.keep_one_heap()") == 1
