"""MLflow's request bodies → requests of V1."""

import json
from typing import Any

import pytest

from kfunc.errors import InvalidRequest
from kfunc.protocol.invocations import decode_request


def rows(body: Any) -> Any:
    (tensor,) = decode_request(json.dumps(body).encode()).inputs
    return tensor.data


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"dataframe_split": {"index": [0], "columns": ["a", "b"], "data": [[1, "x"]]}}, [{"a": 1, "b": "x"}]),
        ({"dataframe_split": {"columns": [0, 1], "data": [[1, 2]]}}, [[1, 2]]),
        ({"dataframe_split": {"data": [[1, 2]]}}, [[1, 2]]),
        ({"dataframe_records": [{"a": 1}, {"a": 2}]}, [{"a": 1}, {"a": 2}]),
        ({"instances": [[1.5, 2]]}, [[1.5, 2]]),
        ({"inputs": [[1, 2]], "params": {}}, [[1, 2]]),
    ],
)
def test_each_form_becomes_rows(body: Any, expected: Any) -> None:
    assert rows(body) == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([1], "the request is not a JSON object: "),
        ({}, "expected exactly one of dataframe_split, dataframe_records, instances and inputs"),
        ({"instances": [1], "dataframe_records": [1]}, "expected exactly one of"),
        ({"instances": [1], "params": {"k": 3}}, "params are not taken here: the model answers by its inputs alone"),
        ({"dataframe_records": []}, '"dataframe_records" must hold at least one row'),
        ({"dataframe_records": {"a": 1}}, '"dataframe_records" must hold at least one row'),
        ({"dataframe_split": [[1]]}, '"dataframe_split" must be an object with "data"'),
        ({"dataframe_split": {"columns": ["a"], "data": [1]}}, '"dataframe_split" must be an object with "data"'),
        ({"dataframe_split": {"columns": ["a"], "data": []}}, '"dataframe_split" must hold at least one row'),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [2, 3]]}}, "row 1 has 2 values, and there are 1 columns"),
    ],
)
def test_what_is_none_of_them_is_the_callers_fault(body: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        rows(body)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"instances": [1'])
def test_what_is_no_json_is_the_callers_fault(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the request is not a JSON object"):
        decode_request(body)
