"""What of a function's folder goes into its image: code in one layer, weights in another. Nothing is imported."""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path

from msgspec import Struct

from kfunc.errors import BuildError
from kfunc.images.ignoring import (
    FILES,
    GIVEN,
    GIVEN_FILES,
    IN_MODELS,
    NEVER,
    TOLD,
    Rule,
    ignored_by,
    may_keep_below,
    parse_rules,
)
from kfunc.images.layers import Entry

WEIGHTS = (
    ".onnx", ".skops", ".joblib", ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".bin", ".gguf", ".h5", ".keras", ".npy",
    ".npz", ".pb", ".tflite", ".ubj", ".cbm", ".params", ".model", ".engine", ".plan", ".data", ".parquet",
)  # fmt: skip
PARTS = {".xml": (".bin",), ".json": (".pdiparams",), ".pdmodel": (".pdiparams",), ".pdiparams": (".json", ".pdmodel")}
"""OpenVINO and Paddle keep program and weights of a model apart."""
LARGE = 8 << 20
"""A file from this size on is weights, whatever its name."""
EXTERNAL_DATA = re.compile(rb"\x6a([\x00-\x7f]|[\x80-\xff][\x01-\x7f])\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x01-\x7f])")
"""An entry of TensorProto.external_data (onnx.proto, field 13) that names a file: its length, its key, the value's length."""
KEY_BYTES = 11
"""Of key and tag before the value's length."""
FUNC_YAML, HANDLER = "func.yaml", "handler.py"
LAYOUT = "oci-layout"
"""The file that marks a folder of images."""


class Sources(Struct, frozen=True):
    """The function's files, and what was passed over."""

    code: list[Entry]
    weights: list[Entry]
    notes: list[str] = []


def whole_folder(folder: Path, into: str) -> Sources:
    """All files below `folder` that no rule leaves out. Raises BuildError."""
    code: list[Entry] = []
    weights: list[Entry] = []
    notes: list[str] = []
    for path, name in _walk(folder, _rules_of_function(folder), notes):
        entry = _entry(path, f"{into}/{name}")
        is_weights = path.suffix.lower() in WEIGHTS or path.stat().st_size >= LARGE
        (weights if is_weights else code).append(entry)
    return Sources(code, weights, notes)


def models_only(folder: Path, models: Iterable[Path], into: str, others: Iterable[Path] = ()) -> Sources:
    """The models of a function that has no code: files with those that they name, or folders. Raises BuildError."""
    notes: list[str] = []
    weights: dict[str, Entry] = {}
    for model in models:
        found = _folder_of_models(model, notes) if model.is_dir() else [model, *_beside(model), *_external_data(model)]
        entries = [_entry(file, os.path.normpath(f"{into}/{os.path.relpath(file, folder)}")) for file in found]
        weights |= {entry.path: entry for entry in entries}
    code = [_entry(file, f"{into}/{os.path.relpath(file, folder)}") for file in others]
    return Sources([entry for entry in code if entry.path not in weights], list(weights.values()), notes)


def _folder_of_models(folder: Path, notes: list[str]) -> list[Path]:
    """The files of a folder of models, which may be the function's own."""
    own = (folder / FUNC_YAML).is_file()
    rules = _rules_of_function(folder) if own else read_rules(folder, IN_MODELS, ())
    return [path for path, _ in _walk(folder, rules, notes)]


def check_holds(sources: Sources, folder: Path, models: Iterable[Path], into: str) -> None:
    """Raises BuildError where a rule of the folder leaves out a model: the image would not start."""
    paths = {entry.path for entry in (*sources.code, *sources.weights)}
    for model in models:
        name = Path(os.path.relpath(model, folder)).as_posix()
        below = f"{into}/" if name == "." else f"{into}/{name}/"
        handler = model / HANDLER
        held = any(path.startswith(below) for path in paths) if model.is_dir() else f"{into}/{name}" in paths
        if held and handler.is_file():
            name, held = Path(os.path.relpath(handler, folder)).as_posix(), f"{below}{HANDLER}" in paths
        if not held:
            raise BuildError(
                f"the rules for what stays out of the image fit the model {name}: write !{name} into {_file_of(folder)}"
            )


def check_inside(folder: Path, model: Path) -> None:
    """Raises BuildError for a model that the function's folder does not hold: the image has no place for it."""
    if not _is_below(model, folder):
        raise BuildError(f"the model {model} is not in the function's folder {folder}: move it there")


def _rules_of_function(folder: Path) -> list[Rule]:
    """The rules of the folder that has func.yaml. Raises BuildError."""
    files = {name: [file for file in (folder / name).rglob("*") if file.is_file()] for name in GIVEN}
    given = [name for name, found in files.items() if all(file.suffix in GIVEN_FILES for file in found)]
    return read_rules(folder, (*NEVER, *(f"/{name}" for name in given)), TOLD)


def read_rules(folder: Path, never: Iterable[str], told: Iterable[str]) -> list[Rule]:
    """The rules of the folder's own file, behind the built-in ones. Raises BuildError."""
    file = folder / _file_of(folder)
    try:
        return parse_rules(file.read_text(encoding="utf-8").splitlines(), never, told)
    except FileNotFoundError:
        return parse_rules((), never, told)
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
    except re.error as error:
        raise BuildError(f"{file} has a pattern that is none ({error}): correct its brackets") from None


def _file_of(folder: Path) -> str:
    """The name of the folder's file of rules: that which is there, else the one to write."""
    return next((name for name in FILES if (folder / name).exists()), FILES[0])


def _walk(folder: Path, rules: list[Rule], notes: list[str]) -> Iterator[tuple[Path, str]]:
    """Files below a folder, sorted, with their names; links are followed, but never in a circle."""

    def within(place: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[Path, str]]:
        try:
            known = place.stat()
            names = sorted(os.listdir(place))
        except OSError as error:
            raise BuildError(f"cannot read {place}: {error.strerror}") from None
        identity = (known.st_dev, known.st_ino)
        if identity in above:
            return
        if prefix and LAYOUT in names:
            notes.append(f"{prefix[:-1]} is left out: it holds images")
            return
        for each in names:
            path, name = place / each, f"{prefix}{each}"
            rule = ignored_by(name, rules)
            if rule and not (may_keep_below(name, rules) and path.is_dir()):
                if rule.told:
                    notes.append(f"{name} is left out: it may be a secret, or an image; !{name} in {FILES[0]} takes it back")
                continue
            try:
                mode = path.stat().st_mode
            except OSError:
                notes.append(f"{name} is a link to nothing: it is left out")
                continue
            if stat.S_ISDIR(mode):
                yield from within(path, f"{name}/", above | {identity})
            elif stat.S_ISREG(mode):
                yield path, name
            else:
                notes.append(f"{name} is no file: it is left out")

    yield from within(folder, "", frozenset())


def _entry(path: Path, name: str) -> Entry:
    if not name.isprintable():
        raise BuildError(f"the name {name!r} cannot be in an image: rename the file")
    return Entry(name, path, bool(path.stat().st_mode & 0o111))


def _beside(model: Path) -> list[Path]:
    """The other files of a model that is several of one name."""
    files = [model.with_suffix(suffix) for suffix in PARTS.get(model.suffix.lower(), ())]
    return [file for file in files if file.is_file()]


def _external_data(model: Path) -> list[Path]:
    """The files beside an ONNX model that hold its tensors. Raises BuildError for one that is missing, or elsewhere."""
    if model.suffix.lower() != ".onnx":
        return []
    names = _locations(model) if model.stat().st_size else set()
    for name in sorted(names):
        if not _is_below(model.parent / name, model.parent):
            raise BuildError(f"{model} keeps tensors in {name}, which is not in its folder: save the model anew")
        if not (model.parent / name).is_file():
            raise BuildError(f"{model} keeps tensors in {name}, which is not beside it: copy that file as well")
    return [model.parent / name for name in sorted(names)]


def _locations(model: Path) -> set[str]:
    """The names that an ONNX file has for files with its tensors; it may be larger than the memory."""
    names = set()
    with model.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        for found in EXTERNAL_DATA.finditer(content):
            entry, length = _varint(found[1]), _varint(found[2])
            if entry == KEY_BYTES + len(found[2]) + length:
                names.add(os.fsdecode(content[found.end() : found.end() + length]))
    return names


def _varint(data: bytes) -> int:
    """A number of one or two bytes, as protobuf writes it."""
    return data[0] if len(data) == 1 else data[0] & 0x7F | data[1] << 7


def _is_below(path: Path, folder: Path) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))
