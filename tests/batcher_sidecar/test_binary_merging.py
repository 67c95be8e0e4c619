"""Binary and mixed requests: merged to one form, and each answered in the form that it asked for."""

import json
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from kfunc.batcher_sidecar import v2_answers, v2_merging, v2_requests
from kfunc.batcher_sidecar.tensor_rows import Unrepresentable
from kfunc.batcher_sidecar.v2_answers import V2Answer
from kfunc.errors import BadGateway
from kfunc.protocol import v2_binary
from tests.batcher_sidecar.merging import ONE, Read, binary, merged, merged_body, split, v2, whole

DTYPES: dict[str, Any] = {"FP32": np.float32, "FP64": np.float64, "INT64": np.int64, "UINT8": np.uint8, "INT16": np.int16}
DTYPES |= {"BOOL": np.bool_, "FP16": np.float16}
X = {"name": "x", "shape": [1, 2], "datatype": "FP32"}


def floats(*values: float) -> bytes:
    return np.array(values, np.float32).tobytes()


def test_binary_tensors_are_concatenated() -> None:
    body, length = merged_body(binary([(X, floats(1, 2))]), binary([({**X, "shape": [2, 2]}, floats(3, 4, 5, 6))]))
    (tensor,) = json.loads(body[:length])["inputs"]
    assert tensor == {"name": "x", "datatype": "FP32", "shape": [3, 2], "parameters": {"binary_data_size": 24}}
    assert body[length:] == floats(1, 2, 3, 4, 5, 6)


def test_json_among_binary_requests_becomes_binary_and_all_outputs_are_asked_for_so() -> None:
    members = [v2(ONE), binary([(X, floats(3, 4))])]
    assert members[0].key == members[1].key
    body, length = merged_body(*members)
    assert json.loads(body[:length])["parameters"] == {"binary_data_output": True}
    assert body[length:] == floats(1.5, 2.5, 3, 4)


def test_strings_in_json_and_binary_merge() -> None:
    text = {"name": "t", "datatype": "BYTES"}
    first = v2({**text, "shape": [2], "data": ["ä", ""]})
    raw = v2_binary.join_bytes([b"\xff\x00"])
    body, length = merged_body(first, binary([({**text, "shape": [1]}, raw)]))
    assert body[length:] == v2_binary.join_bytes(["ä".encode(), b"", b"\xff\x00"])


@pytest.mark.parametrize(
    ("tensor", "raw"),
    [
        (X, floats(1)),
        ({**X, "shape": [2, 2]}, floats(1, 2)),
        ({"name": "t", "datatype": "BYTES", "shape": [2]}, v2_binary.join_bytes([b"a"])),
        ({"name": "t", "datatype": "BYTES", "shape": [1]}, b"\x09\0\0\0ab"),
        ({"name": "t", "datatype": "BYTES", "shape": [1]}, v2_binary.join_bytes([b"a", b"b"])),
    ],
)
def test_binary_data_of_another_length_than_their_shape_are_not_merged(tensor: dict[str, Any], raw: bytes) -> None:
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    assert v2_requests.read(head + raw, len(head), None) is None


@pytest.mark.parametrize("data", [[1e39], [True], ["1"], [None]])
def test_values_that_their_datatype_does_not_hold_make_no_binary_tensor(data: list[Any]) -> None:
    read = v2_requests.read(json.dumps({"inputs": [{**X, "shape": [1, 1], "data": data}]}).encode(), None, None)
    if read is not None:
        with pytest.raises(Unrepresentable):
            merged_body(Read(*read), binary([({**X, "shape": [1, 1]}, floats(1))]))


def test_priority_timeout_and_the_form_of_the_answer_do_not_part_requests() -> None:
    plain = v2(ONE)
    for parameters in ({"priority": 1}, {"timeout": 5}, {"binary_data_output": True}, {"priority": 2, "timeout": 7}):
        other = v2(ONE, parameters=parameters)
        assert other.key == plain.key
        assert "priority" not in (merged(plain, other).get("parameters") or {})
    request = v2(ONE, parameters={"priority": 2, "timeout": 7_000_000}).request
    assert (request.level, request.timeout_s) == (2, 7.0)


def answer_of(outputs: list[tuple[dict[str, Any], bytes | None]]) -> tuple[bytes, int]:
    documents = [each if raw is None else {**each, "parameters": {"binary_data_size": len(raw)}} for each, raw in outputs]
    head = json.dumps({"model_name": "m", "id": "up", "outputs": documents}).encode()
    return head + b"".join(raw or b"" for _, raw in outputs), len(head)


def test_each_caller_gets_its_outputs_in_the_form_that_it_asked_for() -> None:
    members = [
        v2(ONE, id="json"),
        v2(ONE, id="all", parameters={"binary_data_output": True}),
        v2(ONE, id="one", outputs=[{"name": "y", "parameters": {"binary_data": True}}, {"name": "t"}]),
    ]
    strings = [b"a", b"", "ä".encode()]
    body, length = answer_of(
        [
            ({"name": "y", "datatype": "FP32", "shape": [3]}, floats(0.1, 2, float("nan"))),
            ({"name": "t", "datatype": "BYTES", "shape": [3]}, v2_binary.join_bytes(strings)),
        ]
    )
    answers = [
        (json.loads(part[: size or len(part)]), part[size:] if size else b"") for part, size in split(members, body, length)
    ]
    assert answers[0] == (
        {
            **{"model_name": "m", "id": "json"},
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1], "data": [0.1]},
                {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["a"]},
            ],
        },
        b"",
    )
    (y, t), tail = answers[1][0]["outputs"], answers[1][1]
    assert (y["parameters"], t["parameters"]) == ({"binary_data_size": 4}, {"binary_data_size": 4})
    assert tail == floats(2) + v2_binary.join_bytes([b""])
    (y, t), tail = answers[2][0]["outputs"], answers[2][1]
    assert (y["parameters"], t["data"]) == ({"binary_data_size": 4}, ["ä"])
    assert np.isnan(np.frombuffer(tail, np.float32)[0])


def test_a_json_answer_is_given_in_binary_to_whom_asked_for_that() -> None:
    member = v2(ONE, parameters={"binary_data_output": True})
    answer = json.dumps({"outputs": [{"name": "y", "datatype": "INT64", "shape": [1, 2], "data": [[7, -1]]}]}).encode()
    ((part, size),) = split([member], answer)
    assert part[size:] == np.array([7, -1], np.int64).tobytes()


def test_nan_in_a_binary_answer_is_null_in_json() -> None:
    body, length = answer_of([({"name": "y", "datatype": "FP32", "shape": [1]}, floats(float("inf")))])
    ((part, _),) = split([v2(ONE)], body, length)
    assert json.loads(part)["outputs"][0]["data"] == [None]


@pytest.mark.parametrize(
    ("datatype", "raw"), [("FP16", b"\0\0"), ("BF16", b"\0\0"), ("BYTES", v2_binary.join_bytes([b"\xff"])), ("FP32", b"abc")]
)
def test_what_json_cannot_carry_has_no_form_for_a_caller_of_json(datatype: str, raw: bytes) -> None:
    body, length = answer_of([({"name": "y", "datatype": datatype, "shape": [1]}, raw)])
    with pytest.raises(Unrepresentable):
        split([v2(ONE)], body, length)


@pytest.mark.parametrize("cut", [1, 4])
def test_a_binary_answer_that_is_too_short_is_refused(cut: int) -> None:
    body, length = answer_of([({"name": "y", "datatype": "FP32", "shape": [2]}, floats(1, 2))])
    with pytest.raises(BadGateway):
        split([v2(ONE), v2(ONE)], body[:-cut], length)


def test_an_output_that_is_fixed_by_the_metadata_is_not_cut_though_it_has_as_many_rows() -> None:
    answer = json.dumps(
        {
            "outputs": [
                {"name": "c", "datatype": "INT64", "shape": [2], "data": [1, 2]},
                {"name": "y", "shape": [2], "data": [3, 4]},
            ]
        }
    ).encode()
    for number, (part, _) in enumerate(split([v2(ONE), v2(ONE)], answer, fixed=frozenset(["c"]))):
        assert [each["data"] for each in json.loads(part)["outputs"]] == [[1, 2], [3 + number]]


# ---- any mixture, against numpy

SHAPES = st.sampled_from([(), (1,), (3,), (2, 2)])


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[str, tuple[int, ...], list[tuple[Any, bool, bool]]]:
    """A datatype, a trailing shape, and for each request its values, whether it is binary, and wants binary."""
    datatype = draw(st.sampled_from([*DTYPES, "BYTES"]))
    trailing = draw(SHAPES)
    members = []
    for _ in range(draw(st.integers(1, 5))):
        shape = (draw(st.integers(1, 4)), *trailing)
        count = int(np.prod(shape))
        if datatype == "BYTES":
            values: Any = np.array(draw(st.lists(st.text(max_size=4), min_size=count, max_size=count)), object).reshape(shape)
        else:
            numbers = draw(st.lists(st.integers(0, 100), min_size=count, max_size=count))
            values = (np.array(numbers) / (8 if datatype.startswith("FP") else 1)).astype(DTYPES[datatype]).reshape(shape)
        only_binary = datatype == "FP16"
        members.append((values, only_binary or draw(st.booleans()), only_binary or draw(st.booleans())))
    return datatype, trailing, members


def raw_of(values: Any, datatype: str) -> bytes:
    return v2_binary.join_bytes([each.encode() for each in values.ravel()]) if datatype == "BYTES" else values.tobytes()


def request_of(values: Any, datatype: str, is_binary: bool, wants_binary: bool) -> Read:
    tensor = {"name": "x", "shape": list(values.shape), "datatype": datatype}
    more: dict[str, Any] = {"parameters": {"binary_data_output": True}} if wants_binary else {}
    if is_binary:
        return binary([(tensor, raw_of(values, datatype))], **more)
    return v2({**tensor, "data": values.tolist()}, **more)


def echo(body: bytes, json_length: int, datatype: str) -> tuple[bytes, int | None]:
    """A server that answers its input, in binary if that is asked for."""
    document = json.loads(body[: json_length or len(body)])
    (tensor,) = document["inputs"]
    output = {**tensor, "name": "y"}
    if json_length:
        head = json.dumps({"model_name": "m", "outputs": [output]}).encode()
        return head + body[json_length:], len(head)
    return json.dumps({"model_name": "m", "outputs": [output]}).encode(), None


@settings(max_examples=300, deadline=None)
@given(mixture=mixtures(), limit=st.integers(1, 6))
def test_in_any_mixture_cut_anywhere_each_caller_gets_its_own_rows(mixture: Any, limit: int) -> None:
    datatype, _, given_members = mixture
    members = [request_of(values, datatype, *forms) for values, *forms in given_members]
    assert len({member.key for member in members}) == 1
    # All rows in a line, cut into calls of at most `limit`.
    pieces = [(at, start) for at, member in enumerate(members) for start in range(member.request.rows)]
    sources: list[list[Any]] = [[] for _ in members]
    for begin in range(0, len(pieces), limit):
        call = pieces[begin : begin + limit]
        runs: list[tuple[int, int, int]] = []
        for at in dict.fromkeys(at for at, _ in call):
            rows = [row for owner, row in call if owner == at]
            runs.append((at, rows[0], rows[-1] + 1))
        body, length, _ = v2_merging.merge([(members[at].request, start, end) for at, start, end in runs], None)
        answer, answer_length = echo(body, length, datatype)
        read = V2Answer(answer, answer_length, len(call))
        row = 0
        for at, start, end in runs:
            sources[at].append((read, row, row + end - start))
            row += end - start
    for (values, _, wants_binary), member, own in zip(given_members, members, sources, strict=True):
        part, size = v2_answers.part(member.request, own)
        output = json.loads(part[: size or len(part)])["outputs"][0]
        assert output["shape"] == list(values.shape)
        if wants_binary:
            assert part[size:] == raw_of(values, datatype)
        else:
            assert size == 0
            assert np.array(output["data"], object).ravel().tolist() == values.ravel().tolist()


def test_a_merge_of_whole_requests_has_all_their_rows() -> None:
    assert [end for _, _, end in whole(v2(ONE), v2(ONE))] == [1, 1]
