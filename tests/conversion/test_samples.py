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
