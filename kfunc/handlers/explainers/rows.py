"""Rows of numbers from a file, .npy or .csv: by a CSV's line of names, the columns that a model was trained with."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

BOOLEANS = {"true": 1.0, "false": 0.0}


class Rows(Struct, frozen=True):
    """Numbers of shape [rows, columns], and the columns' names where the file has them."""

    values: "Array"
    names: tuple[str, ...] = ()


def read_rows(path: Path, columns: Sequence[str] = ()) -> Rows:
    """What a file has; of a CSV with a line of names the model's `columns`, in their order, if these have names as well.

    Raises OSError, ValueError, EOFError.
    """
    return Rows(_read_npy(path)) if path.suffix == ".npy" else _read_csv(path, columns)


def _read_npy(path: Path) -> "Array":
    """One array; np.load would open other kinds of files, too."""
    with path.open("rb") as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _read_csv(path: Path, columns: Sequence[str]) -> Rows:
    line = _first_line(path)
    names = [] if line is None or _is_numbered(line) else line
    chosen = _chosen(names, columns) if names and columns else None
    with path.open(encoding="utf-8-sig") as file:
        begin = 0 if line is None else 1
        values = np.loadtxt(
            file, delimiter=",", skiprows=begin, ndmin=2, quotechar='"', usecols=chosen, encoding="utf-8", converters=number_of
        )
    return Rows(values, tuple(names if chosen is None else columns))


def number_of(text: str) -> float:
    """A number of a CSV; True and False, as pandas writes them, are 1 and 0. Raises ValueError."""
    known = BOOLEANS.get(text.strip().lower())
    return float(text) if known is None else known


def _first_line(path: Path) -> list[str] | None:
    """The first line, unless it is a row."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = next(csv.reader(file), [])
    try:
        [number_of(each) for each in first]
    except ValueError:
        return [each.strip() for each in first]
    return first if _is_numbered(first) else None


def _is_numbered(line: list[str]) -> bool:
    """As pandas writes columns without names; of a single column that may be a row of 0."""
    return len(line) > 1 and line == [str(number) for number in range(len(line))]


def _chosen(names: list[str], columns: Sequence[str]) -> list[int]:
    """Where the model's columns are; others are left out. Raises ValueError."""
    missing = [name for name in columns if names.count(name) != 1]
    if missing:
        often = "twice" if missing[0] in names else "not"
        raise ValueError(
            f"the model's column {missing[0]!r} is {often} in its line of names, {', '.join(names)}: name the columns as the "
            f"model does ({', '.join(columns)}), or leave the line out, so that their order counts"
        )
    return [names.index(name) for name in columns]
