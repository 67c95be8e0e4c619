"""Other programs that build images: what each is given and how it is started. Pure but for `run`.

They get a folder with a Containerfile (pack: a Procfile) and what it copies; nothing of func.yaml is ever part of a command
that a shell reads.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from msgspec import Struct

from kfunc.errors import BuildError, StartupError
from kfunc.images.layers import Archives, Entry
from kfunc.images.places import FUNCTION, HOME, LIBRARIES, USER
from kfunc.images.platforms import Platform
from kfunc.images.recipes import GPU_VARIABLES
from kfunc.images.requirements import WHEELS

Builder = Literal["docker", "podman", "buildah", "pack"]
INSTALL = {
    "docker": "https://docs.docker.com/engine/install",
    "podman": "apt-get install podman, or https://podman.io",
    "buildah": "apt-get install buildah, or https://buildah.io",
    "pack": "https://buildpacks.io/docs/for-platform-operators/how-to/integrate-ci/pack",
}
PACK_BUILDER = "paketobuildpacks/builder-jammy-base"
UNSAFE = re.compile(r"[^ -~]")


class ForeignBuild(Struct, frozen=True):
    """What is built by somebody else's program. `requirements` are lines for pip, which finds `wheels`."""

    image: str
    base: str
    platforms: tuple[Platform, ...]
    requirements: list[str]
    entries: list[Entry]
    module: str = "kfunc.handlers"
    push: bool = True
    gpu: bool = False
    wheels: tuple[Path, ...] = ()


def containerfile(order: ForeignBuild) -> str:
    """The Containerfile. Raises StartupError for a value that it cannot hold."""
    command = json.dumps(["python", "-P", "-m", order.module])
    variables = {"PYTHONPATH": f"/{LIBRARIES}", "PYTHONDONTWRITEBYTECODE": "1"} | (GPU_VARIABLES if order.gpu else {})
    lines = [
        f"FROM {_word(order.base)}",
        f"COPY requirements.txt /{HOME}/requirements.txt",
        *([f"COPY {WHEELS} /{HOME}/{WHEELS}"] if order.wheels else []),
        f"RUN python -m pip install --no-cache-dir --target=/{LIBRARIES} -r /{HOME}/requirements.txt",
        f"COPY kfunc /{LIBRARIES}/kfunc",
        f"RUN python -m compileall -q --invalidation-mode unchecked-hash /{LIBRARIES} || true",
        f"COPY {FUNCTION} /{FUNCTION}",
        "ENV " + " ".join(f"{name}={value}" for name, value in variables.items()),
        f"USER {USER}:{USER}",
        f"WORKDIR /{FUNCTION}",
        f"ENTRYPOINT {command}",
        'CMD ["--listen=0.0.0.0:8080"]',
    ]
    return "\n".join(lines) + "\n"


def commands(builder: Builder, order: ForeignBuild, folder: Path) -> list[list[str]]:
    """The commands, in their order."""
    platforms = [f"--platform={','.join(map(str, order.platforms))}"]
    file = ["--file", str(folder / "Containerfile")]
    if builder == "docker":
        several = ["buildx"] if len(order.platforms) > 1 else []
        made = ["docker", *several, "build", *platforms, *file, "--tag", order.image]
        if several and order.push:
            return [[*made, "--push", str(folder)]]
        return [[*made, str(folder)], *([["docker", "push", order.image]] if order.push else [])]
    if builder == "pack":
        path = ["--path", str(folder / FUNCTION)]
        publish = ["--publish"] if order.push else []
        return [["pack", "build", order.image, *path, "--builder", PACK_BUILDER, *platforms, *publish]]
    named = ["--manifest" if len(order.platforms) > 1 else "--tag", order.image]
    push = [builder, "manifest", "push", "--all"] if len(order.platforms) > 1 else [builder, "push"]
    built = [builder, "build", *platforms, *file, *named, str(folder)]
    return [built, *([[*push, order.image]] if order.push else [])]


def write(builder: Builder, order: ForeignBuild, folder: Path, kfunc: list[Entry]) -> None:
    """Write what the program reads; `kfunc` is kfunc itself. Raises BuildError."""
    found = [f"--find-links {WHEELS}"] if order.wheels else []  # beside the file that says so
    files = {"requirements.txt": "".join(f"{line}\n" for line in [*found, *order.requirements]).encode()}
    inside = f"{FUNCTION}/" if builder == "pack" else ""
    if builder == "pack":
        files = {f"{FUNCTION}/{name}": content for name, content in files.items()}
        files[f"{FUNCTION}/Procfile"] = f"web: python -P -m {order.module} --listen=0.0.0.0:8080\n".encode()
    else:
        files["Containerfile"] = containerfile(order).encode()
    copied = [Entry(entry.path.replace(f"{LIBRARIES}/", inside, 1), entry.content) for entry in kfunc]
    copied += [Entry(f"{inside}{WHEELS}/{wheel.name}", wheel) for wheel in order.wheels]
    made = [Entry(name, content) for name, content in files.items()]
    try:
        (folder / FUNCTION).mkdir(parents=True, exist_ok=True)
        with Archives() as zips:
            for entry in [*made, *order.entries, *copied]:
                target = folder / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                with zips.open(entry.content) as (source, _), target.open("wb") as file:
                    shutil.copyfileobj(source, file)
                target.chmod(0o755 if entry.executable else 0o644)
    except OSError as error:
        raise BuildError(f"cannot write to {error.filename}: {error.strerror}; make room there") from None


def find_program(builder: Builder, environ: Mapping[str, str]) -> str:
    """Where the program is. Raises StartupError with how to install it."""
    program = shutil.which(builder, path=environ.get("PATH"))
    if program is None:
        raise StartupError(f"{builder} is not on the path: install it ({INSTALL[builder]}), or leave --builder out")
    return program


def run(builder: Builder, order: ForeignBuild, folder: Path, environ: Mapping[str, str]) -> None:
    """Start the program, which talks to the user itself. Raises StartupError where it is missing, BuildError where it fails."""
    program = find_program(builder, environ)
    for command in commands(builder, order, folder):
        done = subprocess.run([program, *command[1:]], env=dict(environ), stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise BuildError(f"`{' '.join(command[:2])}` failed with exit status {done.returncode}; its own words are above")


def _word(text: str) -> str:
    """A name in a Containerfile."""
    if UNSAFE.search(text) or " " in text or "$" in text or "\\" in text:
        raise StartupError(f"{text!r} cannot stand in a Containerfile; correct the base image")
    return text
