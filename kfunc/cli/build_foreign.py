"""`kfunc build --builder`: the image is made by docker, podman, buildah or pack, from files that kfunc writes."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from kfunc.errors import StartupError
from kfunc.images.contents import kfunc_entries, sources_of
from kfunc.images.foreign import Builder, ForeignBuild, find_program, run, write
from kfunc.images.recipes import Libraries, Recipe
from kfunc.images.reporter import Reporter
from kfunc.images.requirements import own_requirements, pins


def build_by(builder: Builder, recipe: Recipe, image: str, push: bool, reporter: Reporter, environ: Mapping[str, str]) -> None:
    """Make the image of a recipe by another program. Raises StartupError, BuildError."""
    if recipe.libraries is None:
        raise StartupError("--weights-only needs no builder: leave --builder out")
    if recipe.base.startswith("oci:"):
        raise StartupError(f"{builder} takes a base image of a registry, not a folder: correct --base")
    find_program(builder, environ)
    sources = sources_of(recipe)
    for note in sources.notes:
        reporter.say(f"note: {note}")
    entries = [*sources.code, *sources.weights]
    lines = requirements(recipe.libraries)
    wheels = tuple(sorted(recipe.libraries.wheels.glob("*.whl"))) if recipe.libraries.wheels else ()
    order = ForeignBuild(image, recipe.base, recipe.platforms, lines, entries, recipe.module, push, recipe.gpu, wheels)
    with tempfile.TemporaryDirectory(prefix="kfunc-build-") as folder:
        write(builder, order, Path(folder), kfunc_entries())
        run(builder, order, Path(folder), environ)


def requirements(libraries: Libraries) -> list[str]:
    """kfunc's packages with those of its extras, in the versions that it pins, and the function's own lines."""
    own = libraries.file.read_text(encoding="utf-8").splitlines() if libraries.file else []
    return [*own_requirements(libraries.extras, pins(libraries.extras)), *libraries.packages, *own]
