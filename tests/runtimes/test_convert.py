"""`kfunc convert`: models that their libraries trained, as ONNX, compared with the originals."""

import json
import os
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
import onnx
import pandas as pd
import pytest
import xgboost as xgb
from click.testing import CliRunner, Result
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from skops import io as skops_io

from kfunc.cli.convert import convert
from kfunc.conversion import converters
from kfunc.errors import ModelLoadError, StartupError

ROWS = np.random.default_rng(7).normal(size=(200, 3))
VALUES = ROWS @ [3.0, 0.0, -1.0]
LABELS = (VALUES > 0).astype(int)
NET = MLPRegressor(hidden_layer_sizes=(64, 64), max_iter=20, random_state=1)


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(convert, [str(each) for each in arguments], catch_exceptions=False, standalone_mode=False)


def saved(folder: Path, model: Any) -> Path:
    if isinstance(model, xgb.Booster):
        path = folder / "m.ubj"
        model.save_model(path)
    elif isinstance(model, lgb.Booster):
        path = folder / "m.lgb"
        model.save_model(path)
    else:
        path = folder / "m.skops"
        skops_io.dump(model, path)
    return path


def booster(objective: str, labels: Any, **parameters: Any) -> Any:
    return xgb.train({"objective": objective, **parameters}, xgb.DMatrix(ROWS, labels, feature_names=["a", "b", "c"]), 4)


def stopped_early() -> Any:
    """A booster with more rounds than those that answer."""
    other = [(xgb.DMatrix(ROWS[::-1], LABELS), "other")]
    data = xgb.DMatrix(ROWS, LABELS)
    parameters = {"objective": "binary:logistic", "eta": 1.0}
    return xgb.train(parameters, data, 30, evals=other, early_stopping_rounds=3, verbose_eval=False)


def light(objective: str, labels: Any) -> Any:
    return lgb.train({"objective": objective, "verbose": -1, "min_data_in_leaf": 2}, lgb.Dataset(ROWS, labels), 4)


@pytest.mark.parametrize(
    ("model", "outputs"),
    [
        (LinearRegression().fit(ROWS, VALUES), ["predict"]),
        (make_pipeline(StandardScaler(), LogisticRegression()).fit(ROWS, LABELS), ["predict", "predict_proba"]),
        (LogisticRegression().fit(pd.DataFrame(ROWS, columns=["a", "b", "c"]), np.array(["no", "yes"])[LABELS]),
         ["predict", "predict_proba"]),
        (booster("binary:logistic", LABELS), ["predict", "predict_proba"]),
        (booster("multi:softprob", ROWS.argmax(axis=1), num_class=3), ["predict", "predict_proba"]),
        (booster("reg:squarederror", VALUES), ["predict"]),
        (stopped_early(), ["predict", "predict_proba"]),
        (light("binary", LABELS), ["predict", "predict_proba"]),
        (light("regression", VALUES), ["predict"]),
    ],
)  # fmt: skip
def test_the_converted_model_answers_as_the_original(tmp_path: Path, model: Any, outputs: list[str]) -> None:
    path = saved(tmp_path, model)
    np.save(tmp_path / "rows.npy", ROWS)
    result = run(path, "--sample", tmp_path / "rows.npy", "--output", "json")
    assert result.return_value == 0, result.output
    told = json.loads(result.stdout)
    assert [each["original"] for each in told["differences"]] == outputs
    assert all(each["largest"] < 1e-4 and each["rows"] == 200 for each in told["differences"])
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))


def test_each_step_is_told_as_it_happens(tmp_path: Path) -> None:
    result = run(saved(tmp_path, LinearRegression().fit(ROWS, VALUES)), "-o", tmp_path / "other.onnx")
    lines = result.stderr.splitlines()
    assert [line for line in lines if line.endswith("…")] == [
        f"[1/4] loading {tmp_path}/m.skops with sklearn …",
        "[2/4] converting to ONNX (opset 17) …",
        "[3/4] checking both on the same rows …",
        f"[4/4] writing {tmp_path}/other.onnx …",
    ]
    assert result.stdout.splitlines()[0].startswith("predict: largest difference ")
    assert result.stdout.splitlines()[-1].startswith(f"wrote {tmp_path}/other.onnx: ")


def test_what_libraries_print_is_shown_at_a_failure_or_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, LinearRegression().fit(ROWS, VALUES))
    convert_quietly = converters.CONVERTERS["sklearn"]

    def chatty(*given: Any) -> Any:
        os.write(2, b"W0000 a warning\n")
        return convert_quietly(*given)

    monkeypatch.setitem(converters.CONVERTERS, "sklearn", chatty)
    assert "warning" not in run(path).stderr + capfd.readouterr().err
    run(path, "--force", "-v")
    assert capfd.readouterr().err == "W0000 a warning\n"
    failed = run(path, "--force", "--tolerance", "0", "--sample", _wild(tmp_path))
    assert failed.return_value == 1
    assert "The libraries said:\nW0000 a warning\n" in failed.stderr


def _wild(folder: Path) -> Path:
    """Rows on which FP32 and FP64 differ."""
    np.save(folder / "wild.npy", ROWS * 1e7 / 3)
    return folder / "wild.npy"


def test_a_sample_s_line_of_names_finds_the_model_s_columns(tmp_path: Path) -> None:
    path = saved(tmp_path, LogisticRegression().fit(pd.DataFrame(ROWS, columns=["a", "b", "c"]), LABELS))
    (tmp_path / "rows.csv").write_text("label,c,b,a\nyes,1,2,3\n")
    assert run(path, "--sample", tmp_path / "rows.csv").return_value == 0


def test_a_table_with_mixed_columns_is_compared_on_rows_of_its_own(tmp_path: Path) -> None:
    table = pd.DataFrame({"city": ["Bern", "Zug"] * 20, "size": [1.0, 2.0, 3.0, 4.0] * 10})
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("rest", "passthrough", ["size"])])
    path = saved(tmp_path, make_pipeline(columns, LinearRegression()).fit(table, table["size"] * 2))
    with pytest.raises(StartupError, match=r"input city is BYTES: give rows with --sample: a \.csv"):
        run(path)
    np.savez(tmp_path / "rows.npz", city=table.city.to_numpy().astype(str), size=table["size"].to_numpy())
    assert run(path, "--sample", tmp_path / "rows.npz").return_value == 0


@pytest.mark.parametrize(("precision", "smaller"), [("fp16", 0.7), ("int8", 0.6)])
def test_weights_of_fewer_bits_are_checked_in_the_same_way(tmp_path: Path, precision: str, smaller: float) -> None:
    path = saved(tmp_path, NET.fit(ROWS, VALUES))
    assert run(path, "--trust").return_value == 0
    result = run(path, "--precision", precision, "--trust")
    assert result.return_value == 0, result.output
    whole, small = (tmp_path / "m.onnx").stat().st_size, (tmp_path / f"m.{precision}.onnx").stat().st_size
    assert small < smaller * whole
    again = run(tmp_path / "m.onnx", "--precision", precision, "-o", tmp_path / "again.onnx")
    assert again.return_value == 0, again.output


def test_a_model_that_differs_too_much_is_not_written(tmp_path: Path) -> None:
    path = saved(tmp_path, NET.fit(ROWS, VALUES))
    result = run(path, "--precision", "int8", "--tolerance", "1e-9", "--trust")
    assert result.return_value == 1
    assert f"error: the answers differ by more than 1e-09; {tmp_path}/m.int8.onnx is not written" in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["m.skops"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_what_has_no_weights_to_lower_is_refused(tmp_path: Path, precision: str) -> None:
    path = saved(tmp_path, booster("reg:squarederror", VALUES))
    with pytest.raises(StartupError, match="leave --precision out"):
        run(path, "--precision", precision)


def test_a_file_that_is_there_is_not_overwritten_unless_that_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, LinearRegression().fit(ROWS, VALUES))
    (tmp_path / "m.onnx").write_bytes(b"mine")
    with pytest.raises(StartupError, match=r"m\.onnx exists; --force overwrites it"):
        run(path)
    assert run(path, "--force").return_value == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("m.cbm", "CatBoost writes ONNX itself"),
        ("m.pmml", "there is no way from PMML to ONNX"),
        ("m.onnx", "the model is ONNX already; --precision"),
    ],
)
def test_a_model_that_is_not_converted_is_refused_with_the_way(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(StartupError, match=reason):
        run(tmp_path / name)


def test_a_folder_without_a_name_needs_one_for_the_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved_model.pb").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartupError, match=r"^\. has no name for the new file to have: name it with -o FILE"):
        run(".", "--runtime", "sklearn")


def test_a_target_whose_folder_is_not_there_is_refused_before_the_work(tmp_path: Path) -> None:
    path = saved(tmp_path, booster("reg:squarederror", VALUES))
    with pytest.raises(StartupError, match=r"gone: there is no such folder to write b\.onnx in"):
        run(path, "-o", tmp_path / "gone" / "b.onnx")


def test_a_sample_may_have_a_line_of_names_and_has_the_models_columns(tmp_path: Path) -> None:
    path, sample = saved(tmp_path, booster("reg:squarederror", VALUES)), tmp_path / "rows.csv"
    sample.write_text("a,b,c\n1,2,3\n4,5,6\n")
    assert run(path, "--sample", sample).return_value == 0
    sample.write_text("1,2\n")
    with pytest.raises(StartupError, match=r"rows\.csv: input is rows of 3 columns; the file's shape is \[1, 2\]"):
        run(path, "--sample", sample, "--force")


def test_a_pickle_is_refused_with_the_option_that_opens_it(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"a pickle can run any code; .* or convert it with --trust$"):
        run(tmp_path / "m.pkl")
