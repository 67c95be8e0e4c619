"""Arrays for PyTorch, on a stand-in that refuses the steps backwards which PyTorch refuses."""

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.handlers.conftest import on_stand_ins

TYPES = (
    "bool",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
)


def from_numpy(array: Any) -> Any:
    if any(step < 0 for step in array.strides):
        raise ValueError("At least one stride in the given numpy array is negative")
    return array


def test_an_array_that_was_flipped_becomes_a_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    torch: Any = ModuleType("torch")
    for name in (*TYPES, "Tensor", "device", "dtype"):
        setattr(torch, name, name)
    torch.from_numpy = from_numpy
    to_tensor = on_stand_ins("torch_arrays.py", monkeypatch, torch=torch).to_tensor
    rows = np.arange(4)
    assert to_tensor(rows[::-1], SimpleNamespace(type="cpu")).tolist() == [3, 2, 1, 0]
    assert to_tensor(rows, SimpleNamespace(type="cpu")) is rows
