"""Compiled modules: each .py file of a layer gets its .pyc, so that no start of the read-only image compiles again.

The .pyc files are bound to their source by its hash and unchecked: their bytes depend on no time.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

import msgspec

from kfunc.errors import BuildError
from kfunc.images.layers import Entry, Member

WORKER = Path(__file__).with_name("bytecode_worker.py")
SWITCHES = ("-S", "-s", "-P", "-B", "-W", "ignore")


def interpreter(version: str) -> str:
    """A Python of that minor version on this machine; empty if there is none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    return shutil.which(f"python{version}") or ""


def compiled(entries: Iterable[Entry], python: str, version: str, folder: Path) -> list[Entry]:
    """The .pyc files of all modules among `entries`, made by the program `python`. Raises BuildError.

    `folder` holds what is made until the layer is written.
    """
    tag = f"cpython-{version.replace('.', '')}"
    modules = sorted((entry for entry in entries if _is_module(entry)), key=lambda entry: entry.path)
    if not modules:
        return []
    archive = folder / "bytecode.zip"
    targets, lines = [], []
    for number, entry in enumerate(modules):
        above, _, name = entry.path.rpartition("/")
        target = f"{above}/__pycache__/{name.removesuffix('.py')}.{tag}.pyc"
        file, member = _source(entry, folder, number)
        targets.append(target)
        lines.append(msgspec.json.encode([f"/{entry.path}", target, str(file), member]))
    # The seed decides the order of sets, and so the bytes.
    environment = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [python, *SWITCHES, str(WORKER), str(archive)],
        input=b"\n".join(lines),
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BuildError(f"{python} cannot compile the modules: {said[-1] if said else done.returncode}")
    return [Entry(name, Member(archive, name)) for name in _names(archive)]


def _is_module(entry: Entry) -> bool:
    return entry.path.endswith(".py") and not entry.link


def _source(entry: Entry, folder: Path, number: int) -> tuple[Path, str]:
    if isinstance(entry.content, Member):
        return entry.content.archive, entry.content.name
    if isinstance(entry.content, Path):
        return entry.content, ""
    file = folder / f"source-{number}.py"
    file.write_bytes(entry.content)
    return file, ""


def _names(archive: Path) -> list[str]:
    with ZipFile(archive) as made:
        return made.namelist()
