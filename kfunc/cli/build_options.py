"""What `kfunc build` is told: the function, the command line, and what follows from both for the image."""

import sys
from pathlib import Path

from msgspec import UNSET, Struct

from kfunc.cli.build_extras import extras, named_files, pinned
from kfunc.cli.function import model_file, runtime_of
from kfunc.config.function import Function
from kfunc.config.locations import claim
from kfunc.config.model_addresses import is_remote
from kfunc.errors import ModelLoadError, StartupError
from kfunc.handlers.layout import find_models
from kfunc.images.platforms import PLATFORMS, Platform
from kfunc.images.recipes import Libraries, Recipe
from kfunc.images.requirements import REQUIREMENTS, WHEELS
from kfunc.manifests.images import variant, with_variant
from kfunc.manifests.plan import Plan

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DEFAULT_BASE = f"docker.io/library/python:{PYTHON}-slim"
CODE = "python"


class Asked(Struct, frozen=True):
    """The command line, as far as it decides what is in the image; empty is not given."""

    base: str = ""
    variant: str = ""
    platforms: tuple[str, ...] = ()
    python: str = ""
    weights_only: bool = False


def variant_of(plan: Plan, asked: str) -> str:
    """`cpu` or `cuda`: what is asked for, else what the function needs. Raises StartupError for what nobody builds."""
    needed = asked or variant(plan) or "cpu"
    if needed not in ("cpu", "cuda"):
        name = with_variant(f"{plan.name}:TAG", needed)
        raise StartupError(
            f"kfunc build makes images for CPUs and CUDA, and this one needs {needed}: make one by hand (render and deploy "
            f"take it as {name}), or give --variant cpu"
        )
    return needed


def function_recipe(function: Function, name: str, folder: Path, variant: str, asked: Asked) -> Recipe:
    """The recipe for a function's image. Raises StartupError and its kinds."""
    build = function.inference.build
    source = function.inference.model
    remote = claim(source.uri) is not None or is_remote(source.uri)
    if function.inference.server is not UNSET and not asked.weights_only:
        raise StartupError(
            f"{function.inference.server.image} is the function's server: only its sidecars are kfunc's, and"
            " `kfunc build --sidecar` makes their image"
        )
    model = None if remote else model_file(folder, source.uri)
    if model is not None and not model.exists():
        raise ModelLoadError(f"the model {model} does not exist; func.yaml names it at inference.model.uri")
    platforms = tuple(PLATFORMS[each] for each in asked.platforms or build.platforms)
    python = asked.python or (build.python if build.python is not UNSET else "")
    labels = {"io.kfunc.variant": variant}
    if asked.weights_only:
        return weights_recipe(name, model, asked.base, platforms)
    base = asked.base or (build.cuda_base if variant == "cuda" else "") or build.base or function.build.base_image
    runtimes = _runtimes(function, folder, model)
    requirements, wheels = folder / REQUIREMENTS, folder / WHEELS
    return Recipe(
        name=name,
        base=base or DEFAULT_BASE,
        platforms=platforms,
        libraries=Libraries(
            extras(function, runtimes, variant),
            (*pinned(function, runtimes), *build.packages),
            requirements if requirements.is_file() else None,
            wheels if wheels.is_dir() else None,
        ),
        folder=folder if model is not None or CODE in runtimes else None,
        model=model,
        has_code=CODE in runtimes,
        files=named_files(function, folder),
        python=python,
        gpu=variant == "cuda",
        labels=labels,
    )


def weights_recipe(name: str, model: Path | None, base: str, platforms: tuple[Platform, ...]) -> Recipe:
    """The recipe for an image that holds a model and nothing else. Raises StartupError."""
    if model is None:
        raise StartupError("--weights-only takes a model of this machine, and inference.model.uri names one elsewhere")
    return Recipe(name=name, base=base or "scratch", platforms=platforms, folder=model.parent, model=model)


def sidecar_recipe(name: str, asked: Asked) -> Recipe:
    """The recipe for the image of batcher and logger, for functions with somebody else's server."""
    return Recipe(
        name=name,
        base=asked.base or DEFAULT_BASE,
        platforms=tuple(PLATFORMS[each] for each in asked.platforms or ("linux/amd64",)),
        libraries=Libraries(("page", "sinks")),
        python=asked.python,
        module="kfunc.logger_sidecar",
    )


def _runtimes(function: Function, folder: Path, model: Path | None) -> list[str]:
    """All runtimes that the function's models need; by their names alone."""
    source = function.inference.model
    if model is None:
        runtime, _ = runtime_of(function, folder)
        return [] if runtime == "auto" else [runtime]
    found = find_models(model, source.name if source.name is not UNSET else "model", source.version, source.runtime)
    return sorted({each.runtime for each in found})


def insecure_hosts(host: str, asked: bool, function: Function | None) -> frozenset[str]:
    """Registries whose certificate is not checked, and that may speak plain HTTP."""
    return frozenset({host} if asked or (function is not None and function.registry_insecure) else ())
