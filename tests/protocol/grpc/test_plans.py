"""Requests that are recognised by their bytes are what reading them would have given."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest
from kfunc.protocol.grpc.framing import HEAD_BYTES, frame, only_message
from kfunc.protocol.grpc.plans import Plans
from kfunc.protocol.grpc.request import decode_request
from kfunc.protocol.messages import InferRequest
from tests.protocol.grpc.library import ModelInferRequest


def body(*tensors: bytes, model: str = "m", **more: Any) -> bytes:
    request = ModelInferRequest(model_name=model, raw_input_contents=tensors, **more)
    for index, tensor in enumerate(tensors):
        request.inputs.add(name=f"x{index}", datatype="UINT8", shape=[len(tensor)])
    return frame(request.SerializeToString())


def learnt(*bodies: bytes) -> Plans:
    plans = Plans()
    for each in bodies:
        request, raw = decode_request(each, HEAD_BYTES)
        assert raw
        plans.learn(each, request)
    return plans


def said(request: InferRequest) -> Any:
    tensors = [(tensor.name, tensor.shape, tensor.datatype, bytes(tensor.data)) for tensor in request.inputs]
    return tensors, request.model_name, request.model_version, request.id, request.parameters, request.outputs


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=3), st.data())
def test_other_numbers_of_the_same_form_are_found(tensors: list[bytes], data: st.DataObject) -> None:
    plans = learnt(body(*tensors))
    others = [data.draw(st.binary(min_size=len(tensor), max_size=len(tensor))) for tensor in tensors]
    found = plans.find(body(*others))
    assert found is not None
    assert said(found[1]) == said(decode_request(body(*others), HEAD_BYTES)[0])


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=3), st.integers(0, 200), st.integers(1, 255))
def test_what_is_found_is_what_reading_gives(tensors: list[bytes], at: int, change: int) -> None:
    known = body(*tensors)
    plans = learnt(known)
    changed = bytearray(known)
    changed[at % len(changed)] ^= change
    found = plans.find(bytes(changed))
    if found is None:
        return
    try:
        only_message(bytes(changed))
        expected = said(decode_request(bytes(changed), HEAD_BYTES)[0])
    except InvalidRequest as error:
        raise AssertionError("found, and refused when read") from error
    assert said(found[1]) == expected


def test_requests_with_ids_are_not_remembered() -> None:
    known = body(b"abc", id="1")
    assert learnt(known).find(known) is None


def test_a_field_behind_the_tensors_hides_the_form() -> None:
    message = body(b"abc")[HEAD_BYTES:] + b"\x12\x012"
    known = frame(message)
    assert learnt(known).find(known) is None


def test_what_is_remembered_is_bounded() -> None:
    plans = learnt(*[body(b"abc", model=f"{index:04}") for index in range(1000)])
    assert sum(plans.find(body(b"abc", model=f"{index:04}")) is not None for index in range(1000)) <= 4
