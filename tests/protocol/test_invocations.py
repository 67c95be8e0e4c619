"""MLflow's request bodies → requests of V1."""

import json
from typing import Any

import pytest

from kfunc.errors import InvalidRequest
from kfunc.protocol.invocations import decode_csv, decode_request
from kfunc.protocol.messages import TensorSpec


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


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a,b\n1,x\n2,y\n", [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]),
        (b"a,n\r\n1,01\r\n2.5,02", [{"a": 1.0, "n": "01"}, {"a": 2.5, "n": "02"}]),
        (b'a\n"one, ""two""\nthree"\n', [{"a": 'one, "two"\nthree'}]),
        (b"a,b\nTrue,\nfalse,1e3\n", [{"a": True, "b": None}, {"a": False, "b": 1000.0}]),
        (b"\xef\xbb\xbfa\n1\n\n2\n", [{"a": 1}, {"a": 2}]),
        (b"a,b\n1_000,nan\n2,1\n", [{"a": "1_000", "b": "nan"}, {"a": "2", "b": "1"}]),
    ],
)
def test_csv_becomes_rows_with_types(body: bytes, expected: Any) -> None:
    (tensor,) = decode_csv(body, [TensorSpec("n", "BYTES", [-1])]).inputs
    assert tensor.data == expected


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request has no line with the names of the columns"),
        (b"a,b\n", "expected a line with the names of the columns, and at least one row"),
        (b"a\n\xff\n", "the request is not CSV: it is not UTF-8"),
        (b'a\n"1', "the request is not CSV: "),
        (b",a\n0,1\n", "column 0 has no name; pandas' to_csv(index=False) leaves the index out"),
        (b"a,a\n0,1\n", "two columns have the same name"),
        (b"a,b\n0,1\n2\n", "row 1 has 1 values, and there are 2 columns"),
    ],
)
def test_csv_that_is_no_table_is_the_callers_fault(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_csv(body, [])
    assert caught.value.message.startswith(message)
