"""Merging requests and splitting answers. Row-major tensors merge by concatenation. Sans-IO.

Answers are split as documents, not as messages, so that fields of other servers' own reach the caller.
"""

from collections.abc import Hashable
from itertools import chain
from typing import Any

import msgspec

from kfunc.errors import BadGateway, InvalidRequest
from kfunc.protocol import v1, v2
from kfunc.protocol.messages import InferRequest, Tensor

_DOCUMENT = msgspec.json.Decoder(dict[str, Any])

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
        request = v2.decode_request(body)
        for tensor in request.inputs:
            v2.flatten(tensor)
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
            list(chain.from_iterable(member.request.inputs[index].data for member in members)),
        )
        for index, tensor in enumerate(first.inputs)
    ]
    merged = InferRequest(inputs, parameters=first.parameters, outputs=first.outputs)
    return msgspec.json.encode(v2.request_document(merged))


def split(members: list[Mergeable], body: bytes) -> list[bytes]:
    """Each member's part of the answer. Raises BadGateway where the answer has other rows than were asked."""
    try:
        document = _DOCUMENT.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadGateway("the upstream's answer to a batch is not a JSON object") from None
    total = sum(member.rows for member in members)
    if members[0].is_v1:
        return _split_v1(members, document, total)
    return _split_v2(members, document, total)


def _split_v1(members: list[Mergeable], document: dict[str, Any], total: int) -> list[bytes]:
    predictions = document.get("predictions")
    if type(predictions) is not list or len(predictions) != total:
        raise BadGateway("the upstream's answer to a batch does not have a prediction for each instance")
    parts, start = [], 0
    for member in members:
        document["predictions"] = predictions[start : start + member.rows]
        start += member.rows
        parts.append(msgspec.json.encode(document))
    return parts


def _split_v2(members: list[Mergeable], document: dict[str, Any], total: int) -> list[bytes]:
    outputs = document.get("outputs")
    if type(outputs) is not list:
        raise BadGateway("the upstream's answer to a batch has no outputs")
    cuts = [_Cut(output, total) for output in outputs]
    if cuts and not any(cut.batched for cut in cuts):
        raise BadGateway(f"the upstream's answer to a batch of {total} rows has other numbers of rows")
    document.pop("id", None)
    parts, start = [], 0
    for member in members:
        end = start + member.rows
        part = {**document, "outputs": [cut.rows(start, end) for cut in cuts]}
        if member.request.id:
            part["id"] = member.request.id
        start = end
        parts.append(msgspec.json.encode(part))
    return parts


class _Cut:
    """An output of a batch: cut by rows, or given to everybody where its first dimension is not the batch's."""

    __slots__ = ("_data", "_output", "_shape", "_width", "batched")

    def __init__(self, output: Any, total: int) -> None:
        try:
            self._output, self._shape, self._data = output, output["shape"], output["data"]
            self.batched = bool(self._shape) and self._shape[0] == total
            self._width = len(self._data) // total
            broken = type(self._data) is not list or (self.batched and self._width * total != len(self._data))
        except (TypeError, KeyError):
            broken = True
        if broken:
            raise BadGateway("the upstream's answer to a batch has an output without shape or data")

    def rows(self, start: int, end: int) -> Any:
        """The output for the rows from `start` to before `end`."""
        if not self.batched:
            return self._output
        data = self._data[start * self._width : end * self._width]
        return {**self._output, "shape": [end - start, *self._shape[1:]], "data": data}
