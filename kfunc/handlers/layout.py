"""Which models a file or folder holds: names, versions and runtimes. Reads names of files, and the first bytes of some.

A folder is one model (`handler.py` or what else marks one, or one model file), one model's versions (`1/`, `2/` …), or
several models (`iris/`, `wine/` …), each of which is one of the former.
"""

import re
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from kfunc.errors import ModelLoadError
from kfunc.handlers.registry import (
    NOT_OPENED,
    NOT_UNPACKED,
    REFUSED,
    RUNTIMES,
    SEALED,
    SPARK,
    is_model,
    marked_runtime,
    runtime_of,
)

VERSION = re.compile(r"[1-9][0-9]{0,17}")
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
NO_NAME = "a model's name has at most 128 letters, digits, '-', '_' and '.'"
HANDLER = "handler.py"
MOST_NAMES = 5
SUFFIXES = tuple(suffix for entry in RUNTIMES.values() for suffix in entry.suffixes if suffix != ".py")
MARKS = tuple(mark for entry in RUNTIMES.values() for mark in entry.marks)

FOREIGN_CODE = (
    "holds a handler.py, which comes from elsewhere and would be run: if the code is yours, set model.runtime to python "
    "(or torch, for weights of its class), or model.trust: true and model.digest"
)
ONE_OF_THEM = "name the one that is meant at model.uri (of a folder elsewhere at model.files)"
RUN_CODE = ("python", "torch")  # what handler.py is the model of, and beside whose weights it is imported


class Wanted(Struct, frozen=True):
    """The runtime that func.yaml asks for, and whether the code of a handler.py may be run."""

    runtime: str
    code: bool

    def marked(self, folder: Path) -> str | None:
        """The runtime for which the folder itself is a model."""
        return marked_runtime(folder, self.runtime, code=self.code)


class FoundModel(Struct, frozen=True):
    """One version of one model; `path` is a file, or a folder that is a model as a whole. `why`: this runtime.

    `beside` are the models in the same folder that are not served: `path` is named `model`. `fault`: why it will not load.
    """

    name: str
    version: str
    path: Path
    runtime: str
    why: str
    beside: tuple[str, ...] = ()
    fault: str = ""


def find_models(
    path: Path, name: str, version: str, runtime: str = "auto", *, code: bool = True, each_alone: bool = False
) -> list[FoundModel]:
    """The models at `path`, the versions of each from old to new. Raises ModelLoadError.

    `name` and `version` are for what the path itself does not name; `runtime` is func.yaml's. `code`: the handler.py of
    a folder may be run though func.yaml names no runtime. `each_alone`: beside a model, what cannot be one is found with its
    `fault`, since it is nobody's before it is asked for.
    """
    wanted = Wanted(runtime, code or runtime != "auto")
    if not path.exists():
        from kfunc.config.field_path import without_login  # of what was meant to be an address

        raise ModelLoadError(f"{without_login(str(path))}: there is no such model file (inference.model.uri)")
    if not path.is_dir():
        return [FoundModel(name, version, path, *_reason(path, wanted))]
    try:
        return _in_folder(path, name, version, wanted, each_alone)
    except OSError as error:
        raise ModelLoadError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _in_folder(path: Path, name: str, version: str, wanted: Wanted, each_alone: bool) -> list[FoundModel]:
    found, faults = _versions(path, name, version, wanted), list[ModelLoadError]()
    if not found:
        for folder in _folders(path):
            try:
                if NAME.fullmatch(folder.name) is None:
                    raise ModelLoadError(f"{folder}: {NO_NAME}")
                found += _versions(folder, folder.name, version, wanted) or _none_in(folder)
            except ModelLoadError as error:
                if not each_alone:
                    raise
                faults.append(error)
                found.append(FoundModel(folder.name, version, folder, wanted.runtime, "", fault=error.message))
    if len(found) == len(faults):
        raise faults[0] if faults else _nothing(path)
    return found


def _none_in(folder: Path) -> list[FoundModel]:
    raise _nothing(folder)


def makes_one_model(name: str, runtime: str) -> bool:
    """Whether a file of this name makes the folder that it lies in one model, as far as a name tells.

    Of the endings that other files have, too, it does where it is named `model`.
    """
    if name == HANDLER:
        return True
    path = Path(name)
    suffix, entries = path.suffix.lower(), RUNTIMES.values() if runtime == "auto" else [RUNTIMES[runtime]]
    return any(
        name in entry.marks
        or (suffix in entry.suffixes and suffix != ".py")
        or (suffix in entry.shared and path.stem == "model")
        for entry in entries
    )


def detect(path: Path | str, *, each_alone: bool = False) -> tuple[str, str]:
    """The runtime of the model at `path`, `auto` for models of several runtimes, and why. Raises ModelLoadError.

    `each_alone` as for `find_models`.
    """
    place = Path(str(path).removeprefix("file://"))
    if not place.is_dir():
        return runtime_of(place)
    found = [each for each in find_models(place, "model", "1", each_alone=each_alone) if not each.fault]
    runtimes = sorted({model.runtime for model in found})
    if len(runtimes) > 1:
        return "auto", f"the folder holds models of {' and '.join(runtimes)}"
    if len(found) > 1:
        return runtimes[0], f"the folder holds {len(found)} models or versions of it"
    return runtimes[0], f"{found[0].why}{not_served(found[0])}"


def not_served(model: FoundModel) -> str:
    """What lies beside a model, as the end of a line about it."""
    if not model.beside:
        return ""
    return f"; {', '.join(model.beside)} beside it {'is' if len(model.beside) == 1 else 'are'} not served"


def _versions(folder: Path, name: str, version: str, wanted: Wanted) -> list[FoundModel]:
    """The versions of the model that `folder` is of; empty if it is no model's."""
    single = _model_in(folder, wanted)
    numbered = sorted((each for each in _folders(folder) if VERSION.fullmatch(each.name)), key=lambda each: int(each.name))
    if single is not None:
        if single != folder and any(_model_in(each, wanted) for each in numbered):
            raise ModelLoadError(f"{folder}: holds a model, {single.name}, and versions, {_names(numbered)}; {ONE_OF_THEM}")
        return [_beside(_found(name, version, single, wanted), wanted)]
    found = []
    for each in numbered:
        path = _model_in(each, wanted)
        if path is None:
            raise _nothing(each)
        found.append(_beside(_found(name, each.name, path, wanted), wanted))
    return found


def _model_in(folder: Path, wanted: Wanted) -> Path | None:
    """The one model that lies in `folder` itself. Raises ModelLoadError where there are several, or where code would run."""
    if wanted.marked(folder) is not None:
        return folder
    file = _file_in(folder, wanted.runtime)
    if not wanted.code and (folder / HANDLER).is_file() and (file is None or runtime_of(file)[0] in RUN_CODE):
        raise ModelLoadError(f"{folder}: {FOREIGN_CODE}")
    return file


def _file_in(folder: Path, runtime: str) -> Path | None:
    files = _files(folder, runtime)
    named = [each for each in files if each.stem == "model"]
    if len(files) > 1 and len(named) != 1:
        raise ModelLoadError(
            f"{folder}: holds several models: {_names(files)}; {ONE_OF_THEM}, or give each a folder of its own"
        )
    return next(iter(named or files), None)


def _files(folder: Path, runtime: str) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_file() and is_model(each, runtime))


def _names(paths: list[Path]) -> str:
    return ", ".join(each.name for each in paths)


def _found(name: str, version: str, path: Path, wanted: Wanted) -> FoundModel:
    """A model within a folder."""
    runtime, why = _reason(path, wanted)
    if path.is_file() and wanted.runtime == "auto":
        by_name = path.suffix.lower() in RUNTIMES[runtime].suffixes
        why = f"the folder holds {path.name}{'' if by_name else f', and {why}'}"
    return FoundModel(name, version, path, runtime, why)


def _reason(path: Path, wanted: Wanted) -> tuple[str, str]:
    """The runtime of one model, and why that one."""
    if wanted.runtime != "auto":
        return wanted.runtime, "as func.yaml says"
    marked = wanted.marked(path) if path.is_dir() else None
    if marked is None:
        return runtime_of(path)
    mark = next(mark for mark in RUNTIMES[marked].marks if (path / mark).is_file())
    return marked, f"the folder holds {'a ' if mark == HANDLER else ''}{mark}"


def _beside(model: FoundModel, wanted: Wanted) -> FoundModel:
    """With the other models in its folder, of which one that is named `model` has any, and with code that is not run."""
    if model.path.is_dir():
        return model
    folder = model.path.parent
    others = [each.name for each in _files(folder, wanted.runtime) if each != model.path] if model.path.stem == "model" else []
    code = [HANDLER] if not wanted.code and (folder / HANDLER).is_file() else []
    return replace(model, beside=(*others, *code))


def _folders(folder: Path) -> list[Path]:
    hidden = (".", "_")
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(hidden))


def _nothing(folder: Path) -> ModelLoadError:
    if any(b"org.apache.spark.ml" in each.read_bytes()[:65536] for each in sorted(folder.glob("metadata/part-*"))[:1]):
        return ModelLoadError(f"{folder}: {SPARK}")
    for each in sorted(folder.iterdir()):
        if each.suffix.lower() in REFUSED:
            return ModelLoadError(f"{each}: {REFUSED[each.suffix.lower()]}")
        if each.suffix == SEALED and each.is_file():
            return ModelLoadError(f"{each}: {NOT_OPENED}")
    if deeper := [each.name for each in _folders(folder) if _files(each, "auto") or marked_runtime(each)]:
        names = ", ".join([*deeper[:MOST_NAMES], *(["…"] if len(deeper) > MOST_NAMES else [])])
        way = "name this folder at model.uri, or make the archive of what is in it"
        return ModelLoadError(f"{folder}: its folders hold models ({names}), one level too deep: {way}")
    from kfunc.storage.archives import is_archive  # start-up time

    for each in sorted(folder.iterdir()):
        if is_archive(each.name) and each.is_file():
            return ModelLoadError(f"{each}: is an archive; {NOT_UNPACKED}")
    return ModelLoadError(f"{folder}: holds no model; {', '.join(MARKS)} or one file of {', '.join(SUFFIXES)} is expected")
