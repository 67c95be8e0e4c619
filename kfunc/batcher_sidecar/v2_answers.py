"""Answers to merged V2 requests: cut by rows and written as each caller wants them. Sans-IO.

Answers are cut as documents, not as messages, so that fields of other servers' own reach the caller. Numbers
stay text where their array is flat, which is quick and gives each caller the digits that the upstream wrote.
"""

from math import prod
from typing import Any

import msgspec

from kfunc.batcher_sidecar.number_text import number_text
from kfunc.batcher_sidecar.padding import Padding
from kfunc.batcher_sidecar.tensor_rows import Unrepresentable, element_ends, to_binary, to_json, trim_rows
from kfunc.batcher_sidecar.v2_requests import BROKEN, V2Request
from kfunc.errors import BadGateway
from kfunc.protocol.datatypes import DATATYPES
from kfunc.protocol.v2_binary import SIZE

_DOCUMENT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OUTPUTS = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_ANY = msgspec.json.Decoder()
_SHAPE = msgspec.json.Decoder(list[int])
_TEXT = msgspec.json.Decoder(str)
_encode = msgspec.json.encode

NO_DATA = "the upstream's answer to a batch has an output without shape or data"


class Output:
    """An output of a batch: cut by rows, or given to everybody where its first dimension is not the batch's.

    `trim` are its size in the ragged dimension, that dimension, and whose length it has; None: it is not ragged.
    """

    __slots__ = (
        "_binary",
        "_elements",
        "_ends",
        "_is_text",
        "_total",
        "_trailing",
        "_whole",
        "_width",
        "batched",
        "datatype",
        "name",
        "opening",
        "parameters",
        "shape",
        "trim",
    )

    def __init__(self, output: dict[str, Any], total: int, binary: memoryview | None, fixed: frozenset[str]) -> None:
        self._total = total
        self.trim: tuple[int, str] | None = None
        self._ends: list[int] | None = None
        self._binary = binary
        self._elements: list[Any] = []
        self._is_text = False
        self.parameters: dict[str, Any] | None = None
        try:
            self.name = _TEXT.decode(output["name"]) if "name" in output else ""
            self.datatype = _TEXT.decode(output["datatype"]) if "datatype" in output else ""
            self.shape = _SHAPE.decode(output["shape"])
            self.batched = self.name not in fixed and bool(self.shape) and self.shape[0] == total
            size = self._read_json(output["data"]) if binary is None else self._read_binary(output["parameters"], binary)
        except (KeyError, TypeError, Unrepresentable, *BROKEN):
            raise BadGateway(NO_DATA) from None
        self._width = size // total
        if self.batched and self._width * total != size:
            raise BadGateway(NO_DATA)
        self.opening = opening(output, "shape", "data", "" if binary is None else "parameters")
        self._trailing = b"".join([b",%d" % dimension for dimension in self.shape[1:]])
        self._whole: bytes | None = None

    def json(self, start: int, end: int) -> bytes:
        """The output for the rows from `start` to before `end`, as JSON. Raises Unrepresentable."""
        if self.batched:
            if not self._is_text:
                return self._json(end - start, self.rows_json(start, end, None))
            data = b",".join(self._elements[start * self._width : end * self._width])
            return b'%b"shape":[%d%b],"data":[%b]}' % (self.opening, end - start, self._trailing, data)
        if self._whole is None:
            self._whole = self._json(0, self.rows_json(0, 0, None))
        return self._whole

    def _json(self, rows: int, data: bytes) -> bytes:
        shape = self.own_shape(rows, None)
        return b'%b"shape":%b,%b"data":[%b]}' % (self.opening, _encode(shape), _more(self), data)

    def _read_json(self, data: msgspec.Raw) -> int:
        """Elements of the array: numbers, other values, or whole rows where it is nested."""
        text = number_text(data)
        self._is_text = text is not None
        elements: Any = _ANY.decode(data) if text is None else text.split(b",")
        if type(elements) is not list:
            raise BadGateway(NO_DATA)
        self._elements = elements
        return len(elements)

    def _read_binary(self, parameters: msgspec.Raw, binary: memoryview) -> int:
        """Elements, or bytes where all elements have the same number of them."""
        self.parameters = _ANY.decode(parameters)
        if self.datatype != "BYTES":
            return len(binary)
        self._ends = element_ends(binary)
        return len(self._ends) - 1

    def rows_json(self, start: int, end: int, length: int | None) -> bytes:
        """The text of the rows' values, without brackets. Raises Unrepresentable."""
        if self._binary is not None:
            return to_json(self._rows_of_binary(start, end, length), self.datatype)
        elements = self._rows_of_json(start, end, length)
        return b",".join(elements) if self._is_text else _encode(elements)[1:-1]

    def rows_binary(self, start: int, end: int, length: int | None) -> bytes | memoryview:
        """The rows' values in binary. Raises Unrepresentable."""
        if self._binary is not None:
            return self._rows_of_binary(start, end, length)
        elements = self._rows_of_json(start, end, length)
        return to_binary(b",".join(elements) if self._is_text else _flat(elements), self.datatype)

    def _rows_of_json(self, start: int, end: int, length: int | None) -> list[Any]:
        if not self.batched:
            return self._elements
        elements = self._elements[start * self._width : end * self._width]
        return elements if length is None else list(self._trimmed(_flat(elements), end - start, length, 1))

    def _rows_of_binary(self, start: int, end: int, length: int | None) -> memoryview:
        binary = self._binary
        if binary is None or not self.batched:
            return binary or memoryview(b"")
        if self._ends is None:
            rows = binary[start * self._width : end * self._width]
            if length is None:
                return rows
            return memoryview(self._trimmed(rows, end - start, length, DATATYPES[self.datatype]))
        if length is None:
            return binary[self._ends[start * self._width] : self._ends[end * self._width]]
        numbers = self._trimmed(range(start * self._width, end * self._width), end - start, length, 1)
        return memoryview(b"".join([binary[self._ends[at] : self._ends[at + 1]] for at in numbers]))

    def _trimmed(self, elements: Any, rows: int, length: int, size: int) -> Any:
        dim, _ = self.trim or (1, "")
        inner = prod(self.shape[dim + 1 :]) * size
        return trim_rows(elements, rows * prod(self.shape[1:dim]), self.shape[dim] * inner, length * inner)

    def own_length(self, request: V2Request) -> int | None:
        """The caller's size in the ragged dimension, where it is less than the batch's."""
        if self.trim is None or request.lengths is None:
            return None
        length = request.lengths.get(self.trim[1])
        return None if length is None or length >= self.shape[self.trim[0]] else length

    def own_shape(self, rows: int, length: int | None) -> list[int]:
        """The shape of what one caller gets."""
        if not self.batched:
            return self.shape
        shape = [rows, *self.shape[1:]]
        if length is not None and self.trim is not None:
            shape[self.trim[0]] = length
        return shape


class V2Answer:
    """A complete answer to a merged request of `total` rows.

    `fixed` are outputs that have no batch dimension by the model's metadata, `rowed` those that have one: what comes
    with other rows must not be given to everybody. `lengths` are the batch's ragged sizes. Raises BadGateway where it
    is no answer, or has other rows than were asked.
    """

    __slots__ = ("all_json", "opening", "outputs", "ragged")

    def __init__(
        self,
        body: bytes,
        json_length: int | None,
        total: int,
        fixed: frozenset[str] = frozenset(),
        padding: Padding | None = None,
        lengths: dict[str, int] | None = None,
        rowed: frozenset[str] = frozenset(),
    ) -> None:
        try:
            document: dict[str, Any] = _DOCUMENT.decode(body if json_length is None else body[:json_length])
        except BROKEN:
            raise BadGateway("the upstream's answer to a batch is not a JSON object") from None
        try:
            outputs = _OUTPUTS.decode(document["outputs"])
        except (KeyError, *BROKEN):
            raise BadGateway("the upstream's answer to a batch has no outputs") from None
        at = len(body) if json_length is None else json_length
        view = memoryview(body)
        self.outputs: list[Output] = []
        for output in outputs:
            size = _binary_size(output)
            binary = None if size is None else view[at : at + size]
            at += size or 0
            if binary is not None and len(binary) != size:
                raise BadGateway(NO_DATA)
            made = Output(output, total, binary, fixed)
            if not made.batched and made.name in rowed:
                raise BadGateway(f"output {made.name!r} of the upstream's answer to a batch of {total} rows has other rows")
            self.outputs.append(made)
        if self.outputs and not any(output.batched for output in self.outputs):
            raise BadGateway(f"the upstream's answer to a batch of {total} rows has other numbers of rows")
        self.opening = opening(document, "id", "outputs")
        self.all_json = json_length is None
        self.ragged = False
        if padding is not None and lengths:
            self._find_ragged(padding, lengths)

    def part_json(self, identifier: str, start: int, end: int) -> bytes:
        """What one caller gets who wants JSON, of an answer that is not ragged. Raises Unrepresentable."""
        own = b'"id":%b,' % _encode(identifier) if identifier else b""
        return b'%b%b"outputs":[%b]}' % (self.opening, own, b",".join([output.json(start, end) for output in self.outputs]))

    def _find_ragged(self, padding: Padding, lengths: dict[str, int]) -> None:
        name, length = next(iter(lengths.items()))
        for output in self.outputs:
            shape = output.shape
            if output.batched and output.name in padding.outputs and len(shape) > padding.dim and shape[padding.dim] == length:
                output.trim = (padding.dim, name)
                self.ragged = True


Sources = list[tuple[V2Answer, int, int]]
"""Answers, each with the rows `start` to before `end` of it that are one caller's: one, unless its request was cut."""


def part(request: V2Request, sources: Sources) -> tuple[bytes, int]:
    """What one caller gets, and the length of its JSON part (0: it is all JSON). Raises Unrepresentable."""
    answer, start, end = sources[0]
    wanted = request.wanted
    in_json = wanted is False or (type(wanted) is dict and not any(wanted.values()))
    if in_json and len(sources) == 1 and not answer.ragged:
        return answer.part_json(request.id, start, end), 0
    own = b'"id":%b,' % _encode(request.id) if request.id else b""
    if in_json:
        texts = [_json_rejoined(index, request, sources) for index in range(len(answer.outputs))]
        return b'%b%b"outputs":[%b]}' % (answer.opening, own, b",".join(texts)), 0
    texts, tail = [], []
    for index, output in enumerate(answer.outputs):
        if not (wanted is True or (type(wanted) is dict and wanted.get(output.name, False))):
            texts.append(_json_rejoined(index, request, sources))
            continue
        length = output.own_length(request)
        used = sources if output.batched else sources[:1]
        data = [each.outputs[index].rows_binary(a, b, length) for each, a, b in used]
        shape = output.own_shape(sum(b - a for _, a, b in used), length)
        parameters = {**(output.parameters or {}), SIZE: sum(map(len, data))}
        texts.append(b'%b"shape":%b,"parameters":%b}' % (output.opening, _encode(shape), _encode(parameters)))
        tail += data
    head = b'%b%b"outputs":[%b]}' % (answer.opening, own, b",".join(texts))
    return b"".join([head, *tail]), len(head)


def _json_rejoined(index: int, request: V2Request, sources: Sources) -> bytes:
    output = sources[0][0].outputs[index]
    length = output.own_length(request)
    used = sources if output.batched else sources[:1]
    data = b",".join([text for each, a, b in used if (text := each.outputs[index].rows_json(a, b, length))])
    shape = output.own_shape(sum(b - a for _, a, b in used), length)
    return b'%b"shape":%b,%b"data":[%b]}' % (output.opening, _encode(shape), _more(output), data)


def _more(output: Output) -> bytes:
    """Parameters of an output that was binary and becomes JSON, but for its size."""
    left = {name: value for name, value in (output.parameters or {}).items() if name != SIZE}
    return b'"parameters":%b,' % _encode(left) if left else b""


def _binary_size(output: dict[str, Any]) -> int | None:
    """The bytes that an output has behind the JSON; None: it has its data in it."""
    if "parameters" not in output or "data" in output:
        return None
    try:
        size = _ANY.decode(output["parameters"])[SIZE]
    except (KeyError, TypeError, *BROKEN):
        return None
    return size if type(size) is int and size >= 0 else None


def _flat(elements: list[Any]) -> list[Any]:
    """Nested data, as some servers answer, flat."""
    while elements and type(elements[0]) is list:
        elements = [each for row in elements for each in row]
    return elements


def opening(document: dict[str, Any], *without: str) -> bytes:
    """The beginning of an object, to which more members are to be added, without some of its own."""
    text = _encode({name: value for name, value in document.items() if name not in without})[:-1]
    return text if text == b"{" else text + b","
