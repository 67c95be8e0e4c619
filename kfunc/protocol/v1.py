"""The V1 protocol: `instances` in, `predictions` out (TensorFlow Serving's row format). Sans-IO."""

from base64 import b64decode
from binascii import Error as Base64Error
from itertools import chain
from typing import Any

import msgspec

from kfunc.errors import InvalidRequest
from kfunc.protocol.datatypes import JSON, MAX_RANK
from kfunc.protocol.messages import InferRequest, ModelMetadata, Tensor, TensorSpec

ROWS = "instances"

_DOCUMENT = msgspec.json.Decoder(dict[str, Any])


def decode_request(body: bytes, model_name: str = "", model_version: str = "") -> InferRequest:
    """A V1 request as one untyped tensor `instances` of n rows; `typed` gives them types.

    Other members of the document become parameters. Raises InvalidRequest.
    """
    try:
        document = _DOCUMENT.decode(body)
    except msgspec.ValidationError:
        raise InvalidRequest('the request must be an object with "instances"') from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the request is not JSON: {error}") from None
    except RecursionError:
        raise InvalidRequest("the request is nested too deeply") from None
    rows = document.pop(ROWS, None)
    if type(rows) is not list or not rows:
        raise InvalidRequest('"instances" must be an array with at least one instance')
    tensor = Tensor(ROWS, [len(rows)], JSON, rows)
    return InferRequest([tensor], parameters=document or None, model_name=model_name, model_version=model_version)


def typed(request: InferRequest, metadata: ModelMetadata) -> InferRequest:
    """The same request with the tensors that `metadata` names, flat and row-major.

    A row is the value of the only input, or an object with a value for each. A model that does not
    tell its inputs gets INT64, FP64, BOOL or BYTES as the values are. Raises InvalidRequest.
    """
    rows = request.inputs[0].data
    if type(rows) is not list or not rows:  # no V1 request: a V2 one may name any datatype
        raise InvalidRequest(f"input {request.inputs[0].name!r}: unknown datatype {JSON!r}")
    specs = metadata.inputs
    if type(rows[0]) is dict and rows[0].keys() != {"b64"}:
        request.inputs = _columns(rows, specs)
    elif len(specs) > 1:
        names = ", ".join(spec.name for spec in specs)
        raise InvalidRequest(f"each instance must be an object with the inputs {names}")
    else:
        request.inputs = [_tensor(specs[0] if specs else TensorSpec("input-0", "", ()), rows)]
    return request


def _columns(rows: list[Any], specs: list[TensorSpec]) -> list[Tensor]:
    wanted = specs or [TensorSpec(name, "", ()) for name in rows[0]]
    names = {spec.name for spec in wanted}
    for index, row in enumerate(rows):
        if type(row) is not dict or row.keys() != names:
            raise InvalidRequest(f"instance {index} must be an object with exactly the inputs {', '.join(sorted(names))}")
    return [_tensor(spec, [row[spec.name] for row in rows]) for spec in wanted]


def _tensor(spec: TensorSpec, rows: list[Any]) -> Tensor:
    shape, data = [len(rows)], rows
    while data and type(data[0]) is list:
        width = len(data[0])
        for row in data:
            if type(row) is not list or len(row) != width:
                raise InvalidRequest(f"input {spec.name!r}: the instances do not all have the same shape")
        shape.append(width)
        if len(shape) > MAX_RANK:
            raise InvalidRequest(f"input {spec.name!r}: more than {MAX_RANK} dimensions")
        data = list(chain.from_iterable(data))
    if data and type(data[0]) is dict:
        data = [_base64(spec.name, value) for value in data]
    kinds = set(map(type, data))
    if bool in kinds and spec.datatype not in ("", "BOOL"):
        raise InvalidRequest(f"input {spec.name!r}: {spec.datatype} expected, found a boolean")
    return Tensor(spec.name, shape, spec.datatype or _datatype(spec.name, kinds), data)


def _base64(name: str, value: Any) -> bytes:
    if type(value) is not dict or value.keys() != {"b64"} or type(value["b64"]) is not str:
        raise InvalidRequest(f'input {name!r}: an object among the values must be {{"b64": "…"}}')
    try:
        return b64decode(value["b64"], validate=True)
    except (Base64Error, ValueError):
        raise InvalidRequest(f"input {name!r}: b64 is not base64") from None


def _datatype(name: str, kinds: set[type]) -> str:
    if kinds <= {int}:
        return "INT64"
    if kinds <= {int, float}:
        return "FP64"
    if kinds <= {str, bytes}:
        return "BYTES"
    if kinds == {bool}:
        return "BOOL"
    raise InvalidRequest(f"input {name!r}: the values must be all numbers, all strings or all booleans")
