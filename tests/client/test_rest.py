"""Arrays through the client's bytes and the server's codecs and back: nothing is lost, in JSON and in binary."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kfunc.client.arrays import arrays_of, rows_of, tensor_of
from kfunc.client.errors import InvalidAnswer, InvalidCall
from kfunc.client.rest import JSON_LENGTH, decode_response, encode_instances, encode_request
from kfunc.client.wire import Answer
from kfunc.handlers.encoding import encode_v1, encode_v2
from kfunc.handlers.tensors import InputCheck, to_response
from kfunc.protocol import v1, v2, v2_binary
from kfunc.protocol.messages import InferRequest, ModelMetadata, RequestedOutput

ECHO = ModelMetadata("echo", ["1"], "python", [], [])
NUMBERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)] + ["float32", "float64", "bool"]
SHAPES = arrays.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=4)
ROUNDS = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

Arrays = dict[str, np.ndarray[Any, Any]]


def f32(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def f16(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.float16)


def i8(values: Any) -> np.ndarray[Any, Any]:
    return np.array(values, np.int8)


def served(body: bytes, json_length: int) -> Answer:
    """What a server answers whose model returns its inputs."""
    request = v2_binary.decode_request(body, json_length) if json_length else v2.decode_request(body)
    outputs = InputCheck([], exact_datatypes=True).arrays(request)
    answer, length = encode_v2(request, to_response(request, ECHO, outputs))
    return Answer(200, {JSON_LENGTH: str(length)} if length else {}, answer)


def there_and_back(inputs: Arrays, *, binary: bool, outputs: list[str] | None = None) -> Arrays:
    tensors = [tensor_of(name, array, "") for name, array in inputs.items()]
    wanted = None if outputs is None else [RequestedOutput(name) for name in outputs]
    return arrays_of(decode_response(served(*encode_request(InferRequest(tensors, outputs=wanted), binary=binary))))


def same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


@ROUNDS
@given(data=st.data(), dtype=st.sampled_from([*NUMBERS, "float16"]), shape=SHAPES)
def test_arrays_of_numbers_come_back_in_binary_bit_by_bit(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    array = data.draw(arrays.arrays(dtype, shape))
    assert same(there_and_back({"x": array}, binary=True)["x"], array)


@ROUNDS
@given(data=st.data(), dtype=st.sampled_from(NUMBERS), shape=SHAPES)
def test_arrays_of_numbers_come_back_as_json_bit_by_bit(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    finite = arrays.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    array = data.draw(arrays.arrays(dtype, shape, elements=finite))
    assert same(there_and_back({"x": array}, binary=False)["x"], array)


@ROUNDS
@given(data=st.data(), shape=SHAPES, binary=st.booleans())
def test_texts_come_back_as_bytes(data: st.DataObject, shape: tuple[int, ...], binary: bool) -> None:
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
    array = data.draw(arrays.arrays(np.object_, shape, elements=texts))
    back = there_and_back({"x": array}, binary=binary)["x"]
    assert back.shape == array.shape
    assert back.reshape(-1).tolist() == [each.encode() for each in array.reshape(-1)]


@ROUNDS
@given(elements=st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_come_back_in_binary(elements: list[bytes]) -> None:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    assert there_and_back({"x": array}, binary=True)["x"].tolist() == elements


@ROUNDS
@given(data=st.data(), binary=st.booleans())
def test_several_arrays_keep_their_names_and_order(data: st.DataObject, binary: bool) -> None:
    dtypes = st.sampled_from(["float32", "int64", "bool", "uint8"])
    finite = {"allow_nan": False, "allow_infinity": False}
    drawn = data.draw(
        st.lists(
            dtypes.flatmap(lambda each: arrays.arrays(each, SHAPES, elements=finite if each == "float32" else None)),
            min_size=1,
            max_size=4,
        )
    )
    inputs = {f"x{index}": array for index, array in enumerate(drawn)}
    back = there_and_back(inputs, binary=binary)
    assert list(back) == list(inputs)
    assert all(same(back[name], array) for name, array in inputs.items())


@pytest.mark.parametrize("binary", [True, False])
def test_only_the_outputs_asked_for_come(binary: bool) -> None:
    inputs = {"a": f32([1]), "b": i8([2])}
    assert list(there_and_back(inputs, binary=binary, outputs=["b"])) == ["b"]


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: a[::-1, ::2], lambda a: a.T, lambda a: a.astype(">f8")])
@pytest.mark.parametrize("binary", [True, False])
def test_any_memory_layout_is_sent_as_what_it_means(layout: Any, binary: bool) -> None:
    array = layout(np.arange(24.0).reshape(4, 6))
    assert np.array_equal(there_and_back({"x": array}, binary=binary)["x"], array)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_and_smallest_numbers_come_back(dtype: Any, binary: bool) -> None:
    limits = np.finfo(dtype)
    array = np.array([limits.max, limits.min, limits.tiny, limits.smallest_subnormal], dtype)
    assert same(there_and_back({"x": array}, binary=binary)["x"], array)


def test_nan_and_infinities_come_back_in_binary() -> None:
    array = np.array([np.nan, np.inf, -np.inf, -0.0])
    assert same(there_and_back({"x": array}, binary=True)["x"], array)


def test_null_in_an_answer_is_nan() -> None:
    body = b'{"model_name": "m", "outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [[null, 1.5]]}]}'
    (array,) = arrays_of(decode_response(Answer(200, {}, body))).values()
    assert (array.dtype, array.shape, np.isnan(array[0, 0]), array[0, 1]) == (np.float32, (1, 2), True, 1.5)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([np.nan]), "NaN or an infinity"),
        (f32([np.inf]), "NaN or an infinity"),
        (f16([1]), "FP16"),
        (np.array([b"\xff"], np.object_), "bytes that are not UTF-8"),
    ],
)
def test_what_json_cannot_carry_is_refused_before_it_is_sent(array: np.ndarray[Any, Any], words: str) -> None:
    with pytest.raises(InvalidCall, match=f"input 'x': {words}.* binary"):
        there_and_back({"x": array}, binary=False)


@pytest.mark.parametrize(
    "array", [np.array([None]), np.array([1 + 2j]), np.array(["2026-01-01"], "datetime64[D]"), np.zeros(2, [("a", "i4")])]
)
def test_an_array_of_no_datatype_of_the_protocol_is_refused(array: np.ndarray[Any, Any]) -> None:
    with pytest.raises(InvalidCall, match="input 'x'"):
        tensor_of("x", array, "")


# ---- BF16


@ROUNDS
@given(values=st.lists(st.floats(width=32), max_size=20))
def test_a_list_for_bf16_is_rounded_as_ml_dtypes_rounds_and_comes_back_as_fp32(values: list[float]) -> None:
    import ml_dtypes

    tensor = tensor_of("x", values, "BF16")
    body, length = encode_request(InferRequest([tensor]), binary=True)
    expected = np.array(values, np.float32).astype(ml_dtypes.bfloat16)
    request = v2_binary.decode_request(body, length)
    sent = np.frombuffer(request.inputs[0].data, ml_dtypes.bfloat16)
    assert np.array_equal(sent, expected, equal_nan=True)
    answer = (
        b'{"model_name":"m","outputs":[{"name":"x","shape":[%d],"datatype":"BF16","parameters":{"binary_data_size":%d}}]}'
        % (
            len(values),
            2 * len(values),
        )
    )
    back = arrays_of(decode_response(Answer(200, {JSON_LENGTH: str(len(answer))}, answer + bytes(request.inputs[0].data))))["x"]
    assert back.dtype == np.float32
    assert np.array_equal(back, expected.astype(np.float32), equal_nan=True)


def test_an_array_of_ml_dtypes_is_bf16() -> None:
    import ml_dtypes

    tensor = tensor_of("x", np.array([[1.5], [-2.0]], ml_dtypes.bfloat16), "")
    assert (tensor.datatype, tensor.shape, tensor.data.tolist()) == ("BF16", [2, 1], [0x3FC0, 0xC000])


# ---- lists


@pytest.mark.parametrize(
    ("value", "datatype", "dtype"),
    [
        ([[1, 2.5]], "FP32", np.float32),
        ([1, 2], "", np.int64),
        ([1, 2], "UINT8", np.uint8),
        (3, "INT16", np.int16),
        ([True], "BOOL", np.bool_),
        ([0.5], "FP16", np.float16),
        (["a", b"b\0"], "BYTES", np.object_),
        (["a"], "", np.object_),
        ((1.0, 2.0), "FP64", np.float64),
    ],
)
def test_a_list_gets_the_datatype_of_the_model_s_input(value: Any, datatype: str, dtype: Any) -> None:
    tensor = tensor_of("x", value, datatype)
    back = arrays_of(decode_response(served(*encode_request(InferRequest([tensor]), binary=True))))["x"]
    assert back.dtype == dtype
    expected = (
        [each if isinstance(each, bytes) else each.encode() for each in value]
        if datatype == "BYTES" or value == ["a"]
        else value
    )
    assert back.tolist() == (list(expected) if isinstance(expected, tuple) else expected)


@pytest.mark.parametrize(
    ("value", "datatype"),
    [([[1], [1, 2]], "FP32"), (["a"], "FP32"), ([256], "UINT8"), ([-1], "UINT64"), ([1], "BYTES"), ([None], "INT64")],
)
def test_a_list_that_its_datatype_cannot_hold_is_refused(value: Any, datatype: str) -> None:
    with pytest.raises(InvalidCall, match="input 'x'"):
        tensor_of("x", value, datatype)


# ---- answers that lie


def described(**more: Any) -> bytes:
    import json

    return json.dumps({"model_name": "m", "outputs": [{"name": "y", "shape": [2], "datatype": "FP32", **more}]}).encode()


@pytest.mark.parametrize(
    ("body", "length", "words"),
    [
        (described(data=[1]), None, "output 'y': the shape"),
        (described(data=[1, "a"]), None, "output 'y': FP32 expected"),
        (described(data=[1, 2], datatype="FP99"), None, "output 'y' has the datatype 'FP99'"),
        (described(data=[], shape=[-1]), None, "output 'y' has the datatype 'FP32' and the shape"),
        (described(), None, "output 'y': data must be an array"),
        (described(parameters={"binary_data_size": 8}) + b"1234", -4, "output 'y': binary_data_size is 8"),
        (described(parameters={"binary_data_size": 4}) + b"1234", -4, "output 'y': binary_data_size is 4"),
        (described(data=[1, 2]) + b"1234", -4, "binary_data_size come to 0"),
        (described(data=[1, 2]), 10_000, "inference-header-content-length"),
        (b"{}", 0, "inference-header-content-length"),
    ],
)
def test_an_answer_that_is_not_what_it_says_is_invalid(body: bytes, length: int | None, words: str) -> None:
    headers = {} if length is None else {JSON_LENGTH: str(len(body) + length if length < 0 else length)}
    with pytest.raises(InvalidAnswer, match=words):
        arrays_of(decode_response(Answer(200, headers, body)))


# ---- V1


@ROUNDS
@given(data=st.data(), dtype=st.sampled_from(["float32", "int64", "bool"]), shape=arrays.array_shapes(max_dims=4, max_side=3))
def test_v1_rows_come_back_as_they_were(data: st.DataObject, dtype: str, shape: tuple[int, ...]) -> None:
    finite = arrays.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    array = data.draw(arrays.arrays(dtype, shape, elements=finite))
    request = v1.typed(v1.decode_request(encode_instances(rows_of(array), None)), ECHO)
    outputs = InputCheck([], exact_datatypes=True).arrays(request)
    answer = encode_v1(request, to_response(request, ECHO, outputs))[0]
    import orjson

    assert np.array_equal(np.array(orjson.loads(answer)["predictions"], dtype), array)


def test_v1_takes_several_inputs_by_name() -> None:
    rows = rows_of({"a": np.array([[1, 2], [3, 4]]), "b": ["x", "y"]})
    assert encode_instances(rows, {"signature_name": "s"}) == (
        b'{"signature_name":"s","instances":[{"a":[1,2],"b":"x"},{"a":[3,4],"b":"y"}]}'
    )


def test_v1_sends_bytes_as_base64() -> None:
    assert encode_instances(rows_of(np.array([b"\xff"], np.object_)), None) == b'{"instances":[{"b64":"/w=="}]}'


def test_v1_sends_float16_as_numbers() -> None:
    assert encode_instances(rows_of(f16([[0.5], [1.5]])), None) == b'{"instances":[[0.5],[1.5]]}'


@pytest.mark.parametrize("instances", [3, "text", np.float32(1), {"a": [1], "b": [1, 2]}, None])
def test_v1_refuses_what_has_no_rows(instances: Any) -> None:
    with pytest.raises(InvalidCall):
        rows_of(instances)


def test_what_json_does_not_know_is_refused() -> None:
    with pytest.raises(InvalidCall, match="cannot be written as JSON"):
        encode_instances([object()], None)
