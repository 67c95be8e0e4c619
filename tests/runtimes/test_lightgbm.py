"""LightGBM: boosters that it has trained and saved itself, tables with categories too."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers.registry import runtime_of
from tests.runtimes.served import Served

Serve = Callable[..., Served]

ROWS = np.random.default_rng(7).normal(size=(200, 3))
TWO = (ROWS.sum(axis=1) > 0).astype(int)
FEW = ROWS[:3]
QUIET = {"verbose": -1, "min_data_in_leaf": 5}


def train(objective: str, labels: Any, rows: Any = ROWS, **parameters: Any) -> Any:
    return lgb.train({"objective": objective, **QUIET, **parameters}, lgb.Dataset(rows, labels), 4)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    """Where a booster is saved."""

    def save(booster: Any) -> Path:
        booster.save_model(tmp_path / "model.txt")
        return tmp_path / "model.txt"

    return save


def test_two_classes_answer_with_the_label_and_with_probabilities(serve: Serve, saved: Callable[[Any], Path]) -> None:
    booster = train("binary", TWO)
    model = serve(saved(booster), outputs=["predict", "predict_proba"])
    assert model.metadata() == {
        "platform": "lightgbm",
        "inputs": {"input": ("FP64", [-1, 3])},
        "outputs": {"predict": ("INT64", [-1]), "predict_proba": ("FP32", [-1, 2])},
    }
    scores = booster.predict(FEW)
    answer = model.v2({"input": ("FP64", FEW.tolist())})
    assert answer["predict"] == (scores > 0.5).astype(int).tolist()
    assert np.allclose(answer["predict_proba"], np.stack((1 - scores, scores), axis=1).ravel())
    assert [row["predict"] for row in model.v1(FEW.tolist())] == answer["predict"]
    binary = model.binary({"input": ("FP64", FEW)})
    assert np.allclose(np.frombuffer(binary["predict_proba"], "<f4"), answer["predict_proba"])


@pytest.mark.parametrize("objective", ["multiclass", "multiclassova"])
def test_several_classes_answer_with_the_likeliest(serve: Serve, saved: Callable[[Any], Path], objective: str) -> None:
    booster = train(objective, ROWS.argmax(axis=1), num_class=3)
    assert serve(saved(booster)).v1(FEW.tolist()) == booster.predict(FEW).argmax(axis=1).tolist()


@pytest.mark.parametrize("objective", ["regression", "poisson", "quantile"])
def test_a_regression_answers_with_its_values(serve: Serve, saved: Callable[[Any], Path], objective: str) -> None:
    booster = train(objective, np.abs(ROWS[:, 0]))
    assert np.allclose(serve(saved(booster)).v1(FEW.tolist()), booster.predict(FEW))


def test_names_of_features_are_columns(serve: Serve, saved: Callable[[Any], Path]) -> None:
    booster = train("regression", ROWS[:, 0], pd.DataFrame(ROWS, columns=["a", "b", "c"]))
    rows = [dict(zip("cba", reversed(row), strict=True)) for row in FEW.tolist()]
    assert np.allclose(serve(saved(booster)).v1(rows), booster.predict(FEW))


def test_categories_of_pandas_are_columns_of_strings(serve: Serve, saved: Callable[[Any], Path]) -> None:
    table = pd.DataFrame({"size": ROWS[:, 0], "city": pd.Categorical(np.where(TWO, "Bern", "Zug"))})
    booster = train("regression", TWO * 3.0 + ROWS[:, 0], table, min_data_per_group=5)
    model = serve(saved(booster))
    assert model.metadata()["inputs"] == {"size": ("FP64", [-1]), "city": ("BYTES", [-1])}
    assert np.allclose(model.v1(table[:3].astype({"city": str}).to_dict("records")), booster.predict(table[:3]))
    assert len(model.v2({"size": ("FP64", [1.0]), "city": ("BYTES", ["Genf"])})["predict"]) == 1  # never seen
    uneven = model.v2({"size": ("FP64", [1.0, 2.0]), "city": ("BYTES", ["Bern"])})
    assert uneven == (400, {"error": "the columns do not all have the same number of rows"})
    broken = model.v1([{"size": 1.0, "city": {"b64": "//8="}}])
    assert broken == (400, {"error": "input 'city': texts expected, BYTES in UTF-8"})


def test_a_text_file_is_a_model_only_by_its_first_lines(saved: Callable[[Any], Path], tmp_path: Path) -> None:
    assert runtime_of(saved(train("binary", TWO))) == ("lightgbm", "the file begins as a model of lightgbm")
    (tmp_path / "notes.txt").write_text("a forest of notes")
    with pytest.raises(ModelLoadError, match=r"notes\.txt: no runtime reads such a file"):
        runtime_of(tmp_path / "notes.txt")


WHOLE = train("binary", TWO).model_to_string()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "the file is empty"),
        (WHOLE[: len(WHOLE) // 3], "is truncated"),
        ("\x80\x04cos\nsystem\n", "is no LightGBM model"),
        (WHOLE.replace("version=v4", "version=v99"),
         r"was saved by a newer LightGBM, in format v99; \d.*, which is installed, has v4"),
        (WHOLE.replace("num_class=1\n", ""), "num_class is missing, or no number"),
        (WHOLE.replace("objective=binary", "objective=tarot"), "lightgbm cannot read it: Unknown objective type"),
        (re.sub("pandas_categorical:.*", "pandas_categorical:[[[1]]]", WHOLE), "lightgbm cannot read it: its pandas_categ"),
        (re.sub("pandas_categorical:.*", 'pandas_categorical:{"a":1}', WHOLE), "lightgbm cannot read it: its pandas_cat"),
        (WHOLE.replace("left_child=1", "left_child=9999"), "its tree_sizes are not the sizes of its trees"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_model_for_this_lightgbm_is_refused_with_the_reason(
    serve: Serve, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "m.lgb").write_text(content, encoding="latin-1")
    with pytest.raises(ModelLoadError, match=f"m.lgb: {reason}"):
        serve(tmp_path / "m.lgb")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("left_child", "9", "left_child is no node and no leaf of the tree|has two parents"),
        ("left_child", "0", "tree 0: node 0 is its root and has a parent"),
        ("split_feature", "9", "tree 0, node 0: split_feature is no feature; the model has 3"),
    ],
)
def test_nodes_and_features_that_are_not_there_are_refused(
    serve: Serve, tmp_path: Path, field: str, value: str, reason: str
) -> None:
    text = re.sub(rf"\n{field}=\d", f"\n{field}={value}", WHOLE, count=1)
    (tmp_path / "m.lgb").write_text(text)
    with pytest.raises(ModelLoadError, match=f"m.lgb: .*({reason})"):
        serve(tmp_path / "m.lgb")


@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        ("binary", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
        ("binary", {"boosting": "dart"}),
        ("regression", {"linear_tree": True}),
        ("regression", {"monotone_constraints": [1, 0, -1]}),
        ("regression", {"num_leaves": 2}),
        ("cross_entropy", {}),
    ],
)
def test_every_kind_of_model_passes_the_check(
    serve: Serve, saved: Callable[[Any], Path], objective: str, parameters: dict[str, Any]
) -> None:
    data = lgb.Dataset(ROWS, TWO, params={"linear_tree": "linear_tree" in parameters})
    booster = lgb.train({"objective": objective, **QUIET, **parameters}, data, 4)
    told = serve(saved(booster), outputs=["predict_proba"] if objective == "binary" else []).v1(FEW.tolist())
    assert np.allclose(np.array(told)[:, 1] if objective == "binary" else told, booster.predict(FEW))


def test_a_model_of_constants_passes_the_check(serve: Serve, saved: Callable[[Any], Path]) -> None:
    assert serve(saved(train("regression", np.full(200, 3.0)))).v1(FEW.tolist()) == [3.0] * 3
