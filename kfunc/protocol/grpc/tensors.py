"""InferInputTensor and InferOutputTensor, which have the same fields, and the raw contents beside them."""

from kfunc.errors import InvalidRequest, PayloadTooLarge
from kfunc.protocol.datatypes import DATATYPES, LENGTH_BYTES, MAX_RANK, element_count
from kfunc.protocol.grpc import contents
from kfunc.protocol.grpc.parameters import read_entry, write_map
from kfunc.protocol.grpc.wire import (
    LENGTH,
    UNBOUNDED,
    VARINT,
    Budget,
    broken,
    fields,
    length_delimited,
    optional_text,
    read_varints,
    signed,
    text,
    varint,
)
from kfunc.protocol.messages import Tensor
from kfunc.protocol.v2 import require_datatype
from kfunc.protocol.v2_binary import join_bytes

NAME, DATATYPE, SHAPE, PARAMETERS, CONTENTS = range(1, 6)
MAX_OPENINGS = 1024
MAX_OPENING = 256  # bytes

Raw = list[tuple[int, int]]
"""Where each raw tensor lies in its message."""

_openings: dict[tuple[str, str, tuple[int, ...]], bytes] = {}


def read_tensor(
    data: bytes, at: int, end: int, budget: Budget = UNBOUNDED, elements: Budget = UNBOUNDED
) -> tuple[Tensor, contents.Spans]:
    """A tensor without its data, and where its contents lie; `elements` is the budget of the contents' fields."""
    tensor = Tensor("", [], "")
    spans: contents.Spans = {}
    for number, kind, start, stop in fields(data, at, end, budget):
        if number == SHAPE and kind in (LENGTH, VARINT):
            for sizes in read_varints(data, start, stop) if kind == LENGTH else ([start],):
                tensor.shape += [signed(size) for size in sizes]
                if len(tensor.shape) > MAX_RANK:
                    raise InvalidRequest(f"input {tensor.name!r}: more than {MAX_RANK} dimensions")
        elif number <= CONTENTS and kind != LENGTH:
            raise broken(f"field {number} of a tensor has the wire type {kind}")
        elif number == NAME:
            tensor.name = text(data, start, stop)
        elif number == DATATYPE:
            tensor.datatype = text(data, start, stop)
        elif number == PARAMETERS:
            tensor.parameters = tensor.parameters or {}
            read_entry(data, start, stop, tensor.parameters, budget)
        elif number == CONTENTS:
            contents.collect(data, start, stop, spans, elements)
    return tensor, spans


def attach(tensors: list[Tensor], spans: list[contents.Spans], data: bytes, raw: Raw, most: int | None = None) -> None:
    """Give tensors their data, of their contents or of the message's raw ones.

    `most` bounds the bytes that contents become, up to eight times what they are. Raises InvalidRequest, PayloadTooLarge.
    """
    if raw:
        _attach_raw(tensors, spans, data, raw)
        return
    size = 0
    for tensor, found in zip(tensors, spans, strict=True):
        count = _wanted(tensor)
        size += count * (DATATYPES[tensor.datatype] or LENGTH_BYTES)
        if most is not None and size > most:
            raise PayloadTooLarge(f"the inputs have {size} bytes or more, {most} are allowed (limits.max_body_bytes)")
        _attach_typed(tensor, count, found, data)


def _attach_raw(tensors: list[Tensor], spans: list[contents.Spans], data: bytes, raw: Raw) -> None:
    if len(raw) != len(tensors):
        raise InvalidRequest(
            f"raw_input_contents has {len(raw)} entries; one for each of the {len(tensors)} inputs is expected"
        )
    view = memoryview(data)
    for tensor, found, (start, end) in zip(tensors, spans, raw, strict=True):
        if found:
            raise InvalidRequest(f"input {tensor.name!r}: has contents as well as raw_input_contents; one of them is expected")
        wanted = _wanted(tensor) * (DATATYPES[tensor.datatype] or LENGTH_BYTES)
        size = end - start
        if size != wanted and (tensor.datatype != "BYTES" or size < wanted):
            least = "at least " if tensor.datatype == "BYTES" else ""
            raise InvalidRequest(
                f"input {tensor.name!r}: raw_input_contents has {size} bytes; "
                f"{tensor.datatype} of shape {tensor.shape} has {least}{wanted}"
            )
        tensor.data = view[start:end]


def _attach_typed(tensor: Tensor, count: int, spans: contents.Spans, data: bytes) -> None:
    tensor.data, given = contents.decode(tensor.name, tensor.datatype, data, spans, count)
    if given != count:
        told = given if given < count else "more"
        raise InvalidRequest(f"input {tensor.name!r}: the shape {tensor.shape} has {count} elements, its contents have {told}")


def _wanted(tensor: Tensor) -> int:
    """The elements that a tensor must have. Raises InvalidRequest."""
    if tensor.parameters is not None and "shared_memory_region" in tensor.parameters:
        raise InvalidRequest(f"input {tensor.name!r}: shared memory is not offered")
    require_datatype(tensor)
    return element_count(tensor.name, tensor.shape)


# ---- writing


def opening_of(tensor: Tensor) -> bytes:
    """All but a tensor's contents; the same ones come again and again."""
    key = (tensor.name, tensor.datatype, tuple(tensor.shape))
    opening = _openings.get(key)
    if opening is None:
        sizes = b"".join(map(varint, tensor.shape))
        opening = optional_text(NAME, tensor.name) + optional_text(DATATYPE, tensor.datatype)
        opening += length_delimited(SHAPE, sizes) if sizes else b""
        if len(_openings) < MAX_OPENINGS and len(opening) <= MAX_OPENING:
            _openings[key] = opening
    return opening + write_map(PARAMETERS, tensor.parameters) if tensor.parameters else opening


def raw_data(tensor: Tensor) -> bytes | memoryview:
    """A tensor in raw form."""
    data = tensor.data
    if tensor.datatype == "BYTES" and type(data) is list:
        return join_bytes([each if type(each) is bytes else each.encode() for each in data])
    if type(data) is list:
        data = contents.as_array(tensor)
    view = memoryview(data)
    return view.cast("B") if view.nbytes else b""
