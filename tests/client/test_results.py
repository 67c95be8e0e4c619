"""What calls return."""

import numpy as np
import pytest

from kfunc.client import InferResult, InvalidAnswer, Prediction
from kfunc.client.results import read_server_timing
from kfunc.client.wire import Answer

ANSWER = Answer(200, {"x-request-id": "r1", "server-timing": "queue;dur=0.10, compute;dur=2.5"}, b"")


def test_an_inference_is_a_mapping_of_its_outputs() -> None:
    result = InferResult(ANSWER, {"a": np.array([1]), "b": np.array([2.5])}, "iris", "1", "7", {"x": 1})
    assert (list(result), len(result), result["b"][0], "a" in result) == (["a", "b"], 2, 2.5, True)
    assert (result.request_id, result.server_timing) == ("r1", {"queue": 0.1, "compute": 2.5})
    assert repr(result) == "<InferResult of iris 1: a: int64[1], b: float64[1]>"


@pytest.mark.parametrize(
    ("value", "timing"),
    [
        ("", {}),
        ("batch;dur=1.5", {"batch": 1.5}),
        ('db;desc="a";dur="3"', {"db": 3.0}),
        ("miss, a;dur=x, b;dur=1", {"b": 1.0}),
        (";dur=1", {}),
    ],
)
def test_server_timing_is_read_as_milliseconds(value: str, timing: dict[str, float]) -> None:
    assert read_server_timing(value) == timing


def test_plain_rows_are_one_output() -> None:
    assert Prediction(ANSWER, [[1, 2], [3, 4]]).outputs["predictions"].tolist() == [[1, 2], [3, 4]]


def test_rows_of_several_outputs_are_columns() -> None:
    outputs = Prediction(ANSWER, [{"label": 0, "p": [0.5, 0.5]}, {"label": 1, "p": [0.1, 0.9]}]).outputs
    assert {name: array.tolist() for name, array in outputs.items()} == {"label": [0, 1], "p": [[0.5, 0.5], [0.1, 0.9]]}


@pytest.mark.parametrize("rows", [[[1], [1, 2]], [{"a": 1}, {"b": 1}], [{"a": 1}, 2]])
def test_ragged_rows_are_no_arrays(rows: list[object]) -> None:
    with pytest.raises(InvalidAnswer):
        _ = Prediction(ANSWER, rows).outputs
