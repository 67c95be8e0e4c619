"""Where two answers differ, and where they only look different."""

import json
import struct
from base64 import b64encode
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


def event(data: Any = None, **attributes: Any) -> dict[str, Any]:
    named = {"specversion": "1.0", "type": "io.kfunc.inference.response"}
    return {**named, **({"data": data} if data is not None else {}), **attributes}


FIRST = {"id": "1", "time": "2026-11-25T09:00:00Z", "source": "/a", "subject": "iris", "traceparent": "00-1"}
SECOND = {"id": "2", "time": "2026-11-25T09:00:01Z", "source": "/b", "subject": "next", "modelversion": "2"}
OUTPUT = {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.5]}


def test_of_an_event_what_it_brings_counts_and_not_who_wrote_it_and_when() -> None:
    old, new = event({"predictions": [1]}, **FIRST), event({"predictions": [1.0]}, **SECOND)
    assert shown(answer(old), answer(new)) == []
    assert shown(answer([old]), answer([new])) == []
    assert shown(answer(old), answer(event({"predictions": [2]}, **SECOND))) == ["data.predictions[0]: 1 became 2"]
    assert shown(answer(old), answer(old | {"type": "other"}))
    outputs = [event({"id": number, "outputs": [OUTPUT]}, **own) for number, own in (("1", FIRST), ("2", SECOND))]
    assert shown(answer(outputs[0]), answer(outputs[1])) == []


def test_binary_tensors_in_an_event_are_compared_as_values() -> None:
    def with_binary(value: float, **own: Any) -> Answered:
        head = json.dumps({"outputs": [OUTPUT | {"data": None, "parameters": {"binary_data_size": 4}}]}).encode()
        body = b64encode(head + struct.pack("<f", value)).decode()
        return answer(event(data_base64=body, inferenceheaderlen=len(head), **own))

    assert shown(with_binary(1.0, **FIRST), with_binary(1.0000001, **SECOND)) == []
    assert shown(with_binary(1.0, **FIRST), with_binary(2.0, **SECOND)) == ["data.outputs.y.data[0]: 1.0 became 2.0"]
    broken = event(data_base64="?", **FIRST), event(data_base64="!", **SECOND)
    assert shown(*map(answer, broken)) == ['data: "?" became "!"']
