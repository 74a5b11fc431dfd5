"""What a serving process asks of its memory allocator. C libraries other than glibc keep little and are left alone."""

from __future__ import annotations

import ctypes
import mmap
from typing import Final

#: Names and numbers of malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
#: What a hash takes by default comes from the heap and stays there while people sign in: fetching it anew costs time.
_LARGEST_IN_HEAP_BYTES: Final = 2**25
_KEPT_BYTES: Final = 2**26


def keep_one_heap() -> None:
    """For all threads. By default each of hundreds of threads may get one of sixteen, and each keeps what it once held.

    The interpreter lets one thread at a time allocate anyway.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim"):
        return
    library.mallopt(_M_ARENA_MAX, 1)
    library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_IN_HEAP_BYTES)
    library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def wish_for_huge_pages(size: int) -> None:
    """Asks that the next block of `size` bytes lie in huge pages: what a hash reads in no order is found sooner there.

    They save one of twenty milliseconds. It is a wish: the system may have none, and the block may lie elsewhere.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "malloc_trim") or not hasattr(mmap, "MADV_HUGEPAGE"):
        return
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = library.malloc(size)
    if block is None:
        return
    # Whole pages of the block alone; nothing around it grows. What is freed is handed out again first.
    start = -(-block // mmap.PAGESIZE) * mmap.PAGESIZE
    library.madvise(start, block + size - start, mmap.MADV_HUGEPAGE)
    library.free(block)


def give_back() -> None:
    """Returns to the system what has been freed in the one heap; takes a millisecond in which nobody allocates."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(ctypes.c_size_t(0))
