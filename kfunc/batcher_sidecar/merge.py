"""Merging requests and splitting answers. Row-major tensors merge by concatenation. Sans-IO.

Answers are split as documents, not as messages, so that fields of other servers' own reach the caller. Numbers
stay text where their array is flat, which is quick and gives each caller the digits that the upstream wrote.
"""

from collections.abc import Hashable
from itertools import chain
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kfunc.batcher_sidecar.number_text import count, join, number_text
from kfunc.errors import BadGateway, InvalidRequest
from kfunc.protocol import v1, v2
from kfunc.protocol.datatypes import DATATYPES, element_count
from kfunc.protocol.messages import InferRequest, RequestedOutput, Tensor


class _RawTensor(Struct, gc=False):
    """A Tensor whose data nobody has read."""

    name: str
    shape: list[int]
    datatype: str
    data: Raw
    parameters: dict[str, Any] | None = None


class _RawRequest(Struct, gc=False):
    """An InferRequest of such tensors."""

    inputs: list[_RawTensor]
    id: str = ""
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


_REQUEST = msgspec.json.Decoder(_RawRequest)
_DOCUMENT = msgspec.json.Decoder(dict[str, Raw])
_OUTPUTS = msgspec.json.Decoder(list[dict[str, Raw]])
_ROWS = msgspec.json.Decoder(list[Raw])
_ANY = msgspec.json.Decoder()
BROKEN = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
NOT_NUMBERS = frozenset(("BOOL", "BYTES"))

# A request with this parameter is one of a series, or its answer is not JSON.
ALONE = ("sequence_id", "binary_data_output")


class Mergeable:
    """A request that may travel with others: its message, its rows and the key of its group."""

    __slots__ = ("is_v1", "key", "request", "rows")

    def __init__(self, request: InferRequest, rows: int, key: Hashable, *, is_v1: bool) -> None:
        self.request = request
        self.rows = rows
        self.key = key
        self.is_v1 = is_v1


def read_v1(target: bytes, body: bytes) -> Mergeable | None:
    """A V1 request; None where it is not one that can be merged: the upstream says what is wrong with it."""
    try:
        request = v1.decode_request(body)
    except InvalidRequest:
        return None
    if request.columnar:  # its inputs may have different numbers of rows
        return None
    rows = request.inputs[0].data
    parameters = None if request.parameters is None else msgspec.json.encode(request.parameters, order="sorted")
    return Mergeable(request, len(rows), (target, parameters, _form(rows[0])), is_v1=True)


def _form(row: Any) -> Hashable:
    """The trailing shape of an instance, by its first elements, and what its values are."""
    widths: list[Hashable] = []
    while type(row) is list and row:
        widths.append(len(row))
        row = row[0]
    if type(row) is dict:
        widths += sorted(row)
    kind = type(row)
    return (*widths, float if kind is int else kind)


def read_v2(target: bytes, body: bytes) -> Mergeable | None:
    """A V2 request; None where it is not one that can be merged."""
    try:
        request = _read_numbers(body) or _read_values(body)
    except InvalidRequest:
        return None
    inputs = request.inputs
    rows = inputs[0].shape[0] if inputs and inputs[0].shape else 0
    if rows == 0 or (request.parameters is not None and not request.parameters.keys().isdisjoint(ALONE)):
        return None
    if request.outputs is not None and any(output.parameters for output in request.outputs):
        return None
    signature: list[Any] = [target]
    for tensor in inputs:
        shape = tensor.shape
        if not shape or shape[0] != rows or tensor.parameters is not None:
            return None
        signature += (tensor.name, tensor.datatype, *shape[1:])
    if request.parameters is not None or request.outputs is not None:
        signature.append(msgspec.json.encode((request.parameters, request.outputs), order="sorted"))
    return Mergeable(request, rows, tuple(signature), is_v1=False)


def _read_numbers(body: bytes) -> InferRequest | None:
    """A request whose tensors' `data` are the text of their numbers; None where one is not flat or has others."""
    try:
        raw = _REQUEST.decode(body)
    except BROKEN:
        return None
    inputs = []
    for tensor in raw.inputs:
        text = number_text(tensor.data)
        if text is None or tensor.datatype in NOT_NUMBERS or tensor.datatype not in DATATYPES:
            return None
        if count(text) != element_count(tensor.name, tensor.shape):
            return None
        inputs.append(Tensor(tensor.name, tensor.shape, tensor.datatype, text, tensor.parameters))
    return InferRequest(inputs, raw.id, raw.parameters, raw.outputs)


def _read_values(body: bytes) -> InferRequest:
    request = v2.decode_request(body)
    for tensor in request.inputs:
        v2.flatten(tensor)
    return request


def merge(members: list[Mergeable]) -> bytes:
    """One request's body for all rows, in the members' order."""
    first = members[0].request
    if members[0].is_v1:
        rows = list(chain.from_iterable(member.request.inputs[0].data for member in members))
        return msgspec.json.encode({v1.ROWS: rows, **(first.parameters or {})})
    total = sum(member.rows for member in members)
    inputs = [
        Tensor(
            tensor.name,
            [total, *tensor.shape[1:]],
            tensor.datatype,
            _concatenated([member.request.inputs[index].data for member in members]),
        )
        for index, tensor in enumerate(first.inputs)
    ]
    merged = InferRequest(inputs, parameters=first.parameters, outputs=first.outputs)
    return msgspec.json.encode(v2.request_document(merged))


def _concatenated(parts: list[Any]) -> Any:
    if not any(type(part) is bytes for part in parts):
        return list(chain.from_iterable(parts))
    texts = [part if type(part) is bytes else msgspec.json.encode(part)[1:-1] for part in parts]
    return join(texts)  # none is empty: all have the same trailing shape, and number_text takes no empty one


def split(members: list[Mergeable], body: bytes) -> list[bytes]:
    """Each member's part of the answer. Raises BadGateway where the answer has other rows than were asked."""
    try:
        document: dict[str, Any] = _DOCUMENT.decode(body)
    except BROKEN:
        raise BadGateway("the upstream's answer to a batch is not a JSON object") from None
    total = sum(member.rows for member in members)
    if members[0].is_v1:
        return _split_v1(members, document, total)
    return _split_v2(members, document, total)


def _split_v1(members: list[Mergeable], document: dict[str, Any], total: int) -> list[bytes]:
    try:
        predictions = _ROWS.decode(document["predictions"])
    except (KeyError, *BROKEN):
        predictions = []
    if len(predictions) != total:
        raise BadGateway("the upstream's answer to a batch does not have a prediction for each instance")
    parts, start = [], 0
    for member in members:
        document["predictions"] = predictions[start : start + member.rows]
        start += member.rows
        parts.append(msgspec.json.encode(document))
    return parts


def _split_v2(members: list[Mergeable], document: dict[str, Any], total: int) -> list[bytes]:
    try:
        outputs = _OUTPUTS.decode(document["outputs"])
    except (KeyError, *BROKEN):
        raise BadGateway("the upstream's answer to a batch has no outputs") from None
    cuts = [_Cut(output, total) for output in outputs]
    if cuts and not any(cut.batched for cut in cuts):
        raise BadGateway(f"the upstream's answer to a batch of {total} rows has other numbers of rows")
    opening = _open(document, "id", "outputs")
    parts, start = [], 0
    for member in members:
        end = start + member.rows
        own = b'"id":%b,' % msgspec.json.encode(member.request.id) if member.request.id else b""
        parts.append(b'%b%b"outputs":[%b]}' % (opening, own, b",".join([cut.rows(start, end) for cut in cuts])))
        start = end
    return parts


def _open(document: dict[str, Any], *without: str) -> bytes:
    """The beginning of an object, to which more members are to be added, without some of its own."""
    text = msgspec.json.encode({name: value for name, value in document.items() if name not in without})[:-1]
    return text if text == b"{" else text + b","


class _Cut:
    """An output of a batch: cut by rows, or given to everybody where its first dimension is not the batch's."""

    __slots__ = ("_elements", "_is_text", "_opening", "_trailing", "_whole", "_width", "batched")

    def __init__(self, output: dict[str, Any], total: int) -> None:
        try:
            shape, text = _ANY.decode(output["shape"]), number_text(output["data"])
            self._is_text = text is not None
            elements = _ANY.decode(output["data"]) if text is None else text.split(b",")
            self.batched = bool(shape) and shape[0] == total
            self._elements: list[Any] = elements
            self._width = len(elements) // total
            self._trailing = b"".join([b",%d" % dimension for dimension in shape[1:]])
            broken = type(elements) is not list or (self.batched and self._width * total != len(elements))
        except (TypeError, KeyError, *BROKEN):
            broken = True
        if broken:
            raise BadGateway("the upstream's answer to a batch has an output without shape or data")
        self._opening = _open(output, "shape", "data")
        self._whole = b"" if self.batched else msgspec.json.encode(output)

    def rows(self, start: int, end: int) -> bytes:
        """The output for the rows from `start` to before `end`, as JSON."""
        if not self.batched:
            return self._whole
        elements = self._elements[start * self._width : end * self._width]
        data = b",".join(elements) if self._is_text else msgspec.json.encode(elements)[1:-1]
        return b'%b"shape":[%d%b],"data":[%b]}' % (self._opening, end - start, self._trailing, data)
