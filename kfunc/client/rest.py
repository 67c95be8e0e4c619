"""V1 and V2 calls as bytes, the client's side: requests out, answers in. Sans-IO."""

from base64 import b64encode
from typing import Any

import msgspec
import numpy as np
import orjson

from kfunc.client.errors import InvalidAnswer, InvalidCall
from kfunc.client.sending import read_json, request_id
from kfunc.client.wire import Answer
from kfunc.errors import KfuncError
from kfunc.protocol import v2_binary
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor
from kfunc.protocol.v2 import request_document

JSON_LENGTH = "inference-header-content-length"
OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def encode_request(request: InferRequest, *, binary: bool) -> tuple[bytes, int]:
    """A V2 request, and the length of its JSON where binary tensors follow, else 0.

    Raises InvalidCall for what JSON cannot carry.
    """
    if not binary:
        for tensor in request.inputs:
            tensor.data = _json_data(tensor)
        return _dumps(request_document(request)), 0
    document = request_document(request)
    document["parameters"] = {**(request.parameters or {}), v2_binary.ALL_WANTED: True}
    buffers = [_buffer(tensor) for tensor in request.inputs]
    for described, buffer in zip(document["inputs"], buffers, strict=True):
        del described["data"]
        described["parameters"] = {**described.get("parameters", {}), v2_binary.SIZE: len(buffer)}
    head = _dumps(document)
    return b"".join([head, *buffers]), len(head)


def decode_response(answer: Answer) -> InferResponse:
    """The message of a V2 answer; tensors in binary have views of the body as `data`. Raises InvalidAnswer."""
    length = answer.headers.get(JSON_LENGTH)
    if length is None:
        response: InferResponse = read_json(answer, InferResponse)
        return response
    body = answer.body
    size = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else -1
    if not 0 < size <= len(body):
        raise InvalidAnswer(f"{JSON_LENGTH} is {length!r} of {len(body)} bytes", status=answer.status)
    response = read_json(Answer(answer.status, answer.headers, body[:size]), InferResponse)
    try:
        v2_binary.attach(response.outputs, body, size)
    except KfuncError as error:
        words = error.message.replace("input", "output", 1)
        raise InvalidAnswer(words, status=answer.status, request_id=request_id(answer)) from None
    return response


def encode_instances(rows: list[Any], parameters: dict[str, Any] | None) -> bytes:
    """A V1 request in rows: `parameters` are its other members, `signature_name` for example. Raises InvalidCall."""
    return _dumps({**(parameters or {}), "instances": rows})


def _json_data(tensor: Tensor) -> Any:
    if tensor.datatype == "BYTES":
        try:
            return [each.decode() if isinstance(each, bytes) else each for each in tensor.data]
        except UnicodeDecodeError:
            raise _not_as_json(tensor.name, "bytes that are not UTF-8") from None
    if tensor.datatype in ("FP16", "BF16"):
        raise _not_as_json(tensor.name, tensor.datatype)
    if tensor.datatype in ("FP32", "FP64") and not np.isfinite(tensor.data).all():
        raise _not_as_json(tensor.name, "NaN or an infinity")
    return tensor.data


def _not_as_json(name: str, what: str) -> InvalidCall:
    return InvalidCall(f"input {name!r}: {what} can only be sent in binary, which this server does not offer (or binary=False)")


def _buffer(tensor: Tensor) -> bytes | memoryview:
    if tensor.datatype == "BYTES" and isinstance(tensor.data, list):
        return v2_binary.join_bytes([each if isinstance(each, bytes) else each.encode() for each in tensor.data])
    return memoryview(tensor.data).cast("B") if len(tensor.data) else b""


def _dumps(document: Any) -> bytes:
    try:
        return orjson.dumps(document, option=OPTIONS, default=_plain)
    except (TypeError, msgspec.MsgspecError) as error:
        raise InvalidCall(f"the request cannot be written as JSON: {error}") from None


def _plain(value: Any) -> Any:
    """What orjson does not write: bytes as V1 has them, and arrays of types that JSON lacks."""
    if isinstance(value, bytes):
        return {"b64": b64encode(value).decode()}
    if isinstance(value, np.ndarray):
        return (value.astype(np.float32) if value.dtype == np.float16 else value).tolist()
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not supported")
