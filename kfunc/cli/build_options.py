"""What `kfunc build` is told: the function, the command line, and what follows from both for the image."""

import sys
from pathlib import Path

from msgspec import UNSET, Struct

from kfunc.cli.build_extras import Needed, extras, named_files, pinned
from kfunc.cli.function import model_file, source_runtime
from kfunc.config.function import Function
from kfunc.config.inference import ModelSource
from kfunc.config.locations import claim, file_path
from kfunc.config.model_addresses import is_remote
from kfunc.errors import ModelLoadError, StartupError
from kfunc.handlers.layout import HANDLER, find_models
from kfunc.images.platforms import PLATFORMS, Platform
from kfunc.images.recipes import Libraries, Recipe
from kfunc.images.requirements import REQUIREMENTS, WHEELS
from kfunc.manifests.images import variant, with_variant
from kfunc.manifests.plan import Plan

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
DEFAULT_BASE = f"docker.io/library/python:{PYTHON}-slim"
CODE, TORCH = "python", "torch"


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
    if function.inference.server is not UNSET and not asked.weights_only:
        raise StartupError(
            f"{function.inference.server.image} is the function's server: only its sidecars are kfunc's, and"
            " `kfunc build --sidecar` makes their image"
        )
    platforms = tuple(PLATFORMS[each] for each in asked.platforms or build.platforms)
    if asked.weights_only:
        return weights_recipe(name, _file_of(function.inference.model, folder), asked.base, platforms)
    base = asked.base or (build.cuda_base if variant == "cuda" else "") or build.base or function.build.base_image
    models = [_needed(source, folder) for source in (function.inference.model, *function.inference.models)]
    requirements, wheels, files = folder / REQUIREMENTS, folder / WHEELS, named_files(function, folder)
    if not build.packages and not requirements.is_file():
        _check_known(models)
    has_code = any(_has_code(model) for model in models)
    inside = tuple(model.file for model in models if model.file is not None)
    return Recipe(
        name=name,
        base=base or DEFAULT_BASE,
        platforms=platforms,
        libraries=Libraries(
            extras(function, models, variant),
            (*pinned(models), *build.packages),
            requirements if requirements.is_file() else None,
            wheels if wheels.is_dir() else None,
            build.glibc,
        ),
        folder=folder if inside or files or has_code else None,
        models=inside,
        has_code=has_code,
        files=files,
        python=asked.python or (build.python if build.python is not UNSET else ""),
        gpu=variant == "cuda",
        labels={"io.kfunc.variant": variant},
    )


def weights_recipe(name: str, model: Path | None, base: str, platforms: tuple[Platform, ...]) -> Recipe:
    """The recipe for an image that holds a model and nothing else. Raises StartupError."""
    if model is None:
        raise StartupError("--weights-only takes a model of this machine, and inference.model.uri names one elsewhere")
    return Recipe(name=name, base=base or "scratch", platforms=platforms, folder=model.parent, models=(model,))


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


def _file_of(source: ModelSource, folder: Path) -> Path | None:
    """Where a model is on this machine; None for one that is fetched in the pod. Raises ModelLoadError."""
    if claim(source.uri) is not None or is_remote(source.uri):
        return None
    file = model_file(folder, source.uri)
    if not file.exists():
        raise ModelLoadError(f"the model {file} does not exist; func.yaml names it as {source.uri}")
    return file


def _needed(source: ModelSource, folder: Path) -> Needed:
    """One of the function's models, by the names of its files alone. Raises StartupError, ModelLoadError."""
    file = _file_of(source, folder)
    if file is not None and (file_path(source.uri) or "").startswith("/"):
        raise StartupError(
            f"the image has no {source.uri}: move the model into the function's folder, and write its path relative to"
            " func.yaml, as ./model.onnx"
        )
    if file is None or source.sealed:
        runtime, _ = source_runtime(source, folder)
        return Needed(source, file, [] if runtime == "auto" else [runtime])
    name = source.name if source.name is not UNSET else "model"
    found = find_models(file, name, source.version, source.runtime, each_alone=True)
    return Needed(source, file, sorted({each.runtime for each in found if not each.fault}))


def _has_code(model: Needed) -> bool:
    """Whether modules of the function's folder are imported: a handler.py that is the model, or that has its class."""
    if CODE in model.runtimes:
        return True
    return TORCH in model.runtimes and model.file is not None and (model.file.parent / HANDLER).is_file()


def _check_known(models: list[Needed]) -> None:
    """Raises StartupError for a model whose runtime nobody knows: the image would have none."""
    for model in models:
        if not model.runtimes:
            raise StartupError(
                f"{model.source.uri} does not say what runs the model: write runtime: beside its uri, or name the packages"
                f" for it in inference.build.packages or {REQUIREMENTS}"
            )


def insecure_hosts(host: str, asked: bool, function: Function | None) -> frozenset[str]:
    """Registries whose certificate is not checked, and that may speak plain HTTP."""
    return frozenset({host} if asked or (function is not None and function.registry_insecure) else ())
