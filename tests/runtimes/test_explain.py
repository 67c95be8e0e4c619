"""Explanations: SHAP values add up to the answer, LIME and SHAP find the features that count."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from skops import io as skops_io

from kfunc.config.explain import Explain
from kfunc.errors import ModelLoadError
from tests.runtimes.served import Served, digest

Serve = Callable[..., Served]

ROWS = np.random.default_rng(7).normal(size=(80, 3))
VALUES = ROWS @ [3.0, 0.0, -1.0]
LABELS = (VALUES > 0).astype(int)
FEW = ROWS[:2].tolist()
USUAL = {"background": "usual.npy"}
V1, V2 = "/v1/models/iris:explain", "/v2/models/iris/explain"


@pytest.fixture
def explained(serve: Serve, tmp_path: Path) -> Callable[..., Any]:
    """The explanations of FEW, by V1, of an estimator."""
    np.save(tmp_path / "usual.npy", ROWS)

    def ask(estimator: Any, method: str, instances: Any = FEW, **settings: Any) -> Any:
        skops_io.dump(estimator, tmp_path / "m.skops")
        explain = Explain(**{"method": method, "background": str(tmp_path / "usual.npy"), **settings})
        outputs = ["predict_proba"] if hasattr(estimator, "predict_proba") else ["predict"]
        model = serve(tmp_path / "m.skops", explain=explain, outputs=outputs, trust=True, digest=digest(tmp_path / "m.skops"))
        status, answer = model.caller.ask("POST", V1, {"instances": instances})
        assert status == 200, answer
        return {name: np.array(value) for name, value in answer["explanations"].items()}

    return ask


def test_shap_values_of_a_linear_model_add_up_to_its_answer(explained: Callable[..., Any]) -> None:
    estimator = LinearRegression().fit(ROWS, VALUES)
    told = explained(estimator, "shap-linear")
    assert np.allclose(told["shap_values"].sum(axis=1) + told["base_values"], estimator.predict(FEW))
    assert told["feature_names"].tolist() == ["0", "1", "2"]


def test_a_pipeline_is_explained_by_the_features_of_its_last_step(explained: Callable[..., Any]) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(pd.DataFrame(ROWS, columns=list("abc")), LABELS)
    told = explained(estimator, "shap-linear")
    assert told["shap_values"].shape == (2, 3)
    assert told["feature_names"].tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("estimator", "shape"),
    [(RandomForestRegressor(5).fit(ROWS, VALUES), (2, 3)), (RandomForestClassifier(5).fit(ROWS, LABELS), (2, 3, 2))],
)
def test_shap_values_of_forests_add_up_to_their_answer(
    explained: Callable[..., Any], estimator: Any, shape: tuple[int, ...]
) -> None:
    told = explained(estimator, "shap-tree")
    assert told["shap_values"].shape == shape
    answer = estimator.predict_proba(FEW) if len(shape) == 3 else estimator.predict(FEW)
    assert np.allclose(told["shap_values"].sum(axis=1) + told["base_values"], answer)


def test_a_table_with_mixed_columns_is_explained_in_the_columns_that_it_becomes(explained: Callable[..., Any]) -> None:
    table = pd.DataFrame({"city": ["Bern", "Zug"] * 20, "rooms": [1.0, 2.0, 3.0, 4.0] * 10})
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("rest", "passthrough", ["rooms"])])
    estimator = make_pipeline(columns, RandomForestRegressor(5)).fit(table, table.rooms)
    told = explained(estimator, "shap-tree", table[:2].to_dict("records"))
    assert told["feature_names"].tolist() == ["city__city_Bern", "city__city_Zug", "rest__rooms"]


@pytest.mark.parametrize("method", ["shap-kernel", "lime"])
def test_any_model_of_numbers_is_explained_by_asking_it(explained: Callable[..., Any], method: str) -> None:
    told = explained(LogisticRegression().fit(ROWS, LABELS), method, samples=200)
    weights = told["shap_values"][..., 1] if method == "shap-kernel" else told["weights"]
    assert (np.abs(weights[:, 0]) > np.abs(weights[:, 1])).all()


@pytest.mark.parametrize("method", ["shap-kernel", "lime"])
def test_no_rows_are_the_callers_fault(serve: Serve, tmp_path: Path, method: Any) -> None:
    skops_io.dump(LinearRegression().fit(ROWS, VALUES), tmp_path / "m.skops")
    np.save(tmp_path / "usual.npy", ROWS)
    model = serve(tmp_path / "m.skops", explain=Explain(method=method, background=str(tmp_path / "usual.npy")))
    inputs = [{"name": "input", "datatype": "FP64", "shape": [0, 3], "data": []}]
    status, answer = model.caller.ask("POST", V2, {"inputs": inputs})
    assert (status, answer["error"]) == (400, "there are no rows to explain")


def test_kernel_values_add_up_to_the_probability(explained: Callable[..., Any]) -> None:
    estimator = LogisticRegression().fit(ROWS, LABELS)
    told = explained(estimator, "shap-kernel", samples=200)
    assert np.allclose(told["shap_values"].sum(axis=1) + told["base_values"], estimator.predict_proba(FEW), atol=1e-6)


@pytest.mark.parametrize(("objective", "labels", "shape"), [
    ("reg:squarederror", VALUES, [2, 3]), ("binary:logistic", LABELS, [2, 3]), ("multi:softprob", LABELS, [2, 3, 2]),
])  # fmt: skip
def test_boosters_are_explained_by_themselves_over_v2_in_json_and_in_the_units_of_their_margin(
    serve: Serve, tmp_path: Path, objective: str, labels: Any, shape: list[int]
) -> None:
    more = {"num_class": 2} if objective.startswith("multi") else {}
    booster = xgb.train({"objective": objective, **more}, xgb.DMatrix(ROWS, labels), 4)
    booster.save_model(tmp_path / "m.ubj")
    model = serve(tmp_path / "m.ubj", explain=Explain(method="shap-tree"))
    inputs = [{"name": "input", "datatype": "FP32", "shape": [2, 3], "data": FEW}]
    status, answer = model.caller.ask("POST", V2, {"inputs": inputs})
    assert status == 200
    told = {each["name"]: each for each in answer["outputs"]}
    assert told["shap_values"]["shape"] == shape
    values = np.reshape(told["shap_values"]["data"], shape).sum(axis=1)
    margin = booster.predict(xgb.DMatrix(ROWS[:2]), output_margin=True)
    assert np.allclose(values.ravel() + told["base_values"]["data"], margin.ravel(), atol=1e-5)


@pytest.mark.parametrize("method", ["shap-kernel", "lime"])
def test_the_same_row_is_explained_in_the_same_way_whenever_it_is_asked_for(serve: Serve, tmp_path: Path, method: Any) -> None:
    wide = np.random.default_rng(3).normal(size=(60, 14))
    skops_io.dump(LinearRegression().fit(wide, wide[:, 0] * wide[:, 1]), tmp_path / "m.skops")
    np.save(tmp_path / "usual.npy", wide)

    def asked(seed: int, *rows: int) -> Any:
        explain = Explain(method=method, background=str(tmp_path / "usual.npy"), samples=60, seed=seed)
        model = serve(tmp_path / "m.skops", explain=explain)
        answers = [model.caller.ask("POST", V1, {"instances": wide[[row]].tolist()})[1]["explanations"] for row in rows]
        both = model.caller.ask("POST", V1, {"instances": wide[list(rows)].tolist()})[1]["explanations"]
        name = "weights" if method == "lime" else "shap_values"
        return [each[name][0] for each in answers] + both[name]

    first = asked(0, 1, 2)
    assert first[:2] == first[2:]
    assert asked(0, 2, 1)[1] == first[0]
    assert asked(7, 1, 2)[0] != first[0]


def test_a_line_of_names_is_the_features_where_the_model_has_none_and_else_finds_its_columns(
    explained: Callable[..., Any], tmp_path: Path
) -> None:
    np.savetxt(tmp_path / "named.csv", ROWS, delimiter=",", header="a,b,c", comments="")
    np.savetxt(tmp_path / "other.csv", ROWS[:, [2, 0, 1]], delimiter=",", header="c,a,b", comments="")
    unnamed = explained(LinearRegression().fit(ROWS, VALUES), "shap-linear", background=str(tmp_path / "named.csv"))
    assert unnamed["feature_names"].tolist() == ["a", "b", "c"]
    steps = make_pipeline(StandardScaler(), LinearRegression()).fit(ROWS, VALUES)
    told = explained(steps, "shap-linear", background=str(tmp_path / "named.csv"))
    assert told["feature_names"].tolist() == ["a", "b", "c"]
    estimator = LinearRegression().fit(pd.DataFrame(ROWS, columns=list("abc")), VALUES)
    for method in ("shap-linear", "shap-kernel"):
        ordered = explained(estimator, method, background=str(tmp_path / "named.csv"))
        turned = explained(estimator, method, background=str(tmp_path / "other.csv"))
        assert np.allclose(turned["shap_values"], ordered["shap_values"])


def test_an_onnx_model_is_explained_by_asking_it(serve: Serve, tmp_path: Path) -> None:
    estimator = LogisticRegression().fit(ROWS.astype(np.float32), LABELS)
    graph = to_onnx(estimator, ROWS[:1].astype(np.float32), options={"zipmap": False})
    (tmp_path / "m.onnx").write_bytes(graph.SerializeToString())
    np.savetxt(tmp_path / "usual.csv", ROWS, delimiter=",", header="a,b,c", comments="")
    explain = Explain(method="shap-kernel", background=str(tmp_path / "usual.csv"), samples=100)
    status, answer = serve(tmp_path / "m.onnx", explain=explain).caller.ask("POST", V1, {"instances": FEW})
    assert status == 200
    assert np.shape(answer["explanations"]["shap_values"]) == (2, 3, 2)
    assert answer["explanations"]["feature_names"] == ["a", "b", "c"]


def test_nothing_is_explained_where_nothing_asks_for_it(serve: Serve, tmp_path: Path) -> None:
    skops_io.dump(LinearRegression().fit(ROWS, VALUES), tmp_path / "m.skops")
    assert serve(tmp_path / "m.skops").caller.ask("POST", V2, {"inputs": []})[0] in (400, 501)


@pytest.mark.parametrize(
    ("estimator", "settings", "reason"),
    [
        (LinearRegression(), {"method": "shap-kernel"}, "needs explain.background, a file of usual rows"),
        (LinearRegression(), {"method": "lime", "background": "gone.csv"}, "gone.csv: cannot be read as explain.background"),
        (RandomForestRegressor(2), {"method": "shap-linear", **USUAL}, "a RandomForestRegressor is not linear"),
        (LinearRegression(), {"method": "shap-tree"}, "a LinearRegression is not made of trees: use shap-linear"),
        (make_pipeline(StandardScaler(), LinearRegression()), {"method": "shap-tree"}, "a LinearRegression is not made of"),
        (VotingRegressor([("a", RandomForestRegressor(2)), ("b", RandomForestRegressor(2))]), {"method": "shap-tree"},
         "a VotingRegressor is not made of trees: use shap-linear"),
        (LinearRegression(), {"method": "captum"}, "explain.method captum explains models of the runtime torch"),
        (DecisionTreeClassifier(max_depth=2), {"method": "lime", **USUAL}, "lime would explain labels: add predict_proba to"),
        (LinearRegression(), {"method": "lime", "background": "narrow.npy"},
         "explain.background has 2 columns, and the model takes 3"),
        (LinearRegression(), {"method": "lime", **USUAL, "output": "label"}, "explain.output label is no output"),
    ],
)  # fmt: skip
def test_an_explainer_that_cannot_explain_the_model_is_refused_at_start(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, estimator: Any, settings: Any, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("usual.npy", ROWS)
    np.save("narrow.npy", ROWS[:, :2])
    labels = LABELS if isinstance(estimator, DecisionTreeClassifier) else VALUES
    skops_io.dump(estimator.fit(ROWS, labels), tmp_path / "m.skops")
    with pytest.raises(ModelLoadError, match=reason):
        serve(tmp_path / "m.skops", explain=Explain(**settings), trust=True, digest=digest(tmp_path / "m.skops"))


PREDICT = """
from kfunc import Handler, TensorSpec
class Sums(Handler):
    inputs = [TensorSpec("x", "{datatype}", [-1, 3])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    {how}def predict(self, inputs): return {{"y": inputs["x"].sum(axis=1)}}
"""


@pytest.mark.parametrize("method", ["shap-kernel", "lime"])
@pytest.mark.parametrize(
    ("datatype", "how", "reason"),
    [
        ("INT64", "", "needs a model with one input, a matrix of FP16, FP32"),
        ("FP64", "async ", "asks the model in a thread"),
    ],
)
def test_a_handler_that_cannot_be_asked_about_changed_rows_is_refused_at_start(
    serve: Serve, tmp_path: Path, method: Any, datatype: str, how: str, reason: str
) -> None:
    np.save(tmp_path / "usual.npy", ROWS)
    (tmp_path / "handler.py").write_text(PREDICT.format(datatype=datatype, how=how))
    with pytest.raises(ModelLoadError, match=reason):
        serve(tmp_path, "python", explain=Explain(method=method, background=str(tmp_path / "usual.npy")))


def test_a_background_that_is_a_pickle_is_not_opened(serve: Serve, tmp_path: Path) -> None:
    np.save(tmp_path / "usual.npy", np.array([{"a": 1}], object), allow_pickle=True)
    skops_io.dump(LinearRegression().fit(ROWS, VALUES), tmp_path / "m.skops")
    with pytest.raises(ModelLoadError, match=r"cannot be read as explain\.background: Object arrays cannot be loaded"):
        serve(tmp_path / "m.skops", explain=Explain(method="lime", background=str(tmp_path / "usual.npy")))


ASKED = """
from pathlib import Path
from kfunc import Handler, TensorSpec
class Sums(Handler):
    inputs = [TensorSpec("x", "FP64", [-1, 3])]
    outputs = [TensorSpec("y", "FP64", [-1])]
    def predict(self, inputs):
        Path(__file__).with_name("asked").touch()
        return {"y": inputs["x"].sum(axis=1)}
"""


@pytest.mark.parametrize("method", ["shap-kernel", "lime"])
@pytest.mark.parametrize(("lazy", "lazy_model", "asked"), [(False, False, True), (True, False, False), (False, True, False)])
def test_an_explainer_is_made_ready_with_the_model_unless_that_is_to_wait(
    serve: Serve, tmp_path: Path, method: Any, lazy: bool, lazy_model: bool, asked: bool
) -> None:
    np.save(tmp_path / "usual.npy", ROWS)
    (tmp_path / "handler.py").write_text(ASKED)
    explain = Explain(method=method, background=str(tmp_path / "usual.npy"), lazy=lazy, samples=50)
    model = serve(tmp_path, "python", explain=explain, lazy=lazy_model)
    assert (tmp_path / "asked").exists() == asked
    assert model.caller.ask("POST", V1, {"instances": FEW})[0] == 200


def test_a_model_that_fails_at_its_usual_rows_is_refused_at_start(serve: Serve, tmp_path: Path) -> None:
    np.save(tmp_path / "usual.npy", ROWS)
    (tmp_path / "handler.py").write_text(ASKED.replace('inputs["x"].sum(axis=1)', '{}["gone"]'))
    explain = Explain(method="shap-kernel", background=str(tmp_path / "usual.npy"))
    with pytest.raises(ModelLoadError, match=r"explain\.method shap-kernel cannot explain this model: 'gone'"):
        serve(tmp_path, "python", explain=explain)
