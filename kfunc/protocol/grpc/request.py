"""ModelInferRequest ↔ InferRequest."""

from kfunc.errors import InvalidRequest
from kfunc.protocol.grpc import contents
from kfunc.protocol.grpc.parameters import read_entry, write_map
from kfunc.protocol.grpc.tensors import Raw, attach, opening_of, raw_data, read_tensor
from kfunc.protocol.grpc.wire import (
    LENGTH,
    Budget,
    broken,
    budget_of,
    fields,
    length_delimited,
    optional_text,
    tag,
    text,
    varint,
)
from kfunc.protocol.messages import InferRequest, RequestedOutput

MODEL_NAME, MODEL_VERSION, ID, PARAMETERS, INPUTS, OUTPUTS, RAW_INPUTS = range(1, 8)
MAX_TENSORS = 10_000  # in one request: each costs an object
# Each field costs a step, and other calls wait for it: together some 0.1 s, and half a second.
MAX_FIELDS = 100_000  # of one request, but for those in contents
MAX_ELEMENTS = 1_000_000  # fields in contents: BYTES, and numbers that are not packed


def decode_request(data: bytes, at: int = 0, end: int | None = None, most: int | None = None) -> tuple[InferRequest, bool]:
    """The request in `data[at:end]`, and whether its tensors came raw; raw ones are views of `data`.

    `most` are the bytes that typed ones may become. Raises InvalidRequest, naming the tensor that is wrong, PayloadTooLarge.
    """
    request = InferRequest([])
    raw: Raw = []
    spans: list[contents.Spans] = []
    budget, elements = budget_of(MAX_FIELDS), budget_of(MAX_ELEMENTS)
    for number, kind, start, stop in fields(data, at, len(data) if end is None else end, budget):
        if number <= RAW_INPUTS and kind != LENGTH:
            raise broken(f"field {number} has the wire type {kind}")
        if number == RAW_INPUTS:
            raw.append((start, stop))
        elif number == INPUTS:
            tensor, found = read_tensor(data, start, stop, budget, elements)
            request.inputs.append(tensor)
            spans.append(found)
        elif number == OUTPUTS:
            request.outputs = request.outputs or []
            request.outputs.append(_read_output(data, start, stop, budget))
            if len(request.outputs) > MAX_TENSORS:
                raise InvalidRequest(f"the request names more than {MAX_TENSORS} outputs")
        elif number == PARAMETERS:
            request.parameters = request.parameters or {}
            read_entry(data, start, stop, request.parameters, budget)
        elif number == MODEL_NAME:
            request.model_name = text(data, start, stop)
        elif number == MODEL_VERSION:
            request.model_version = text(data, start, stop)
        elif number == ID:
            request.id = text(data, start, stop)
        if len(request.inputs) > MAX_TENSORS or len(raw) > MAX_TENSORS:
            raise InvalidRequest(f"the request has more than {MAX_TENSORS} inputs")
    attach(request.inputs, spans, data, raw, most)
    return request, bool(raw)


def _read_output(data: bytes, at: int, end: int, budget: Budget) -> RequestedOutput:
    output = RequestedOutput("")
    for number, kind, start, stop in fields(data, at, end, budget):
        if number <= 2 and kind != LENGTH:
            raise broken(f"field {number} of a requested output has the wire type {kind}")
        if number == 1:
            output.name = text(data, start, stop)
        elif number == 2:
            output.parameters = output.parameters or {}
            read_entry(data, start, stop, output.parameters, budget)
    return output


# ---- the client's side


def encode_request(request: InferRequest) -> bytes:
    """A ModelInferRequest whose tensors go raw."""
    parts: list[bytes | memoryview] = [
        optional_text(MODEL_NAME, request.model_name),
        optional_text(MODEL_VERSION, request.model_version),
        optional_text(ID, request.id),
        write_map(PARAMETERS, request.parameters),
    ]
    parts += [length_delimited(INPUTS, opening_of(tensor)) for tensor in request.inputs]
    for output in request.outputs or ():
        parts.append(length_delimited(OUTPUTS, optional_text(1, output.name) + write_map(2, output.parameters)))
    for tensor in request.inputs:
        payload = raw_data(tensor)
        parts += (tag(RAW_INPUTS, LENGTH) + varint(len(payload)), payload)
    return b"".join(parts)
