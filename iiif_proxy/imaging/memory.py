"""How the C library keeps what was freed: not for long."""

import contextlib
import ctypes
import os

# <malloc.h>
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
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
