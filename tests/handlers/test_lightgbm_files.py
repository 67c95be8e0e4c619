"""What is looked at in a file of LightGBM: models made by hand, one thing wrong in each."""

from typing import Any

import pytest

from kfunc.handlers.lightgbm_files import require_sound
from kfunc.handlers.tree_shape import DEEPEST, Broken

TREE: dict[str, Any] = {
    "num_leaves": 3,
    "num_cat": 0,
    "split_feature": "1 0",
    "split_gain": "9 8",
    "threshold": "0.5 1e-35",
    "decision_type": "2 2",
    "left_child": "1 -1",
    "right_child": "-2 -3",
    "leaf_value": "0.1 0.2 -nan",
    "leaf_weight": "",
    "is_linear": 0,
}
STUMP = {"num_leaves": 1, "leaf_value": "0.5", "split_feature": ""}
CATEGORIES = {"num_cat": 1, "decision_type": "1 2", "threshold": "0 0.5", "cat_boundaries": "0 2", "cat_threshold": "7 1"}
LINEAR = {"is_linear": 1, "leaf_const": "1 2 3", "num_features": "0 2 0", "leaf_features": " 1 0  ", "leaf_coeff": " 0.5 1  "}
HEAD: dict[str, Any] = {
    "version": "v4",
    "num_class": 1,
    "num_tree_per_iteration": 1,
    "max_feature_idx": 1,
    "objective": "regression",
    "feature_names": "a b",
}


def lines(fields: dict[str, Any]) -> str:
    return "".join(f"{name}={value}\n" for name, value in fields.items() if value is not None)


def model(*trees: dict[str, Any], sizes: str | None = None, **changes: Any) -> bytes:
    texts = [f"Tree={number}\n{lines(TREE | tree)}\n\n" for number, tree in enumerate(trees)]
    told = " ".join(str(len(each)) for each in texts) if sizes is None else sizes
    head = "tree\n" + lines(HEAD | {"tree_sizes": told} | changes)
    return f"{head}\n{''.join(texts)}end of trees\n\nparameters:\n[a: 1]\n\nend of parameters\n".encode()


@pytest.mark.parametrize(
    "good",
    [
        model({}),
        model({}, STUMP, {}),
        model(STUMP),
        model({}, CATEGORIES),
        model({}, LINEAR),
        model({}, tree_sizes=None),
        model({"decision_type": None}),
        model({}, objective=None),
        model({}, feature_infos="[-1e-35:inf] none"),
        model({}, feature_infos="-1:0:7 3"),
        model({}, feature_names="city=London city=Paris"),
        model({}).replace(b"parameters:", b"feature_importances:\nparameters_seen=3\n\nparameters:"),
        model(),
        model({}, num_class=1024, num_tree_per_iteration=1024),
        model({}, {}, num_class=2, num_tree_per_iteration=2, objective="multiclass num_class:2"),
    ],
)
def test_a_model_that_is_whole_passes(good: bytes) -> None:
    require_sound(good)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (model({}, {"split_feature": "0 2"}), "tree 1, node 1: split_feature is no feature; the model has 2"),
        (model({"split_feature": "-1 0"}), "tree 0, node 0: split_feature is no feature"),
        (model({"split_feature": "1"}), "tree 0: has 1 of split_feature, and must have 2"),
        (model({"split_feature": "1 x"}), "its split_feature are no whole numbers"),
        (model({"split_feature": "1 1-"}), "its split_feature are no whole numbers"),
        (model({"split_feature": "1 " + 5000 * "9"}), "its split_feature are no whole numbers"),
        (model(STUMP, {"left_child": "9 -1"}), "tree 1, node 0: left_child is no node and no leaf of the tree"),
        (model({"right_child": "-2 -4"}), "tree 0, node 1: right_child is no node and no leaf of the tree"),
        (model({"left_child": "0 -1"}), "tree 0: node 0 is its root and has a parent"),
        (model({"right_child": "1 -3"}), "tree 0: node 1 has two parents"),
        (model({"leaf_value": "1 2"}), "tree 0: has 2 of leaf_value, and must have 3"),
        (model({"threshold": "0.5 0.5h"}), "tree 0: its threshold are no numbers"),
        (model({"leaf_value": "1 2 e"}), "tree 0: its leaf_value are no numbers"),
        (model({"internal_count": "1 2.5"}), "tree 0: its internal_count are no whole numbers"),
        (model({"is_linear": 2}), "tree 0: is_linear is neither 0 nor 1"),
        (model({"leaf_count": "1 2"}), "tree 0: has 2 of leaf_count, and must have 3"),
        (model({"num_leaves": 0}), "tree 0: has no leaf"),
        (model({"num_leaves": -3}), "tree 0: num_leaves is missing, or no number"),
        (model({"num_cat": 1}), "its cat_boundaries are not those of 1 sets"),
        (model({"decision_type": "1 2"}), "tree 0: node 0: threshold is none of its 0 sets of categories"),
        (model({"decision_type": "1 99"}), "tree 0: has a decision_type that is none"),
        (model(CATEGORIES | {"threshold": "1 0.5"}), "threshold is none of its 1 sets"),
        (model(CATEGORIES | {"threshold": "-1 0.5"}), "threshold is none of its 1 sets"),
        (model(CATEGORIES | {"cat_boundaries": "0 3"}), "its cat_boundaries are not those of 1 sets in 2 words"),
        (model(LINEAR | {"num_features": "0 3 0"}), "its num_features are not those of its leaf_features"),
        (model(LINEAR | {"leaf_features": "1 2"}), "leaf_features has a feature that is none of the model's 2"),
        (model(LINEAR | {"leaf_coeff": "1"}), "has not as many of leaf_coeff as of leaf_features"),
        (model(LINEAR | {"leaf_const": "1"}), "has 1 of leaf_const, and must have 3"),
        (model({}, sizes="99999999"), "its tree_sizes are not the sizes of its trees"),
        (model({}, sizes=""), "its tree_sizes are not the sizes of its trees"),
        (model(sizes="9"), "tells sizes of trees, and has no tree"),
        (model({}).replace(b"Tree=0", b"Tree=1"), "tree 0 is missing, or not in its place"),
        (model({f"more{number}": 0 for number in range(20)}), "tree 0: has 31 lines; LightGBM reads 22"),
        (model({"split_gain": "1 1\nleaf"}), "tree 0: has a line that is no name and value"),
        (model({"split_gain": "1 1\nnum_leaves=9"}), "tree 0: tells num_leaves twice"),
        (model({"split_gain": "1 1\n\nnum_leaves=9"}), "tree 0: has lines after its end"),
        (model({"split_gain": "\0"}), "has a byte 0"),
        (model({}).replace(b"\n", b"\r\n"), "is truncated|line ends of Windows"),
        (model({}, num_class=3), "tells 3 values of a row, and another number of trees in an iteration"),
        (model({}, objective="multiclass num_class:3"), "tells 1 classes, and others in its objective"),
        (model({}, num_class=5 * 10**8, num_tree_per_iteration=5 * 10**8), "tells 500000000 values of a row, and has 1 trees"),
        (model({}, feature_infos="[0:1] [0"), "has feature_infos that are no range, no categories and not none"),
        (model({}, feature_infos="[0:1] 1::2"), "has feature_infos that are no range, no categories and not none"),
        (model({}, objective=""), "tells an objective, and not which"),
        (model({}, objective="  "), "tells an objective, and not which"),
        (model({}).replace(b"objective=regression", b"objective"), "tells an objective, and not which"),
        (model({}).replace(b"objective=", b"="), "has a line in its head that is no name and value"),
        (model({}).replace(b"version=v4", b"version=v4\n=num_class=7"), "has a line in its head that is no name and value"),
        (model({}).replace(b"version=v4", b"version==v4"), "has a line in its head that is no name and value"),
        (model({}, max_feature_idx=7), "tells 8 features, and others in feature_names"),
        (model({}, num_class=None), "num_class is missing, or no number"),
        (model({})[:-70], "is truncated: LightGBM's end of the trees is missing"),
        (model({}).replace(b"parameters:\n", b"parameters:\r\n"), "has line ends of Windows"),
        (model({}).replace(b"[a: 1]", b"[a 1]"), "has a parameter that is no name and value"),
        (model({}).replace(b"[a: 1]", b"[a:"), "has a parameter that is no name and value"),
        (model({}).replace(b"[a: 1]", b":1]"), "has a parameter that is no name and value"),
        (model({})[:-4], "is truncated: the end of its parameters is missing"),
    ],
)  # fmt: skip
def test_what_would_lead_lightgbm_astray_is_refused(broken: bytes, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        require_sound(broken)


def test_a_tree_that_is_too_deep_is_refused() -> None:
    nodes = DEEPEST + 1
    chain = {
        "num_leaves": nodes + 1,
        "left_child": " ".join(str(each + 1) for each in range(nodes - 1)) + f" -{nodes + 1}",
        "right_child": " ".join(str(-each - 1) for each in range(nodes)),
        "decision_type": "",
        "split_gain": "",
        "leaf_value": " ".join(["0"] * (nodes + 1)),
    }
    zeros = " ".join(["0"] * nodes)
    with pytest.raises(Broken, match=f"tree 0: is deeper than {DEEPEST} levels"):
        require_sound(model(chain | {"split_feature": zeros, "threshold": zeros}))
