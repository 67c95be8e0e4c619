"""How many processors this process may use (the affinity, and the quota of its cgroup), and whether it has nothing else."""

import os
import sys
from math import ceil
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
DEVICES = Path("/dev")
ACCELERATORS = ("nvidia", "dxg", "kfd", "dri")
"""How names of device files begin: NVIDIA's (on Linux, under Windows), AMD's, Intel's; accelerators.probe reads more."""


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


def no_accelerator(devices: Path = DEVICES, system: str = sys.platform) -> bool:
    """Whether there is no device file of any: one look, so that most starts need not ask who could use which."""
    try:
        return system != "darwin" and not any(name.startswith(ACCELERATORS) for name in os.listdir(devices))
    except OSError:
        return False
