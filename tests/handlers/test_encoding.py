"""Answers as V1 and V2 JSON."""

import json
from typing import Any

import numpy as np
import pytest

from kfunc.errors import ModelFailed
from kfunc.handlers.encoding import encode_explanations, encode_v1, encode_v2
from kfunc.handlers.tensors import to_tensor
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor
from kfunc.protocol.v1 import V1Request


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
    assert json.loads(encode_v1(InferRequest([]), response(**outputs))[0]) == {"predictions": predictions}


def test_v1_has_no_form_for_outputs_with_different_numbers_of_rows() -> None:
    with pytest.raises(ModelFailed, match="do not have the same number of rows"):
        encode_v1(InferRequest([]), response(p=[1, 2], q=[1]))


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"y": [[0.5, 1], [2, 3]]}, [[0.5, 1], [2, 3]]),
        ({"y": 5}, 5),
        ({"p": [1, 2], "q": [["a"]], "r": True}, {"p": [1, 2], "q": [["a"]], "r": True}),
    ],
)
def test_a_request_in_columns_is_answered_in_columns(outputs: dict[str, Any], expected: Any) -> None:
    assert json.loads(encode_v1(V1Request([], columnar=True), response(**outputs))[0]) == {"outputs": expected}


@pytest.mark.parametrize("columnar", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("y", ["a", "é"], ["a", "é"]),
        ("y", [b"a", "é".encode()], ["a", "é"]),
        ("y", [b"a", b"\xff"], [{"b64": "YQ=="}, {"b64": "/w=="}]),
        ("y", [[b"\xff", "b"]], [[{"b64": "/w=="}, {"b64": "Yg=="}]]),
        ("image_bytes", ["a"], [{"b64": "YQ=="}]),
    ],
)
def test_bytes_that_are_not_text_are_base64(columnar: bool, name: str, values: Any, expected: Any) -> None:
    shape = list(np.array(values, object).shape)
    flat = [each for row in values for each in row] if len(shape) > 1 else values
    answer = encode_v1(V1Request([], columnar=columnar), InferResponse("m", [Tensor(name, shape, "BYTES", flat)]))
    assert json.loads(answer[0]) == {"outputs" if columnar else "predictions": expected}


def test_not_a_number_and_infinities_are_null() -> None:
    assert json.loads(encode_v1(V1Request([]), response(y=[1, np.nan, np.inf]))[0]) == {"predictions": [1, None, None]}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1])
def test_integers_are_exact(number: int) -> None:
    assert encode_v1(V1Request([]), response(y=[number]))[0] == b'{"predictions":[%d]}' % number


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ({"shap": [[0.5, 1]]}, [[0.5, 1]]),
        ({"shap": [[0.5, 1]], "base": 2, "names": ["a", "b"]}, {"shap": [[0.5, 1]], "base": 2, "names": ["a", "b"]}),
    ],
)
def test_explanations_are_whole_outputs_whatever_their_rows(outputs: dict[str, Any], expected: Any) -> None:
    assert json.loads(encode_explanations(V1Request([]), response(**outputs))[0]) == {"explanations": expected}


def test_v2_answers_flat_tensors() -> None:
    assert json.loads(encode_v2(InferRequest([]), response(y=[[1, 2], [3, 4]]))[0]) == {
        "model_name": "m",
        "model_version": "1",
        "id": "7",
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}],
    }


def test_fp32_is_written_as_short_as_it_is_exact() -> None:
    assert b'"data":[0.1]' in encode_v2(InferRequest([]), response(y=np.array([0.1], np.float32)))[0]
