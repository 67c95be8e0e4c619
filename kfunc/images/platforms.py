"""The platforms that images are made for, and how Python's wheels name them. Pure."""

import re

from msgspec import Struct

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""OCI's architecture → the one in the names of wheels."""
OLDEST_GLIBC = "2.28"
"""Of bases that say nothing: Debian 10, RHEL 8, Ubuntu 20.04 and all that came later."""


class Platform(Struct, frozen=True, order=True):
    """An operating system and architecture in OCI's words."""

    architecture: str
    os: str = "linux"

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}"


PLATFORMS = {str(platform): platform for platform in map(Platform, MACHINES)}


def wheel_platforms(platform: Platform, glibc: str = OLDEST_GLIBC) -> list[str]:
    """Platform tags of the wheels that run there, the best first (PEP 600, PEP 425)."""
    newest = int(glibc.partition(".")[2])
    machine = MACHINES[platform.architecture]
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 16, -1)] + [f"manylinux2014_{machine}"]
    if machine == "x86_64":
        tags += [f"manylinux_2_{minor}_{machine}" for minor in range(16, 4, -1)]
        tags += [f"manylinux2010_{machine}", f"manylinux1_{machine}"]
    return [*tags, f"linux_{machine}"]


def markers(platform: Platform, release: str) -> dict[str, str]:
    """The environment of PEP 508's markers there, for a Python such as "3.11.9"."""
    return {
        "implementation_name": "cpython",
        "implementation_version": release,
        "os_name": "posix",
        "platform_machine": MACHINES[platform.architecture],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": release,
        "python_version": minor_version(release),
        "sys_platform": "linux",
    }


def minor_version(text: str) -> str:
    """`3.11` of `3.11.9`; empty for what is no version of Python 3."""
    found = re.match(r"3\.[0-9]+", text)
    return found[0] if found else ""


def full_version(text: str, minor: str) -> str:
    """`3.11.9` of such a text; `3.11.0` where it does not say which release of that minor version it means."""
    found = re.fullmatch(r"3\.[0-9]+\.[0-9]+", text)
    return found[0] if found and minor_version(text) == minor else f"{minor}.0"
