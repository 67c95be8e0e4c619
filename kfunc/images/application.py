"""What pack is given: the function's folder with a requirements.txt, as Python's buildpacks take it, and a buildpack of ours.

Pods start `python` (manifests/containers.py), which in such an image is on no path: buildpacks put it where only their launcher
looks. A process of that name is a link to the launcher, and on the path.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from kfunc.errors import BuildError
from kfunc.images.contents import kfunc_files, sources_of
from kfunc.images.hashes import hashes_of
from kfunc.images.layers import Archives, Entry
from kfunc.images.places import FUNCTION
from kfunc.images.recipes import Libraries, Recipe
from kfunc.images.reporter import Reporter
from kfunc.images.requirements import (
    OWN_WHEEL,
    REQUIREMENTS,
    WHEELS,
    named,
    own_requirements,
    pins,
    texts_of,
    write_own_wheel,
)

BUILDPACK = "buildpack"
ABOUT = """api = "0.9"

[buildpack]
id = "kfunc/processes"
version = "1"

[[stacks]]
id = "*"
"""
DETECT = '#!/bin/sh\ncp "$CNB_BUILDPACK_DIR/plan.toml" "$2"\n'
BUILD = '#!/bin/sh\ncp "$CNB_BUILDPACK_DIR/launch.toml" "$1/launch.toml"\n'
# Paketo's buildpacks leave both out of the image unless somebody asks for them; other builders do not know these names.
PLAN = """[[requires]]
name = "cpython"
[requires.metadata]
launch = true

[[requires]]
name = "site-packages"
[requires.metadata]
launch = true

[[or]]
"""
LAUNCH = """[[processes]]
type = "web"
command = {command}
args = ["--listen=0.0.0.0:8080"]
default = true

[[processes]]
type = "python"
command = ["python"]
"""


def write_application(folder: Path, recipe: Recipe, reporter: Reporter) -> None:
    """Write the folders that pack reads. Raises BuildError."""
    libraries = recipe.libraries or Libraries()
    sources = sources_of(recipe)
    for note in sources.notes:
        reporter.say(f"note: {note}")
    wheels = sorted(libraries.wheels.glob("*.whl")) if libraries.wheels else []
    lines = [f"--find-links {WHEELS}", f"./{WHEELS}/{OWN_WHEEL}", *requirements(libraries)]
    entries = [*sources.code, *sources.weights, *_buildpack(recipe.module)]
    entries += [Entry(f"{FUNCTION}/{REQUIREMENTS}", "".join(f"{line}\n" for line in lines).encode())]
    entries += [Entry(f"{FUNCTION}/{WHEELS}/{wheel.name}", wheel) for wheel in wheels]
    try:
        _write(folder, entries)
        (folder / FUNCTION / WHEELS).mkdir(exist_ok=True)
        write_own_wheel(folder / FUNCTION / WHEELS / OWN_WHEEL, kfunc_files())
    except OSError as error:
        raise BuildError(f"cannot write to {error.filename}: {error.strerror}; make room there") from None


def requirements(libraries: Libraries) -> list[str]:
    """kfunc's packages with those of its extras, and the function's own lines, whose versions win over kfunc's.

    Raises BuildError.
    """
    text = libraries.file.read_text(encoding="utf-8") if libraries.file else ""
    if hashes_of(texts_of(libraries.file)):
        raise BuildError(
            f"{REQUIREMENTS}, or a file that it names, has hashes, and the buildpacks' pip then wants them for kfunc's own"
            " packages too: leave --builder out, or the hashes (pip-compile without --generate-hashes, uv export --no-hashes)"
        )
    own = text.splitlines()
    kept = pins(libraries.extras, named(libraries.packages, libraries.file))
    return [*own_requirements(libraries.extras, kept), *libraries.packages, *own]


def _buildpack(module: str) -> list[Entry]:
    launch = LAUNCH.format(command=json.dumps(["python", "-P", "-m", module]))
    texts = {"buildpack.toml": ABOUT, "plan.toml": PLAN, "launch.toml": launch}
    programs = {"bin/detect": DETECT, "bin/build": BUILD}
    made = [Entry(f"{BUILDPACK}/{name}", text.encode()) for name, text in texts.items()]
    return [*made, *(Entry(f"{BUILDPACK}/{name}", text.encode(), executable=True) for name, text in programs.items())]


def _write(folder: Path, entries: Iterable[Entry]) -> None:
    with Archives() as zips:
        for entry in entries:
            target = folder / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with zips.open(entry.content) as (source, _), target.open("wb") as file:
                shutil.copyfileobj(source, file)
            target.chmod(0o755 if entry.executable else 0o644)
