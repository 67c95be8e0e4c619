"""Tools of others as clients: found on this machine, or built or unpacked once into .cache."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".cache" / "h2"
H2SPEC = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"
PACKAGES = ("nghttp2-client", "libnghttp2-14", "libev4", "libc-ares2", "libjansson4", "libjemalloc2")
BUILD_S = 300
PATIENCE_S = 60

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@contextmanager
def alone(name: str) -> Iterator[Path]:
    """A folder of the cache that is filled as a whole or not at all."""
    done, part = CACHE / name, CACHE / f"{name}.{os.getpid()}"
    if not done.exists():
        part.mkdir(parents=True)
        try:
            yield part
            part.rename(done)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    else:
        yield done


def attempt(command: list[str], where: Path, env: dict[str, str] | None = None) -> str:
    """What is wrong with a command, if it fails."""
    try:
        ended = subprocess.run(command, cwd=where, env=env, capture_output=True, text=True, timeout=BUILD_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if ended.returncode == 0 else (ended.stderr.strip() or "it failed").splitlines()[-1]


@pytest.fixture(scope="session")
def curl() -> str:
    """curl, if it speaks HTTP/2."""
    path = shutil.which("curl")
    if path is None or "HTTP2" not in subprocess.run([path, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("no curl with HTTP/2 on this machine")
    return path


@pytest.fixture(scope="session")
def h2spec() -> str:
    """h2spec, built with Go where the machine does not have it."""
    if path := shutil.which("h2spec"):
        return path
    go = shutil.which("go")
    if go is None:
        pytest.skip("no h2spec on this machine, and no Go to build it")
    with alone("h2spec") as folder:
        if not (folder / "h2spec").exists():
            env = {**os.environ, "GOBIN": str(folder), "GOFLAGS": "-mod=mod"}
            if wrong := attempt([go, "install", H2SPEC], folder, env):
                pytest.skip(f"h2spec could not be built: {wrong}")
    return str(CACHE / "h2spec" / "h2spec")


@pytest.fixture(scope="session")
def nghttp2() -> Run:
    """Runs `nghttp` or `h2load`: the machine's own, or Debian's package unpacked (needs no root)."""
    if shutil.which("nghttp") and shutil.which("h2load"):
        return lambda *command: subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        pytest.skip("no nghttp2 on this machine, and no apt-get to fetch it")
    with alone("nghttp2") as folder:
        if not (folder / "usr").exists():
            if wrong := attempt(["apt-get", "download", "--quiet=2", *PACKAGES], folder):
                pytest.skip(f"nghttp2-client could not be fetched: {wrong}")
            for package in folder.glob("*.deb"):
                if wrong := attempt(["dpkg", "-x", package.name, "."], folder):
                    pytest.skip(f"{package.name} could not be unpacked: {wrong}")
    usr = CACHE / "nghttp2" / "usr"
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, usr.glob("lib/*-linux-gnu")))}

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [str(usr / "bin" / name), *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S)

    return run
