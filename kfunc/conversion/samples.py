"""The rows on which two models are compared: a file's, or random ones that fit the metadata."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from kfunc.errors import StartupError
from kfunc.handlers.explainers.rows import read_rows
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
                f"input {spec.name} is {spec.datatype}: give rows with --sample FILE.npz, an array for each input"
            )
        shape = [ROWS if not number and size < 0 else OPEN if size < 0 else size for number, size in enumerate(spec.shape)]
        dtype = np.dtype(DTYPES[spec.datatype])
        values = generator.normal(size=shape) if dtype.kind == "f" else generator.integers(0, 2, shape)
        sample[spec.name] = values.astype(dtype)
    if not sample:
        raise StartupError("the model does not tell its inputs: give rows with --sample FILE")
    return sample


def read_sample(path: Path, specs: list[TensorSpec], columns: Sequence[str] = ()) -> "Arrays":
    """Rows from a file: .npz has an array for each input, .npy and .csv have the only one; in the model's order.

    A CSV's line of names chooses among its columns those of the model, if these have names. Raises StartupError.
    """
    try:
        if path.suffix == ".npz":
            with path.open("rb") as content, np.load(content, allow_pickle=False) as file:  # numpy leaves a broken one open
                sample: Arrays = {name: _bytes(file[name]) for name in file.files}
        else:
            sample = {specs[0].name if specs else "input-0": read_rows(path, columns).values}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise StartupError(f"{path}: cannot be read as a sample: {error}") from None
    kinds = {spec.name: spec.datatype for spec in specs}
    if kinds and sample.keys() != kinds.keys():
        raise StartupError(f"{path}: the model's inputs are {', '.join(kinds)}; the file has {', '.join(sample)}")
    for spec in specs:
        shape = list(sample[spec.name].shape)
        if len(spec.shape) == 2 and spec.shape[1] > 0 and shape[1:] != spec.shape[1:]:
            raise StartupError(f"{path}: {spec.name} is rows of {spec.shape[1]} columns; the file's shape is {shape}")
    names = list(kinds) or list(sample)
    return {name: sample[name].astype(DTYPES.get(kinds.get(name, ""), sample[name].dtype), copy=False) for name in names}


def _bytes(array: Any) -> Any:
    """Strings as the elements of BYTES are."""
    if array.dtype.kind not in "US":
        return array
    texts = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel()]
    filled = np.empty(len(texts), np.object_)
    filled[:] = texts
    return filled.reshape(array.shape)
