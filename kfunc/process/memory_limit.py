"""How much memory there is."""

import os

MEMORY_MAX = "/sys/fs/cgroup/memory.max"


def memory_limit() -> int:
    """Bytes of the container, or of the machine."""
    try:
        with open(MEMORY_MAX, "rb") as file:
            text = file.read().strip()
        if text != b"max":
            return int(text)
    except (OSError, ValueError):
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
