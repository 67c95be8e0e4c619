"""The upstream and the batcher as processes."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from time import monotonic, sleep

ROOT = Path(__file__).parent.parent.parent.parent
START_S = 30.0


def upstream(stack: ExitStack, seed: int) -> "tuple[subprocess.Popen[bytes], int]":
    """The server with faults, accepting, and its port."""
    port = _free_port()
    return _started(stack, port, "-m", "tests.batcher_sidecar.soak.upstream", str(port), str(seed)), port


def batcher(stack: ExitStack, behind: int, **settings: str) -> "tuple[subprocess.Popen[bytes], int]":
    """A batcher in front of the port `behind`, accepting, and its own port."""
    port = _free_port()
    addresses = ("--listen", f"127.0.0.1:{port}", "--upstream", f"127.0.0.1:{behind}", "--manage", "none")
    env = {f"KFUNC_BATCHER_{name.upper()}": value for name, value in settings.items()}
    return _started(stack, port, "-m", "kfunc.batcher_sidecar", *addresses, **env), port


def _started(stack: ExitStack, port: int, *arguments: str, **env: str) -> "subprocess.Popen[bytes]":
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    ends_at = monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return process
        except OSError:
            if monotonic() > ends_at or process.poll() is not None:
                raise
            sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_mb(pid: int) -> float:
    """Proportional set size of a process and its child, in 10⁶ bytes."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for member in (str(pid), *children):
        for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1])
    return total * 1024 / 1e6
