"""XGBoost: models that it has trained and saved itself, in both of its formats."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb

from kfunc.config.explain import Explain
from kfunc.errors import ModelLoadError
from kfunc.handlers.registry import runtime_of
from tests.runtimes.served import Served

Serve = Callable[..., Served]

ROWS = np.random.default_rng(7).normal(size=(60, 4)).astype(np.float32)
TWO = (ROWS.sum(axis=1) > 0).astype(int)
THREE = ROWS[:, :3].argmax(axis=1)
FEW = ROWS[:3]


def train(objective: str, labels: Any, **parameters: Any) -> Any:
    return xgb.train({"objective": objective, **parameters}, xgb.DMatrix(ROWS, labels), 4)


@pytest.fixture(params=["m.json", "m.ubj"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Any], Path]:
    """Where a booster is saved, in either format."""

    def save(booster: Any) -> Path:
        booster.save_model(tmp_path / request.param)
        path: Path = tmp_path / request.param
        return path

    return save


def test_two_classes_answer_with_the_label_and_with_probabilities(serve: Serve, saved: Callable[[Any], Path]) -> None:
    booster = train("binary:logistic", TWO)
    model = serve(saved(booster), outputs=["predict", "predict_proba"])
    assert model.metadata() == {
        "platform": "xgboost",
        "inputs": {"input": ("FP32", [-1, 4])},
        "outputs": {"predict": ("INT64", [-1]), "predict_proba": ("FP32", [-1, 2])},
    }
    scores = booster.predict(xgb.DMatrix(FEW))
    expected = np.stack((1 - scores, scores), axis=1)
    answer = model.v2({"input": ("FP32", FEW.tolist())})
    assert answer["predict"] == (scores > 0.5).astype(int).tolist()
    assert np.allclose(answer["predict_proba"], expected.ravel())
    assert [row["predict"] for row in model.v1(FEW.tolist())] == answer["predict"]
    binary = model.binary({"input": ("FP32", FEW)})
    assert np.array_equal(np.frombuffer(binary["predict"], "<i8"), answer["predict"])
    assert np.allclose(np.frombuffer(binary["predict_proba"], "<f4"), expected.ravel())


def test_the_label_is_the_answer_where_nothing_else_is_asked_for(serve: Serve, saved: Callable[[Any], Path]) -> None:
    booster = train("multi:softprob", THREE, num_class=3)
    expected = booster.predict(xgb.DMatrix(FEW)).argmax(axis=1).tolist()
    assert serve(saved(booster)).v1(FEW.tolist()) == expected


@pytest.mark.parametrize(
    ("objective", "labels", "parameters", "shape"),
    [
        ("reg:squarederror", ROWS[:, 0], {}, [-1]),
        ("reg:squarederror", ROWS[:, :2], {}, [-1, 2]),
        ("reg:squarederror", ROWS[:, 0], {"booster": "gblinear"}, [-1]),
        ("reg:squarederror", ROWS[:, 0], {"booster": "dart"}, [-1]),
        ("multi:softmax", THREE, {"num_class": 3}, [-1]),
        ("binary:hinge", TWO, {}, [-1]),
        ("binary:logitraw", TWO, {}, [-1]),
        ("count:poisson", THREE, {}, [-1]),
    ],
)
def test_what_scores_no_classes_answers_with_its_scores(
    serve: Serve, tmp_path: Path, objective: str, labels: Any, parameters: Any, shape: list[int]
) -> None:
    booster = train(objective, labels, **parameters)
    booster.save_model(tmp_path / "m.ubj")
    model = serve(tmp_path / "m.ubj")
    assert model.metadata()["outputs"] == {"predict": ("FP32", shape)}
    expected = booster.predict(xgb.DMatrix(FEW))
    assert np.allclose(model.v2({"input": ("FP64", FEW.tolist())})["predict"], expected.ravel(), atol=1e-6)


@pytest.mark.parametrize("kind", ["gbtree", "dart"])
def test_a_training_that_stopped_early_answers_with_its_best_rounds(
    serve: Serve, saved: Callable[[Any], Path], kind: str
) -> None:
    parameters = {"objective": "binary:logistic", "booster": kind, "eta": 1.0}
    data, other = xgb.DMatrix(ROWS, TWO), xgb.DMatrix(ROWS[::-1], TWO)
    booster = xgb.train(parameters, data, 30, evals=[(other, "o")], early_stopping_rounds=3, verbose_eval=False)
    best = (0, booster.best_iteration + 1)
    assert best[1] < booster.num_boosted_rounds()
    model = serve(saved(booster), outputs=["predict_proba"], explain=Explain(method="shap-tree"))
    expected = booster.predict(xgb.DMatrix(FEW), iteration_range=best)
    assert np.allclose([row[1] for row in model.v1(FEW.tolist())], expected)
    status, answer = model.caller.ask("POST", "/v1/models/iris:explain", {"instances": FEW.tolist()})
    assert status == 200
    told = np.sum(answer["explanations"]["shap_values"], axis=1) + answer["explanations"]["base_values"]
    assert np.allclose(told, booster.predict(xgb.DMatrix(FEW), iteration_range=best, output_margin=True), atol=1e-4)


def test_a_model_saved_by_the_interface_of_scikit_learn_is_one_too(serve: Serve, saved: Callable[[Any], Path]) -> None:
    booster = train("binary:logistic", TWO)
    booster.set_attr(scikit_learn='{"_estimator_type": "classifier"}')
    assert serve(saved(booster)).metadata()["outputs"] == {"predict": ("INT64", [-1])}


def test_an_output_that_the_model_has_not_is_refused_with_those_that_it_has(serve: Serve, tmp_path: Path) -> None:
    train("reg:squarederror", ROWS[:, 0]).save_model(tmp_path / "m.ubj")
    with pytest.raises(ModelLoadError, match=r"has no output predict_proba \(inference.model.outputs\); it has predict"):
        serve(tmp_path / "m.ubj", outputs=["predict_proba"])


def test_too_few_features_are_the_callers_fault(serve: Serve, tmp_path: Path) -> None:
    train("reg:squarederror", ROWS[:, 0]).save_model(tmp_path / "m.ubj")
    status, answer = serve(tmp_path / "m.ubj").v1([[1.0, 2.0]])
    assert (status, answer["error"]) == (400, "input 'input': shape [-1, 4] expected (-1: any size), [1, 2] given")


@pytest.mark.parametrize("name", ["model.json", "model.model", "model", "model.ubj", "model.bst"])
@pytest.mark.parametrize("form", ["json", "ubj"])
def test_a_model_is_known_by_its_first_bytes_where_its_name_says_little(tmp_path: Path, name: str, form: str) -> None:
    (tmp_path / name).write_bytes(train("binary:logistic", TWO).save_raw(form))
    why = "the name ends in .ubj" if name.endswith(".ubj") else "the file begins as a model of xgboost"
    assert runtime_of(tmp_path / name) == ("xgboost", why)


# ---- files that are refused

WHOLE = bytes(train("reg:squarederror", ROWS[:, 0]).save_raw("ubj"))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (WHOLE[: len(WHOLE) // 2], "is truncated"),
        (b"\x80\x04cos\nsystem\n", "is neither JSON nor UBJSON"),
        (b'{"learner": 3}', "is no model of XGBoost: learner is missing"),
        (b'{"learner":' + b"[" * 300_000, "has too many arrays and objects in each other"),
        (
            WHOLE[: WHOLE.rindex(b"version")] + b"version[#L\0\0\0\0\0\0\0\x03i\x63i\x01i\0}",
            r"was saved by xgboost-cpu 99\.1, newer than \d.*, which is installed: install xgboost-cpu 99\.1",
        ),
        (b'{"learner":{},"version":[99,1,0]}', r"was saved by xgboost-cpu 99\.1, newer than"),
    ],
)
def test_a_file_that_is_no_model_for_this_xgboost_is_refused_with_the_reason(
    serve: Serve, tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "m.ubj").write_bytes(content)
    with pytest.raises(ModelLoadError, match=f"m.ubj: {reason}") as caught:
        serve(tmp_path / "m.ubj")
    assert "Stack trace" not in caught.value.message


def test_a_missing_file_is_named(serve: Serve, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"m\.ubj: there is no such model file"):
        serve(tmp_path / "m.ubj", "xgboost")


@pytest.mark.parametrize("form", ["ubj", "json"])
@pytest.mark.parametrize("parts", range(1, 8))
def test_a_truncated_model_is_refused_before_the_library_sees_it(serve: Serve, tmp_path: Path, form: str, parts: int) -> None:
    whole = bytes(train("multi:softprob", THREE, num_class=3).save_raw(form))
    (tmp_path / f"m.{form}").write_bytes(whole[: len(whole) * parts // 8])
    with pytest.raises(ModelLoadError, match=rf"m\.{form}: is truncated"):
        serve(tmp_path / f"m.{form}", "xgboost")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("left_children", 100_000, "tree 0, node 0: left_children is no node of the tree"),
        ("left_children", 0, "tree 0, node 0: its child tells another parent"),
        ("split_indices", 100_000, "tree 0, node 0: split_indices is no feature; the model has 4"),
    ],
)
def test_nodes_that_are_not_there_are_refused(serve: Serve, tmp_path: Path, field: str, value: int, reason: str) -> None:
    document = json.loads(train("binary:logistic", TWO).save_raw("json"))
    document["learner"]["gradient_booster"]["model"]["trees"][0][field][0] = value
    (tmp_path / "m.json").write_text(json.dumps(document))
    with pytest.raises(ModelLoadError, match=rf"m\.json: {reason}"):
        serve(tmp_path / "m.json")


def test_every_kind_of_model_passes_the_check(serve: Serve, saved: Callable[[Any], Path]) -> None:
    codes = np.stack((ROWS[:, 0], np.arange(60) % 7), axis=1)
    categories = xgb.DMatrix(codes, codes[:, 1] % 3, feature_types=["float", "c"], enable_categorical=True)
    boosters = [
        xgb.train({"max_cat_to_onehot": 1}, categories, 4),
        train("reg:squarederror", ROWS[:, :2], multi_strategy="multi_output_tree"),
        train("reg:squarederror", ROWS[:, 0], tree_method="exact", gamma=0.5),  # prunes
        train("reg:squarederror", ROWS[:, 0], num_parallel_tree=3, subsample=0.5),
        train("reg:quantileerror", ROWS[:, 0], quantile_alpha=[0.1, 0.9]),
    ]
    for booster in boosters:
        model = serve(saved(booster))
        rows = codes[:3] if booster.num_features() == 2 else FEW
        types = ["float", "c"] if booster.num_features() == 2 else None
        expected = booster.predict(xgb.DMatrix(rows, feature_types=types, enable_categorical=True))
        assert np.allclose(model.v2({"input": ("FP32", rows.tolist())})["predict"], expected.ravel(), atol=1e-6)
