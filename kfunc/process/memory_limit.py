"""How much memory there is."""

import os
from collections.abc import Iterable

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The container's own, by cgroup v2 and v1."""


def memory_limit(limits: Iterable[str] = LIMITS) -> int:
    """Bytes of the container, or of the machine."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in limits:
        try:
            with open(path, "rb") as file:
                return min(int(file.read()), machine)  # v1 has a number beyond all machines for no limit
        except (OSError, ValueError):  # v2 has a word for that
            continue
    return machine
