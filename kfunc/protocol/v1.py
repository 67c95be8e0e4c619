"""The V1 protocol of KServe and TensorFlow Serving's predict API: rows as `instances`, columns as `inputs`. Sans-IO."""

from binascii import Error as Base64Error
from binascii import a2b_base64
from itertools import chain
from struct import error, pack, unpack
from typing import Any

import msgspec

from kfunc.errors import InvalidRequest
from kfunc.protocol.datatypes import DATATYPES, JSON, MAX_RANK
from kfunc.protocol.json_text import ERRORS, cause, kind_of, may_hold_booleans, require_shallow
from kfunc.protocol.messages import InferRequest, ModelMetadata, Tensor, TensorSpec

ROWS = "instances"
COLUMNS = "inputs"
BINARY = {"b64"}
# The struct module's code of what is packed for them; JSON has no infinity.
HALVES = {"FP16": "e", "BF16": "f"}
# What a table's column of booleans may be to a model: pandas takes them for numbers, too, and a fitted model no longer tells.
NUMBERS = frozenset(("FP32", "FP64"))
INFINITE_BF16 = frozenset((0x7F80, 0xFF80))

# The input of a model that does not tell the names of its own.
UNNAMED = TensorSpec("input-0", "", ())

_DOCUMENT = msgspec.json.Decoder(dict[str, Any])


class V1Request(InferRequest, gc=False):
    """A request whose tensors are JSON values until `typed` gives them types.

    In rows: one tensor `instances`. `columnar`: a tensor for each input, or one without a name.
    """

    columnar: bool = False
    has_booleans: bool = True
    """Whether there may be any among the values."""


def decode_request(body: bytes, model_name: str = "", model_version: str = "") -> V1Request:
    """A request of `:predict` or `:explain` (TensorFlow Serving's REST API, Predict API, Request format).

    Other members of the document become parameters, `signature_name` too: a model here has one signature.
    Of duplicate keys the last one counts. Raises InvalidRequest.
    """
    try:
        document = _DOCUMENT.decode(body)
    except ERRORS as error:
        raise _refusal(body, error) from None
    columnar = COLUMNS in document
    if columnar:
        tensors = _columns(document)
    else:
        rows = document.pop(ROWS, None)
        if type(rows) is not list or not rows:
            raise InvalidRequest('"instances" must be an array with at least one instance')
        tensors = [Tensor(ROWS, [len(rows)], JSON, rows)]
    if document and type(document.get("signature_name", "")) is not str:
        raise InvalidRequest('"signature_name" must be a string')
    if document:
        require_shallow("the request", document)
    has_booleans = may_hold_booleans(body)
    return V1Request(tensors, "", document or None, None, model_name, model_version, columnar, has_booleans)


def _refusal(body: bytes, error: Exception) -> InvalidRequest:
    if isinstance(error, msgspec.ValidationError) and not body.lstrip().startswith(b"{"):
        return InvalidRequest('the request must be an object with "instances" or "inputs"')
    return InvalidRequest(f"the request is not JSON: {cause(error)}")


def _columns(document: dict[str, Any]) -> list[Tensor]:
    if ROWS in document:
        raise InvalidRequest('a request has either "instances" (rows) or "inputs" (columns), not both')
    columns = document.pop(COLUMNS)
    if type(columns) is dict and columns.keys() != BINARY:
        if not columns:
            raise InvalidRequest('"inputs" must name at least one input')
        return [Tensor(name, [], JSON, value) for name, value in columns.items()]
    if type(columns) is list and columns and type(columns[0]) is dict and "datatype" in columns[0]:
        raise InvalidRequest('"inputs" with "datatype" is a V2 request; its path is /v2/models/NAME/infer')
    return [Tensor("", [], JSON, columns)]


def typed(request: InferRequest, metadata: ModelMetadata) -> InferRequest:
    """The same request with the tensors that `metadata` names, flat and row-major.

    A row is the value of the only input, or an object with a value for each. A model that does not
    tell its inputs gets INT64 (UINT64 where it must be), FP64, BOOL or BYTES as the values are.
    Raises InvalidRequest naming the input.
    """
    if type(request) is not V1Request:  # a V2 request may name any datatype
        name, known = request.inputs[0].name, ", ".join(DATATYPES)
        raise InvalidRequest(f"input {name!r}: unknown datatype {JSON!r}; one of {known} is expected")
    specs, booleans = metadata.inputs, request.has_booleans
    first = request.inputs[0]
    if request.columnar and (first.name or len(request.inputs) > 1):
        known_specs = {spec.name: spec for spec in specs}
        request.inputs = [_tensor(_spec_of(each.name, known_specs), each.data, booleans, named=True) for each in request.inputs]
    elif not request.columnar and type(first.data[0]) is dict and first.data[0].keys() != BINARY:
        request.inputs = _named_rows(first.data, specs, booleans)
    elif len(specs) > 1:
        names = ", ".join(spec.name for spec in specs)
        what = '"inputs"' if request.columnar else "each instance"
        raise InvalidRequest(f"{what} must be an object with the inputs {names}")
    else:
        request.inputs = [_tensor(specs[0] if specs else UNNAMED, first.data, booleans)]
    return request


def _spec_of(name: str, specs: dict[str, TensorSpec]) -> TensorSpec:
    spec = specs.get(name)
    if spec is None:
        if specs:
            raise InvalidRequest(f"unknown input {name!r}; the model's inputs are {', '.join(specs)}")
        spec = TensorSpec(name, "", ())
    return spec


def _named_rows(rows: list[Any], specs: list[TensorSpec], booleans: bool) -> list[Tensor]:
    wanted = specs or [TensorSpec(name, "", ()) for name in rows[0]]
    names = {spec.name for spec in wanted}
    for index, row in enumerate(rows):
        if type(row) is not dict or row.keys() != names:
            known = ", ".join(spec.name for spec in wanted)
            raise InvalidRequest(f"instance {index} must be an object with exactly the inputs {known}: {_unlike(row, names)}")
    return [_tensor(spec, [row[spec.name] for row in rows], booleans, named=True) for spec in wanted]


def _unlike(row: Any, names: set[str]) -> str:
    if type(row) is not dict:
        return f"it is {kind_of(row)}"
    missing = sorted(names - row.keys())
    return f"{missing[0]!r} is missing" if missing else f"{min(row.keys() - names)!r} is none of them"


def _tensor(spec: TensorSpec, value: Any, booleans: bool, *, named: bool = False) -> Tensor:
    """Nested arrays as a tensor; the only value of a scalar's too. `named`: of a table, maybe, where a boolean is 1 or 0."""
    shape, data = ([len(value)], value) if type(value) is list else ([], [value])
    while data and type(data[0]) is list:
        width = len(data[0])
        if len(data) == 1:
            data = data[0]
        else:
            if set(map(type, data)) != {list} or set(map(len, data)) != {width}:
                raise _ragged(spec.name, data, len(shape), width)
            data = list(chain.from_iterable(data))
        shape.append(width)
        if len(shape) > MAX_RANK:
            raise InvalidRequest(f"input {spec.name!r}: more than {MAX_RANK} dimensions")
    datatype = spec.datatype
    if datatype in ("", "BYTES"):
        kinds = set(map(type, data))
        if dict in kinds:
            data = [_base64(spec.name, each) if type(each) is dict else each for each in data]
            kinds = kinds - {dict} | {bytes}
        datatype = datatype or _datatype(spec.name, kinds, data)
    elif booleans and datatype != "BOOL" and bool in set(map(type, data)):
        if not (named and _is_column(spec)):
            raise InvalidRequest(f"input {spec.name!r}: {datatype} expected, found a boolean")
        data = [int(each) if type(each) is bool else each for each in data]
    if datatype in HALVES:
        return Tensor(spec.name, shape, datatype, _halves(spec.name, datatype, data))
    return Tensor(spec.name, shape, datatype, data)


def _is_column(spec: TensorSpec) -> bool:
    """Whether an input can be a table's column of numbers."""
    return list(spec.shape) == [-1] and spec.datatype in NUMBERS


def _halves(name: str, datatype: str, data: list[Any]) -> memoryview:
    """Numbers as FP16 or BF16, rounded to the nearest: in binary, the only form that they have."""
    count = len(data)
    try:
        packed = pack(f"<{count}{HALVES[datatype]}", *data)
    except (error, OverflowError):
        pass
    else:
        if datatype == "FP16":
            return memoryview(packed)
        # An FP32's upper half; the sum carries where the lower half is more than a half, or one behind an odd number.
        bits = [(each + 0x7FFF + (each >> 16 & 1)) >> 16 for each in unpack(f"<{count}I", packed)]
        if not INFINITE_BF16.intersection(bits):
            return memoryview(pack(f"<{count}H", *bits))
    if set(map(type, data)) <= {int, float}:
        raise InvalidRequest(f"input {name!r}: a number is out of the range of {datatype}")
    raise InvalidRequest(f"input {name!r}: {datatype} expected in every element")


def _ragged(name: str, data: list[Any], depth: int, width: int) -> InvalidRequest:
    other = next(each for each in data if type(each) is not list or len(each) != width)
    given = f"an array of {len(other)}" if type(other) is list else kind_of(other)
    return InvalidRequest(
        f"input {name!r}: the values do not all have the same shape: "
        f"at depth {depth} the first is an array of {width}, another is {given}"
    )


def _base64(name: str, value: dict[str, Any]) -> bytes:
    if value.keys() != BINARY or type(value["b64"]) is not str:
        raise InvalidRequest(f'input {name!r}: an object among the values must be {{"b64": "…"}}, bytes as base64')
    text = value["b64"]
    try:
        return a2b_base64(text, strict_mode=True)
    except (Base64Error, ValueError):
        pass
    bare = "".join(text.split()).rstrip("=")  # TensorFlow Serving reads lines and missing padding too
    try:
        return a2b_base64(bare + "=" * (-len(bare) % 4), strict_mode=True)
    except (Base64Error, ValueError):
        raise InvalidRequest(f"input {name!r}: b64 is not base64") from None


def _datatype(name: str, kinds: set[type], data: list[Any]) -> str:
    if kinds <= {int}:
        return _integers(name, data)
    if kinds <= {int, float}:
        return "FP64"
    if kinds <= {str, bytes}:
        return "BYTES"
    if kinds == {bool}:
        return "BOOL"
    raise InvalidRequest(f"input {name!r}: the values must be all numbers, all strings or all booleans")


def _integers(name: str, data: list[Any]) -> str:
    least, most = min(data, default=0), max(data, default=0)
    if least >= -(2**63) and most < 2**63:
        return "INT64"
    if least >= 0 and most < 2**64:
        return "UINT64"
    raise InvalidRequest(f"input {name!r}: integers must all be from -2^63 to 2^63-1, or all from 0 to 2^64-1")
