"""V2 requests and answers in the binary tensor form, from and to JSON values: for `invoke --binary`."""

from base64 import b64encode
from typing import Any

import msgspec
import numpy as np

from kfunc.client.arrays import arrays_of, tensor_of
from kfunc.client.rest import decode_response, encode_request
from kfunc.client.wire import Answer
from kfunc.errors import InvalidRequest
from kfunc.protocol.messages import InferRequest


def encode_document(document: dict[str, Any]) -> tuple[bytes, int]:
    """A V2 request with its tensors in binary, and the length of its JSON. Raises InvalidRequest, InvalidCall."""
    try:
        request = msgspec.convert(document, InferRequest)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"the request is not one of V2: {error}") from None
    for index, tensor in enumerate(request.inputs):
        typed = tensor_of(tensor.name, tensor.data, tensor.datatype)
        typed.shape, typed.parameters = tensor.shape, tensor.parameters
        request.inputs[index] = typed
    return encode_request(request, binary=True)


def decode_document(answer: Answer) -> dict[str, Any]:
    """A V2 answer as JSON values, NaN and infinities as None. Raises InvalidAnswer."""
    response = decode_response(answer)
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
        return [value if np.isfinite(value) else None for value in flat.tolist()]
    if array.dtype.hasobject:
        return [_text(value) for value in flat]
    return flat.tolist()


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(value).decode()}
