"""V2 requests, JSON and binary, read as far as merging needs. Sans-IO."""

from collections.abc import Hashable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kfunc.batcher_sidecar.number_text import number_text
from kfunc.batcher_sidecar.padding import Padding
from kfunc.batcher_sidecar.tensor_rows import Rows, Unrepresentable, element_ends
from kfunc.errors import InvalidRequest
from kfunc.protocol import v2, v2_binary
from kfunc.protocol.datatypes import DATATYPES, element_count
from kfunc.protocol.messages import InferRequest, RequestedOutput, Tensor

# A request with one of these is one of a series: its order and its instance count.
SEQUENCE = ("sequence_id", "sequence_start", "sequence_end")
PRIORITY, TIMEOUT = "priority", "timeout"
# Of one request, not of what is asked: the batcher's own, and the form of the answer.
OWN = (PRIORITY, TIMEOUT, v2_binary.ALL_WANTED)

BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NOT_NUMBERS = frozenset(("BOOL", "BYTES"))
MAX_TIMEOUT_US = 10**12
# Of what requests must have in common: groups keep it when the requests are gone.
MAX_NAME, MAX_INPUTS, MAX_COMMON = 256, 64, 4096


class RawTensor(Struct, gc=False, forbid_unknown_fields=True):
    """A Tensor before its data are read, and after. An unknown field could not be merged."""

    name: str
    shape: list[int]
    datatype: str
    data: Raw = Raw()  # empty: there is none
    parameters: dict[str, Any] | None = None


class RawRequest(Struct, gc=False, forbid_unknown_fields=True):
    """An InferRequest of such tensors."""

    inputs: list[RawTensor]
    id: str = ""
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


_REQUEST = msgspec.json.Decoder(RawRequest)


class V2Request(Struct):
    """Tensors with their data in any of the forms of tensor_rows.py, and how the caller wants its answer.

    `wanted`: outputs in binary, by name, or all or none. `binary`: not only JSON, in or out.
    `altered`: it has an input more than the caller sent.
    `level` and `timeout_s` are what it says of its turn; None: nothing. `lengths`: its size in the ragged
    dimension, by input. `cuts`: its inputs, if it was cut.
    """

    inputs: list[Tensor]
    rows: int
    id: str
    parameters: dict[str, Any] | None
    outputs: list[RequestedOutput] | None
    binary: bool
    level: int | None = None
    timeout_s: float | None = None
    wanted: dict[str, bool] | bool = False
    altered: bool = False
    lengths: dict[str, int] | None = None
    cuts: list[Rows] | None = None

    def rows_of(self, index: int) -> Rows:
        """An input of a request that goes in several calls."""
        if self.cuts is None:
            self.cuts = [Rows(each.data, each.datatype, self.rows) for each in self.inputs]
        return self.cuts[index]


def read(body: bytes, json_length: int | None, padding: Padding | None) -> tuple[V2Request, Hashable] | None:
    """A request and what it must have in common with others; None where it cannot be merged, or is wrong."""
    try:
        raw = _REQUEST.decode(body if json_length is None else body[:json_length])
        inputs = _tensors(raw, body, json_length)
        if inputs is None or len(inputs) > MAX_INPUTS:
            return None
        request = V2Request(inputs, inputs[0].shape[0], raw.id, raw.parameters, raw.outputs, json_length is not None)
        if (raw.parameters or raw.outputs) and not _take_parameters(request):
            return None
    except (InvalidRequest, Unrepresentable, *BROKEN):
        return None
    signature: list[Any] = []
    for tensor in inputs:
        if len(tensor.name) > MAX_NAME:
            return None
        signature += (tensor.name, tensor.datatype, *tensor.shape[1:])
    if padding is not None:
        signature = padding.signature(request)
    if request.parameters or request.outputs is not None:
        names = None if request.outputs is None else [output.name for output in request.outputs]
        common = msgspec.json.encode((request.parameters, names), order="sorted")
        if len(common) > MAX_COMMON:
            return None
        signature.append(common)
    return request, tuple(signature)


def _tensors(raw: RawRequest, body: bytes, json_length: int | None) -> list[Tensor] | None:
    """The tensors with their data; None where the first dimensions differ or there is none."""
    rows = -1
    inputs: list[Any] = raw.inputs  # they become tensors
    for each in inputs:
        shape = each.shape
        if rows < 0 and shape:
            rows = shape[0]
        if rows < 1 or not shape or shape[0] != rows or each.datatype not in DATATYPES:
            return None
        if each.parameters is not None and (json_length is None or each.parameters.keys() - {v2_binary.SIZE}):
            return None
        if each.data:
            _read_json(each)
        elif json_length is None:
            return None
        else:
            each.data = None
    if json_length is not None and not _attach(inputs, body, json_length):
        return None
    return inputs or None


def _attach(inputs: list[Tensor], body: bytes, json_length: int) -> bool:
    """Give them what follows the JSON; false where an input stays without."""
    v2_binary.attach(inputs, body, json_length)
    for tensor in inputs:
        if tensor.data is None or (tensor.datatype == "BYTES" and not _is_whole(tensor)):
            return False
        tensor.parameters = None
    return True


def _is_whole(tensor: Tensor) -> bool:
    """Whether BYTES have as many elements as their shape says: else the next request's would be taken for theirs."""
    if type(tensor.data) is not memoryview:
        return True
    return len(element_ends(tensor.data)) - 1 == element_count(tensor.name, tensor.shape)


def _read_json(tensor: Any) -> None:
    """Make its data the text of flat numbers, or else the values, flat."""
    text = number_text(tensor.data) if tensor.datatype not in NOT_NUMBERS else None
    if text is not None:
        elements = 1
        for dimension in tensor.shape:
            elements *= dimension
        if text.count(b",") + 1 == elements:
            tensor.data = text
            return
    tensor.data = msgspec.json.decode(tensor.data)
    v2.flatten(tensor)
    if tensor.datatype != "BOOL" and bool in set(map(type, tensor.data)):
        raise InvalidRequest(f"input {tensor.name!r}: {tensor.datatype} expected, found a boolean")


def _take_parameters(request: V2Request) -> bool:
    """Read what is of the request alone out of its parameters; false where it must run alone."""
    message = InferRequest([], "", request.parameters, request.outputs)
    for output in request.outputs or ():
        if output.parameters and output.parameters.keys() - {v2_binary.WANTED}:
            return False
    request.wanted = wanted = v2_binary.wanted(message)
    request.binary = request.binary or wanted is True or (type(wanted) is dict and any(wanted.values()))
    parameters = request.parameters
    if not parameters:
        request.parameters = None
        return True
    if any(name in parameters for name in SEQUENCE):
        return False
    level, timeout = parameters.get(PRIORITY, 0), parameters.get(TIMEOUT, 0)
    if type(level) is not int or type(timeout) is not int or level < 0 or timeout < 0:
        return False
    request.level = level or None
    request.timeout_s = min(timeout, MAX_TIMEOUT_US) / 1e6 if timeout else None
    request.parameters = {name: value for name, value in parameters.items() if name not in OWN} or None
    return True
