"""CatBoost: models that it has trained and saved itself, with categories and without."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pytest

from kfunc.errors import ModelLoadError
from kfunc.handlers import trial
from kfunc.handlers.registry import runtime_of
from tests.runtimes.served import Served, digest

Serve = Callable[..., Served]

ROWS = np.random.default_rng(7).normal(size=(60, 3)).astype(np.float32)
TWO = (ROWS.sum(axis=1) > 0).astype(int)
FEW = ROWS[:3]
SMALL: dict[str, Any] = {"iterations": 5, "depth": 2, "verbose": False, "allow_writing_files": False}
TABLE = [["Bern", 1.0, 2.0], ["Zug", 2.0, 3.0], ["Bern", 3.0, 4.0], ["Genf", 1.0, 5.0]] * 10
WORDS = ["no", "yes", "no", "maybe"] * 10
CLASSES = catboost.CatBoostClassifier(**SMALL).fit(ROWS, TWO)


@pytest.mark.parametrize(("name", "kind"), [("m.cbm", "cbm"), ("m.json", "json")])
def test_two_classes_answer_with_the_label_and_with_probabilities(serve: Serve, tmp_path: Path, name: str, kind: str) -> None:
    CLASSES.save_model(tmp_path / name, format=kind)
    model = serve(tmp_path / name, outputs=["predict", "predict_proba"])
    assert model.metadata() == {
        "platform": "catboost",
        "inputs": {"input": ("FP32", [-1, 3])},
        "outputs": {"predict": ("INT64", [-1]), "predict_proba": ("FP64", [-1, 2])},
    }
    answer = model.v2({"input": ("FP32", FEW.tolist())})
    assert answer["predict"] == CLASSES.predict(FEW).tolist()
    assert np.allclose(answer["predict_proba"], CLASSES.predict_proba(FEW).ravel())
    assert [row["predict"] for row in model.v1(FEW.tolist())] == answer["predict"]
    binary = model.binary({"input": ("FP32", FEW)})
    assert np.allclose(np.frombuffer(binary["predict_proba"], "<f8"), answer["predict_proba"])


def test_categories_are_columns_of_strings(serve: Serve, tmp_path: Path) -> None:
    trained = catboost.CatBoostClassifier(cat_features=[0], **SMALL).fit(TABLE, WORDS)
    trained.save_model(tmp_path / "m.cbm")
    model = serve(tmp_path / "m.cbm")
    assert model.metadata()["inputs"] == {"0": ("BYTES", [-1]), "1": ("FP32", [-1]), "2": ("FP32", [-1])}
    assert model.metadata()["outputs"] == {"predict": ("BYTES", [-1])}
    rows = [dict(zip("012", row, strict=True)) for row in TABLE[:4]]
    assert model.v1(rows) == trained.predict(TABLE[:4]).ravel().tolist()


def test_several_labels_for_each_row_stay_apart(serve: Serve, tmp_path: Path) -> None:
    trained = catboost.CatBoostClassifier(loss_function="MultiLogloss", **SMALL).fit(ROWS, (ROWS > 0).astype(int))
    trained.save_model(tmp_path / "m.cbm")
    model = serve(tmp_path / "m.cbm", outputs=["predict", "predict_proba"])
    assert model.metadata()["outputs"] == {"predict": ("INT64", [-1, 3]), "predict_proba": ("FP64", [-1, 3])}
    assert [row["predict"] for row in model.v1(FEW[:2].tolist())] == trained.predict(FEW[:2]).tolist()


def test_columns_that_make_no_table_are_the_callers_fault(serve: Serve, tmp_path: Path) -> None:
    catboost.CatBoostClassifier(cat_features=[0], **SMALL).fit(TABLE, WORDS).save_model(tmp_path / "m.cbm")
    model = serve(tmp_path / "m.cbm")
    uneven = {"0": ("BYTES", ["Bern", "Zug"]), "1": ("FP32", [1.0]), "2": ("FP32", [1.0, 2.0])}
    assert model.v2(uneven) == (400, {"error": "the columns do not all have the same number of rows"})
    assert model.v1([{"0": {"b64": "//8="}, "1": 1.0, "2": 1.0}]) == (
        400,
        {"error": "input '0': texts expected, BYTES in UTF-8"},
    )


@pytest.mark.parametrize(("loss", "labels", "shape"), [("RMSE", ROWS[:, 0], [-1]), ("MultiRMSE", ROWS[:, :2], [-1, 2])])
def test_a_regression_answers_with_its_values(serve: Serve, tmp_path: Path, loss: str, labels: Any, shape: Any) -> None:
    trained = catboost.CatBoostRegressor(loss_function=loss, **SMALL).fit(ROWS, labels)
    trained.save_model(tmp_path / "m.cbm")
    model = serve(tmp_path / "m.cbm")
    assert model.metadata()["outputs"] == {"predict": ("FP64", shape)}
    assert np.allclose(model.v1(FEW.tolist()), trained.predict(FEW))


def test_a_model_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    CLASSES.save_model(tmp_path / "m.json", format="json")
    CLASSES.save_model(tmp_path / "model")
    assert [runtime_of(tmp_path / name)[0] for name in ("m.json", "model", "m.cbm")] == ["catboost"] * 3


def newer(path: Path) -> bytes:
    CLASSES.save_model(path, format="json")
    return path.read_bytes().replace(catboost.__version__.encode(), b"99.1.2")


def cbm(path: Path) -> bytes:
    CLASSES.save_model(path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda path: b"", "is no CatBoost model: those begin with CBM1, or are JSON"),
        (lambda path: cbm(path)[:200], "is truncated: it tells a length that the file does not have"),
        (lambda path: b"CBM1" + b"\xff" * 50, "is truncated"),
        (lambda path: cbm(path)[:8] + b"\0" * (len(cbm(path)) - 8), "catboost cannot read it: "),
        (lambda path: b"\x80\x04cos\nsystem\n", "is no CatBoost model"),
        (lambda path: b'{"features_info":', "is not JSON"),
        (lambda path: json.dumps({"learner": 1}).encode(), "is no CatBoost model: its JSON has no features_info"),
        (newer, r"was saved by catboost 99\.1\.2, newer than"),
    ],
)
def test_a_file_that_is_no_model_for_this_catboost_is_refused_with_the_reason(
    serve: Serve, tmp_path: Path, content: Callable[[Path], bytes], reason: str
) -> None:
    (tmp_path / "m.cbm").write_bytes(content(tmp_path / "other"))
    with pytest.raises(ModelLoadError, match=f"m.cbm: {reason}"):
        serve(tmp_path / "m.cbm")


ENDING = """\
import os, sys
import catboost
path, *changes = sys.argv[1:]
whole = open(path, "rb").read()
for change in changes:
    at, bits = map(int, change.split(":"))
    changed = bytearray(whole)
    changed[at] ^= bits
    open(f"{path}.changed", "wb").write(changed)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open("/dev/null", os.O_WRONLY), 2)
        try:
            catboost.CatBoost().load_model(f"{path}.changed")
        finally:
            os._exit(0)
    if os.WIFSIGNALED(os.waitpid(pid, 0)[1]):
        print(change)
"""


def ending(path: Path, count: int) -> list[str]:
    """Changes of one byte of a model, `AT:BITS`, at which CatBoost itself ends its process."""
    chosen = random.Random(7)
    size = path.stat().st_size
    changes = [f"{chosen.randrange(size // 2, size)}:{chosen.randrange(1, 256)}" for _ in range(count)]
    found = subprocess.run([sys.executable, "-c", ENDING, path, *changes], capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_damaged_bytes_that_end_catboost_leave_the_process_alive(serve: Serve, tmp_path: Path) -> None:
    catboost.CatBoostClassifier(cat_features=[0], **SMALL).fit(TABLE, WORDS).save_model(tmp_path / "whole.cbm")
    whole = (tmp_path / "whole.cbm").read_bytes()
    changes = ending(tmp_path / "whole.cbm", 300)
    assert changes, "none of 300 changed bytes ends this CatBoost: it may need no child any more"
    for number, change in enumerate(changes[:3]):
        at, bits = map(int, change.split(":"))
        damaged = bytearray(whole)
        damaged[at] ^= bits
        (tmp_path / f"{number}.cbm").write_bytes(damaged)
        with pytest.raises(
            ModelLoadError, match=rf"{number}\.cbm: catboost ended its process \(SIG\w+\) at this file: it is damaged"
        ):
            serve(tmp_path / f"{number}.cbm")


def test_a_file_that_somebody_vouches_for_is_opened_at_once(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CLASSES.save_model(tmp_path / "m.cbm")
    monkeypatch.setattr(trial, "_opened", {})
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/nowhere")
        with pytest.raises(ModelLoadError, match=r"m\.cbm: no process can be started that tries it"):
            serve(tmp_path / "m.cbm")
        assert serve(tmp_path / "m.cbm", trust=True, digest=digest(tmp_path / "m.cbm")).v1(FEW.tolist())
    assert serve(tmp_path / "m.cbm").v1(FEW.tolist())
