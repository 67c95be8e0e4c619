"""V2 requests and answers in binary, REST's form and gRPC's, from and to JSON values: for `invoke --binary`, `--grpc`."""

from base64 import b64encode
from math import isfinite
from typing import Any

import msgspec
import numpy as np

from kfunc.client.arrays import arrays_of, tensor_of
from kfunc.client.rest import decode_response, encode_request
from kfunc.client.wire import Answer
from kfunc.errors import InvalidRequest
from kfunc.protocol.messages import InferRequest, InferResponse


def encode_document(document: dict[str, Any]) -> tuple[bytes, int]:
    """A V2 request with its tensors in binary, and the length of its JSON. Raises InvalidRequest, InvalidCall."""
    return encode_request(_request(document), binary=True)


def encode_message(document: dict[str, Any], model: str) -> bytes:
    """A V2 request as gRPC's message. Raises InvalidRequest, InvalidCall."""
    from kfunc.protocol.grpc.request import encode_request as encode

    request = _request(document)
    request.model_name = model
    return encode(request)


def _request(document: dict[str, Any]) -> InferRequest:
    try:
        request = msgspec.convert(document, InferRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the request is not one of V2: {error}") from None
    for index, tensor in enumerate(request.inputs):
        typed = tensor_of(tensor.name, tensor.data, tensor.datatype)
        typed.shape, typed.parameters = tensor.shape, tensor.parameters
        request.inputs[index] = typed
    return request


def decode_document(answer: Answer) -> dict[str, Any]:
    """A V2 answer as JSON values, NaN and infinities as None. Raises InvalidAnswer."""
    return _document(decode_response(answer))


def decode_message(answer: Answer) -> dict[str, Any]:
    """The same of gRPC's message."""
    from kfunc.client.grpc_calls import decode_answer

    return _document(decode_answer(answer, answer.body))


def _document(response: InferResponse) -> dict[str, Any]:
    arrays = arrays_of(response)
    document = {"model_name": response.model_name, "model_version": response.model_version, "id": response.id}
    shown: dict[str, Any] = {name: value for name, value in document.items() if value}
    shown["outputs"] = [
        {"name": each.name, "datatype": each.datatype, "shape": each.shape, "data": _values(arrays[each.name])}
        for each in response.outputs
    ]
    return shown


def _values(array: "np.ndarray[Any, Any]") -> list[Any]:
    flat = array.reshape(-1)
    if array.dtype.kind == "f":
        # FP32 by way of their texts: the fewest digits that mean the number, as in an answer in JSON.
        values = map(float, map(str, flat)) if array.dtype == np.float32 else flat.tolist()
        return [value if isfinite(value) else None for value in values]
    if array.dtype.hasobject:
        return [_text(value) for value in flat]
    return flat.tolist()


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(value).decode()}
