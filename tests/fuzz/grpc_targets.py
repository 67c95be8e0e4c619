"""Targets: what gRPC's clients send, and what is made of it on its way to REST."""

from typing import Any

from kfunc.errors import BadGateway, InvalidRequest, PayloadTooLarge
from kfunc.protocol.grpc import request, schema, services
from kfunc.protocol.grpc.framing import HEAD_BYTES, Deframer, frame, only_message
from kfunc.protocol.grpc.plans import Plans
from kfunc.protocol.grpc.reflection import ANSWER
from kfunc.protocol.grpc.rest import answer_parts, request_head, with_raw_data
from kfunc.protocol.messages import InferRequest, RequestedOutput, Tensor
from kfunc.protocol.v2_binary import decode_request
from tests.fuzz.engine import Target

X = Tensor("x", [1, 2], "FP32", b"\0\0\x80\x3f\0\0\0\x40", {"a": True})
B = Tensor("b", [2], "BYTES", [b"ab", b""])
TYPED = b"\x0a\x01m" + b"\x2a\x13\x0a\x01x\x12\x05INT32\x1a\x01\x03\x2a\x05\x12\x03\x01\x02\x03"
SEEDS = [
    request.encode_request(InferRequest([X], "1", {"p": 1, "q": "s", "r": 0.5}, [RequestedOutput("y", {"c": 2})], "m", "2")),
    request.encode_request(InferRequest([B, X], model_name="m")),
    TYPED,
]
REQUEST_LIMIT = 1 << 20


def call_infer(content: bytes) -> str:
    """What is read is V2 in binary that the handler reads alike; a plan reads the same."""
    asked, raw = request.decode_request(content)
    plain = [(tensor.name, tensor.shape, tensor.datatype) for tensor in asked.inputs]
    body = frame(content)
    plans = Plans()
    if raw and plans.learn(body, asked) is not None:
        found = plans.find(body)
        if found is None or [(each.name, each.shape, each.datatype) for each in found[1].inputs] != plain:
            raise AssertionError("a plan reads something else")
    head = request_head(with_raw_data(asked))
    whole = head + b"".join([bytes(tensor.data) for tensor in asked.inputs])
    again = decode_request(whole, len(head), asked.model_name, asked.model_version)
    if [(tensor.name, tensor.shape, tensor.datatype) for tensor in again.inputs] != plain:
        raise AssertionError("REST reads something else")
    return "raw" if raw else "typed"


def call_small(content: bytes) -> str:
    """Every table reads it or refuses it."""
    kinds: list[Any] = [services.CHANGE_REQUEST, services.MODEL_METADATA, services.HEALTH_REQUEST, services.INDEX, ANSWER]
    refusals = 0
    for kind in kinds:
        try:
            schema.decode(kind, content)
        except InvalidRequest:
            refusals += 1
    return f"{refusals} refuse it"


def call_framing(content: bytes) -> str:
    """The same messages however it is cut; a body of one message is that message."""
    try:
        found = Deframer(REQUEST_LIMIT).feed(content)
    except PayloadTooLarge:
        return "too large"
    single = Deframer(REQUEST_LIMIT)
    if [message for at in range(len(content)) for message in single.feed(content[at : at + 1])] != found:
        raise AssertionError("cut otherwise it is something else")
    if only_message(content) != found[0][0] or content[HEAD_BYTES:] != found[0][1]:
        raise AssertionError("as a body it is something else")
    return "one message"


def call_answer(content: bytes) -> str:
    """An upstream's answer: read or refused as the upstream's fault."""
    for raw in (True, False):
        for length in (len(content), content.find(b"}]}") + 3):
            try:
                b"".join(answer_parts(content, length, raw=raw))
            except (BadGateway, InvalidRequest):
                continue
            return "answer"
    raise InvalidRequest("no answer")


ANSWERS = [
    b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}}]}12345678',
    b'{"model_name":"m","id":"1","outputs":[{"name":"y","datatype":"BYTES","shape":[1],"data":["a"]}]}',
    b'{"model_name":"m","outputs":[{"name":"y","datatype":"INT8","shape":[1,2],"data":[[1,-2]]}]}',
]
TARGETS = [
    Target("grpc-infer", SEEDS, call_infer),
    Target("grpc-small", [*SEEDS, b"\x0a\x01m\x12\x01n\x1a\x07\x0a\x01k\x12\x02\x08\x01"], call_small),
    Target("grpc-frames", [frame(b"abc"), frame(b"", compressed=True) + frame(SEEDS[0])], call_framing),
    Target("grpc-answer", ANSWERS, call_answer),
]
