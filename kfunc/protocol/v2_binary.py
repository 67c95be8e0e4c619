"""Open Inference Protocol over REST, binary tensor extension (Triton's): bytes ↔ messages. Sans-IO.

A body is a JSON document and behind it the tensors' bytes, in the document's order: row-major,
little-endian, BOOL as one byte, BYTES as elements with a length of 4 bytes before each.
"""

from collections.abc import Iterable
from typing import Any

from kfunc.errors import InvalidRequest
from kfunc.protocol import v2
from kfunc.protocol.datatypes import DATATYPES, LENGTH_BYTES, element_count
from kfunc.protocol.messages import InferRequest, Tensor

SIZE = "binary_data_size"
WANTED = "binary_data"
ALL_WANTED = "binary_data_output"
# Triton's extensions that would answer elsewhere, or something else: a caller who is not told takes a wrong answer.
NOT_OFFERED = ("classification", "shared_memory_region")


def decode_request(body: bytes, json_length: int, model_name: str = "", model_version: str = "") -> InferRequest:
    """A request whose JSON part has `json_length` bytes (`Inference-Header-Content-Length`).

    Tensors with `binary_data_size` get a memoryview of the body as `data`: nothing is copied. BYTES
    stay as they came; `split_bytes` reads them. Raises InvalidRequest.
    """
    if not 0 < json_length <= len(body):
        raise InvalidRequest(
            f"Inference-Header-Content-Length is {json_length}; from 1 to {len(body)} is expected, the length of the body"
        )
    request = v2.decode_request(body[:json_length], model_name, model_version)
    attach(request.inputs, body, json_length)
    return request


def attach(tensors: list[Tensor], body: bytes, json_length: int) -> None:
    """Give the tensors of a JSON part what follows it, as memoryviews. Raises InvalidRequest where it does not fit."""
    view = memoryview(body)
    start = json_length
    for tensor in tensors:
        size = binary_size(tensor)
        if size is not None:
            end = start + size
            if end > len(body):
                left = len(body) - start
                raise InvalidRequest(f"input {tensor.name!r}: binary_data_size is {size}, and {left} bytes are left")
            tensor.data = view[start:end]
            start = end
    if start != len(body):
        raise InvalidRequest(
            f"the inputs' binary_data_size come to {start - json_length} bytes, "
            f"and {len(body) - json_length} follow the JSON part"
        )


def binary_size(tensor: Tensor) -> int | None:
    """The bytes that a tensor of the JSON part has behind it, checked against its shape; None: it is JSON."""
    if tensor.parameters is None or SIZE not in tensor.parameters:
        return None
    name, datatype, shape, size = tensor.name, tensor.datatype, tensor.shape, tensor.parameters[SIZE]
    if type(size) is not int or size < 0:
        raise InvalidRequest(f"input {name!r}: binary_data_size must be a number of bytes, 0 or more")
    if tensor.data is not None:
        raise InvalidRequest(f"input {name!r}: has both data and binary_data_size; one of them is expected")
    v2.require_datatype(tensor)
    count = element_count(name, shape)
    wanted = count * (DATATYPES[datatype] or LENGTH_BYTES)
    if size != wanted and (datatype != "BYTES" or size < wanted):
        least = "at least " if datatype == "BYTES" else ""
        raise InvalidRequest(
            f"input {name!r}: binary_data_size is {size}; {datatype} of shape {shape} has {least}{wanted} bytes"
        )
    return size


def split_bytes(name: str, data: Any, count: int) -> list[bytes]:
    """The `count` elements of a BYTES tensor in its binary form. Raises InvalidRequest."""
    elements = []
    start, size = 0, len(data)
    raw = bytes(data)
    for index in range(count):
        begin = start + LENGTH_BYTES
        start = begin + int.from_bytes(raw[start:begin], "little")
        if start > size:
            raise InvalidRequest(
                f"input {name!r}: element {index} ends at byte {start} by its length, and there are {size} bytes"
            )
        elements.append(raw[begin:start])
    if start != size:
        raise InvalidRequest(f"input {name!r}: {count} elements have {start} bytes by their lengths, and there are {size}")
    return elements


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """A BYTES tensor in its binary form."""
    return b"".join([part for element in elements for part in (len(element).to_bytes(LENGTH_BYTES, "little"), element)])


def wanted(request: InferRequest) -> "dict[str, bool] | bool":
    """Which outputs are asked for in binary: by name where the request names them, else all or none.

    An output's own `binary_data` wins over the request's `binary_data_output`. Raises InvalidRequest
    where either is not true or false, or where an output is asked for in a way that is not offered.
    """
    default = _flag("the request", request.parameters, ALL_WANTED, default=False)
    if not request.outputs:
        return default
    for each in request.outputs:
        for name in NOT_OFFERED:
            if each.parameters is not None and name in each.parameters:
                raise InvalidRequest(f"output {each.name!r}: {name.replace('_', ' ')} is not offered (see extensions in /v2)")
    return {each.name: _flag(f"output {each.name!r}", each.parameters, WANTED, default=default) for each in request.outputs}


def _flag(of: str, parameters: dict[str, Any] | None, name: str, *, default: bool) -> bool:
    if parameters is None:
        return default
    value = parameters.get(name, default)
    if type(value) is not bool:
        raise InvalidRequest(f"{of}: {name} must be true or false")
    return value
