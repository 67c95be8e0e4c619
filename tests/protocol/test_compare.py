"""Where two answers differ, and where they only look different."""

import json
import struct
from typing import Any

import pytest

from kfunc.protocol.compare import Answered, compare


def answer(document: Any, status: int = 200) -> Answered:
    return Answered(status, json.dumps(document).encode())


def v2(data: Any, **more: Any) -> Answered:
    output = {"name": "y", "datatype": "FP32", "shape": [2, 2], "data": data}
    return answer({"model_name": "m", "outputs": [output | more]})


def binary(datatype: str, raw: bytes, **more: Any) -> Answered:
    output = {"name": "y", "datatype": datatype, "shape": [2], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"model_name": "m", "outputs": [output | more]}).encode()
    return Answered(200, head + raw, len(head))


def shown(recorded: Answered, answered: Answered, **more: Any) -> list[str]:
    return [str(each) for each in compare(recorded, answered, **more)]


SAME = {
    "equal numbers, written otherwise": (answer({"predictions": [1, 2.5]}), answer({"predictions": [1.0, 25e-1]})),
    "numbers within the tolerance": (answer({"predictions": [1e6]}), answer({"predictions": [1e6 + 5]})),
    "small numbers within the tolerance": (answer({"predictions": [0.0]}), answer({"predictions": [9e-6]})),
    "other names of call and revision": (
        answer({"model_name": "m", "model_version": "1", "id": "a", "outputs": []}),
        answer({"model_name": "n", "model_version": "2", "outputs": [], "parameters": {}}),
    ),
    "outputs in another order": (
        answer({"outputs": [{"name": "a", "data": [1]}, {"name": "b", "data": [2]}]}),
        answer({"outputs": [{"name": "b", "data": [2]}, {"name": "a", "data": [1]}]}),
    ),
    "nested and flat data": (v2([[1, 2], [3, 4]]), v2([1, 2, 3, 4])),
    "JSON and binary": (
        answer({"outputs": [{"name": "y", "datatype": "FP32", "shape": [2], "data": [0.5, 1.5]}]}),
        binary("FP32", struct.pack("<2f", 0.5, 1.5)),
    ),
    "NaN and null": (Answered(200, b'{"predictions":[NaN]}'), Answered(200, b'{"predictions":[null]}')),
    "the same bytes that are not JSON": (Answered(200, b"\xff\x00"), Answered(200, b"\xff\x00")),
}


@pytest.mark.parametrize(("recorded", "answered"), SAME.values(), ids=SAME)
def test_what_only_looks_different_is_no_difference(recorded: Answered, answered: Answered) -> None:
    assert shown(recorded, answered) == []


DIFFERENT = {
    "status": (answer({}, 200), answer({}, 503), ["status: 200 became 503"]),
    "a number": (
        answer({"predictions": [[1, 2]]}),
        answer({"predictions": [[1, 2.1]]}),
        ["predictions[0][1]: 2 became 2.1"],
    ),
    "an element of an output": (v2([1, 2, 3, 4]), v2([1, 2, 3, 5]), ["outputs.y.data[3]: 4 became 5"]),
    "a shape": (v2([1, 2, 3, 4]), v2([1, 2, 3, 4], shape=[4]), ["outputs.y.shape: 2 elements became 1 elements"]),
    "the count of rows": (
        answer({"predictions": [1, 2]}),
        answer({"predictions": [1]}),
        ["predictions: 2 elements became 1 elements"],
    ),
    "an output less": (
        answer({"outputs": [{"name": "a", "data": [1]}]}),
        answer({"outputs": []}),
        ['outputs.a: {"datatype":null,"shape":null,"data":[1]} became absent'],
    ),
    "a text": (answer({"predictions": ["cat"]}), answer({"predictions": ["dog"]}), ['predictions[0]: "cat" became "dog"']),
    "a number and a truth value": (answer([1]), answer([True]), ["[0]: 1 became true"]),
    "a number and a text": (answer(1), answer("1"), ['body: 1 became "1"']),
    "NaN and a number": (Answered(200, b"[NaN]"), Answered(200, b"[0]"), ["[0]: nan became 0"]),
    "an infinity": (Answered(200, b"[Infinity]"), Answered(200, b"[-Infinity]"), ["[0]: inf became -inf"]),
    "bytes that are not JSON": (Answered(200, b"\xff"), Answered(200, b"\xfe\x01"), []),
    "FP16": (
        binary("FP16", struct.pack("<2e", 1, 2)),
        binary("FP16", struct.pack("<2e", 1, 4)),
        ["outputs.y.data[1]: 2.0 became 4.0"],
    ),
    "BF16": (binary("BF16", b"\x80\x3f\x00\x40"), binary("BF16", b"\x80\x3f\x80\x40"), ["outputs.y.data[1]: 2.0 became 4.0"]),
    "BYTES": (
        binary("BYTES", b"\x01\0\0\0a\x01\0\0\0b"),
        binary("BYTES", b"\x01\0\0\0a\x02\0\0\0cd"),
        ['outputs.y.data[1]: "b" became "cd"'],
    ),
}


@pytest.mark.parametrize(("recorded", "answered", "expected"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_difference_is_told_by_its_place_and_both_values(recorded: Answered, answered: Answered, expected: list[str]) -> None:
    found = shown(recorded, answered)
    assert found
    assert found == (expected or found)


def test_the_tolerance_can_be_wider_or_none() -> None:
    recorded, answered = answer({"predictions": [1.0]}), answer({"predictions": [1.01]})
    assert shown(recorded, answered, tolerance=0.02) == []
    assert shown(answer([1.0]), answer([1.0000001]), tolerance=0.0) != []


def test_only_so_many_differences_are_told() -> None:
    assert len(compare(answer([0] * 100), answer([1] * 100), most=7)) == 7


def test_a_binary_output_that_does_not_fit_its_body_is_told_and_not_an_error() -> None:
    broken = binary("FP32", b"\0\0\0\0", parameters={"binary_data_size": 400})
    assert shown(broken, v2([1, 2, 3, 4])) == ["body: output 'y' has 400 bytes, and 4 follow became not compared"]


def test_a_long_value_is_shown_in_part() -> None:
    (found,) = compare(answer(["x" * 500]), answer(["y"]))
    assert len(found.recorded) == 80
