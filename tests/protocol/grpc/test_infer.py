"""ModelInfer's messages, held against the protobuf library."""

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest, PayloadTooLarge
from kfunc.protocol.grpc import answer, request
from kfunc.protocol.grpc.wire import length_delimited, varint
from kfunc.protocol.messages import InferRequest, InferResponse, RequestedOutput, Tensor
from tests.protocol.grpc.library import ModelInferRequest, ModelInferResponse

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{sign}INT{bits}": np.dtype(f"{sign.lower()}int{bits}") for sign in ("", "U") for bits in (8, 16, 32, 64)},
    **{f"FP{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
}
CONTENTS = {
    "BOOL": "bool_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
    **{"INT64": "int64_contents", "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"},
}
INTEGERS = {name: np.iinfo(dtype) for name, dtype in NUMPY.items() if "INT" in name}

names = st.text(max_size=8)
parameter = st.one_of(
    st.tuples(st.just("bool_param"), st.booleans()),
    st.tuples(st.just("int64_param"), st.integers(-(2**63), 2**63 - 1)),
    st.tuples(st.just("string_param"), st.text(max_size=8)),
    st.tuples(st.just("double_param"), st.floats(allow_nan=False)),
    st.tuples(st.just("uint64_param"), st.integers(0, 2**64 - 1)),
)
parameters = st.dictionaries(st.text(max_size=5), parameter, max_size=3)


def elements(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BOOL":
        return st.booleans()
    if datatype in INTEGERS:
        return st.integers(int(INTEGERS[datatype].min), int(INTEGERS[datatype].max)) | st.integers(0, 100)
    width: Any = int(datatype.removeprefix("FP"))
    return st.floats(width=width, allow_nan=False)


@st.composite
def arrays(draw: st.DrawFn, datatypes: list[str]) -> tuple[str, np.ndarray[Any, Any]]:
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    count = int(np.prod(shape, dtype=int))
    values = draw(st.lists(elements(datatype), min_size=count, max_size=count))
    return datatype, np.array(values, NUMPY[datatype]).reshape(shape)


def set_parameters(field: Any, values: dict[str, tuple[str, Any]]) -> dict[str, Any]:
    for name, (kind, value) in values.items():
        setattr(field[name], kind, value)
    return {name: value for name, (_, value) in values.items()}


def as_array(tensor: Tensor) -> np.ndarray[Any, Any]:
    return np.frombuffer(tensor.data, NUMPY[tensor.datatype]).reshape(tensor.shape)


@given(names, names, names, parameters, st.lists(arrays(list(CONTENTS)), max_size=3), parameters, st.booleans())
def test_a_request_of_the_library_is_read_as_it_was_meant(
    model: str,
    version: str,
    identifier: str,
    given_parameters: dict[str, tuple[str, Any]],
    inputs: list[tuple[str, np.ndarray[Any, Any]]],
    others: dict[str, tuple[str, Any]],
    raw: bool,
) -> None:
    theirs = ModelInferRequest(model_name=model, model_version=version, id=identifier)
    expected = set_parameters(theirs.parameters, given_parameters)
    for index, (datatype, values) in enumerate(inputs):
        tensor = theirs.inputs.add(name=f"x{index}", datatype=datatype, shape=values.shape)
        expected_others = set_parameters(tensor.parameters, others)
        if raw:
            theirs.raw_input_contents.append(values.tobytes())
        else:
            getattr(tensor.contents, CONTENTS[datatype]).extend(values.reshape(-1).tolist())
    set_parameters(theirs.outputs.add(name="y").parameters, others)

    ours, was_raw = request.decode_request(theirs.SerializeToString())

    assert (ours.model_name, ours.model_version, ours.id, ours.parameters or {}) == (model, version, identifier, expected)
    assert was_raw == (raw and bool(inputs))
    assert [output.name for output in ours.outputs or ()] == ["y"]
    for tensor, (datatype, values) in zip(ours.inputs, inputs, strict=True):
        assert (tensor.datatype, tensor.parameters or {}) == (datatype, expected_others)
        np.testing.assert_array_equal(as_array(tensor), values)


@given(st.lists(st.binary(max_size=5), max_size=4), st.booleans())
def test_bytes_are_read_from_either_form(values: list[bytes], raw: bool) -> None:
    theirs = ModelInferRequest()
    tensor = theirs.inputs.add(name="x", datatype="BYTES", shape=[len(values)])
    if raw:
        theirs.raw_input_contents.append(b"".join(struct.pack("<I", len(each)) + each for each in values))
    else:
        tensor.contents.bytes_contents.extend(values)
    (ours,) = request.decode_request(theirs.SerializeToString())[0].inputs
    expected: Any = b"".join(struct.pack("<I", len(each)) + each for each in values) if raw else values
    assert ours.data == expected


@given(st.lists(arrays(list(NUMPY)), max_size=3), names, st.dictionaries(names, st.integers(-5, 2**64 - 1), max_size=2))
def test_the_library_reads_our_requests(
    inputs: list[tuple[str, np.ndarray[Any, Any]]], name: str, given_parameters: dict[str, int]
) -> None:
    tensors = [Tensor(f"x{at}", list(value.shape), kind, value.reshape(-1)) for at, (kind, value) in enumerate(inputs)]
    ours = InferRequest(tensors, name, dict(given_parameters), [RequestedOutput("y", {"a": 1.5})], name, "2")
    theirs = ModelInferRequest.FromString(request.encode_request(ours))
    assert (theirs.model_name, theirs.model_version, theirs.id) == (name, "2", name)
    read = {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in theirs.parameters.items()}
    assert read == given_parameters
    assert theirs.outputs[0].parameters["a"].double_param == 1.5
    for tensor, raw, (datatype, values) in zip(theirs.inputs, theirs.raw_input_contents, inputs, strict=True):
        assert (tensor.datatype, list(tensor.shape)) == (datatype, list(values.shape))
        np.testing.assert_array_equal(np.frombuffer(raw, NUMPY[datatype]).reshape(values.shape), values)


@given(st.lists(arrays(list(NUMPY)), max_size=3), st.booleans(), st.sampled_from([{}, {"final": True}]))
def test_the_library_reads_our_answers_and_we_read_them(
    outputs: list[tuple[str, np.ndarray[Any, Any]]], raw: bool, given_parameters: dict[str, Any]
) -> None:
    tensors = [Tensor(f"y{at}", list(value.shape), kind, value.reshape(-1)) for at, (kind, value) in enumerate(outputs)]
    encoded = answer.encode_response(InferResponse("m", tensors, "1", "id", given_parameters or None), raw=raw)
    theirs = ModelInferResponse.FromString(encoded)
    assert (theirs.model_name, theirs.model_version, theirs.id) == ("m", "1", "id")
    raw = raw or any(kind == "FP16" for kind, _ in outputs)
    for at, (kind, values) in enumerate(outputs):
        output = theirs.outputs[at]
        assert (output.name, output.datatype, list(output.shape)) == (f"y{at}", kind, list(values.shape))
        flat = np.frombuffer(theirs.raw_output_contents[at], NUMPY[kind]) if raw else getattr(output.contents, CONTENTS[kind])
        np.testing.assert_array_equal(np.array(flat, NUMPY[kind]), values.reshape(-1))
    again = answer.decode_response(encoded)
    assert again.parameters == (given_parameters or None)
    for tensor, (_, values) in zip(again.outputs, outputs, strict=True):
        np.testing.assert_array_equal(as_array(tensor), values)


def test_bytes_in_answers_go_typed_or_raw_from_either_form() -> None:
    for data in ([b"a", "é"], b"\1\0\0\0a\2\0\0\0\xc3\xa9"):
        tensor = Tensor("y", [2], "BYTES", data)
        typed = ModelInferResponse.FromString(answer.encode_response(InferResponse("m", [tensor]), raw=False))
        assert list(typed.outputs[0].contents.bytes_contents) == [b"a", "é".encode()]
        raw = ModelInferResponse.FromString(answer.encode_response(InferResponse("m", [tensor]), raw=True))
        assert raw.raw_output_contents[0] == b"\1\0\0\0a\2\0\0\0\xc3\xa9"


def test_raw_tensors_are_views_of_the_message() -> None:
    theirs = ModelInferRequest(raw_input_contents=[bytes(4096)])
    theirs.inputs.add(name="x", datatype="UINT8", shape=[4096])
    body = theirs.SerializeToString()
    (tensor,) = request.decode_request(body)[0].inputs
    assert tensor.data.obj is body


def test_numbers_that_are_not_packed_are_read_too() -> None:
    """Encoding, Packed Repeated Fields: parsers must take both forms."""
    theirs = ModelInferRequest()
    theirs.inputs.add(name="x", datatype="INT32", shape=[])
    tensor = theirs.inputs[0].SerializeToString() + b"\x18\x01\x18\x02" + b"\x2a\x04" + b"\x10\x05\x10\x07"
    (read,) = request.decode_request(b"\x2a" + bytes([len(tensor)]) + tensor)[0].inputs
    assert (read.shape, bytes(read.data)) == ([1, 2], struct.pack("<2i", 5, 7))


def test_contents_in_two_parts_are_joined() -> None:
    part = b"\x2a\x06\x32\x04" + struct.pack("<f", 1.5)
    tensor = b"\x0a\x01x\x12\x04FP32\x1a\x01\x02" + part + part
    (read,) = request.decode_request(b"\x2a" + bytes([len(tensor)]) + tensor)[0].inputs
    assert bytes(read.data) == struct.pack("<2f", 1.5, 1.5)


# ---- what is wrong


def refused(theirs: Any) -> str:
    with pytest.raises(InvalidRequest) as caught:
        request.decode_request(theirs if isinstance(theirs, bytes) else theirs.SerializeToString())
    return caught.value.message


def with_input(datatype: str, shape: list[int], raw: bytes | None = None, **contents: Any) -> Any:
    theirs = ModelInferRequest()
    tensor = theirs.inputs.add(name="x", datatype=datatype, shape=shape)
    for name, values in contents.items():
        getattr(tensor.contents, name).extend(values)
    if raw is not None:
        theirs.raw_input_contents.append(raw)
    return theirs


WRONG = [
    (with_input("FP32", [2], b"1234567"), "input 'x': raw_input_contents has 7 bytes; FP32 of shape [2] has 8"),
    (with_input("BYTES", [2], b"1234567"), "input 'x': raw_input_contents has 7 bytes; BYTES of shape [2] has at least 8"),
    (with_input("FP32", [-2], b""), "input 'x': the shape [-2] has a negative dimension"),
    (with_input("FP32", [2**40, 2], b""), "input 'x': the shape has more than 2^40 elements"),
    (with_input("FP33", [1], b"1234"), "input 'x': unknown datatype 'FP33'"),
    (with_input("FP32", [1], b"1234", fp32_contents=[1]), "input 'x': has contents as well as raw_input_contents"),
    (with_input("FP32", [2], fp32_contents=[1]), "input 'x': the shape [2] has 2 elements, its contents have 1"),
    (with_input("FP32", [2]), "input 'x': the shape [2] has 2 elements, its contents have 0"),
    (with_input("FP32", [1], fp64_contents=[1]), "input 'x': FP32 goes in fp32_contents only; given is fp64_contents"),
    (
        with_input("INT8", [1], int_contents=[1], int64_contents=[1]),
        "input 'x': INT8 goes in int_contents only; given is int_contents, int64_contents",
    ),
    (with_input("INT8", [1], int_contents=[128]), "input 'x': a number is out of the range of INT8"),
    (with_input("UINT16", [1], uint_contents=[65536]), "input 'x': a number is out of the range of UINT16"),
    (with_input("BF16", [1], fp32_contents=[1]), "input 'x': BF16 travels in raw_input_contents only"),
]


@pytest.mark.parametrize(("theirs", "words"), WRONG, ids=[words for _, words in WRONG])
def test_a_wrong_tensor_is_named(theirs: Any, words: str) -> None:
    assert refused(theirs).startswith(words)


def test_raw_contents_must_be_there_for_each_input() -> None:
    theirs = with_input("FP32", [1], b"1234")
    theirs.inputs.add(name="z", datatype="FP32", shape=[1])
    assert "raw_input_contents has 1 entries; one for each of the 2 inputs" in refused(theirs)


def test_shared_memory_is_not_offered() -> None:
    theirs = with_input("FP32", [1])
    theirs.inputs[0].parameters["shared_memory_region"].string_param = "r"
    assert refused(theirs) == "input 'x': shared memory is not offered"


BROKEN = {
    "a length past the end": b"\x0a\x05ab",
    "a huge length": b"\x2a\xff\xff\xff\xff\x7f",
    "a length of more than 64 bits": b"\x2a" + b"\xff" * 11,
    "a key that is cut off": b"\x80",
    "the number 0": b"\x02\x00",
    "a group": b"\x0b\x0c",
    "the wire type 7": b"\x0f",
    "a name that is a number": b"\x08\x01",
    "a fixed number that is cut off": b"\x7d\x00\x00",
    "a string that is not UTF-8": b"\x0a\x01\xff",
    "a packed number that is cut off": b"\x2a\x06\x12\x00\x2a\x02\x12\x80",
    "a tensor's name as a number": b"\x2a\x02\x08\x01",
    "contents of the wrong wire type": b"\x2a\x04\x2a\x02\x30\x01",
    "a parameter without a value": b"\x22\x03\x0a\x01a",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_broken_messages_are_refused(body: bytes) -> None:
    assert refused(body)


@given(st.binary(max_size=64))
def test_bytes_of_any_kind_are_read_or_refused(body: bytes) -> None:
    try:
        request.decode_request(body)
    except InvalidRequest:
        pass


def test_a_request_names_only_so_many_outputs() -> None:
    assert refused(b"\x32\x00" * (request.MAX_TENSORS + 1)) == "the request names more than 10000 outputs"


def tensor_of(datatype: str, contents: bytes, shape: bytes = b"") -> bytes:
    """A request for `x` with these contents, as bytes."""
    own = length_delimited(2, datatype.encode()) + length_delimited(3, shape) + length_delimited(5, contents)
    return length_delimited(5, length_delimited(1, b"x") + own)


UNKNOWN = b"\x78\x01"
ENTRY = length_delimited(1, b"k") + length_delimited(2, b"\x08\x01")
TOO_MANY = {
    "of the message": UNKNOWN * (request.MAX_FIELDS + 1),
    "of messages in it together": length_delimited(5, UNKNOWN * (request.MAX_FIELDS // 2 + 1)) * 2,
    "of a parameter": length_delimited(4, UNKNOWN * (request.MAX_FIELDS + 1)),
    "of a parameter's value": length_delimited(4, length_delimited(2, UNKNOWN * (request.MAX_FIELDS + 1))),
    "of a requested output": length_delimited(6, UNKNOWN * (request.MAX_FIELDS + 1)),
    "parameters": length_delimited(4, ENTRY) * (request.MAX_FIELDS // 4 + 1),
    "of contents": tensor_of("BYTES", b"\x42\x00" * (request.MAX_ELEMENTS + 1)),
    "unknown ones of contents": tensor_of("BYTES", UNKNOWN * (request.MAX_ELEMENTS + 1)),
}


@pytest.mark.parametrize("body", TOO_MANY.values(), ids=TOO_MANY)
def test_a_message_has_only_so_many_fields(body: bytes) -> None:
    assert refused(body).startswith("the message has too many fields")


FULL = {"BYTES": b"\x42\x01a", "INT64": b"\x18\x01", "UINT8": b"\x20\x01"}


@pytest.mark.parametrize("datatype", FULL)
def test_contents_may_have_a_million_elements_that_are_not_packed(datatype: str) -> None:
    body = tensor_of(datatype, FULL[datatype] * request.MAX_ELEMENTS, varint(request.MAX_ELEMENTS))
    (read,) = request.decode_request(body)[0].inputs
    assert len(read.data) * (8 if datatype == "INT64" else 1) >= request.MAX_ELEMENTS


def test_packed_numbers_may_be_as_many_as_the_message_holds() -> None:
    count = 2 * request.MAX_ELEMENTS
    (read,) = request.decode_request(tensor_of("INT32", length_delimited(2, b"\x07" * count), varint(count)))[0].inputs
    assert bytes(read.data) == b"\x07\0\0\0" * count


def test_contents_become_only_so_many_bytes() -> None:
    body = tensor_of("INT64", length_delimited(3, b"\x07" * 1000), varint(1000))
    request.decode_request(body, most=8000)
    with pytest.raises(PayloadTooLarge, match="the inputs have 8000 bytes or more, 7999 are allowed"):
        request.decode_request(body, most=7999)
    with pytest.raises(PayloadTooLarge):
        request.decode_request(body * 2, most=8000)


def test_contents_are_not_read_far_beyond_the_shape() -> None:
    body = tensor_of("INT64", length_delimited(3, b"\x07" * 8_000_000), b"\x01")
    tracemalloc.start()
    said = refused(body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said == "input 'x': the shape [1] has 1 elements, its contents have more"
    assert peak < 4_000_000  # not 64 MB of numbers


def test_a_shape_has_only_so_many_dimensions() -> None:
    for size in (b"\x01", b"\x81\x00"):
        assert refused(tensor_of("INT8", b"", size * 1_000_000)) == "input 'x': more than 32 dimensions"


@pytest.mark.parametrize("datatype", INTEGERS)
def test_packed_numbers_single_ones_and_large_ones_may_be_mixed(datatype: str) -> None:
    field = {"INT64": 3, "UINT64": 5}.get(datatype, 4 if datatype[0] == "U" else 2)
    most = int(INTEGERS[datatype].max)
    one = varint(field << 3) + b"\x05"
    contents = length_delimited(field, b"\x01\x02") + one + one + length_delimited(field, varint(most) + b"\x03")
    (read,) = request.decode_request(tensor_of(datatype, contents, b"\x06"))[0].inputs
    assert np.frombuffer(read.data, NUMPY[datatype]).tolist() == [1, 2, 5, 5, most, 3]
