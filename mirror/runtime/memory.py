"""How the C library deals with memory that was freed."""

import ctypes
from contextlib import suppress

_MIB = 1024 * 1024
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3), <malloc.h>


def keep_freed_memory() -> None:
    """Have the process keep some memory that it freed, up to 16 MiB, for what it needs next.

    A large blob is many buffers of half a MiB, one after the other, and glibc would give each back to the kernel, to be
    asked for fresh pages a moment later. Where the C library is another one, this does nothing.
    """
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, 4 * _MIB)
        mallopt(_TRIM_THRESHOLD, 16 * _MIB)
