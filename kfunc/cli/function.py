"""Finds the function of a folder, and makes sure that it can run here before anything is started."""

import re
from collections.abc import Mapping
from pathlib import Path, PurePath

from msgspec import UNSET, Struct

from kfunc.config import pod
from kfunc.config.complete import complete
from kfunc.config.function import Env, Function
from kfunc.config.inference import ModelSource
from kfunc.config.load import load_function
from kfunc.config.locations import claim, file_path
from kfunc.config.model_addresses import is_remote, parse_address
from kfunc.config.pod import PodConfig, PodModel
from kfunc.errors import ModelLoadError, StartupError
from kfunc.handlers.layout import detect, find_models
from kfunc.handlers.origins import require_libraries
from kfunc.handlers.registry import RUNTIMES, how_to_install, missing_packages
from kfunc.handlers.registry import runtime_of as registry_runtime

FILE_NAME = "func.yaml"
OVERRIDE = "KFUNC_"
MOST_LINES = 20
TEMPLATE = re.compile(r"\{\{\s*(\w+):(.*?)\s*\}\}")


class Chosen(Struct, frozen=True):
    """A model with what runs it, and why that."""

    name: str
    uri: str
    runtime: str
    why: str


class LocalFunction(Struct):
    """A function that can be started: `why` is the reason for its runtime, `environ` is for its processes."""

    directory: Path
    config: PodConfig
    why: str
    environ: dict[str, str]
    others: list[Chosen] = []
    """What runs the entries of `models`."""


def find(path: Path) -> Path:
    """The func.yaml that a folder or a file stands for. Raises StartupError."""
    if path.exists() and not path.is_dir():
        return path
    file = path if path.suffix in (".yaml", ".yml") else path / FILE_NAME
    if not file.exists():
        raise StartupError(f"{file} does not exist; `kfunc init {file.parent}` writes one")
    return file


def load_local(path: Path, environ: Mapping[str, str]) -> LocalFunction:
    """Load and complete the function at `path`; settings in `environ` win over those of its file.

    Raises StartupError and its kinds: no func.yaml, problems in it, no model, missing packages.
    """
    file = find(path)
    function = load_function(file)
    directory = file.parent.resolve()
    if function.inference.server is not UNSET:
        image = function.inference.server.image
        raise StartupError(f"{file} has {image} as its main container: `kfunc run` starts only kfunc's own handler")
    runtime, why = runtime_of(function, directory)
    variables = {**run_variables(function.run.envs, environ), **_overrides(environ)}
    config = pod.decode({**_overrides(variables), pod.VARIABLE: pod.encode(complete(function, runtime))})
    for model in (config.model, *config.models):
        require_libraries(model)
        if not is_remote(model.uri):
            _require_model(directory, model, function, file)
        elif model.runtime != "auto":
            check_packages(model.runtime)
    kept = {name: value for name, value in {**environ, **variables}.items() if not name.startswith(OVERRIDE)}
    return LocalFunction(directory, config, why, kept, others(function, directory))


def _require_model(directory: Path, source: PodModel, function: Function, file: Path) -> None:
    """A model that is here, with the packages that it needs. Raises StartupError."""
    model = model_file(directory, source.uri)
    if not model.exists():
        if claim(function.inference.model.uri):
            raise ModelLoadError(
                f"the model is on a claim of the cluster: with {OVERRIDE}MODEL_URI=PATH a local copy is served"
            )
        raise ModelLoadError(f"the model {model} does not exist; {file} names it at inference.model.uri")
    if source.sealed:
        return  # what is in it is seen when it is decrypted
    alone = function.inference.residency is not UNSET
    found = find_models(model, source.name, source.version, source.runtime, each_alone=alone)
    for runtime in {each.runtime for each in found if not each.fault}:
        check_packages(runtime)


def others(function: Function, directory: Path) -> list[Chosen]:
    """The entries of `models`. Raises ModelLoadError."""
    models = function.inference.models
    return [Chosen(str(each.name), each.uri, *source_runtime(each, directory)) for each in models]


def lines(models: list[Chosen]) -> list[str]:
    """A line for each of them, as far as somebody would read them."""
    shown = [f"model {each.name}: {each.uri} with {each.runtime} ({each.why})" for each in models[:MOST_LINES]]
    return shown + ([f"and {len(models) - MOST_LINES} more models"] if len(models) > MOST_LINES else [])


def runtime_of(function: Function, directory: Path) -> tuple[str, str]:
    """The runtime of a function's model and why that one; of what only the cluster has, as far as its name says.

    Raises ModelLoadError.
    """
    if function.inference.server is not UNSET:
        return "auto", f"{function.inference.server.image} runs it"
    return source_runtime(function.inference.model, directory)


def source_runtime(source: ModelSource, directory: Path) -> tuple[str, str]:
    """The same of one of a function's models. Raises ModelLoadError."""
    found = claim(source.uri)
    if found and source.runtime == "auto" and not PurePath(found[1]).suffix:
        return "auto", "the pod sees what the claim holds"
    if is_remote(source.uri):
        return _runtime_by_name(parse_address(source.uri).name, source.runtime)
    if source.sealed:
        return _runtime_by_name(PurePath(source.uri).name, source.runtime)
    return choose_runtime(model_file(directory, source.uri), source.runtime)


def _runtime_by_name(name: str, wanted: str) -> tuple[str, str]:
    """By the name of what is fetched or decrypted, where that says it; else the handler sees what comes."""
    if wanted != "auto":
        return wanted, f"as {FILE_NAME} says"
    name = name.removesuffix(".sealed")
    if any(name.lower().endswith(suffix) for entry in RUNTIMES.values() for suffix in entry.suffixes):
        return registry_runtime(name)
    from kfunc.storage.archives import is_archive  # start-up time

    what = "an archive: " if is_archive(name) else ""
    return "auto", f"{what}the handler's log says which runtime, and why, when it has the files"


def choose_runtime(model: Path, wanted: str) -> tuple[str, str]:
    """The runtime of a model, `auto` for models of several, and why that one. Raises ModelLoadError."""
    return detect(model, each_alone=True) if wanted == "auto" else (wanted, f"as {FILE_NAME} says")


def model_file(directory: Path, uri: str) -> Path:
    """Where the model of a function in `directory` is."""
    return directory / (file_path(uri) or uri)


def model_name(file: Path) -> str:
    """The name of the model in URLs. Raises ConfigError."""
    return complete(load_function(file), "auto").model.name


def check_packages(runtime: str) -> None:
    """Raises StartupError that names the missing packages of a runtime and how to install them."""
    missing = missing_packages(runtime)
    if missing:
        way = how_to_install(RUNTIMES[runtime].extra)
        raise StartupError(f"runtime {runtime} needs {', '.join(missing)}, not installed here: {way}")


def run_variables(envs: list[Env], environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of `run.envs`. What stands in a Secret or ConfigMap is as it is in `environ`."""
    found = {}
    for env in envs:
        if env.name is UNSET or env.value is UNSET:
            continue
        template = TEMPLATE.fullmatch(env.value)
        if template is None:
            found[env.name] = env.value
        elif template[1] == "env" and template[2] in environ:
            found[env.name] = environ[template[2]]
    return found


def _overrides(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(OVERRIDE) and name != pod.VARIABLE}
