"""What the C library and the kernel do about memory: what was freed is not kept for long, what will
be written is there in time."""

import contextlib
import ctypes
import functools
import mmap
import os
from collections.abc import Callable

# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# <linux/mman.h>, 5.14
_POPULATE_WRITE = 23
MAPPED = 4 << 20
KEPT = 16 << 20
ARENAS = 4


def frugal() -> None:
    """Have glibc give freed pixels back to the machine at once.

    By itself it keeps blocks of up to 32 MiB for the thread that freed them: eight threads that
    had decoded 16 megapixels each, one after the other, held 830 MB (tests/test_memory.py). Blocks
    smaller than `MAPPED`, a tile's, are kept for the next as before. Nothing is done where another
    library allocates, or where the operator has said how (`MALLOC_*`, `GLIBC_TUNABLES`).
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        for option, value in (
            (_MMAP_THRESHOLD, MAPPED),
            (_TRIM_THRESHOLD, KEPT),
            (_ARENA_MAX, ARENAS),
        ):
            library.mallopt(option, value)


def populate(memory: mmap.mmap, offset: int, size: int) -> bool:
    """Have pages made before they are written, by a thread that can wait for it. `offset` begins a
    page. False: the kernel does not do that."""
    advise = _madvise()
    if advise is None:
        return False
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + offset
    return advise(start, size, _POPULATE_WRITE) == 0


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    """Python's own, `mmap.madvise`, holds its lock meanwhile."""
    with contextlib.suppress(OSError, AttributeError):
        advise = ctypes.CDLL("libc.so.6").madvise
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        found: Callable[[int, int, int], int] = advise
        return found
    return None
