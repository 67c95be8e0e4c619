"""The memory of this process: what the allocator keeps of it, and how much it has."""

import ctypes
import gc
import resource

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


class _Allocated(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    ]


def resident_bytes() -> int:
    """Memory that this process has now."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def allocated_bytes() -> int:
    """What the C library has given out and not got back; 0 where it does not tell."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return 0
    ask.restype = _Allocated
    told = ask()
    return int(told.uordblks) + int(told.hblkhd)


def give_back() -> None:
    """Objects that only refer to one another go, and what was freed goes back to the system."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
