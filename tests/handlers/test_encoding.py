"""Answers as V1 and V2 JSON."""

import json
from typing import Any

import numpy as np
import pytest

from kfunc.errors import ModelFailed
from kfunc.handlers.encoding import encode_v1, encode_v2
from kfunc.handlers.tensors import to_tensor
from kfunc.protocol.messages import InferResponse


def response(**outputs: Any) -> InferResponse:
    return InferResponse("m", [to_tensor(name, np.asarray(value)) for name, value in outputs.items()], "1", "7")


@pytest.mark.parametrize(
    ("outputs", "predictions"),
    [
        ({"y": [1, 2]}, [1, 2]),
        ({"y": [[0.5, 1], [2, 3]]}, [[0.5, 1], [2, 3]]),
        ({"y": 5}, 5),
        ({"y": "a"}, "a"),
        ({"y": ["a", "b"]}, ["a", "b"]),
        ({"y": [["a", "b"], ["c", "d"]]}, [["a", "b"], ["c", "d"]]),
        ({"y": [[["a"], ["b"]], [["c"], ["d"]]]}, [[["a"], ["b"]], [["c"], ["d"]]]),
        ({"y": np.empty((2, 0, 3), object)}, [[], []]),
        ({"y": np.empty((2, 3, 0), object)}, [[[], [], []], [[], [], []]]),
        ({"y": np.empty((0,))}, []),
        ({"p": [1, 2], "q": ["a", "b"]}, [{"p": 1, "q": "a"}, {"p": 2, "q": "b"}]),
        ({"p": [[1, 2], [3, 4]], "q": [True, False]}, [{"p": [1, 2], "q": True}, {"p": [3, 4], "q": False}]),
        ({"p": np.array([0.1], np.float32), "q": [1]}, [{"p": 0.1, "q": 1}]),
        ({"p": [1, 2], "q": 5}, [{"p": 1, "q": 5}, {"p": 2, "q": 5}]),
        ({"p": 1, "q": 2}, [{"p": 1, "q": 2}]),
        ({"p": np.empty((0,)), "q": np.empty((0, 2))}, []),
    ],
)
def test_v1_answers_rows(outputs: dict[str, Any], predictions: Any) -> None:
    assert json.loads(encode_v1(response(**outputs))) == {"predictions": predictions}


def test_v1_has_no_form_for_outputs_with_different_numbers_of_rows() -> None:
    with pytest.raises(ModelFailed, match="do not have the same number of rows"):
        encode_v1(response(p=[1, 2], q=[1]))


def test_v2_answers_flat_tensors() -> None:
    assert json.loads(encode_v2(response(y=[[1, 2], [3, 4]]))) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}],
    }


def test_fp32_is_written_as_short_as_it_is_exact() -> None:
    assert b'"data":[0.1]' in encode_v2(response(y=np.array([0.1], np.float32)))
