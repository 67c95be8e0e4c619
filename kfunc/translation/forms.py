"""A request or answer of one protocol as that of the other. Sans-IO, without numpy."""

from base64 import b64encode
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul
from struct import unpack
from typing import Any

import msgspec
import orjson

from kfunc.errors import BadGateway, InvalidRequest, KfuncError
from kfunc.protocol import v1, v2
from kfunc.protocol.datatypes import DATATYPES, JSON, element_count
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, Tensor
from kfunc.protocol.v2_binary import split_bytes

# The struct module's codes of binary tensors' elements.
CODES = {
    **{"BOOL": "?", "FP16": "e", "FP32": "f", "FP64": "d"},
    **{"INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q"},
}
OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS
MAX_LISTS = 2**20
"""Lists and objects that a message's elements are put into: some 100 bytes each, and beside a 0 in a shape they cost none."""
UNNAMED = "output-0"
NOTHING_KNOWN = ModelMetadata("", [], "", [], [])
_RESPONSE = msgspec.json.Decoder(InferResponse)


# ---- for a server of V2


def v2_request(request: v1.V1Request, metadata: ModelMetadata) -> bytes:
    """A V1 request as V2's in JSON. Raises InvalidRequest."""
    typed = v1.typed(request, metadata)
    no_text = InvalidRequest("bytes that are not UTF-8 cannot be sent to this server, which gets JSON")
    document: dict[str, Any] = {"inputs": [_described(each, no_text) for each in typed.inputs]}
    if typed.parameters:
        document["parameters"] = typed.parameters
    return _request_json(document)


def v1_answer(body: bytes, *, columnar: bool) -> bytes:
    """V2's answer in JSON as V1's. Raises BadGateway for what is none."""
    try:
        columns = _columns(_RESPONSE.decode(body).outputs)
    except (msgspec.MsgspecError, KfuncError, ValueError, LookupError, TypeError, RecursionError):
        raise BadGateway("the server's answer is not one of the V2 protocol in JSON") from None
    only = next(iter(columns.values())) if len(columns) == 1 else None
    if columnar:
        return _answer_json({"outputs": columns if only is None else only})
    if only is not None:
        return _answer_json({"predictions": only if isinstance(only, list) else [only]})
    counts = {len(each) if isinstance(each, list) else -1 for each in columns.values()}
    if len(counts) != 1 or counts == {-1}:
        raise BadGateway("the model's outputs do not have the same number of rows: ask with inputs in place of instances")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return _answer_json({"predictions": rows})


# ---- for a server of V1


def v1_request(request: InferRequest) -> bytes:
    """A V2 request as V1's: in rows where all inputs have as many, else in columns. Raises InvalidRequest."""
    columns = _columns(request.inputs)
    document: dict[str, Any] = {}
    signature = (request.parameters or {}).get("signature_name")
    if signature is not None:
        document["signature_name"] = signature
    rows = {each.shape[0] if each.shape else -1 for each in request.inputs}
    if len(rows) == 1 and rows != {-1}:
        names = list(columns)
        document["instances"] = (
            columns[names[0]]
            if len(names) == 1
            else [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        )
    else:
        document["inputs"] = columns
    return _request_json(document)


def v2_answer(body: bytes, request: InferRequest, model: str, version: str) -> bytes:
    """V1's answer as V2's. Raises BadGateway for what is none, InvalidRequest for an output that there is not."""
    no_text = BadGateway("the server's answer has bytes that are not UTF-8, which V2's JSON cannot carry: ask by V1")
    try:
        document = orjson.loads(body)
        if "predictions" in document:
            given = Tensor(v1.ROWS, [len(document["predictions"])], JSON, document["predictions"])
            answer = v1.V1Request([given])
        else:
            columns = document["outputs"]
            named = columns.items() if isinstance(columns, dict) else [("", columns)]
            answer = v1.V1Request([Tensor(name, [], JSON, value) for name, value in named], columnar=True)
        outputs = v1.typed(answer, NOTHING_KNOWN).inputs
        for each in outputs:
            each.name = UNNAMED if each.name == v1.UNNAMED.name else each.name
        described = {each.name: _described(each, no_text) for each in outputs}
    except BadGateway:
        raise
    except (KfuncError, ValueError, LookupError, TypeError, RecursionError):
        raise BadGateway("the server's answer is not one of the V1 protocol") from None
    wanted = [asked.name for asked in request.outputs] if request.outputs else list(described)
    unknown = [name for name in wanted if name not in described]
    if unknown:
        raise InvalidRequest(f"unknown output {unknown[0]!r}; the model's outputs are {', '.join(described)}")
    answered: dict[str, Any] = {"model_name": model, "outputs": [described[name] for name in wanted]}
    answered |= {"id": request.id} if request.id else {}
    return _answer_json(answered | ({"model_version": version} if version else {}))


# ---- JSON


def _request_json(document: dict[str, Any]) -> bytes:
    """Raises InvalidRequest for what JSON of 64-bit numbers and UTF-8 cannot hold."""
    try:
        return orjson.dumps(document, option=OPTIONS)
    except TypeError as error:
        raise InvalidRequest(f"the request cannot be put into the JSON that the server takes: {error}") from None


def _answer_json(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, option=OPTIONS)
    except TypeError as error:
        raise BadGateway(f"the server's answer cannot be put into the caller's protocol: {error}") from None


# ---- tensors


def _columns(tensors: Sequence[Tensor]) -> dict[str, Any]:
    """Nested values by the tensors' names. Raises InvalidRequest naming the tensor."""
    columns: dict[str, Any] = {}
    lists = max((each.shape[0] for each in tensors if each.shape), default=0) if len(tensors) > 1 else 0  # an object a row
    for each in tensors:
        if each.name in columns:
            raise InvalidRequest(f"input {each.name!r} is there twice")
        flat = _flat(each)
        lists += sum(accumulate(each.shape[:-1], mul))
        if lists > MAX_LISTS:
            raise InvalidRequest(
                f"input {each.name!r}: {lists} lists in V1's JSON; at most {MAX_LISTS} are made: send fewer rows"
            )
        columns[each.name] = _nested(flat, each.shape)
    return columns


def _described(tensor: Tensor, no_text: KfuncError) -> dict[str, Any]:
    """V2's JSON has strings for BYTES. Raises InvalidRequest; `no_text` for bytes that are none."""
    data = _flat(tensor)
    if tensor.datatype == "BYTES":
        try:
            data = [each.decode() if isinstance(each, bytes) else each for each in data]
        except UnicodeDecodeError:
            raise no_text from None
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": data}


def _flat(tensor: Tensor) -> list[Any]:
    """The elements as a list. Raises InvalidRequest naming the tensor."""
    if isinstance(tensor.data, list):
        v2.flatten(tensor)
        listed: list[Any] = tensor.data
        return listed
    if not isinstance(tensor.data, (bytes, bytearray, memoryview)):
        raise InvalidRequest(f"input {tensor.name!r}: data must be an array")
    count = element_count(tensor.name, tensor.shape)
    data = memoryview(tensor.data).cast("B")
    if tensor.datatype == "BYTES":
        return [_base64(each) for each in split_bytes(tensor.name, data, count)]
    size = DATATYPES[tensor.datatype] * count
    if len(data) != size:
        raise InvalidRequest(f"input {tensor.name!r}: {size} bytes expected by its shape, {len(data)} given")
    if tensor.datatype == "BF16":  # the upper half of an FP32
        return list(unpack(f"<{count}f", b"".join([b"\0\0" + data[at : at + 2] for at in range(0, size, 2)])))
    return list(unpack(f"<{count}{CODES[tensor.datatype]}", data))


def _base64(element: bytes) -> Any:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": b64encode(element).decode()}


def _nested(data: list[Any], shape: Sequence[int]) -> Any:
    if len(shape) < 2:
        return data if shape else data[0]
    width = prod(shape[1:])
    return [_nested(data[row * width : (row + 1) * width], shape[1:]) for row in range(shape[0])]
