"""scikit-learn: estimators over matrices, tables with mixed columns, and texts."""

import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, StackingRegressor, VotingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from skops import io as skops_io

from kfunc.errors import ModelLoadError
from tests.runtimes.served import Served, digest

Serve = Callable[..., Served]

ROWS = np.random.default_rng(7).normal(size=(60, 3))
LABELS = (ROWS.sum(axis=1) > 0).astype(int)
NAMES = ["height", "width", "depth"]
FEW = ROWS[:2].tolist()
TABLE = pd.DataFrame(
    {
        "age": [20, 35, 50, 65] * 10,
        "city": ["Bern", "Genf", "Bern", "Zug"] * 10,
        "rooms": [1, 2, 3, 4] * 10,
        "note": ["quiet street", "loud", "quiet", "busy street"] * 10,
        "unused": ["x"] * 40,
    }
)
PRICES = np.where(TABLE.city == "Zug", 3.0, 1.0) * TABLE.rooms
HOUSES = make_pipeline(
    ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
            (
                "places",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["city"],
            ),
            ("sizes", OneHotEncoder(), ["rooms"]),
            ("words", TfidfVectorizer(), "note"),
        ]
    ),
    LinearRegression(),
).fit(TABLE, PRICES)


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    """The path of an estimator that is saved with skops."""

    def save(estimator: Any) -> Path:
        skops_io.dump(estimator, tmp_path / "m.skops")
        return tmp_path / "m.skops"

    return save


def test_labels_and_probabilities_are_what_the_estimator_says(serve: Serve, saved: Callable[[Any], Path]) -> None:
    estimator = LogisticRegression().fit(ROWS, np.array(["no", "yes"])[LABELS])
    model = serve(saved(estimator), outputs=["predict", "predict_proba"])
    assert model.metadata() == {
        "platform": "sklearn",
        "inputs": {"input": ("FP64", [-1, 3])},
        "outputs": {"predict": ("BYTES", [-1]), "predict_proba": ("FP64", [-1, 2])},
    }
    answer = model.v2({"input": ("FP64", FEW)})
    assert answer["predict"] == estimator.predict(FEW).tolist()
    assert np.allclose(answer["predict_proba"], estimator.predict_proba(FEW).ravel())
    assert model.v1(FEW)[0] == {"predict": answer["predict"][0], "predict_proba": answer["predict_proba"][:2]}
    binary = model.binary({"input": ("FP64", FEW)})
    assert np.allclose(np.frombuffer(binary["predict_proba"], "<f8"), answer["predict_proba"])


@pytest.mark.parametrize(
    ("estimator", "outputs", "specs"),
    [
        (SVC().fit(ROWS, LABELS), ["decision_function"], {"decision_function": ("FP64", [-1])}),
        (KMeans(2, n_init=1).fit(ROWS), [], {"predict": ("INT32", [-1])}),
        (KMeans(2, n_init=1).fit(ROWS), ["transform"], {"transform": ("FP64", [-1, 2])}),
        (LinearRegression().fit(ROWS, ROWS[:, :2]), [], {"predict": ("FP64", [-1, 2])}),
        (PCA(2).fit(ROWS), ["transform"], {"transform": ("FP64", [-1, 2])}),
        (RandomForestClassifier(3, n_jobs=-1).fit(ROWS, np.stack((LABELS, LABELS), axis=1)), ["predict", "predict_proba"],
         {"predict": ("INT64", [-1, 2]), "predict_proba": ("FP64", [-1, 2, 2])}),
    ],
)  # fmt: skip
def test_datatypes_and_shapes_are_those_of_the_methods(
    serve: Serve, saved: Callable[[Any], Path], estimator: Any, outputs: list[str], specs: Any
) -> None:
    path = saved(estimator)
    model = serve(path, outputs=outputs, trust=True, digest=digest(path))  # skops does not vouch for trees
    assert model.metadata()["outputs"] == specs
    assert model.v2({"input": ("FP32", FEW)}).keys() == specs.keys()


def test_an_estimator_that_only_transforms_answers_with_that(serve: Serve, saved: Callable[[Any], Path]) -> None:
    assert serve(saved(StandardScaler().fit(ROWS))).metadata()["outputs"] == {"transform": ("FP64", [-1, 3])}


# ---- columns


def test_a_model_fitted_with_names_takes_the_matrix_or_its_columns_in_any_order(serve: Serve, saved: Any) -> None:
    estimator = LinearRegression().fit(pd.DataFrame(ROWS, columns=NAMES), ROWS @ [1, 2, 3])
    model = serve(saved(estimator))
    expected = estimator.predict(pd.DataFrame(FEW, columns=NAMES)).tolist()
    columns = {name: [row[number] for row in FEW] for number, name in enumerate(NAMES)}
    backwards = dict(reversed(columns.items()))
    assert model.metadata()["inputs"] == {"input": ("FP64", [-1, 3])}
    asked = [
        model.v1(FEW),
        model.v1([dict(zip(reversed(NAMES), reversed(row), strict=True)) for row in FEW]),
        model.v1({"inputs": backwards}),
        model.v2({"input": ("FP64", FEW)})["predict"],
        model.v2({name: ("FP64", values) for name, values in backwards.items()})["predict"],
        model.v2({name: ("FP32", [[each] for each in values]) for name, values in columns.items()})["predict"],
        model.caller.infer(
            *(
                {"name": name, "datatype": "FP64", "shape": [2, 1], "data": [[each] for each in values]}
                for name, values in columns.items()
            )
        )[1]["outputs"][0]["data"],
        np.frombuffer(model.binary({name: ("FP64", values) for name, values in backwards.items()})["predict"], "<f8"),
    ]
    for answer in asked:
        assert np.allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"height": ("FP64", [1.0]), "width": ("FP64", [1.0])},
         "missing input depth; the model's inputs are height, width, depth"),
        ({"height": ("FP64", [1.0]), "width": ("FP64", [1.0]), "depth": ("FP64", [1.0, 2.0])},
         "the columns do not all have the same number of rows"),
        ({"colour": ("FP64", [1.0])}, "unknown input 'colour'; the model's inputs are input"),
    ],
)  # fmt: skip
def test_columns_that_are_not_the_models_are_the_callers_fault(serve: Serve, saved: Any, inputs: Any, message: str) -> None:
    model = serve(saved(LinearRegression().fit(pd.DataFrame(ROWS, columns=NAMES), LABELS)))
    assert model.v2(inputs) == (400, {"error": message})


def test_a_table_with_mixed_columns_has_an_input_for_each_that_is_used(serve: Serve, saved: Callable[[Any], Path]) -> None:
    model = serve(saved(HOUSES))
    assert model.metadata()["inputs"] == {
        "age": ("FP64", [-1]), "city": ("BYTES", [-1]), "rooms": ("INT64", [-1]), "note": ("BYTES", [-1]),
    }  # fmt: skip
    expected = HOUSES.predict(TABLE[:4])
    columns = {"age": "FP64", "city": "BYTES", "rooms": "INT64", "note": "BYTES"}
    inputs = {name: (datatype, TABLE[name][:4].tolist()) for name, datatype in columns.items()}
    rows = TABLE[:4][list(columns)].to_dict("records")
    assert np.allclose(model.v2(inputs)["predict"], expected)
    assert np.allclose(model.v1(rows), expected)
    assert np.allclose(np.frombuffer(model.binary(inputs)["predict"], "<f8"), expected)


MIXED = ColumnTransformer([("c", OneHotEncoder(), ["city"]), ("n", StandardScaler(), ["age"])])
PLACES = make_pipeline(MIXED, LinearRegression())
WORDS = make_pipeline(TfidfVectorizer(), LogisticRegression())
UNION = make_pipeline(FeatureUnion([("a", TfidfVectorizer()), ("b", TfidfVectorizer(analyzer="char"))]), LogisticRegression())
COLUMNS = {"age": ("FP64", [-1]), "city": ("BYTES", [-1])}


@pytest.mark.parametrize(
    ("estimator", "columns", "inputs"),
    [
        (GridSearchCV(PLACES, {"linearregression__fit_intercept": [True, False]}, cv=2), ["age", "city"], COLUMNS),
        (TransformedTargetRegressor(PLACES), ["age", "city"], COLUMNS),
        (VotingRegressor([("a", PLACES), ("b", PLACES)]), ["age", "city"], COLUMNS),
        (StackingRegressor([("a", PLACES)]), ["age", "city"], COLUMNS),
        (CalibratedClassifierCV(make_pipeline(MIXED, LogisticRegression()), cv=2), ["age", "city"], COLUMNS),
        (CalibratedClassifierCV(WORDS, cv=2), "note", {"input": ("BYTES", [-1])}),
        (OneVsRestClassifier(WORDS), "note", {"input": ("BYTES", [-1])}),
        (make_pipeline(OneHotEncoder(), LinearRegression()), ["city", "rooms"],
         {"city": ("BYTES", [-1]), "rooms": ("INT64", [-1])}),
        (make_pipeline(SimpleImputer(), LinearRegression()), ["age"], {"input": ("FP64", [-1, 1])}),
        (GridSearchCV(WORDS, {"logisticregression__C": [1, 2]}, cv=2), "note", {"input": ("BYTES", [-1])}),
        (UNION, "note", {"input": ("BYTES", [-1])}),
    ],
)  # fmt: skip
def test_the_step_that_sees_the_rows_is_found_within_what_wraps_it(
    serve: Serve, tmp_path: Path, estimator: Any, columns: Any, inputs: Any
) -> None:
    joblib.dump(estimator.fit(TABLE[columns], TABLE.rooms), tmp_path / "m.joblib")
    model = serve(tmp_path / "m.joblib", trust=True, digest=digest(tmp_path / "m.joblib"))
    rows = TABLE[columns][:4]
    assert model.metadata()["inputs"] == inputs
    asked = rows.to_dict("records") if isinstance(columns, list) else rows.tolist()
    assert np.allclose(model.v1(asked), estimator.predict(rows))


UNEVEN = {"age": ("FP64", [1.0, 2.0]), "city": ("BYTES", ["Bern"])}


@pytest.mark.parametrize("execution", ["auto", "process"])
def test_columns_of_a_table_have_one_number_of_rows(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execution: str
) -> None:
    monkeypatch.delenv("KFUNC_TEST_RUNTIME", raising=False)  # a worker process takes it for a setting
    joblib.dump(clone(PLACES).fit(TABLE, PRICES), tmp_path / "m.joblib")
    model = serve(tmp_path / "m.joblib", trust=True, digest=digest(tmp_path / "m.joblib"), execution=execution)
    assert model.v2(UNEVEN) == (400, {"error": "the columns do not all have the same number of rows"})
    model.model.close()


def test_no_rows_and_bytes_that_are_no_text_are_the_callers_fault(serve: Serve, saved: Callable[[Any], Path]) -> None:
    texts = serve(saved(clone(WORDS).fit(TABLE.note, TABLE.city == "Bern")))
    assert texts.v1([{"b64": "//8="}]) == (400, {"error": "input 'input': texts expected, BYTES in UTF-8"})
    numbers = serve(saved(LinearRegression().fit(ROWS, LABELS)))
    for model, empty in ((texts, ("BYTES", [0])), (numbers, ("FP64", [0, 3]))):
        tensor = {"name": "input", "datatype": empty[0], "shape": empty[1], "data": []}
        status, answer = model.caller.infer(tensor)
        assert (status, "0 sample(s)" in answer["error"]) == (400, True)


def test_a_category_that_training_has_not_seen_is_the_callers_fault(serve: Serve, saved: Callable[[Any], Path]) -> None:
    encoder = ColumnTransformer([("places", OneHotEncoder(), ["city"])], remainder="passthrough")
    table = TABLE[["age", "city"]]
    model = serve(saved(make_pipeline(encoder, LinearRegression()).fit(table, PRICES)))
    status, answer = model.v1([{"age": 20, "city": "Berlin"}])
    assert status == 400
    assert answer["error"].startswith(
        "city: the model does not take these values: Found unknown categories ['Berlin'] in column"
    )


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")  # numpy's, of these values
@pytest.mark.parametrize(("value", "expected"), [(1e300, 400), (-2.0, 500)])
def test_only_a_value_that_the_caller_gave_is_its_fault(
    serve: Serve, saved: Callable[[Any], Path], value: float, expected: int
) -> None:
    positive = np.abs(ROWS)
    roots = FunctionTransformer(np.sqrt)  # of -2 it makes NaN, which the next step refuses
    forest = RandomForestClassifier(3, random_state=1)
    step = forest if expected == 400 else make_pipeline(roots, StandardScaler(), SVC())
    path = saved(step.fit(positive, LABELS))
    status, _ = serve(path, trust=True, digest=digest(path)).v1([[value, 1.0, 1.0]])
    assert status == expected


def test_a_model_of_texts_takes_strings(serve: Serve, saved: Callable[[Any], Path]) -> None:
    estimator = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TABLE.note, TABLE.city == "Bern")
    model = serve(saved(estimator))
    assert model.metadata()["inputs"] == {"input": ("BYTES", [-1])}
    assert model.v1(["quiet street", "busy"]) == estimator.predict(["quiet street", "busy"]).tolist()


# ---- files that are refused

OPENED: list[str] = []


class Malicious:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return (OPENED.append, ("opened",))


@pytest.mark.parametrize("name", ["m.pkl", "m.pickle", "m.joblib"])
@pytest.mark.parametrize("changes", [{}, {"trust": True}, {"digest": "own"}, {"trust": True, "digest": f"sha256:{'0' * 64}"}])
def test_a_malicious_pickle_is_not_opened(serve: Serve, tmp_path: Path, name: str, changes: dict[str, Any]) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Malicious()))
    if changes.get("digest") == "own":
        changes = {"digest": digest(tmp_path / name)}
    with pytest.raises(ModelLoadError, match=f"{name}: (a pickle can run any code|the file's digest is)"):
        serve(tmp_path / name, "sklearn", **changes)
    assert OPENED == []


def test_a_pickle_under_another_name_is_not_opened(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(ModelLoadError, match=r"m\.bin: the runtime sklearn reads \.skops, \.joblib"):
        serve(tmp_path / "m.bin", "sklearn", trust=True, digest=digest(tmp_path / "m.bin"))
    assert OPENED == []


def test_a_trusted_pickle_answers(serve: Serve, tmp_path: Path) -> None:
    joblib.dump(HOUSES, tmp_path / "m.joblib")
    model = serve(tmp_path / "m.joblib", trust=True, digest=digest(tmp_path / "m.joblib"))
    assert np.allclose(model.v1(TABLE[:2].drop(columns="unused").to_dict("records")), HOUSES.predict(TABLE[:2]))


@pytest.mark.parametrize("save", [joblib.dump, skops_io.dump])
def test_a_model_of_a_newer_scikit_learn_is_refused_with_both_versions(
    serve: Serve, tmp_path: Path, save: Callable[[Any, Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ("m.skops" if save is skops_io.dump else "m.pkl")
    with monkeypatch.context() as newer:
        newer.setattr("sklearn.base.__version__", "9.8.7")
        save(LogisticRegression().fit(ROWS, LABELS), path)
    with pytest.raises(ModelLoadError, match=r"was saved by scikit-learn 9\.8\.7, newer than .*, which is installed"):
        serve(path, trust=True, digest=digest(path))


@pytest.mark.parametrize("cut", [0, 0.5, 0.99])
@pytest.mark.parametrize("name", ["m.skops", "m.joblib"])
def test_a_truncated_file_is_refused_with_the_librarys_reason(serve: Serve, tmp_path: Path, name: str, cut: float) -> None:
    path = tmp_path / name
    (skops_io.dump if name == "m.skops" else joblib.dump)(HOUSES, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(ModelLoadError, match=re.escape(f"{path}: ") + "(skops|joblib) cannot read it: "):
        serve(path, trust=True, digest=digest(path))


def test_a_skops_file_with_a_type_of_its_own_needs_trust(serve: Serve, saved: Callable[[Any], Path]) -> None:
    path = saved(make_pipeline(Doubling(), LinearRegression()).fit(ROWS, LABELS))
    with pytest.raises(ModelLoadError, match=r"holds types that skops does not know as safe: .*Doubling; if the file is yours"):
        serve(path)
    assert serve(path, trust=True, digest=digest(path)).v1(FEW)


class Doubling:
    """A transformer that skops has not heard of."""

    def fit(self, rows: Any, labels: Any) -> "Doubling":
        return self

    def transform(self, rows: Any) -> Any:
        return rows * 2


def test_an_object_that_predicts_nothing_is_refused(serve: Serve, tmp_path: Path) -> None:
    joblib.dump([1, 2], tmp_path / "m.pkl")
    with pytest.raises(ModelLoadError, match="a list has no predict method"):
        serve(tmp_path / "m.pkl", trust=True, digest=digest(tmp_path / "m.pkl"))


def test_the_metadata_say_that_it_computes_on_the_cpu_and_why(serve: Serve, saved: Callable[[Any], Path]) -> None:
    _, told = serve(saved(LinearRegression().fit(ROWS, LABELS))).caller.ask("GET", "/v2/models/iris")
    assert told["parameters"] == {"accelerator": "cpu", "accelerator_reason": "sklearn computes on the CPU"}
