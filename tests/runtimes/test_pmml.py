"""PMML: documents that sklearn2pmml has made of what scikit-learn trained, and small ones of other versions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jpype
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import OneHotEncoder
from sklearn2pmml import sklearn2pmml  # type: ignore[import-not-found]
from sklearn2pmml.pipeline import PMMLPipeline  # type: ignore[import-not-found]

from kfunc.errors import ModelLoadError
from kfunc.handlers.registry import runtime_of
from tests.runtimes.served import Served

Serve = Callable[..., Served]

ROWS = pd.DataFrame(np.random.default_rng(7).normal(size=(60, 2)), columns=["height", "width"])
LABELS = pd.Series(np.where(ROWS.sum(axis=1) > 0, "big", "small"), name="size")
TABLE = pd.DataFrame({"city": ["Bern", "Zug", "Genf"] * 10, "rooms": [1.0, 2.0, 3.0] * 10})
PRICES = pd.Series([1.0, 5.0, 3.0] * 10, name="price")

SUM = """<?xml version="1.0"?>
<PMML xmlns="http://www.dmg.org/PMML-{flat}" version="{version}"><Header/>
<DataDictionary numberOfFields="2"><DataField name="x" optype="continuous" dataType="double"/>
<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<RegressionModel functionName="regression"><MiningSchema><MiningField name="x"/>
<MiningField name="y" usageType="{usage}"/></MiningSchema>
<RegressionTable intercept="1"><NumericPredictor name="x" coefficient="2"/></RegressionTable></RegressionModel></PMML>"""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pmml") / "m.pmml"
    sklearn2pmml(PMMLPipeline([("classifier", LogisticRegression())]).fit(ROWS, LABELS), str(path))
    return path


def document(version: str, usage: str = "target") -> str:
    return SUM.format(flat=version.replace(".", "_"), version=version, usage=usage)


def test_a_classifier_answers_with_label_and_probabilities(serve: Serve, classifier: Path) -> None:
    model = serve(classifier)
    assert model.metadata() == {
        "platform": "pmml",
        "inputs": {"input": ("FP64", [-1, 2])},
        "outputs": {"size": ("BYTES", [-1]), "probability(big)": ("FP64", [-1]), "probability(small)": ("FP64", [-1])},
    }
    trained = LogisticRegression().fit(ROWS, LABELS)
    few = ROWS[:3].to_numpy().tolist()
    answer = model.v2({"input": ("FP64", few)})
    assert answer["size"] == trained.predict(ROWS[:3]).tolist()
    assert np.allclose(answer["probability(big)"], trained.predict_proba(ROWS[:3])[:, 0])
    assert [row["size"] for row in model.v1(few)] == answer["size"]
    assert [row["size"] for row in model.v1(ROWS[:3].to_dict("records"))] == answer["size"]
    binary = model.binary({"input": ("FP64", few)})
    assert np.allclose(np.frombuffer(binary["probability(big)"], "<f8"), answer["probability(big)"])


def test_chosen_outputs_are_the_only_ones(serve: Serve, classifier: Path) -> None:
    assert serve(classifier, outputs=["size"]).v1(ROWS[:1].to_numpy().tolist())[0] in ("big", "small")
    with pytest.raises(ModelLoadError, match=r"has no output colour \(inference.model.outputs\); it has size, probability"):
        serve(classifier, outputs=["colour"])


def test_fields_that_are_no_fractions_are_inputs_of_their_own(serve: Serve, tmp_path: Path) -> None:
    columns = ColumnTransformer([("places", OneHotEncoder(), ["city"]), ("rest", "passthrough", ["rooms"])])
    pipeline = PMMLPipeline([("columns", columns), ("regression", LinearRegression())]).fit(TABLE, PRICES)
    sklearn2pmml(pipeline, str(tmp_path / "m.pmml"))
    model = serve(tmp_path / "m.pmml")
    assert model.metadata()["inputs"] == {"city": ("BYTES", [-1]), "rooms": ("FP64", [-1])}
    assert np.allclose(model.v1(TABLE[:3].to_dict("records")), PRICES[:3])
    assert model.v1([{"city": "Rom", "rooms": 1.0}])[0] == 400


@pytest.mark.parametrize("version", ["3.0", "3.2", "4.0", "4.4"])
def test_versions_three_and_four_are_read(serve: Serve, tmp_path: Path, version: str) -> None:
    usage = "predicted" if version < "4.2" else "target"
    (tmp_path / "m.xml").write_text(document(version, usage))
    assert runtime_of(tmp_path / "m.xml") == ("pmml", "the file begins as a model of pmml")
    assert serve(tmp_path / "m.xml").v1([[1.0], [2.5]]) == [3.0, 6.0]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "is no PMML"),
        ("<model/>", "is no PMML"),
        (document("4.4")[:-120], "JPMML cannot use it: "),
        (document("9.1"), r"is PMML 9\.1, newer than 4\.4"),
        (document("4.4").replace("<Header/>", "<Nonsense/>"), "JPMML cannot use it: "),
        (document("4.4").replace("RegressionModel", "SequenceModel"), "JPMML cannot use it: "),
        (document("4.4").replace("?>", '?><!DOCTYPE p [<!ENTITY e SYSTEM "file:///etc/passwd">]>', 1), "has a document type"),
    ],
)
def test_a_document_that_is_no_model_is_refused_with_the_reason(
    serve: Serve, tmp_path: Path, content: str, reason: str
) -> None:
    (tmp_path / "m.pmml").write_text(content)
    with pytest.raises(ModelLoadError, match=f"m.pmml: {reason}"):
        serve(tmp_path / "m.pmml", "pmml")


def test_a_missing_value_is_one_for_the_model_too(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "m.pmml").write_text(document("4.4"))
    answer: Any = serve(tmp_path / "m.pmml").binary({"input": ("FP64", [[float("nan")]])})
    assert np.isnan(np.frombuffer(answer["y"], "<f8")).all()


def test_a_virtual_machine_without_memory_is_not_the_callers_fault(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "m.pmml").write_text(document("4.4"))
    model = serve(tmp_path / "m.pmml")

    def full(*arguments: Any) -> Any:
        raise jpype.JClass("java.lang.OutOfMemoryError")("Java heap space")

    model.handler._evaluate_all = full  # type: ignore[attr-defined]
    assert model.v1([[1.0]])[0] == 500
