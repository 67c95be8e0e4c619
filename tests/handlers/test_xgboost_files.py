"""What is looked at in a file of XGBoost: models made by hand, one thing wrong in each."""

import json
from typing import Any

import pytest

from kfunc.handlers.tree_shape import DEEPEST, Broken
from kfunc.handlers.xgboost_files import checked, require_sound

ROOT = 2147483647


def tree(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A root with two leaves."""
    fields = {
        "id": number,
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "parents": [ROOT, 0, 0],
        "split_indices": [1, 0, 0],
        "split_type": [0, 0, 0],
        "tree_param": {"num_nodes": "3", "size_leaf_vector": "1", "num_feature": "2"},
    }
    for name in ("split_conditions", "default_left", "loss_changes", "sum_hessian", "base_weights"):
        fields[name] = [0.5, 0, 0]
    return fields | changes


def document(*trees: Any, learner: Any = None, parameters: Any = None, **changes: Any) -> dict[str, Any]:
    model = {
        "gbtree_model_param": {"num_trees": str(len(trees)), "num_parallel_tree": "1"},
        "trees": list(trees),
        "tree_info": [0] * len(trees),
        "iteration_indptr": [*range(len(trees) + 1)],
        **changes,
    }
    told = {"num_feature": "2", "num_class": "0", "num_target": "1", "base_score": "5E-1"} | (parameters or {})
    booster = {"name": "gbtree", "model": model}
    whole = {"learner_model_param": told, "objective": {"name": "reg:squarederror"}, "gradient_booster": booster}
    return {"learner": whole | (learner or {}), "version": [3, 2, 0]}


def best(round_: Any, **changes: Any) -> dict[str, Any]:
    """A model of two rounds, of which the best one is told."""
    return document(tree(), tree(1), learner={"attributes": {"best_iteration": round_}}, **changes)


def nodes(count: int, left: list[int], right: list[int], parents: list[int], **changes: Any) -> dict[str, Any]:
    """A tree of any shape."""
    others = ("split_indices", "split_type", "split_conditions", "default_left", "loss_changes", "sum_hessian", "base_weights")
    told = {"num_nodes": str(count), "size_leaf_vector": "1"}
    children: dict[str, Any] = {"left_children": left, "right_children": right, "parents": parents}
    return tree(tree_param=told, **children, **({name: [0] * count for name in others} | changes))


CATEGORIES: dict[str, Any] = {
    "categories": [0, 2],
    "categories_nodes": [0],
    "categories_segments": [0],
    "categories_sizes": [2],
}


@pytest.mark.parametrize(
    "good",
    [
        document(),
        document(tree(), tree(1)),
        document(tree(1), tree(0)),
        document(tree(split_type=[1, 0, 0], **CATEGORIES)),
        best("1"),
        best("1", iteration_indptr=[]),
        best("7"),  # of a model that was refreshed with fewer rounds
        document(parameters={"num_class": "1024"}),
        # what pruning has left over: nodes that nobody has as a child, of no feature
        document(nodes(5, [1, -1, -1, -1, -1], [2, -1, -1, -1, -1], [ROOT, 0, 0, 1, 1], split_indices=[0, 0, 0, ROOT, ROOT])),
    ],
)  # fmt: skip
def test_a_model_that_is_whole_passes(good: dict[str, Any]) -> None:
    require_sound(good)
    assert checked(b' { "learner' + json.dumps(good).encode()[len('{"learner') :]).startswith(b'{"learner"')


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (document(tree(), tree(1, left_children=[9, -1, -1])), "tree 1, node 0: left_children is no node of the tree"),
        (document(tree(right_children=[-2, -1, -1])), "tree 0, node 0: right_children is no node of the tree"),
        (document(tree(right_children=[-1, -1, -1])), "tree 0, node 0: it has one child"),
        (document(tree(left_children=[0, -1, -1])), "tree 0, node 0: its child tells another parent"),
        (document(tree(left_children=[2, -1, -1])), "tree 0: node 2 has two parents"),
        (document(tree(parents=[ROOT, 3, 0])), "tree 0, node 1: parents is no node of the tree"),
        (document(tree(parents=[0, 0, 0], left_children=[0, -1, -1])), "tree 0: node 0 is its root and has a parent"),
        (document(tree(split_indices=[2, 0, 0])), "tree 0, node 0: split_indices is no feature; the model has 2"),
        (document(tree(split_indices=[-1, 0, 0])), "split_indices is no feature"),
        (document(tree(split_indices=[0.5, 0, 0])), "its split_indices is no list of whole numbers"),
        (document(tree(left_children=[1 << 70, -1, -1])), "its left_children is no list of whole numbers"),
        (document(tree(left_children=[[1], -1, -1])), "its left_children is no list of whole numbers"),
        (document(tree(parents=[ROOT, 0])), "tree 0: tells 3 nodes, and has 2 in parents"),
        (document(tree(base_weights=[0])), "tree 0: tells 3 nodes, and has 1 in base_weights"),
        (document(tree(split_type=[0])), "tree 0: tells 3 nodes, and has 1 in split_type"),
        (document(tree(tree_param={"num_nodes": "0"})), "tree 0: has no node"),
        (document(tree(tree_param={"num_nodes": "3", "size_leaf_vector": "2"})), "answers with 2 values, the model with 1"),
        (document(tree(3)), "are not numbered from 0 on"),
        (document(tree(), tree()), "are not numbered from 0 on"),
        (document(tree(), 3), "has a tree that is no object"),
        (document(tree(split_conditions=None)), "tree 0: its split_conditions is no list"),
        (document(tree(left_children=5)), "tree 0: its left_children is no list"),
        (document(tree(default_left={"0": 1, "1": 1, "2": 1})), "tree 0: its default_left is no list"),
        (document(tree(split_type=None)), "tree 0: its split_type is no list"),
        (document(tree(base_weights=True)), "tree 0: its base_weights is no list"),
        (document(tree(categories_nodes=0)), "tree 0: its categories_nodes is no list"),
        (best("-400000000"), "best_iteration is missing, or no number"),
        (best("x"), "best_iteration is missing, or no number"),
        (best(None), "best_iteration is missing, or no number"),
        (document(tree(), learner={"attributes": 3}), "attributes is missing, or not what it should be"),
        (document(tree(), parameters={"num_target": "200000000"}), "tells 200000000 values of a row, and has 1 trees"),
        (document(parameters={"num_class": "200000000"}), "tells 200000000 values of a row, and has 0 trees"),
        (document(tree(), tree_info=[1]), "none of the 1 of a row"),
        (document(tree(), tree_info=[]), "has 1 trees, and 0 in tree_info"),
        (document(tree(), iteration_indptr=[0, 2]), "do not go from 0 to its 1 trees"),
        (document(tree(), gbtree_model_param={"num_trees": "2"}), "tells 2 trees, and has 1"),
        (document(tree(), gbtree_model_param={"num_trees": "1", "num_parallel_tree": "0"}), "no tree in a round"),
        (document(tree(split_type=[1, 0, 0])), "are not those whose split_type says so"),
        (document(tree(**CATEGORIES)), "are not those whose split_type says so"),
        (document(tree(split_type=[1, 0, 0], **CATEGORIES | {"categories_sizes": [3]})), "go beyond its 2 categories"),
        (document(tree(split_type=[1, 0, 0], **CATEGORIES | {"categories": [0, 1 << 30]})), "a category that is none"),
        (document(tree(split_type=[1, 0, 0], **CATEGORIES | {"categories_nodes": []})), "are not of one length"),
        ({"learner": 3}, "learner is missing, or not what it should be"),
        ([], "learner is missing"),
    ],
)
def test_what_would_lead_xgboost_astray_is_refused(broken: Any, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        require_sound(broken)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (best("2"), r"tells 2 as its best round \(attributes.best_iteration\), and the last one is 1"),
        (best("1", gbtree_model_param={"num_trees": "2", "num_parallel_tree": "2"}, iteration_indptr=[]), "the last one is 0"),
    ],
)
def test_a_best_round_that_is_none_is_refused_for_those_who_go_there(broken: Any, reason: str) -> None:
    require_sound(broken)
    with pytest.raises(Broken, match=reason):
        require_sound(broken, best_as_told=True)


def wide(**changes: Any) -> dict[str, Any]:
    """A tree that answers with two values."""
    told = {"num_nodes": "3", "size_leaf_vector": "2"}
    return tree(right_children=[2, 0, 1], base_weights=[0] * 6, leaf_weights=[0] * 4, tree_param=told) | changes


def of_two_targets(one: dict[str, Any]) -> dict[str, Any]:
    found = document(one)
    found["learner"]["learner_model_param"]["num_target"] = "2"
    return found


def test_leaves_of_several_values_name_their_places() -> None:
    require_sound(of_two_targets(wide()))
    with pytest.raises(Broken, match="tree 0, node 2: it is a leaf without values"):
        require_sound(of_two_targets(wide(right_children=[2, 0, 2])))
    with pytest.raises(Broken, match="has 2 leaves, and 3 in leaf_weights"):
        require_sound(of_two_targets(wide(leaf_weights=[0] * 3)))


def test_leaves_of_several_values_from_before_xgboost_3_2_are_for_that_version() -> None:
    old = wide(right_children=[2, -1, -1])
    for name in ("leaf_weights", "loss_changes", "sum_hessian"):
        del old[name]
    require_sound(of_two_targets(old), leaves_apart=False)
    with pytest.raises(Broken, match=r"was saved before XGBoost 3\.2"):
        require_sound(of_two_targets(old))


def test_a_circle_of_nodes_is_refused() -> None:
    circle = nodes(3, [1, 0, -1], [2, 0, -1], [1, 0, 0])
    with pytest.raises(Broken, match="node 0 is its root and has a parent"):
        require_sound(document(circle))


def test_a_tree_that_is_too_deep_is_refused() -> None:
    count = 2 * DEEPEST + 1
    left = [each + 1 if each % 2 == 0 and each < count - 1 else -1 for each in range(count)]
    right = [each + 2 if each % 2 == 0 and each < count - 1 else -1 for each in range(count)]
    parents = [ROOT, *(each - 1 - each % 2 + (each % 2) * 1 if each % 2 else each - 2 for each in range(1, count))]
    with pytest.raises(Broken, match=f"tree 0: is deeper than {DEEPEST} levels"):
        require_sound(document(nodes(count, left, right, parents)))


def test_weights_of_a_linear_model_are_as_many_as_its_features_want() -> None:
    linear = document()
    linear["learner"]["gradient_booster"] = {"name": "gblinear", "model": {"weights": [0.5, 0.5]}}
    with pytest.raises(Broken, match="has 2 weights for 2 features and 1 values of a row"):
        require_sound(linear)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"binf\0\0", r"is neither JSON nor UBJSON; the old binary form .* converts it"),
        (b'{"learner":' + b"[" * 300_000, "has too many arrays and objects in each other"),
        (b'{"learner":{},"learner":{}}', "tells a name twice"),
        (b'{"learner":{}', "is truncated or no JSON"),
        (b'{"learner":{}} ?', "is truncated or no JSON"),
        (b'{"learner":%s}' % (b"1" * 5000), "is truncated or no JSON"),
        (b'{"\xff":{}}', "is neither JSON nor UBJSON"),
        (b"{L\0\0", "is truncated"),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        checked(content)
