"""What a file of LightGBM says, looked at before the library: it follows sizes and numbers of nodes wherever they lead.

Pure: bytes in, Broken out. Everything that is an index or a length is checked; weights and thresholds may be anything.
"""

import re
from collections import deque
from typing import TYPE_CHECKING

import numpy as np

from kfunc.handlers.tree_shape import FEW, Broken, firsts_of, require, require_trees

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from kfunc.handlers.tree_shape import Integers

    Fields = Mapping[bytes, bytes]

END = b"\nend of trees"
TREE = b"\nTree="
PARAMETER = re.compile(rb"\[[^:]+:.*\]")
PARAMETERS, PARAMETERS_END = b"\nparameters:\n", b"\nend of parameters\n"
MOST_LINES = 22
"""Of a tree: LightGBM reads no more of them."""
NODES = (b"split_feature", b"threshold", b"left_child", b"right_child")
OF_NODES = (b"decision_type", b"split_gain", b"internal_value", b"internal_weight", b"internal_count")
OF_LEAVES = (b"leaf_weight", b"leaf_count")
FRACTIONS = (b"threshold", b"leaf_value", b"split_gain", b"internal_value", b"internal_weight", b"leaf_weight", b"shrinkage")
COUNTS = (b"internal_count", b"leaf_count")
KINDS = 15
"""The highest decision_type: a bit for categories, one for the default, two for what is missing."""
UNCATEGORIZED = frozenset(b"%d" % kind for kind in range(0, KINDS, 2)) | {b""}
SEVERAL = re.compile(rb"^=|^(?!feature_names=|monotone_constraints=)[^\n=]*=[^\n]*=", re.MULTILINE)
"""These two lines LightGBM cuts at the first one: a feature's name may have more."""
INFO = re.compile(rb"none|\[[^][:]+:[^][:]+\]|-?\d+(:-?\d+)*")
"""A feature's range or categories, which LightGBM takes apart without a look when it describes the model."""
LONGEST = 10
DIGITS = b"0123456789- "
OF_FRACTIONS = DIGITS + b"+.einfa"


def require_sound(content: bytes) -> "Fields":
    """Refuses a file that would lead the library out of its memory; the fields of its head. Raises Broken."""
    end = content.find(END)
    if end < 0:
        raise Broken("is truncated: LightGBM's end of the trees is missing")
    _require_parameters(content, end)
    first = content.find(TREE, 0, end)
    head = content[: end if first < 0 else first]
    if content.find(b"\0", 0, end) >= 0:
        raise Broken("has a byte 0")
    if b"\r" in content:  # for LightGBM it ends a line, too
        raise Broken("has line ends of Windows, and its tree_sizes count others")
    if SEVERAL.search(head):  # LightGBM leaves out what is empty between two of them: it would read another name
        raise Broken("has a line in its head that is no name and value")
    header = _fields(head.split(b"\n"), "its head")
    features = _require_head(header)
    sections = _sections(content, header, first, end)
    if _number(header, b"num_class") > max(len(sections), FEW):
        raise Broken(f"tells {_number(header, b'num_class')} values of a row, and has {len(sections)} trees")
    trees = [_tree(section, number) for number, section in enumerate(sections)]
    counts = [_number(tree, b"num_leaves", f"tree {number}: ") for number, tree in enumerate(trees)]
    for number, (tree, leaves) in enumerate(zip(trees, counts, strict=True)):
        _require_lengths(tree, leaves, f"tree {number}: ")
        _require_numbers(tree, f"tree {number}: ")
        _require_categories(tree, leaves, f"tree {number}: ")
        if tree.get(b"is_linear") == b"1":
            _require_linear(tree, leaves, features, f"tree {number}: ")
    _require_children(trees, np.array(counts, np.int64) - 1, features)
    return header


def _require_parameters(content: bytes, end: int) -> None:
    """What follows the trees: LightGBM looks for the end of the parameters, and behind the colon of each, without a bound."""
    begun = content.find(PARAMETERS, end)
    if begun < 0:
        return
    ended = content.find(PARAMETERS_END, begun)
    if ended < 0:
        raise Broken("is truncated: the end of its parameters is missing")
    for line in content[begun:ended].split(b"\n"):
        if line and line != b"parameters:" and not PARAMETER.fullmatch(line):
            raise Broken("has a parameter that is no name and value")


def _require_head(header: "Fields") -> int:
    """How many features the model has."""
    features = _number(header, b"max_feature_idx") + 1
    classes = _number(header, b"num_class")
    if classes < 1 or _number(header, b"num_tree_per_iteration") != classes:
        raise Broken(f"tells {classes} values of a row, and another number of trees in an iteration")
    if not header.get(b"objective", b"custom").strip(b" "):
        raise Broken("tells an objective, and not which")
    for word in header.get(b"objective", b"").split(b" "):
        if word.startswith(b"num_class:") and _number({b"num_class": word[10:]}, b"num_class") != classes:
            raise Broken(f"tells {classes} classes, and others in its objective")
    for name in (b"feature_names", b"feature_infos"):
        if name in header and header[name].strip().count(b" ") + 1 != features:
            raise Broken(f"tells {features} features, and others in {name.decode()}")
    for info in header.get(b"feature_infos", b"").split(b" "):
        if info and not INFO.fullmatch(info):
            raise Broken("has feature_infos that are no range, no categories and not none")
    return features


def _sections(content: bytes, header: "Fields", first: int, end: int) -> list[bytes]:
    """The trees' texts. Where the head has their sizes, LightGBM goes by these."""
    if first < 0:
        if header.get(b"tree_sizes"):
            raise Broken("tells sizes of trees, and has no tree")
        return []
    sections = content[first + len(TREE) : end + 1].split(TREE)
    if b"tree_sizes" in header:
        sizes = _numbers(header[b"tree_sizes"], b"tree_sizes", "")
        at = np.cumsum([len(TREE) + len(each) for each in sections])
        at[-1] -= 1  # the first byte of what ends the trees belongs to the last one
        if not np.array_equal(at, np.cumsum(sizes)):
            raise Broken("its tree_sizes are not the sizes of its trees: it is truncated, or was changed after saving")
    return sections


def _tree(section: bytes, number: int) -> "Fields":
    """A tree's fields: the lines up to an empty one, after that of its number."""
    if not section.startswith(b"%d\n" % number):
        raise Broken(f"tree {number} is missing, or not in its place")
    body, _, rest = section[len(b"%d\n" % number) :].partition(b"\n\n")
    if rest.strip(b"\n"):
        raise Broken(f"tree {number}: has lines after its end")
    lines = body.rstrip(b"\n").split(b"\n")
    if len(lines) > MOST_LINES:
        raise Broken(f"tree {number}: has {len(lines)} lines; LightGBM reads {MOST_LINES}")
    for line in lines:
        if b"=" not in line:
            raise Broken(f"tree {number}: has a line that is no name and value")
    return _fields(lines, f"tree {number}")


def _fields(lines: "Iterable[bytes]", where: str) -> "Fields":
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b"=")
        if name in found and name:
            raise Broken(f"{where}: tells {name[:60].decode(errors='replace')} twice")
        found[name] = value
    return found


def _require_lengths(tree: "Fields", leaves: int, where: str) -> None:
    if leaves < 1:
        raise Broken(f"{where}has no leaf")
    _require_length(tree, b"leaf_value", leaves, where)
    if leaves == 1:
        return
    for name in NODES:
        _require_length(tree, name, leaves - 1, where)
    for names, count in ((OF_NODES, leaves - 1), (OF_LEAVES, leaves)):
        for name in names:
            if tree.get(name):
                _require_length(tree, name, count, where)


def _require_length(tree: "Fields", name: bytes, count: int, where: str) -> None:
    value = tree.get(name, b"")
    found = value.count(b" ") + 1 if value else 0
    if found != count:
        raise Broken(f"{where}has {found} of {name.decode()}, and must have {count}")


def _require_numbers(tree: "Fields", where: str) -> None:
    """What LightGBM cannot read as a number ends the process: it reads trees in threads that nobody catches."""
    for name in FRACTIONS:
        _fractions(tree.get(name, b""), name, where)
    for name in COUNTS:
        _numbers(tree.get(name, b""), name, where)
    if tree.get(b"is_linear", b"0") not in (b"0", b"1"):
        raise Broken(f"{where}is_linear is neither 0 nor 1")


def _require_children(trees: "Sequence[Fields]", counts: "Integers", features: int) -> None:
    """Of all trees at once, one after the other: a call of numpy for each check, not for each tree."""
    joined = []
    for name in (b"split_feature", b"left_child", b"right_child"):
        lines = [tree[name] for tree, count in zip(trees, counts, strict=True) if count]
        joined.append(_numbers(b" ".join(lines), name, ""))
    split, left, right = joined
    firsts = firsts_of(counts)
    ends, base = np.repeat(counts, counts), np.repeat(firsts, counts)
    require((split >= 0) & (split < features), firsts, f"split_feature is no feature; the model has {features}")
    # a child below 0 is a leaf: -1 the first one; there is one leaf more than nodes
    require((left < ends) & (left >= -ends - 1), firsts, "left_child is no node and no leaf of the tree")
    require((right < ends) & (right >= -ends - 1), firsts, "right_child is no node and no leaf of the tree")
    require_trees(np.where(left < 0, -1, left + base), np.where(right < 0, -1, right + base), firsts)


def _require_categories(tree: "Fields", leaves: int, where: str) -> None:
    """Splits by categories: a threshold is the number of a set of bits, `cat_boundaries` say which words are whose."""
    sets = _number(tree, b"num_cat", where)
    if not sets and UNCATEGORIZED.issuperset(tree.get(b"decision_type", b"").split(b" ")):
        return
    kinds = _numbers(tree.get(b"decision_type", b"") if leaves > 1 else b"", b"decision_type", where)
    if ((kinds < 0) | (kinds > KINDS)).any():
        raise Broken(f"{where}has a decision_type that is none")
    by_category = np.flatnonzero(kinds & 1)
    if sets:
        bounds = _numbers(tree.get(b"cat_boundaries", b""), b"cat_boundaries", where)
        words = _numbers(tree.get(b"cat_threshold", b""), b"cat_threshold", where)
        if len(bounds) != sets + 1 or bounds[0] or (np.diff(bounds) < 0).any() or bounds[-1] != len(words):
            raise Broken(f"{where}its cat_boundaries are not those of {sets} sets in {len(words)} words of cat_threshold")
    if by_category.size:
        thresholds = tree[b"threshold"].split(b" ")
        for node in by_category.tolist():
            text = thresholds[node]
            if not text.isdigit() or len(text) > LONGEST or int(text) >= sets:
                raise Broken(f"{where}node {node}: threshold is none of its {sets} sets of categories")


def _require_linear(tree: "Fields", leaves: int, features: int, where: str) -> None:
    """Leaves with a formula: each has some features and as many coefficients."""
    _require_length(tree, b"leaf_const", leaves, where)
    counts = _numbers(tree.get(b"num_features", b""), b"num_features", where)
    told = _numbers(b" ".join(tree.get(b"leaf_features", b"").split()), b"leaf_features", where)
    if len(counts) != leaves or (counts < 0).any() or counts.sum() != len(told):
        raise Broken(f"{where}its num_features are not those of its leaf_features")
    if ((told < 0) | (told >= features)).any():
        raise Broken(f"{where}leaf_features has a feature that is none of the model's {features}")
    _fractions(tree[b"leaf_const"], b"leaf_const", where)
    coefficients = tree.get(b"leaf_coeff", b"").split()
    _fractions(b" ".join(coefficients), b"leaf_coeff", where)
    if len(coefficients) != len(told):
        raise Broken(f"{where}has not as many of leaf_coeff as of leaf_features")


# ---- numbers in text


def _numbers(text: bytes, name: bytes, where: str) -> "Integers":
    try:
        if text.translate(None, DIGITS):
            raise ValueError
        return np.array([*map(int, text.split(b" "))] if text else [], np.int64)
    except (ValueError, OverflowError):
        raise Broken(f"{where}its {name.decode()} are no whole numbers") from None


def _fractions(text: bytes, name: bytes, where: str) -> None:
    try:
        if text.translate(None, OF_FRACTIONS):
            raise ValueError
        if text:
            deque(map(float, text.split(b" ")), 0)
    except ValueError:
        raise Broken(f"{where}its {name.decode()} are no numbers") from None


def _number(fields: "Fields", name: bytes, where: str = "") -> int:
    text = fields.get(name, b"")
    if not text.isdigit() or len(text) > LONGEST:
        raise Broken(f"{where}{name.decode()} is missing, or no number")
    return int(text)
