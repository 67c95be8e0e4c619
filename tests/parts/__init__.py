"""The real programs that tests talk to: where `make test` gets each, and where a test finds it."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "parts"


@dataclass(frozen=True)
class Part:
    """A program, built by Go or unpacked from Debian's packages.

    `program` is what proves that it is there: a file below the folder that it is fetched into.
    `heavy` ones take minutes, and belong to `make test-parts`.
    """

    program: str
    debian: tuple[str, ...] = ()
    go: str = ""  # "MODULE/PATH@VERSION", or a folder of this repository with a go.mod
    heavy: bool = False


PARTS = {
    "curl": Part("usr/bin/curl", debian=("curl",)),
    "h2spec": Part("h2spec", go="github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"),
    "nghttp2": Part("usr/bin/h2load", debian=("nghttp2-client",)),
}


def folder(name: str) -> Path:
    """Where the part is, or will be."""
    return CACHE / name


def program(name: str, path: str = "") -> Path:
    """The part's program, or the file at `path` in its folder. Skips the test where the part is missing."""
    found = folder(name) / (path or PARTS[name].program)
    if not found.exists():
        command = "make test-parts" if PARTS[name].heavy else "make parts"
        pytest.skip(f"{name} is not here: {command} fetches it")
    return found


def environment(name: str) -> dict[str, str]:
    """The environment in which programs of a part made from Debian's packages find their shared libraries."""
    folders = [str(each) for each in folder(name).glob("usr/lib/*-linux-gnu")] + [str(folder(name) / "usr/lib")]
    return os.environ | {"LD_LIBRARY_PATH": ":".join(folders)}
