"""InferResponse ↔ ModelInferResponse."""

from kfunc.protocol.grpc import contents
from kfunc.protocol.grpc.parameters import read_entry, write_map
from kfunc.protocol.grpc.tensors import CONTENTS, Raw, attach, opening_of, raw_data, read_tensor
from kfunc.protocol.grpc.wire import LENGTH, broken, fields, length_delimited, optional_text, tag, text, varint
from kfunc.protocol.messages import InferResponse

MODEL_NAME, MODEL_VERSION, ID, PARAMETERS, OUTPUTS, RAW_OUTPUTS = range(1, 7)
RAW_TAG = tag(RAW_OUTPUTS, LENGTH)

Parts = list[bytes | memoryview]


def encode_response(response: InferResponse, *, raw: bool) -> bytes:
    """A ModelInferResponse. `raw` is taken for true where an output has no other form."""
    return b"".join(response_parts(response, raw=raw))


def response_parts(response: InferResponse, *, raw: bool) -> Parts:
    """The same in parts, with the tensors' own memory among them."""
    raw = raw or any(output.datatype in contents.ONLY_RAW for output in response.outputs)
    parts: Parts = [response_opening(response)]
    tail: Parts = []
    for output in response.outputs:
        opening = opening_of(output)
        if raw:
            payload = raw_data(output)
            tail += (RAW_TAG + varint(len(payload)), payload)
            parts.append(length_delimited(OUTPUTS, opening))
        else:
            inner = length_delimited(CONTENTS, contents.encode(output))
            parts.append(length_delimited(OUTPUTS, opening + inner))
    return parts + tail


def response_opening(response: InferResponse) -> bytes:
    """What is not of its tensors."""
    opening = optional_text(MODEL_NAME, response.model_name) + optional_text(MODEL_VERSION, response.model_version)
    if response.id:
        opening += optional_text(ID, response.id)
    if response.parameters:
        opening += write_map(PARAMETERS, response.parameters)
    return opening


# ---- the client's side


def decode_response(data: bytes) -> InferResponse:
    """A ModelInferResponse; tensors have views of `data`, or lists of bytes, as theirs. Raises InvalidRequest."""
    response = InferResponse("", [])
    raw: Raw = []
    spans: list[contents.Spans] = []
    for number, kind, start, stop in fields(data, 0, len(data)):
        if number <= RAW_OUTPUTS and kind != LENGTH:
            raise broken(f"field {number} has the wire type {kind}")
        if number == RAW_OUTPUTS:
            raw.append((start, stop))
        elif number == OUTPUTS:
            tensor, found = read_tensor(data, start, stop)
            response.outputs.append(tensor)
            spans.append(found)
        elif number == PARAMETERS:
            response.parameters = response.parameters or {}
            read_entry(data, start, stop, response.parameters)
        elif number == MODEL_NAME:
            response.model_name = text(data, start, stop)
        elif number == MODEL_VERSION:
            response.model_version = text(data, start, stop)
        elif number == ID:
            response.id = text(data, start, stop)
    attach(response.outputs, spans, data, raw)
    return response
