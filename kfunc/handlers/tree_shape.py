"""Whether arrays of children are trees: pure. Libraries follow them without a look, out of their memory or for ever."""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    Integers = np.ndarray[Any, Any]

DEEPEST = 10_000
"""Levels of a tree: libraries walk through it by calls in calls."""
FEW = 1024
"""Values of a row that a model may have without a tree for each, as one of no rounds does: libraries make room for all."""


class Broken(ValueError):
    """What is wrong with a model, for the one who reads the log."""


def integers(values: Any, name: str) -> "Integers":
    """An array or a list of whole numbers. Raises Broken."""
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        array = np.empty(0, object)
    if array.ndim == 1 and not array.size and array.dtype != object:
        return np.empty(0, np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iub" or (array.dtype.kind == "u" and array.itemsize == 8):
        raise Broken(f"its {name} is no list of whole numbers")
    return array.astype(np.int64)


def require(good: "np.ndarray[Any, Any]", firsts: "Integers", what: str) -> None:
    """Refuses the first of all trees' nodes that is not good. Raises Broken."""
    if not good.all():
        number, node = place(int(np.argmin(good)), firsts)
        raise Broken(f"tree {number}, node {node}: {what}")


def place(at: int, firsts: "Integers") -> tuple[int, int]:
    """The tree, and the number within it, of one of all nodes; `firsts` has where each tree begins."""
    number = int(np.searchsorted(firsts, at, "right")) - 1
    return number, at - int(firsts[number])


def firsts_of(counts: "Sequence[int] | Integers") -> "Integers":
    """Where each tree's nodes begin among those of all trees."""
    return np.concatenate(([0], np.cumsum(np.asarray(counts, np.int64))))[:-1]


def require_trees(left: "Integers", right: "Integers", firsts: "Integers") -> None:
    """Refuses nodes with two parents, roots with one, and trees that are too deep.

    left, right: for all trees one after the other, children as numbers among all nodes, -1 for none. Raises Broken.
    """
    children = np.concatenate((left, right))
    children = children[children >= 0]
    roots = np.unique(firsts[firsts < left.size])  # a tree without nodes begins where the next one does
    parents = np.bincount(children, minlength=left.size)
    parents[roots] += 1
    wrong = np.flatnonzero(parents > 1)
    if wrong.size:
        number, node = place(int(wrong[0]), firsts)
        raise Broken(f"tree {number}: node {node} " + ("has two parents" if node else "is its root and has a parent"))
    level = roots
    for _ in range(DEEPEST):
        level = np.concatenate((left[level], right[level]))
        level = level[level >= 0]
        if not level.size:
            return
    raise Broken(f"tree {place(int(level[0]), firsts)[0]}: is deeper than {DEEPEST} levels")
