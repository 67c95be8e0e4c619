"""What is wrong with a function's models as this machine has them: files that are not there, names that are none's."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from msgspec import UNSET

from kfunc.cli.function import model_file
from kfunc.config.field_path import FieldPath, show_path, show_text
from kfunc.config.function import Function
from kfunc.config.inference import ModelSource
from kfunc.config.locations import claim
from kfunc.config.model_addresses import is_remote, parse_address
from kfunc.config.names import service_name
from kfunc.config.source import Source
from kfunc.errors import ModelLoadError, Problem
from kfunc.handlers.layout import SUFFIXES, detect, find_models
from kfunc.handlers.registry import RUNTIMES

MODEL, MODELS = ("inference", "model"), ("inference", "models")


def model_problems(source: Source, directory: Path) -> list[Problem]:
    """What is wrong with the models as far as the source names some, other problems or not."""
    if _value(source, "inference", "server") is not None:
        return []  # it finds its model by itself
    listed = _value(source, *MODELS)
    places: list[FieldPath] = [MODEL, *((*MODELS, number) for number in range(len(listed) if isinstance(listed, list) else 0))]
    files: list[FieldPath] = [("inference", "explain", "background"), ("inference", "images", "labels")]
    files += [(*place, "warmup", "file") for place in places]
    return [
        *(problem for place in places for problem in _problems(source, place, directory)),
        *(problem for path in files for problem in _missing(source, path, directory)),
    ]


def _missing(source: Source, path: FieldPath, directory: Path) -> list[Problem]:
    """A file that the handler reads beside its models; where it is named, it is in the function's folder."""
    name = _value(source, *path)
    if not isinstance(name, str) or not name or (directory / name).is_file():
        return []
    place = source.place(path)
    message = f"there is no file {directory / name}"
    return [Problem(message, show_path(path), place.line, place.column, "correct the path, which is relative to func.yaml")]


def _problems(source: Source, where: FieldPath, directory: Path) -> list[Problem]:
    uri, runtime = _value(source, *where, "uri"), _value(source, *where, "runtime")
    if not isinstance(uri, str) or claim(uri) or is_remote(uri):
        return []  # the cluster has it
    path = (*where, "uri")
    place = source.place(path)
    file = model_file(directory, uri)
    try:
        if _value(source, *where, "sealed") is not True:  # what is in it is seen where it is opened
            _find(file, runtime, each_alone=_value(source, "inference", "residency") is not None)
    except ModelLoadError as error:
        return [Problem(error.message, show_path(path), place.line, place.column)]
    if not file.exists():
        return [Problem(f"there is no {file}", show_path(path), place.line, place.column, "correct the path")]
    return []


def _find(file: Path, runtime: object, *, each_alone: bool) -> None:
    """Raises ModelLoadError where `kfunc run` would find no model, or none that it runs; a file need not be there."""
    if not isinstance(runtime, str) or runtime not in RUNTIMES:
        detect(file, each_alone=each_alone)
    elif file.exists():
        find_models(file, "model", "1", runtime, each_alone=each_alone)


def _value(source: Source, *path: str | int) -> Any:
    value = source.value
    for key in path:
        if isinstance(key, int):
            value = value[key] if isinstance(value, list) else None
        else:
            value = value.get(key) if isinstance(value, dict) else None
    return value


# ---- names


def name_problems(function: Function, source: Source, directory: Path) -> list[Problem]:
    """Names that mean one of the function's models and are none's; the models are there."""
    inference = function.inference
    pinned = [] if inference.residency is UNSET else inference.residency.pinned
    choices = [] if inference.images is UNSET else inference.images.choose
    known = _known_names(function, directory) if pinned or choices else None
    if known is None:
        return []
    default = _default_name(function, directory)  # which the only model of a folder has beside its own
    meant: list[tuple[FieldPath, str]] = [(("inference", "residency", "pinned", at), name) for at, name in enumerate(pinned)]
    found = [(path, name) for path, name in meant if name not in known]
    meant = [(("inference", "images", "choose", at, "model"), choice.model) for at, choice in enumerate(choices)]
    found += [(path, name) for path, name in meant if name not in (*known, default)]
    return [_unknown(path, name, known, source) for path, name in found]


def _unknown(path: FieldPath, name: str, known: list[str], source: Source) -> Problem:
    place = source.place(path)
    near = get_close_matches(name, known, n=1)
    suggestion = f"did you mean {show_text(near[0])}?" if near else f"the models are {', '.join(known)}"
    return Problem(f"there is no model {show_text(name)}", show_path(path), place.line, place.column, suggestion)


def _known_names(function: Function, directory: Path) -> list[str] | None:
    """The names of all the function's models; None where a place elsewhere may hold any. Raises ModelLoadError."""
    inference = function.inference
    names: list[str] = []
    others = ((each, str(each.name)) for each in inference.models)
    for source, name in ((inference.model, _default_name(function, directory)), *others):
        found = _names_at(source, name, directory)
        if found is None:
            return None
        names += found
    return list(dict.fromkeys(names))


def _default_name(function: Function, directory: Path) -> str:
    name = function.inference.model.name
    return name if name is not UNSET else function.name or service_name(directory.absolute().name)


def _names_at(source: ModelSource, name: str, directory: Path) -> list[str] | None:
    if claim(source.uri) or is_remote(source.uri):
        last = parse_address(source.uri).name if is_remote(source.uri) else source.uri
        return [name] if last.lower().endswith(SUFFIXES) else None  # a file, which is one model
    file = model_file(directory, source.uri)
    if source.sealed:
        return [name] if file.is_file() else None
    found = find_models(file, name, source.version, source.runtime, each_alone=True)
    return list(dict.fromkeys(each.name for each in found))
