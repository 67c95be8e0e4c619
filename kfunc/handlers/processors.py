"""How many processors this process may use: the affinity, and the quota of its cgroup."""

import os
from math import ceil
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_processors() -> int:
    """At least 1; a container's CPU limit counts, rounded up."""
    count = len(os.sched_getaffinity(0))
    try:
        quota, _, period = CPU_MAX.read_text().partition(" ")
        if quota != "max":
            count = min(count, ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        pass
    return max(1, count)
