"""The examples compute what their READMEs say, and their func.yaml files are valid."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skops.io
from sklearn.datasets import load_iris, load_wine

from kfunc.config.load import load_function

ROOT = Path(__file__).parents[2]
FUNCTIONS = [ROOT / "func.yaml", *sorted((ROOT / "examples").glob("*/func.yaml"))]


@pytest.fixture(scope="module")
def outlier() -> Any:
    path = ROOT / "examples/python-handler/handler.py"
    detector = runpy.run_path(str(path))["OutlierDetector"]()
    detector.load(path.parent)
    return detector


@pytest.mark.parametrize("path", FUNCTIONS, ids=lambda path: path.parent.name)
def test_every_func_yaml_is_valid_and_names_a_model_that_exists(path: Path) -> None:
    function = load_function(path)
    assert (path.parent / function.inference.model.uri).is_file()


def test_the_iris_model_knows_96_of_100_flowers() -> None:
    rows, species = load_iris(return_X_y=True)
    session = onnxruntime.InferenceSession(ROOT / "examples/iris/model.onnx", providers=["CPUExecutionProvider"])
    labels, _ = session.run(["label", "probabilities"], {"input": rows.astype(np.float32)})
    assert (labels == species).mean() >= 0.96


def test_the_iris_script_exports_the_model_that_is_committed() -> None:
    script = runpy.run_path(str(ROOT / "examples/iris/train.py"))
    rows, species = load_iris(return_X_y=True)
    classifier = script["make_pipeline"](script["StandardScaler"](), script["LogisticRegression"]()).fit(rows, species)
    committed = (ROOT / "examples/iris/model.onnx").read_bytes()
    assert script["largest_difference"](committed, classifier, rows.astype(np.float32)) < 1e-5


def test_the_wine_model_knows_every_wine() -> None:
    rows, cultivar = load_wine(return_X_y=True)
    assert np.array_equal(skops.io.load(ROOT / "examples/wine-sklearn/model.skops").predict(rows), cultivar)


@pytest.mark.parametrize(
    ("measurements", "outlier_expected"),
    [([5.1, 3.5, 1.4, 0.2], False), ([6.0, 2.9, 4.5, 1.5], False), ([5.1, 3.5, 6.0, 0.2], True), ([50, 35, 14, 2], True)],
)
def test_the_outlier_handler_tells_a_flower_from_a_typing_error(
    outlier: Any, measurements: list[float], outlier_expected: bool
) -> None:
    answer = outlier.predict({"measurements": np.array([measurements])})
    assert answer["outlier"].tolist() == [outlier_expected]


@pytest.mark.parametrize(
    ("origin", "destination", "kilometres"),
    [
        ([48.8566, 2.3522], [51.5074, -0.1278], 343.6),  # Paris, London
        ([0, 0], [0, 180], 20_015.1),  # half of the equator
        ([90, 0], [90, 120], 0),  # the pole has no longitude
    ],
)
def test_the_distance_function_measures_great_circles(origin: list[float], destination: list[float], kilometres: float) -> None:
    predict = runpy.run_path(str(ROOT / "examples/python-function/distance.py"))["predict"]
    assert predict(np.array([origin]), np.array([destination])) == pytest.approx([kilometres], abs=0.1)
