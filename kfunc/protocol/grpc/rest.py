"""ModelInfer as REST asks and answers it: requests become V2 binary, its answers ModelInferResponse."""

from array import array
from typing import Any
from urllib.parse import quote

import msgspec

from kfunc.errors import BadGateway, KfuncError, Relayed
from kfunc.protocol import v2_binary
from kfunc.protocol.grpc.answer import OUTPUTS, RAW_TAG, Parts, response_opening, response_parts
from kfunc.protocol.grpc.contents import FIELDS
from kfunc.protocol.grpc.tensors import opening_of, raw_data
from kfunc.protocol.grpc.wire import length_delimited, varint
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor
from kfunc.protocol.v2 import flatten, request_document

MAX_FORMS = 512
MAX_HEAD = 4096  # bytes
FLOATS = ("FP32", "FP64")
NAN = float("nan")

_RESPONSE = msgspec.json.Decoder(InferResponse)
_forms: dict[bytes, "Form"] = {}


def model_path(name: str, version: str, end: str) -> bytes:
    """The path that REST has for a model."""
    versioned = f"/versions/{quote(version, safe='')}" if version else ""
    return f"/v2/models/{quote(name, safe='')}{versioned}{end}".encode()


def request_head(request: InferRequest) -> bytes:
    """The JSON of a V2 request whose tensors follow in binary, and whose answer's outputs are to come so."""
    document = request_document(request)
    document["parameters"] = {**(request.parameters or {}), v2_binary.ALL_WANTED: True}
    for tensor in document["inputs"]:
        size = len(tensor.pop("data"))
        tensor["parameters"] = {**tensor.get("parameters", {}), v2_binary.SIZE: size}
    for output in document.get("outputs", ()):
        if "parameters" in output:
            output["parameters"] = {name: value for name, value in output["parameters"].items() if name != v2_binary.WANTED}
    return msgspec.json.encode(document)


def with_raw_data(request: InferRequest) -> InferRequest:
    """The request with every tensor in its binary form."""
    for tensor in request.inputs:
        if type(tensor.data) is list:
            tensor.data = raw_data(tensor)
    return request


class Form:
    """An answer whose JSON has been here before: what it says, and where its tensors lie behind it."""

    __slots__ = ("opening", "size", "spans")

    def __init__(self, opening: bytes, spans: list[tuple[bytes, int, int]], size: int) -> None:
        self.opening = opening
        self.spans = spans
        self.size = size


def answer_parts(body: bytes, json_length: int, *, raw: bool) -> Parts:
    """The ModelInferResponse of a V2 answer, in parts. Raises BadGateway where it is none."""
    head = body[:json_length]
    form = _forms.get(head) if raw else None
    if form is not None and form.size == len(body):
        view = memoryview(body)
        parts: Parts = [form.opening]
        for before, start, end in form.spans:
            parts += (before, view[start:end])
        return parts
    response = read_answer(head, body)
    if raw and not response.id and json_length < len(body) and len(head) <= MAX_HEAD:
        _learn(head, body, response)
    return response_parts(response, raw=raw)


def read_answer(head: bytes, body: bytes) -> InferResponse:
    """The message of a V2 answer; `head` is its JSON. Raises BadGateway."""
    try:
        response = _RESPONSE.decode(head)
        v2_binary.attach(response.outputs, body, len(head))
        for output in response.outputs:
            if isinstance(output.parameters, dict):
                output.parameters.pop(v2_binary.SIZE, None)
            if type(output.data) is not memoryview:
                _from_json(output)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError, OverflowError, KfuncError):
        raise BadGateway("the upstream's answer is not as the V2 protocol says") from None
    return response


def _from_json(output: Tensor) -> None:
    """Numbers as a buffer, texts as bytes. Raises KfuncError, TypeError, OverflowError."""
    flatten(output)
    if output.datatype == "BYTES":
        if not {*map(type, output.data)} <= {str}:
            raise TypeError("BYTES are texts in JSON")
        output.data = [each.encode() for each in output.data]
        return
    values = [NAN if each is None else each for each in output.data] if output.datatype in FLOATS else output.data
    output.data = memoryview(array(FIELDS[output.datatype][1] if output.datatype in FIELDS else "", values)).cast("B")


def _learn(head: bytes, body: bytes, response: InferResponse) -> None:
    spans: list[tuple[bytes, int, int]] = []
    at = len(head)
    opening = response_opening(response)
    for output in response.outputs:
        if output.data.obj is not body:
            return
        end = at + len(output.data)
        spans.append((RAW_TAG + varint(len(output.data)), at, end))
        opening += length_delimited(OUTPUTS, opening_of(output))
        at = end
    if len(_forms) >= MAX_FORMS:
        _forms.clear()
    _forms[head] = Form(opening, spans, len(body))


def read_error(status: int, body: bytes, retry_after: bytes) -> Relayed:
    """What REST answered in place of a result."""
    message = ""
    try:
        document: Any = msgspec.json.decode(body)
        message = document.get("error", "") if isinstance(document, dict) else ""
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    if not isinstance(message, str) or not message:
        message = f"the upstream answered {status}"
    seconds = int(retry_after) if retry_after.isdigit() and len(retry_after) < 9 else None
    return Relayed(message, status, seconds)
