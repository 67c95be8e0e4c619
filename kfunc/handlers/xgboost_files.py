"""What a file of XGBoost says, looked at before the library: it follows lengths and numbers of nodes wherever they lead.

Pure: bytes in, Broken out. Everything that is an index or a length is checked; weights and thresholds may be anything.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.handlers import ubjson
from kfunc.handlers.tree_shape import FEW, Broken, firsts_of, integers, require, require_trees

if TYPE_CHECKING:
    from kfunc.handlers.tree_shape import Integers

NODES = ("left_children", "right_children", "parents", "split_indices", "split_conditions", "default_left",
         "loss_changes", "sum_hessian")  # fmt: skip
OTHERS = ("split_type", "base_weights", "leaf_weights")
"""Arrays that not every release writes, or not one number a node."""
CATEGORIES = ("categories_nodes", "categories_segments", "categories_sizes")
MOST_CATEGORIES = 1 << 24
SPACE = b" \t\r\n"
SEVERAL = 2
"""Values of a leaf from which on a tree answers for all targets, in arrays of its own."""
Parts = dict[str, Any]


def checked(content: bytes, leaves_apart: bool = True, *, best_as_told: bool = False) -> bytearray:
    """The content as XGBoost may read it from memory. Raises Broken.

    leaves_apart: this XGBoost, from 3.2 on, wants the values of leaves that have several in an array of their own.
    best_as_told: whoever predicts goes to the best round that the file tells, and past its last one.
    """
    text = content[:256].lstrip(SPACE)
    if not content:
        raise Broken("is empty")
    if text[:1] != b"{":
        raise Broken(
            "is neither JSON nor UBJSON; the old binary form cannot be checked: with XGBoost 3.0 or older, "
            "Booster(model_file=OLD).save_model('model.ubj') converts it"
        )
    if text[1:].lstrip(SPACE)[:1] in (b'"', b"}"):
        content = b"{" + content.lstrip(SPACE)[1:].lstrip(SPACE)  # XGBoost knows JSON by its first two bytes
        document = _of_json(content)
    else:
        document = ubjson.decode(content)
    require_sound(document, leaves_apart, best_as_told=best_as_told)
    return bytearray(content)


def _of_json(content: bytes) -> Any:
    def once(members: list[tuple[str, Any]]) -> Parts:
        found = dict(members)
        if len(found) != len(members):
            raise Broken("tells a name twice in one object")
        return found

    try:
        return json.loads(content, object_pairs_hook=once)
    except RecursionError:
        raise Broken("has too many arrays and objects in each other") from None
    except UnicodeDecodeError:
        raise Broken("is neither JSON nor UBJSON") from None
    except ValueError as error:  # JSON's own, or an integer of more digits than Python reads
        raise Broken(f"is truncated or no JSON: {error}") from None


def require_sound(document: Any, leaves_apart: bool = True, *, best_as_told: bool = False) -> None:
    """Refuses a document that would lead the library out of its memory. Raises Broken."""
    learner = _part(document, "learner", dict)
    parameters = _part(learner, "learner_model_param", dict)
    features = _number(parameters, "num_feature")
    classes, targets = _number(parameters, "num_class"), _number(parameters, "num_target", 1)
    groups = max(classes, targets, 1)
    for name in ("feature_names", "feature_types"):
        if len(told := _part(learner, name, list, [])) not in (0, features):
            raise Broken(f"tells {features} features, and {len(told)} in {name}")
    softmax = _part(learner, "objective", dict).get("softmax_multiclass_param")
    if softmax is not None and _number(softmax, "num_class") != groups:
        raise Broken(f"tells {groups} classes, and others in its objective")
    booster = _part(learner, "gradient_booster", dict)
    kind = _part(booster, "name", str)
    best = _best_round(_part(learner, "attributes", dict, {}))
    if kind == "gblinear":
        weights = _part(_part(booster, "model", dict), "weights", (list, np.ndarray))
        if len(weights) != (features + 1) * groups:
            raise Broken(f"has {len(weights)} weights for {features} features and {groups} values of a row")
        return
    model = _part(_part(booster, "gbtree", dict) if kind == "dart" else booster, "model", dict)
    rounds = _require_forest(model, features, groups, leaves_apart)
    if best >= rounds and best_as_told:  # XGBoost keeps it when a model is refreshed with fewer rounds
        raise Broken(f"tells {best} as its best round (attributes.best_iteration), and the last one is {rounds - 1}")
    if kind == "dart" and len(_part(booster, "weight_drop", (list, np.ndarray))) != len(model["trees"]):
        raise Broken("has not as many numbers in weight_drop as trees")


def _best_round(attributes: Parts) -> int:
    """The number of the last round that answers, a number from 0 on; -1: all of them."""
    return _number(attributes, "best_iteration") if "best_iteration" in attributes else -1


def _require_forest(model: Parts, features: int, groups: int, leaves_apart: bool) -> int:
    """How many rounds it has."""
    parameters = _part(model, "gbtree_model_param", dict)
    trees = _part(model, "trees", list)
    count = len(trees)
    if _number(parameters, "num_trees") != count:
        raise Broken(f"tells {_number(parameters, 'num_trees')} trees, and has {count}")
    of_a_round = _number(parameters, "num_parallel_tree", 1) * groups
    if of_a_round < 1:
        raise Broken("tells no tree in a round")
    info = integers(model.get("tree_info"), "tree_info")
    if len(info) != count:
        raise Broken(f"has {count} trees, and {len(info)} in tree_info")
    if ((info < 0) | (info >= groups)).any():
        raise Broken(f"has a tree for a value (tree_info) that is none of the {groups} of a row")
    rounds = integers(model.get("iteration_indptr", []), "iteration_indptr")
    if len(rounds) and (rounds[0] != 0 or rounds[-1] != count or (np.diff(rounds) < 0).any()):
        raise Broken(f"its rounds (iteration_indptr) do not go from 0 to its {count} trees")
    _require_recoding(_part(model, "cats", dict, {}), features)
    if not all(isinstance(tree, dict) for tree in trees):
        raise Broken("has a tree that is no object")
    if not np.array_equal(np.sort(integers([tree.get("id", -1) for tree in trees], "id")), np.arange(count)):
        raise Broken("its trees are not numbered from 0 on, each once (id)")
    _require_trees(trees, features, groups, leaves_apart)
    return len(rounds) - 1 if len(rounds) else count // of_a_round


def _require_trees(trees: list[Parts], features: int, groups: int, leaves_apart: bool) -> None:
    """All trees' nodes as arrays, one tree after the other: a call of numpy for each check, not for each tree."""
    told = [_of_tree(tree, number, groups, leaves_apart) for number, tree in enumerate(trees)]
    if groups > max(len(trees), FEW) and not any(_is_wide(tree) for tree in trees):
        raise Broken(f"tells {groups} values of a row, and has {len(trees)} trees")
    counts = np.array([nodes for nodes, _ in told], np.int64)
    firsts = firsts_of(counts)
    ends = np.repeat(counts, counts)
    left, right, parents, split = (_joined(trees, name) for name in NODES[:4])
    leaf = left == -1
    if any(places for _, places in told):  # a leaf's right child is the place of its values, where it has several
        places = np.repeat([places for _, places in told], counts)
        good = (right == -1) & (places == 0) | (right >= 0) & (right < places)
        require(~leaf | good, firsts, "it is a leaf without values")
        right = np.where(leaf, -1, right)
    require((left >= -1) & (left < ends), firsts, "left_children is no node of the tree")
    require((right >= -1) & (right < ends), firsts, "right_children is no node of the tree")
    require(leaf == (right == -1), firsts, "it has one child, and needs two or none")
    require(leaf | (split >= 0) & (split < features), firsts, f"split_indices is no feature; the model has {features}")
    _require_parents(left, right, parents, firsts, ends)
    kinds = _joined(trees, "split_type")
    if kinds.size not in (0, left.size):
        raise Broken("only some of its trees tell split_type")
    _require_categories(trees, firsts, np.flatnonzero((kinds == 1) & ~leaf) if kinds.size else firsts[:0])


def _require_parents(left: "Integers", right: "Integers", parents: "Integers", firsts: "Integers", ends: "Integers") -> None:
    """Parents and children tell the same; XGBoost goes both ways. What pruning has left over has parents, too."""
    roots = np.zeros(left.size, bool)
    roots[firsts] = True
    require(roots | (parents >= 0) & (parents < ends), firsts, "parents is no node of the tree")
    base = np.repeat(firsts, ends[firsts])
    inner = np.flatnonzero(left >= 0)
    for children in (left, right):
        good = np.ones(left.size, bool)
        good[inner] = parents[children[inner] + base[inner]] + base[inner] == inner
        require(good, firsts, "its child tells another parent")
    require_trees(np.where(left < 0, -1, left + base), np.where(right < 0, -1, right + base), firsts)


def _joined(trees: list[Parts], name: str) -> "Integers":
    arrays = [tree.get(name, ()) for tree in trees]
    if all(isinstance(each, np.ndarray) for each in arrays) and arrays:
        return integers(np.concatenate(arrays), name)
    return np.concatenate([np.empty(0, np.int64), *(integers(each, name) for each in arrays)])


def _of_tree(tree: Parts, number: int, groups: int, leaves_apart: bool) -> tuple[int, int]:
    """How many nodes the tree has, as many as each of its arrays, and how many leaves have values in leaf_weights."""
    parameters = _part(tree, "tree_param", dict)
    nodes = _number(parameters, "num_nodes")
    if nodes < 1:
        raise Broken(f"tree {number}: has no node")
    width = _number(parameters, "size_leaf_vector", 0)
    if width >= SEVERAL and width != groups:
        raise Broken(f"tree {number}: answers with {width} values, the model with {groups}")
    if width >= SEVERAL and "leaf_weights" not in tree and leaves_apart:
        raise Broken(
            f"tree {number}: answers with several values and has no leaf_weights: it was saved before XGBoost 3.2, "
            "which would end the process: serve it with the version that saved it (inference.model.runtime), or train it anew"
        )
    for name in NODES if width < SEVERAL or leaves_apart else NODES[:6]:
        if _length(tree, name, number) != nodes:
            raise Broken(f"tree {number}: tells {nodes} nodes, and has {len(tree.get(name, ()))} in {name}")
    split_type, base_weights, leaf_weights = (_length(tree, name, number) for name in OTHERS)
    if split_type not in (0, nodes):
        raise Broken(f"tree {number}: tells {nodes} nodes, and has {split_type} in split_type")
    if base_weights != nodes * max(width, 1):
        raise Broken(f"tree {number}: tells {nodes} nodes, and has {base_weights} in base_weights")
    if "leaf_weights" in tree:
        leaves = int(np.count_nonzero(integers(tree["left_children"], "left_children") == -1))
        if leaf_weights != leaves * width:
            raise Broken(f"tree {number}: has {leaves} leaves, and {leaf_weights} in leaf_weights")
        return nodes, leaves
    return nodes, 0


def _is_wide(tree: Parts) -> bool:
    return _number(tree["tree_param"], "size_leaf_vector", 0) >= SEVERAL


def _length(tree: Parts, name: str, number: int) -> int:
    values = tree.get(name, [])
    if not isinstance(values, (list, np.ndarray)):
        raise Broken(f"tree {number}: its {name} is no list")
    return len(values)


def _require_categories(trees: list[Parts], firsts: "Integers", told: "Integers") -> None:
    """The categories of splits: `told` are the nodes, among all, whose split_type says that they have some."""
    found = [np.empty(0, np.int64)]
    for number, tree in enumerate(trees):
        if not _length(tree, "categories_nodes", number) and not _length(tree, "categories", number):
            continue
        nodes, starts, sizes = (integers(tree.get(name, ()), name) for name in CATEGORIES)
        categories = integers(tree.get("categories", ()), "categories")
        if not len(nodes) == len(starts) == len(sizes):
            raise Broken(f"tree {number}: its {', '.join(CATEGORIES)} are not of one length")
        if (np.diff(nodes) <= 0).any() or (starts < 0).any() or (sizes < 1).any():
            raise Broken(f"tree {number}: its categories are of no node, or of none twice")
        if (starts > len(categories)).any() or (sizes > len(categories) - starts).any():
            raise Broken(f"tree {number}: categories_segments go beyond its {len(categories)} categories")
        if ((categories < 0) | (categories >= MOST_CATEGORIES)).any():
            raise Broken(f"tree {number}: has a category that is none: they go from 0 to {MOST_CATEGORIES - 1}")
        found.append(nodes + firsts[number])
    if not np.array_equal(np.concatenate(found), told):
        raise Broken("the nodes that have categories are not those whose split_type says so")


def _require_recoding(cats: Parts, features: int) -> None:
    """The categories of the training's columns, which the library compares with those of a table."""
    columns = _part(cats, "enc", list, [])
    segments = integers(cats.get("feature_segments", []), "feature_segments")
    order = integers(cats.get("sorted_idx", []), "sorted_idx")
    if not columns and not len(order):
        return
    if len(columns) != features or len(segments) != features + 1 or segments[0] or segments[-1] != len(order):
        raise Broken("its categories (cats) are not those of its features")
    sizes = np.diff(segments)
    if (sizes < 0).any() or (order < 0).any() or (order >= np.repeat(sizes, np.maximum(sizes, 0))).any():
        raise Broken("its categories (cats) are out of order")
    for column, size in zip(columns, sizes.tolist(), strict=True):
        values = len(_part(column, "values", (list, np.ndarray)))
        offsets = integers(column.get("offsets", []), "offsets")
        if "offsets" in column and size:
            if len(offsets) != size + 1 or offsets[0] or offsets[-1] != values or (np.diff(offsets) < 0).any():
                raise Broken("its categories (cats) have wrong offsets")
        elif values != size:
            raise Broken(f"has {values} categories (cats) where {size} are told")


# ---- members of objects


def _part(parent: Any, name: str, kind: Any, default: Any = None) -> Any:
    value = parent.get(name, default) if isinstance(parent, dict) else None
    if not isinstance(value, kind):
        raise Broken(f"is no model of XGBoost: {name} is missing, or not what it should be")
    return value


def _number(parent: Any, name: str, default: int | None = None) -> int:
    """A number, which XGBoost writes as a text."""
    if isinstance(parent, dict) and name not in parent and default is not None:
        return default
    value = parent.get(name) if isinstance(parent, dict) else None
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 12:
        return int(value)
    raise Broken(f"is no model of XGBoost: {name} is missing, or no number")
