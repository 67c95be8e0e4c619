"""Programs of others as clients."""

import subprocess
from collections.abc import Callable

import pytest

from tests.parts import environment, program

PATIENCE_S = 100

Run = Callable[..., str]


def runner(part: str, path: str = "") -> Run:
    """Runs the program of a part with arguments; gives what it printed. Raises CalledProcessError if it fails."""
    found, env = str(program(part, path)), environment(part)

    def run(*arguments: str) -> str:
        command = [found, *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout

    return run


@pytest.fixture(scope="session")
def curl() -> Run:
    return runner("curl")


@pytest.fixture(scope="session")
def nghttp() -> Run:
    return runner("nghttp2", "usr/bin/nghttp")


@pytest.fixture(scope="session")
def h2load() -> Run:
    return runner("nghttp2")


@pytest.fixture(scope="session")
def h2spec() -> str:
    return str(program("h2spec"))
