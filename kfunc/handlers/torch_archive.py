"""Looks into archives of PyTorch before PyTorch opens them: what kind one is, and whether opening it would run code.

`torch.export.load` unpickles constants and sample inputs and evaluates size expressions as Python, so that an exported program
is only opened where it holds nothing but plain tensors, known operators and plain expressions.
"""

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any, Literal

import torch

from kfunc.errors import ModelLoadError
from kfunc.handlers.nested_strings import TRUST, nested_strings
from kfunc.storage.zips import open_zip

Kind = Literal["script", "program", "weights"]

PLAIN = re.compile(r"data/(weights/weight_\d+|constants/tensor_\d+)|models/\w+\.json|archive_\w+|byteorder|\.data/\w+|extra/.*")
TARGET = re.compile(
    r"torch\.ops(\.[A-Za-z0-9]\w*|\._(?!_)\w*){2,4}|torch\._?sym_\w+|math\.[a-z]\w*"
    r"|_operator\.(?!attrgetter|itemgetter|methodcaller|call)_*[a-z]+_*"
)
# What sympy prints of sizes: Symbol('s0', positive=True, integer=True), Add(…), Integer(2), s0.
NUMBER, NAME = r"-?\d+(\.\d+)?(e-?\d+)?", r"'\w+'"
EXPRESSION = re.compile(rf"([A-Z][A-Za-z]*\(|\)|, |{NAME}|{NUMBER}|[a-z]+=(True|False|{NUMBER})|[suzf]\d+|true|false)*")


def kind_of(path: Path) -> Kind:
    """What a file is by what it holds. Raises ModelLoadError where it is no archive of PyTorch."""
    if path.suffix.lower() == ".safetensors":
        return "weights"
    try:
        with open_zip(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except zipfile.BadZipFile:
        if _is_old_pickle(path):
            return "weights"
        raise ModelLoadError(f"{path}: is neither a file of PyTorch nor safetensors, or is not complete") from None
    except OSError as error:
        raise ModelLoadError(f"{path}: cannot be read: {error.strerror}") from None
    if "archive_format" in names or path.suffix.lower() == ".pt2":
        return "program"
    return "script" if "constants.pkl" in names else "weights"


def _is_old_pickle(path: Path) -> bool:
    """torch.save before 1.6 wrote a bare pickle."""
    with path.open("rb") as file:
        return file.read(2) in (b"\x80\x02", b"\x80\x04")


def require_harmless(path: Path) -> None:
    """Opening the exported program runs nothing that it brings. Raises ModelLoadError with what would."""
    try:
        archive = torch._C.PyTorchFileReader(str(path))
        names = archive.get_all_records()
    except RuntimeError as error:
        raise ModelLoadError(f"{path}: torch cannot open it: {str(error).splitlines()[0]}") from None
    for name in names:
        if name.endswith("_config.json"):
            _require_plain_tensors(path, name, _json(path, name, archive.get_record(name)))
        elif name.startswith("data/sample_inputs/"):
            _require_loadable(path, name, archive.get_record(name))
        elif not PLAIN.fullmatch(name):
            raise _refused(path, name)
        elif name.startswith("models/"):
            _require_plain_graph(path, name, _json(path, name, archive.get_record(name)))


def _json(path: Path, name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ModelLoadError(f"{path}: {name} in it is not JSON") from None


def _require_plain_tensors(path: Path, name: str, config: Any) -> None:
    entries = config.get("config", {}) if isinstance(config, dict) else {}
    for entry in entries.values() if isinstance(entries, dict) else ():
        if (
            not isinstance(entry, dict)
            or entry.get("use_pickle")
            or not re.match(r"(weight|tensor)_", str(entry.get("path_name")))
        ):
            raise _refused(path, f"{name}: {entry}")


def _require_loadable(path: Path, name: str, content: bytes) -> None:
    try:
        if content:
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        raise _refused(path, name) from None


def _require_plain_graph(path: Path, name: str, graph: Any) -> None:
    for key, value in nested_strings(graph):
        if key == "target" and not TARGET.fullmatch(value):
            raise _refused(path, f"{name}: the operator {value!r}")
        if key == "expr_str" and not EXPRESSION.fullmatch(value):
            raise _refused(path, f"{name}: the size {value!r}")


def _refused(path: Path, what: str) -> ModelLoadError:
    return ModelLoadError(f"{path}: opening it could run code: it holds {what[:200]}; {TRUST}")
