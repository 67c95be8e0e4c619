"""Merging requests and splitting answers: tables of bodies."""

import json
import time
from typing import Any

import pytest

from kfunc.batcher_sidecar import v1_rows, v2_merging, v2_requests
from kfunc.errors import BadGateway
from tests.batcher_sidecar.merging import ONE, TWO, Read, merged, merged_body, parts, split, tensor, v1, v2


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1], [2, 3], [1, 2, 3]),
        ([[1.5, 2]], [[3, 4]], [[1.5, 2], [3, 4]]),
        ([{"a": 1, "b": [2]}], [{"b": [4], "a": 3}], [{"a": 1, "b": [2]}, {"b": [4], "a": 3}]),
        (["ä"], ['"\n'], ["ä", '"\n']),
        ([{"b64": "AA=="}], [{"b64": "/w=="}], [{"b64": "AA=="}, {"b64": "/w=="}]),
        ([2**70], [1], [2**70, 1]),
    ],
)
def test_instances_are_concatenated(first: list[Any], second: list[Any], expected: list[Any]) -> None:
    members = [v1({"instances": first}), v1({"instances": second})]
    assert members[0].key == members[1].key
    assert merged(*members) == {"instances": expected}


def test_members_beside_the_instances_are_kept() -> None:
    document = {"instances": [1], "signature_name": "s"}
    assert merged(v1(document), v1(document)) == {"instances": [1, 1], "signature_name": "s"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"instances": [[1, 2]]}, {"instances": [[1, 2, 3]]}),
        ({"instances": [[1, 2]]}, {"instances": [1]}),
        ({"instances": [[1]]}, {"instances": [["a"]]}),
        ({"instances": [1]}, {"instances": [True]}),
        ({"instances": [{"a": 1}]}, {"instances": [{"b": 1}]}),
        ({"instances": [1]}, {"instances": [1], "signature_name": "s"}),
        ({"instances": [1], "signature_name": "t"}, {"instances": [1], "signature_name": "s"}),
    ],
)
def test_instances_of_another_form_or_with_other_parameters_are_not_merged(first: object, second: object) -> None:
    assert v1(first).key != v1(second).key


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"instances":[]}', b'{"instances":1}', b'{"instances":["\xff"]}', b"[" * 100_000]
)
def test_a_v1_body_that_is_wrong_is_left_to_the_upstream(body: bytes) -> None:
    assert v1_rows.read(body) is None


@pytest.mark.parametrize("columns", [b"5", b"[1, 2]", b'{"a": [1, 2], "b": 5}', b'{"instances": [1]}'])
def test_a_v1_body_in_columns_is_passed_on_as_it_came(columns: bytes) -> None:
    assert v1_rows.read(b'{"inputs": %b}' % columns) is None


def test_flat_rows_are_concatenated_and_the_first_dimension_is_their_sum() -> None:
    assert merged(v2(ONE), v2(TWO)) == {"inputs": [tensor([1.5, 2.5, 3.5, 4.5, 5.5, 6.5], [3, 2])]}


def test_nested_data_merges_with_flat_data() -> None:
    nested = v2(tensor([[3.5, 4.5], [5.5, 6.5]], [2, 2]))
    assert nested.key == v2(ONE).key
    assert merged(v2(ONE), nested) == merged(v2(ONE), v2(TWO))


def test_strings_of_bytes_are_concatenated() -> None:
    first = v2({"name": "t", "shape": [1], "datatype": "BYTES", "data": ["ä"]})
    second = v2({"name": "t", "shape": [2], "datatype": "BYTES", "data": ["", "\x00"]})
    assert merged(first, second)["inputs"][0] == {"name": "t", "shape": [3], "datatype": "BYTES", "data": ["ä", "", "\x00"]}


def test_each_of_several_inputs_is_concatenated() -> None:
    other = {"name": "y", "shape": [1], "datatype": "INT64", "data": [7]}
    assert merged(v2(ONE, other), v2(ONE, other))["inputs"] == [
        tensor([1.5, 2.5, 1.5, 2.5], [2, 2]),
        {"name": "y", "shape": [2], "datatype": "INT64", "data": [7, 7]},
    ]


def test_parameters_and_requested_outputs_travel_with_the_merged_request_and_ids_do_not() -> None:
    more: dict[str, Any] = {"parameters": {"p": 1}, "outputs": [{"name": "o"}]}
    members = [v2(ONE, id="a", **more), v2(ONE, id="b", **more)]
    assert members[0].key == members[1].key
    assert {key: value for key, value in merged(*members).items() if key != "inputs"} == more


@pytest.mark.parametrize(
    "other",
    [
        v2({**ONE, "name": "z"}),
        v2({**ONE, "datatype": "FP64"}),
        v2(tensor([1.5, 2.5, 3.5], [1, 3])),
        v2(tensor([1.5, 2.5], [1, 2, 1])),
        v2(tensor([1.5], [1])),
        v2(ONE, {**ONE, "name": "y"}),
        v2(ONE, parameters={"p": 1}),
        v2(ONE, outputs=[{"name": "o"}]),
    ],
)
def test_requests_that_differ_in_more_than_rows_are_not_merged(other: Read) -> None:
    assert other.key != v2(ONE).key


@pytest.mark.parametrize(
    "document",
    [
        {"inputs": []},
        {"inputs": [tensor([1.5, 2.5, 3.5], [2, 2])]},
        {"inputs": [tensor([[1.5], [2.5, 3.5]], [2, 2])]},
        {"inputs": [tensor([], [0, 2])]},
        {"inputs": [tensor([1.5], [])]},
        {"inputs": [{**ONE, "datatype": "FLOAT"}]},
        {"inputs": [{**ONE, "parameters": {"scale": 2}}]},
        {"inputs": [ONE, tensor([1.5], [2])]},
        {"inputs": [ONE, tensor([1.5, 2.5], [2], name="y")]},
        {"inputs": [ONE], "parameters": {"sequence_id": 1}},
        {"inputs": [ONE], "parameters": {"sequence_start": True}},
        {"inputs": [ONE], "parameters": {"priority": -1}},
        {"inputs": [ONE], "parameters": {"timeout": "1"}},
        {"inputs": [ONE], "parameters": {"binary_data_output": 1}},
        {"inputs": [ONE], "outputs": [{"name": "o", "parameters": {"classification": 1}}]},
        {"inputs": [ONE], "an_option": 1},
        {"inputs": [{**ONE, "an_option": 1}]},
        [],
    ],
)
def test_what_is_wrong_or_belongs_to_one_request_alone_is_not_merged(document: object) -> None:
    assert v2_requests.read(json.dumps(document).encode(), None, None) is None


def test_predictions_are_split_by_instances_and_other_fields_are_everybodys() -> None:
    members = [v1({"instances": [1]}), v1({"instances": [2, 3]})]
    assert parts(members, {"predictions": [10, [20], {"c": 30}], "model_version": "7"}) == [
        {"predictions": [10], "model_version": "7"},
        {"predictions": [[20], {"c": 30}], "model_version": "7"},
    ]


def output(data: Any, shape: Any, **more: Any) -> dict[str, Any]:
    return {"name": "y", "datatype": "FP32", "shape": shape, "data": data, **more}


def test_outputs_are_split_by_rows_with_each_requests_own_id() -> None:
    members = [v2(ONE, id="a"), v2(TWO)]
    answer = {
        **{"model_name": "m", "model_version": "1", "id": "upstream", "parameters": {"p": 1}, "extra": [1]},
        "outputs": [output([1, 2, 3, 4, 5, 6], [3, 2], parameters={"q": 1}), output(["x", "y", "z"], [3], name="label")],
    }
    same = {"model_name": "m", "model_version": "1", "parameters": {"p": 1}, "extra": [1]}
    assert parts(members, answer) == [
        {**same, "id": "a", "outputs": [output([1, 2], [1, 2], parameters={"q": 1}), output(["x"], [1], name="label")]},
        {**same, "outputs": [output([3, 4, 5, 6], [2, 2], parameters={"q": 1}), output(["y", "z"], [2], name="label")]},
    ]


@pytest.mark.parametrize(
    ("whole", "first", "second"),
    [
        (output([[1, 2], [3, 4], [5, 6]], [3, 2]), output([[1, 2]], [1, 2]), output([[3, 4], [5, 6]], [2, 2])),
        (output([], [3, 0]), output([], [1, 0]), output([], [2, 0])),
        (output([2**70, 0, -(2**70)], [3]), output([2**70], [1]), output([0, -(2**70)], [2])),
    ],
    ids=["nested", "rows without elements", "large integers"],
)
def test_an_output_is_cut_whatever_its_rows_are(whole: object, first: object, second: object) -> None:
    answers = parts([v2(ONE), v2(TWO)], {"outputs": [whole]})
    assert [answer["outputs"] for answer in answers] == [[first], [second]]


def test_an_output_without_the_batchs_dimension_is_given_to_everybody() -> None:
    constant, rows = output([9, 8], [2], name="classes"), output([1, 2, 3], [3])
    answers = parts([v2(ONE), v2(TWO)], {"outputs": [constant, rows]})
    assert [answer["outputs"][0] for answer in answers] == [constant, constant]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b"{}",
        b'{"outputs":{}}',
        b'{"outputs":[1]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"data":[1,2]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3],"data":{"0":1,"1":2,"2":3}}]}',
        b'{"outputs":[{"name":"y","datatype":"BYTES","shape":[3],"data":"abc"}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1,2]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":3,"data":[1,2,3]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3,null],"data":[1,2,3]}]}',
        b'{"outputs":[{"name":"y","datatype":"FP32","shape":[3,"a"],"data":[1,2,3]}]}',
        b'{"outputs":[{"name":["y"],"datatype":"FP32","shape":[3],"data":[1,2,3]}]}',
        b'{"outputs":[{"name":"y","datatype":{},"shape":[3],"data":[1,2,3]}]}',
    ],
)
def test_an_answer_with_other_rows_than_were_asked_is_refused(answer: bytes) -> None:
    with pytest.raises(BadGateway):
        split([v2(ONE), v2(TWO)], answer)


def test_an_output_with_rows_by_the_metadata_and_other_rows_is_not_given_to_everybody() -> None:
    outputs = [output([1, 2, 3], [3, 1]), output([7, 8], [2], name="found")]
    answer = json.dumps({"outputs": outputs}).encode()
    assert len(split([v2(ONE), v2(TWO)], answer)) == 2
    with pytest.raises(BadGateway, match="found"):
        split([v2(ONE), v2(TWO)], answer, rowed=frozenset(["y", "found"]))


def test_what_stands_beside_the_predictions_with_as_many_elements_is_not_given_to_everybody() -> None:
    with pytest.raises(BadGateway, match="scores"):
        parts([v1({"instances": [1]}), v1({"instances": [2]})], {"predictions": [1, 2], "scores": [[0.1], [0.9]]})


def test_a_request_in_many_parts_is_looked_through_once() -> None:
    count = 200_000
    body = b'{"inputs":[{"name":"x","shape":[%d,1],"datatype":"UINT8","data":[%b]}]}' % (count, b",".join([b"1"] * count))
    read = v2_requests.read(body, None, None)
    assert read is not None
    began_at = time.process_time()
    for start in range(0, count, 32):
        v2_merging.merge([(read[0], start, start + 32)], None)
    assert time.process_time() - began_at < 2.0  # 0.06 s; with a look at all of it for each part 80 s


LONG = "x" * 5000


@pytest.mark.parametrize(
    "more",
    [{"parameters": {"a": LONG}}, {"outputs": [{"name": LONG}]}],
    ids=["parameters", "outputs"],
)
def test_requests_that_must_have_much_in_common_are_not_merged(more: dict[str, Any]) -> None:
    assert v2_requests.read(json.dumps({"inputs": [ONE], **more}).encode(), None, None) is None
    assert v2_requests.read(json.dumps({"inputs": [{**ONE, "name": LONG}]}).encode(), None, None) is None
    assert v1_rows.read(json.dumps({"instances": [1], "more": LONG}).encode()) is None


@pytest.mark.parametrize("answer", [b"{}", b'{"predictions":[1]}', b'{"predictions":[1,2,3]}', b'{"predictions":{}}', b"[]"])
def test_predictions_of_another_number_are_refused(answer: bytes) -> None:
    with pytest.raises(BadGateway):
        split([v1({"instances": [1]}), v1({"instances": [1]})], answer)


def test_numbers_keep_the_digits_that_were_written_both_ways() -> None:
    def member(number: str) -> Read:
        body = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP64","data":[%b]}]}' % number.encode()
        read = v2_requests.read(body, None, None)
        assert read is not None
        return Read(*read)

    members = [member("0.10"), member("1e400"), member("12345678901234567890")]
    assert b'"data":[0.10,1e400,12345678901234567890]' in merged_body(*members)[0]
    answer = b'{"outputs":[{"name":"y","shape":[3],"datatype":"FP64","data":[1.0, 2.50,3e0]}]}'
    assert [
        b'"data":[%b]' % text in part
        for text, (part, _) in zip((b"1.0", b" 2.50", b"3e0"), split(members, answer), strict=True)
    ]


def test_flat_and_nested_data_of_one_shape_travel_together() -> None:
    flat, nested = v2(ONE), v2(tensor([[3.5, 4.5], [5.5, 6.5]], [2, 2]))
    assert flat.key == nested.key
    for members in ([flat, nested], [nested, flat]):
        (joined,) = merged(*members)["inputs"]
        assert joined["shape"] == [3, 2]
        assert sorted(joined["data"]) == [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]


@pytest.mark.parametrize("data", [[True, 1.0], [None, 1.0], ["1", 1.0], [1.0], [1.0, 2.0, 3.0]])
def test_data_that_are_not_as_many_numbers_as_the_shape_says_are_not_taken_for_such(data: list[Any]) -> None:
    assert v2_requests.read(json.dumps({"inputs": [tensor(data, [1, 2])]}).encode(), None, None) is None or data[0] in (
        None,
        "1",
    )


def test_a_v1_answer_keeps_its_rows_as_they_were_written() -> None:
    members = [v1({"instances": [1]}), v1({"instances": [2]})]
    assert split(members, b'{"predictions":[{"a": 1.0},  2.50]}') == [
        (b'{"predictions":[{"a": 1.0}]}', 0),
        (b'{"predictions":[2.50]}', 0),
    ]
