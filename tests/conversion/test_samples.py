"""Rows from files, for models to be compared on."""

from pathlib import Path

import numpy as np
import pytest

from kfunc.conversion.samples import read_sample
from kfunc.errors import ModelLoadError, StartupError
from kfunc.handlers.explainers.attach import usual_rows
from kfunc.protocol.messages import TensorSpec

SPECS = [TensorSpec("a", "FP32", [-1, 3]), TensorSpec("b", "FP32", [-1, 3])]


def test_arrays_come_in_the_models_order_whatever_the_files_is(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", b=np.zeros((2, 3)), a=np.ones((2, 3)))
    assert list(read_sample(tmp_path / "s.npz", SPECS)) == ["a", "b"]
    assert list(read_sample(tmp_path / "s.npz", [])) == ["b", "a"]


@pytest.mark.parametrize("name", ["s.npz", "s.npy"])
def test_a_broken_file_is_refused_with_its_name(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", a=np.zeros((2, 3)))
    path = tmp_path / name
    path.write_bytes((tmp_path / "good.npz").read_bytes()[:300])
    with pytest.raises(StartupError, match=f"^{path}: cannot be read as a sample"):
        read_sample(path, [])


def test_a_background_that_is_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "rows.npy").open("wb") as file:
        np.savez(file, a=np.zeros((2, 3)))
    with pytest.raises(ModelLoadError, match=r"rows\.npy: cannot be read as explain\.background"):
        usual_rows(tmp_path / "rows.npy", 5, ())


def test_strings_of_an_array_are_bytes_as_those_of_a_request_are(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array(["wein", "käse"]))
    assert read_sample(tmp_path / "s.npy", [TensorSpec("input", "BYTES", [-1])])["input"].tolist() == [b"wein", "käse".encode()]


MIXED = [TensorSpec("age", "FP64", [-1]), TensorSpec("city", "BYTES", [-1]), TensorSpec("vip", "BOOL", [-1, 1])]


def test_a_csv_of_columns_has_an_array_for_each_input(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("target,city,age,vip\n0,paris,41,True\n1,ulm,False,false\n")
    sample = read_sample(tmp_path / "s.csv", MIXED)
    assert {name: array.tolist() for name, array in sample.items()} == {
        "age": [41.0, 0.0],
        "city": [b"paris", b"ulm"],
        "vip": [[True], [False]],
    }


def test_a_csv_of_texts_alone_needs_no_name(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text('good day\n"bad, bad"\n')
    assert read_sample(tmp_path / "s.csv", [TensorSpec("input", "BYTES", [-1])])["input"].tolist() == [b"good day", b"bad, bad"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age,vip\n1,true\n", r"must name each of the model's inputs, age, city, vip, once; that of city .*\.npz"),
        ("age,city,vip\nold,ulm,true\n", "row 0, column age: FP64 expected, found 'old'"),
        ("age,city,vip\n1,ulm,true\n1,ulm,2\n", "row 1, column vip: BOOL expected, found '2'"),
        ("age,city,vip\n1,ulm\n", "row 0, column vip: BOOL expected, found nothing"),
        ("", "must name each of the model's inputs"),
    ],
)
def test_a_csv_that_does_not_fit_is_refused_with_the_place(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(StartupError, match=message):
        read_sample(tmp_path / "s.csv", MIXED)


def test_one_array_for_several_inputs_is_refused_with_what_would_do(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.zeros((2, 3)))
    with pytest.raises(StartupError, match=r"inputs are a, b; the file has one array: give a \.npz"):
        read_sample(tmp_path / "s.npy", SPECS)
