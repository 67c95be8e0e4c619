"""What of a function's folder goes into its image: code in one layer, weights in another. Nothing is imported."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from kfunc.errors import BuildError
from kfunc.images.ignoring import FILES, Rule, is_ignored, parse_rules
from kfunc.images.layers import Entry

WEIGHTS = (
    ".onnx", ".skops", ".joblib", ".pkl", ".pickle", ".pt", ".pth", ".safetensors", ".bin", ".gguf", ".h5", ".keras", ".npy",
    ".npz", ".pb", ".tflite", ".ubj", ".cbm", ".params", ".model", ".engine", ".plan", ".data", ".parquet",
)  # fmt: skip
LARGE = 8 << 20
"""A file from this size on is weights, whatever its name."""
EXTERNAL_DATA = b"location"
"""The key under which ONNX names the files that hold tensors (onnx.proto, TensorProto.external_data)."""


class Sources(Struct, frozen=True):
    """The function's files, and what was passed over."""

    code: list[Entry]
    weights: list[Entry]
    notes: list[str] = []


def whole_folder(folder: Path, into: str) -> Sources:
    """All files below `folder` that no rule leaves out. Raises BuildError."""
    rules = read_rules(folder)
    code: list[Entry] = []
    weights: list[Entry] = []
    notes: list[str] = []
    for path, name in _walk(folder, rules, notes):
        entry = _entry(path, f"{into}/{name}")
        is_weights = path.suffix.lower() in WEIGHTS or path.stat().st_size >= LARGE
        (weights if is_weights else code).append(entry)
    return Sources(code, weights, notes)


def model_only(folder: Path, model: Path, into: str, others: tuple[Path, ...] = ()) -> Sources:
    """The model of a function that has no code: a file with those that it names, or a folder. Raises BuildError."""
    notes: list[str] = []
    code = [_entry(file, f"{into}/{os.path.relpath(file, folder)}") for file in others]
    if model.is_dir():
        below = model.relative_to(folder).as_posix()
        prefix = into if below == "." else f"{into}/{below}"
        return Sources(code, [_entry(path, f"{prefix}/{name}") for path, name in _walk(model, parse_rules(()), notes)], notes)
    files = [model, *_external_data(model)]
    return Sources(code, [_entry(file, f"{into}/{os.path.relpath(file, folder)}") for file in files])


def check_inside(folder: Path, model: Path) -> None:
    """Raises BuildError for a model that the function's folder does not hold: the image has no place for it."""
    if not Path(os.path.abspath(model)).is_relative_to(os.path.abspath(folder)):
        raise BuildError(f"the model {model} is not in the function's folder {folder}: move it there")


def read_rules(folder: Path) -> list[Rule]:
    """The rules of the folder's own file. Raises BuildError."""
    for name in FILES:
        try:
            return parse_rules((folder / name).read_text(encoding="utf-8").splitlines())
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise BuildError(f"cannot read {folder / name}: {getattr(error, 'strerror', None) or 'it is not UTF-8'}") from None
        except re.error as error:
            raise BuildError(f"{folder / name} has a pattern that is none ({error}): correct its brackets") from None
    return parse_rules(())


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
        for each in names:
            path, name = place / each, f"{prefix}{each}"
            if is_ignored(name, rules):
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


def _external_data(model: Path) -> list[Path]:
    """The files beside an ONNX model that hold its tensors: those whose names are in it."""
    if model.suffix.lower() != ".onnx":
        return []
    content = model.read_bytes()
    if EXTERNAL_DATA not in content:
        return []
    beside = [path for path in model.parent.rglob("*") if path.is_file() and path != model]
    return sorted(path for path in beside if path.relative_to(model.parent).as_posix().encode() in content)
