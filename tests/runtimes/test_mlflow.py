"""MLflow: models that its flavours have saved, with signatures and without, and `/invocations`."""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow.pyfunc
import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

from kfunc.errors import ModelLoadError
from kfunc.handlers.layout import detect
from kfunc.storage.digests import folder_digest
from kfunc.storage.progress import Progress
from tests.runtimes.served import Served

Serve = Callable[..., Served]

ROWS = pd.DataFrame(np.random.default_rng(7).normal(size=(60, 2)), columns=["height", "width"])
TRAINED = LinearRegression().fit(ROWS, ROWS @ [1, 2])
TABLE = pd.DataFrame({"city": ["Bern", "Zug"] * 10})
DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model with a signature of columns, and without a pickle."""
    signature = infer_signature(ROWS, TRAINED.predict(ROWS))
    mlflow.sklearn.save_model(TRAINED, tmp_path / "m", signature=signature, serialization_format="skops")
    return tmp_path / "m"


def test_a_folder_with_an_mlmodel_is_a_model(saved: Path) -> None:
    assert detect(saved) == ("mlflow", "the folder holds MLmodel")
    assert detect(saved.parent) == ("mlflow", "the folder holds MLmodel")


def test_columns_of_the_signature_are_inputs(serve: Serve, saved: Path) -> None:
    model = serve(saved, "mlflow")
    assert model.metadata() == {
        "platform": "mlflow",
        "inputs": {"height": ("FP64", [-1]), "width": ("FP64", [-1])},
        "outputs": {"predictions": ("FP64", [-1])},
    }
    expected = TRAINED.predict(ROWS[:3])
    columns = {name: ("FP64", ROWS[name][:3].tolist()) for name in ROWS}
    assert np.allclose(model.v2(columns)["predictions"], expected)
    assert np.allclose(model.v1(ROWS[:3].to_dict("records")), expected)
    assert np.allclose(np.frombuffer(model.binary(columns)["predictions"], "<f8"), expected)


def test_a_signature_of_tensors_takes_an_array(serve: Serve, tmp_path: Path) -> None:
    rows = ROWS.to_numpy()
    trained = LinearRegression().fit(rows, rows[:, 0])
    signature = infer_signature(rows, trained.predict(rows))
    mlflow.sklearn.save_model(trained, tmp_path / "m", signature=signature, serialization_format="skops")
    model = serve(tmp_path / "m", "mlflow")
    assert model.metadata()["inputs"] == {"input-0": ("FP64", [-1, 2])}
    assert np.allclose(model.v1(rows[:3].tolist()), trained.predict(rows[:3]))


def test_a_model_without_a_signature_takes_what_it_can(serve: Serve, tmp_path: Path) -> None:
    trained = LinearRegression().fit(ROWS.to_numpy(), ROWS.sum(axis=1))
    mlflow.sklearn.save_model(trained, tmp_path / "m", serialization_format="skops")
    assert np.allclose(serve(tmp_path / "m", "mlflow").v1([[1.0, 2.0]]), trained.predict([[1.0, 2.0]]))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["width", "height"], "data": [[2.0, 1.0], [4.0, 3.0]]}},
        {"dataframe_records": [{"height": 1.0, "width": 2.0}, {"height": 3.0, "width": 4.0}]},
        {"instances": [{"height": 1.0, "width": 2.0}, {"height": 3.0, "width": 4.0}]},
        {"inputs": {"height": [1.0, 3.0], "width": [2.0, 4.0]}},
    ],
)
def test_invocations_takes_each_form_of_mlflows(serve: Serve, saved: Path, body: Any) -> None:
    status, answer = serve(saved, "mlflow").caller.ask("POST", "/invocations", body)
    assert status == 200
    assert np.allclose(answer["predictions"], [5.0, 11.0])


def test_invocations_takes_csv_as_pandas_writes_it(serve: Serve, saved: Path) -> None:
    table = pd.DataFrame({"height": [1.0, 3.0], "width": [2, 4]}).to_csv(index=False).encode()
    status, answer = serve(saved, "mlflow").caller.ask("POST", "/invocations", table, content_type="text/csv; charset=utf-8")
    assert status == 200
    assert np.allclose(answer["predictions"], [5.0, 11.0])


def test_texts_come_to_the_model_as_strings(serve: Serve, tmp_path: Path) -> None:
    trained = make_pipeline(OneHotEncoder(), LinearRegression()).fit(TABLE, TABLE.city == "Bern")
    signature = infer_signature(TABLE, trained.predict(TABLE))
    mlflow.sklearn.save_model(trained, tmp_path / "m", signature=signature, serialization_format="cloudpickle")
    model = serve(tmp_path / "m", "mlflow", trust=True, digest=f"sha256:{folder_digest(tmp_path / 'm', Progress())}")
    assert np.allclose(model.v1([{"city": "Bern"}, {"city": "Zug"}]), [1, 0])


def test_columns_that_make_no_table_are_the_callers_fault(serve: Serve, saved: Path) -> None:
    model = serve(saved, "mlflow")
    uneven = model.v2({"height": ("FP64", [1.0, 2.0]), "width": ("FP64", [1.0])})
    assert uneven == (400, {"error": "the columns do not all have the same number of rows"})
    status, told = model.v2({"height": ("FP64", []), "width": ("FP64", [])})
    assert (status, "0 sample(s)" in told["error"]) == (400, True)


# ---- what is refused

OPENED: list[str] = []


class Malicious:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return (OPENED.append, ("opened",))


@pytest.mark.parametrize("name", ["model.pkl", "data/model.bin"])
@pytest.mark.parametrize("changes", [{}, {"trust": True}])
def test_a_malicious_pickle_is_not_opened(serve: Serve, saved: Path, name: str, changes: Any) -> None:
    (saved / name).parent.mkdir(exist_ok=True)
    (saved / name).write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ModelLoadError, match=f"{name}: is a pickle, which can run any code"):
        serve(saved, "mlflow", **changes)
    assert OPENED == []


def test_code_that_comes_with_a_model_needs_trust_too(serve: Serve, saved: Path) -> None:
    (saved / "lib").mkdir()
    (saved / "lib/extra.py").write_text("raise SystemExit")
    with pytest.raises(ModelLoadError, match=r"extra\.py: is code of the model: if the model is yours"):
        serve(saved, "mlflow")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("loader_module: mlflow.sklearn", "loader_module: this", "is loaded by this, and only mlflow.sklearn, "),
        ("loader_module: mlflow.sklearn", "loader_module: mlflow.pyfunc.model", "is loaded by mlflow.pyfunc.model"),
        ("loader_module:", "code: lib\n    loader_module:", r"names code of the model \(code: lib\)"),
        ("loader_module:", "model_code_path: a\n    loader_module:", r"names code of the model \(model_code_path: a\)"),
        ("serialization_format: skops", "serialization_format: pickle", "says that the model is a pickle"),
        ("model_path: model.skops", "data: sub/model.bin", "sub/model.bin, which its MLmodel names, is no file beside it"),
        ("model_path: model.skops", "data: sub", "sub, which its MLmodel names, is no file beside it"),
    ],
)  # fmt: skip
def test_an_mlmodel_that_could_run_code_needs_trust(serve: Serve, saved: Path, old: str, new: str, reason: str) -> None:
    """Whatever it names: MLflow imports it, unpickles it, or makes an object of it."""
    text = (saved / "MLmodel").read_text()
    assert old in text
    (saved / "sub").mkdir()
    (saved / "sub/model.bin").write_bytes(pickle.dumps(Malicious(), protocol=0))  # not known by its first bytes
    (saved / "MLmodel").write_text(text.replace(old, new))
    with pytest.raises(ModelLoadError, match=reason):
        serve(saved, "mlflow")
    assert OPENED == []


@pytest.mark.parametrize(
    ("loader", "flavour", "reason"),
    [
        ("lightgbm", {"model_class": "lightgbm.sklearn.LGBMClassifier"}, "says that the model is a pickle"),
        ("xgboost", {"model_class": "os.abort"}, "makes an object of os.abort"),
        ("onnx", {"onnx_session_options": {"extra_session_config": {"a": "b"}}}, "options for onnxruntime, which may name"),
        ("onnx", {"providers": [["CPUExecutionProvider", {"path": "x.so"}]]}, "options for onnxruntime, which may name"),
    ],
)
def test_a_flavour_that_could_run_code_needs_trust(
    serve: Serve, tmp_path: Path, loader: str, flavour: dict[str, Any], reason: str
) -> None:
    flavours = {"python_function": {"loader_module": f"mlflow.{loader}"}, loader: flavour}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": flavours}))
    with pytest.raises(ModelLoadError, match=reason):
        serve(tmp_path, "mlflow")


@pytest.mark.parametrize(("pyfunc", "flavour"), [("model.x", "model.x"), ("good.x", "model.x"), ("model.x", "good.x")])
@pytest.mark.parametrize(("library", "look"), [("xgboost", "content_of"), ("lightgbm", "text_of")])
def test_trees_are_looked_at_as_in_a_file_of_their_own(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, look: str, pyfunc: str, flavour: str
) -> None:
    """Damaged ones end the process within the library, which is not in this environment: its handler is a stand-in."""

    def refuse(path: Path, **_: bool) -> None:
        if path.name == "model.x":
            raise ModelLoadError(f"{path}: tree 0 is no tree")

    monkeypatch.setitem(sys.modules, f"kfunc.handlers.{library}", SimpleNamespace(**{look: refuse}))
    flavours = {"python_function": {"loader_module": f"mlflow.{library}", "data": pyfunc}, library: {"data": flavour}}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": flavours}))
    (tmp_path / "model.x").write_bytes(b"x")
    (tmp_path / "good.x").write_bytes(b"x")
    with pytest.raises(ModelLoadError, match=r"model\.x: tree 0 is no tree"):
        serve(tmp_path, "mlflow")


@pytest.mark.parametrize(("of", "as_told"), [("sklearn.XGBClassifier", True), ("core.Booster", False)])
def test_a_best_round_past_the_last_one_is_refused_where_the_class_goes_there(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, as_told: bool
) -> None:
    def refuse(path: Path, *, best_as_told: bool) -> None:
        raise ModelLoadError(f"{path}: as told: {best_as_told}")

    monkeypatch.setitem(sys.modules, "kfunc.handlers.xgboost", SimpleNamespace(content_of=refuse))
    flavour = {"data": "model.x", "model_class": f"xgboost.{of}"}
    flavours = {"python_function": {"loader_module": "mlflow.xgboost", "data": "model.x"}, "xgboost": flavour}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": flavours}))
    (tmp_path / "model.x").write_bytes(b"x")
    with pytest.raises(ModelLoadError, match=f"as told: {as_told}"):
        serve(tmp_path, "mlflow")


def test_a_loader_that_is_told_no_file_is_refused(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kfunc.handlers.xgboost", SimpleNamespace(content_of=lambda path, **_: b""))
    flavours = {"python_function": {"loader_module": "mlflow.xgboost", "data": "model.x"}, "xgboost": {}}
    (tmp_path / "MLmodel").write_text(json.dumps({"flavors": flavours}))
    (tmp_path / "model.x").write_bytes(b"x")
    with pytest.raises(ModelLoadError, match=r"its MLmodel names no file \(data\) of the flavour xgboost"):
        serve(tmp_path, "mlflow")


CATBOOST = "import os\nclass CatBoost:\n    def load_model(self, *_, **__): os.abort()\nclass CatBoostError(Exception): ..."


def catboost_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, save_format: str) -> Path:
    """Of a library that is not in this environment: its handler is a stand-in here, and the library one in a child."""
    monkeypatch.setitem(sys.modules, "kfunc.handlers.catboost", SimpleNamespace(kind_of=lambda path: "cbm"))
    flavours = {
        "python_function": {"loader_module": "mlflow.catboost", "data": "m.cb"},
        "catboost": {"save_format": save_format},
    }
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavours}))
    (folder / "m.cb").write_bytes(b"CBM1\0\0\0\0")
    return folder


def test_a_model_of_catboost_is_opened_by_a_child_first(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library/catboost.py").write_text(CATBOOST)
    (tmp_path / "m").mkdir()
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'library'}:{Path(__file__).parents[2]}")
    with pytest.raises(ModelLoadError, match=r"m\.cb: catboost ended its process \(SIGABRT\) at this file"):
        serve(catboost_folder(tmp_path / "m", monkeypatch, "cbm"), "mlflow")


def test_the_format_that_mlmodel_says_is_the_files(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelLoadError, match=r"MLmodel: says another format of m\.cb than the file has"):
        serve(catboost_folder(tmp_path, monkeypatch, "coreml"), "mlflow")


def test_types_that_mlmodel_trusts_are_not_trusted(serve: Serve, tmp_path: Path) -> None:
    trained = make_pipeline(FunctionTransformer(undone), LinearRegression()).fit(ROWS, ROWS.height)
    trusted = ["tests.runtimes.test_mlflow.undone"]
    mlflow.sklearn.save_model(trained, tmp_path / "m", serialization_format="skops", skops_trusted_types=trusted)
    OPENED.clear()
    with pytest.raises(ModelLoadError, match="has types that skops does not know as safe"):
        serve(tmp_path / "m", "mlflow")


def undone(rows: Any) -> Any:
    """A function that a model brings along."""
    OPENED.append("called")
    return rows


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("mlflow_version: ", "mlflow_version: 99.", "was saved by mlflow-skinny 99"),
        ("model_path: model.skops", "model_path: gone.skops", "mlflow cannot load it: gone.skops, which its MLmodel names"),
        ("flavors:", "flavours:", "mlflow cannot load it: its MLmodel tells no flavour python_function"),
        ("flavors:", "flavors: [", "mlflow cannot load it: "),
    ],
)
def test_a_folder_that_is_broken_is_refused_with_the_reason(serve: Serve, saved: Path, old: str, new: str, reason: str) -> None:
    text = (saved / "MLmodel").read_text()
    assert old in text
    (saved / "MLmodel").write_text(text.replace(old, new))
    with pytest.raises(ModelLoadError, match=reason):
        serve(saved, "mlflow")


def test_the_package_that_a_flavour_needs_is_named(serve: Serve, saved: Path) -> None:
    text = (saved / "MLmodel").read_text()
    (saved / "MLmodel").write_text(text.replace("loader_module: mlflow.sklearn", "loader_module: mlflow.nothing"))
    trusted = f"sha256:{folder_digest(saved, Progress())}"
    with pytest.raises(ModelLoadError, match=r"its flavour needs the package mlflow\.nothing"):
        serve(saved, "mlflow", trust=True, digest=trusted)
