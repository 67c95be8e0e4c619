"""What the allocator keeps of the memory that large tensors were in."""

import ctypes
import gc

# glibc's <malloc.h>; the threshold for maps may be 32 MiB at most.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAPPED_BYTES = 32 * 1024 * 1024
KEPT_BYTES = 64 * 1024 * 1024


def keep_freed_memory() -> None:
    """Keep up to 64 MiB of freed memory for the next request: pages that are new each time cost more than what is done
    with them. Where the C library is not glibc, nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def settle_memory() -> None:
    """What is loaded stays: keep the collector from walking it again and again while requests run."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
