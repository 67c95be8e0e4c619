"""The rows on which two models are compared: a file's, or random ones that fit the metadata."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from kfunc.errors import StartupError
from kfunc.handlers.explainers.rows import number_of, read_rows
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

ROWS = 32
OPEN = 1  # the size of a dimension that is open and not the first: some models want another, and --sample has it
DTYPES: dict[str, Any] = {
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BOOL": np.bool_,
    **{f"{sign.upper()}INT{bits}": np.dtype(f"{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


def random_sample(specs: list[TensorSpec]) -> "Arrays":
    """The same rows each time: normal numbers, 0 or 1 as integers. Raises StartupError for what cannot be made up."""
    generator = np.random.default_rng(0)
    sample: Arrays = {}
    for spec in specs:
        if spec.datatype not in DTYPES:
            raise StartupError(
                f"input {spec.name} is {spec.datatype}: give rows with --sample: a .csv whose first line "
                "names the inputs, or a .npz with an array for each"
            )
        shape = [ROWS if not number and size < 0 else OPEN if size < 0 else size for number, size in enumerate(spec.shape)]
        dtype = np.dtype(DTYPES[spec.datatype])
        values = generator.normal(size=shape) if dtype.kind == "f" else generator.integers(0, 2, shape)
        sample[spec.name] = values.astype(dtype)
    if not sample:
        raise StartupError("the model does not tell its inputs: give rows with --sample FILE")
    return sample


def read_sample(path: Path, specs: list[TensorSpec], columns: Sequence[str] = ()) -> "Arrays":
    """Rows from a file: .npz has an array for each input, .npy the only one; in the model's order.

    A CSV's line of names chooses among its columns: the inputs, where a model has one for each column or one that is no
    number; else those of the matrix that is the only input, if these have names. Raises StartupError.
    """
    try:
        if path.suffix == ".npz":
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:  # numpy leaves a broken one open
                sample: Arrays = {name: _bytes(file[name]) for name in file.files}
        elif path.suffix == ".csv" and (len(specs) > 1 or any(spec.datatype in READ for spec in specs)):
            sample = _table(path, specs)
        else:
            sample = {specs[0].name if specs else "input-0": _bytes(read_rows(path, columns).values)}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise StartupError(f"{path}: cannot be read as a sample: {error}") from None
    kinds = {spec.name: spec.datatype for spec in specs}
    if kinds and sample.keys() != kinds.keys():
        has = "one array" if path.suffix == ".npy" else ", ".join(sample)
        raise StartupError(
            f"{path}: the model's inputs are {', '.join(kinds)}; the file has {has}: give a .npz with an array for each, or a "
            ".csv whose first line names them"
        )
    for spec in specs:
        shape = list(sample[spec.name].shape)
        if len(spec.shape) == 2 and spec.shape[1] > 0 and shape[1:] != spec.shape[1:]:
            raise StartupError(f"{path}: {spec.name} is rows of {spec.shape[1]} columns; the file's shape is {shape}")
    names = list(kinds) or list(sample)
    return {name: sample[name].astype(DTYPES.get(kinds.get(name, ""), sample[name].dtype), copy=False) for name in names}


def _table(path: Path, specs: list[TensorSpec]) -> "Arrays":
    """An array for each input from the column of its name. Raises ValueError."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        names, *lines = [line for line in csv.reader(file) if line] or [[]]
    names = [each.strip() for each in names]
    if len(specs) == len(names) == 1 and names[0] != specs[0].name:  # only texts, and a line with another name is one, too
        names, lines = [specs[0].name], [names, *lines]
    wrong = next((spec.name for spec in specs if names.count(spec.name) != 1), None)
    if wrong is not None:
        inputs = ", ".join(spec.name for spec in specs)
        raise ValueError(
            f"its first line must name each of the model's inputs, {inputs}, once; that of {wrong} is not so "
            "(or give a .npz with an array for each)"
        )
    sample: Arrays = {}
    for spec in specs:
        at = names.index(spec.name)
        values = np.empty(len(lines), np.object_ if spec.datatype == "BYTES" else DTYPES.get(spec.datatype, np.float64))
        for number, line in enumerate(lines):
            try:
                values[number] = READ.get(spec.datatype, number_of)(line[at])
            except (LookupError, ValueError, OverflowError):
                found = repr(line[at]) if at < len(line) else "nothing"
                raise ValueError(f"row {number}, column {spec.name}: {spec.datatype} expected, found {found}") from None
        sample[spec.name] = values.reshape(-1, *(1 for _ in spec.shape[1:]))
    return sample


def _boolean(text: str) -> bool:
    return {0: False, 1: True}[number_of(text)]  # type: ignore[index]


# Texts of a CSV as the elements of what is no number.
READ: dict[str, Callable[[str], Any]] = {"BYTES": str.encode, "BOOL": _boolean}


def _bytes(array: Any) -> Any:
    """Strings as the elements of BYTES are."""
    if array.dtype.kind not in "US":
        return array
    texts = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel()]
    filled = np.empty(len(texts), np.object_)
    filled[:] = texts
    return filled.reshape(array.shape)
