"""Several V2 requests as one: row-major tensors merge by concatenation. Sans-IO.

Where all are JSON so is the merged one, and its numbers are the callers' own digits; where one is binary,
or wants a binary answer, all become binary.
"""

from itertools import chain
from typing import Any

import msgspec

from kfunc.batcher_sidecar.number_text import join
from kfunc.batcher_sidecar.padding import Padding
from kfunc.batcher_sidecar.tensor_rows import to_binary
from kfunc.batcher_sidecar.v2_requests import V2Request
from kfunc.protocol import v2
from kfunc.protocol.messages import InferRequest, RequestedOutput, Tensor
from kfunc.protocol.v2_binary import ALL_WANTED, SIZE

Pieces = list[tuple[V2Request, int, int]]
"""Requests, each with the rows `start` to before `end` of it."""


def merge(pieces: Pieces, padding: Padding | None) -> tuple[bytes, int, dict[str, int]]:
    """The body, the length of its JSON part (0: it is all JSON) and the ragged inputs' sizes in it.

    Raises Unrepresentable, or RecursionError for what is nested too deeply to be written.
    """
    lengths = {} if padding is None else _longest(pieces)
    first = pieces[0][0]
    total = sum([end - start for _, start, end in pieces])
    columns = []
    for index in range(len(first.inputs)):
        columns.append(
            [
                request.inputs[index]
                if end - start == request.rows and not lengths
                else _piece(request, index, start, end, lengths, padding)
                for request, start, end in pieces
            ]
        )
    if any(request.binary for request, _, _ in pieces):
        body, json_length = _binary(first, columns, total)
        return body, json_length, lengths
    inputs = [
        Tensor(tensors[0].name, [total, *tensors[0].shape[1:]], tensors[0].datatype, _joined([each.data for each in tensors]))
        for tensors in columns
    ]
    merged = InferRequest(inputs, parameters=first.parameters, outputs=_named(first.outputs))
    return msgspec.json.encode(v2.request_document(merged)), 0, lengths


def _longest(pieces: Pieces) -> dict[str, int]:
    """The ragged inputs' sizes that all fit into."""
    lengths: dict[str, int] = {}
    for request, _, _ in pieces:
        for name, length in (request.lengths or {}).items():
            lengths[name] = max(lengths.get(name, 0), length)
    return lengths


def _piece(request: V2Request, index: int, start: int, end: int, lengths: dict[str, int], padding: Padding | None) -> Tensor:
    """An input of one request: the rows that travel, as long as the others'."""
    tensor = request.inputs[index]
    if end - start != request.rows:
        data = request.rows_of(index).cut(start, end)
        tensor = Tensor(tensor.name, [end - start, *tensor.shape[1:]], tensor.datatype, data)
    if padding is not None and tensor.name in lengths:
        tensor = padding.filled(tensor, lengths[tensor.name])
    return tensor


def _joined(parts: list[Any]) -> Any:
    kinds = set(map(type, parts))
    if kinds == {bytes}:
        return join(parts)
    if bytes not in kinds:
        return list(chain.from_iterable(parts))
    return join([part if type(part) is bytes else msgspec.json.encode(part)[1:-1] for part in parts if part])


def _binary(first: V2Request, columns: list[list[Tensor]], total: int) -> tuple[bytes, int]:
    inputs: list[Tensor] = []
    parts: list[bytes | memoryview] = []
    for tensors in columns:
        tensor = tensors[0]
        data = [to_binary(each.data, each.datatype) for each in tensors]
        size = sum(map(len, data))
        inputs.append(Tensor(tensor.name, [total, *tensor.shape[1:]], tensor.datatype, None, {SIZE: size}))
        parts += data
    parameters = {**(first.parameters or {}), ALL_WANTED: True}
    document = v2.request_document(InferRequest(inputs, parameters=parameters, outputs=_named(first.outputs)))
    for each in document["inputs"]:
        del each["data"]
    head = msgspec.json.encode(document)
    return b"".join([head, *parts]), len(head)


def _named(outputs: list[RequestedOutput] | None) -> list[RequestedOutput] | None:
    """The outputs without what each caller said of their form."""
    if outputs is None or not any(output.parameters for output in outputs):
        return outputs
    return [RequestedOutput(output.name) for output in outputs]
