"""Answers as bytes: orjson writes numpy's arrays without a detour over lists, binary tensors are their memory."""

from base64 import b64encode
from itertools import repeat
from math import prod
from typing import Any

import orjson
from msgspec.structs import replace

from kfunc.errors import InvalidRequest, ModelFailed
from kfunc.protocol.messages import InferRequest, InferResponse, Tensor
from kfunc.protocol.v1 import V1Request
from kfunc.protocol.v2 import response_document
from kfunc.protocol.v2_binary import SIZE, join_bytes
from kfunc.protocol.v2_binary import wanted as wanted_binary

OPTIONS = orjson.OPT_SERIALIZE_NUMPY
NOT_PLAIN = frozenset(("BYTES", "FP16", "BF16"))
ASK = 'the parameter "binary_data": true'


def encode_v2(request: InferRequest, response: InferResponse) -> tuple[bytes, int]:
    """Inference Response JSON Object, `data` flat, NaN and infinities null; and 0.

    Where outputs are asked for in binary, their bytes follow in order, and the second value is the length
    of the JSON. Raises InvalidRequest for an output that only the binary form carries, and is not asked for so.
    """
    if (request.parameters is None and request.outputs is None) or not (wanted := wanted_binary(request)):
        for output in response.outputs:
            if output.datatype in NOT_PLAIN:
                output.data = _json_data(output)
        return orjson.dumps(response_document(response), option=OPTIONS), 0
    tensors: list[dict[str, Any]] = []
    parts: list[Any] = [b""]
    for output in response.outputs:
        tensor: dict[str, Any] = {"name": output.name, "datatype": output.datatype, "shape": output.shape}
        if wanted if isinstance(wanted, bool) else wanted.get(output.name, False):
            part = memoryview(output.data if output.datatype != "BYTES" else join_bytes(map(_raw, output.data)))
            parts.append(part)
            tensor["parameters"] = {**(output.parameters or {}), SIZE: part.nbytes}
        else:
            if output.parameters is not None:
                tensor["parameters"] = output.parameters
            tensor["data"] = _json_data(output) if output.datatype in NOT_PLAIN else output.data
        tensors.append(tensor)
    head = orjson.dumps({**response_document(replace(response, outputs=[])), "outputs": tensors}, option=OPTIONS)
    parts[0] = head
    return b"".join(parts), len(head) if len(parts) > 1 else 0


def _json_data(output: Tensor) -> list[Any]:
    """An output of a datatype whose `data` is not JSON as it stands. Raises InvalidRequest where it has no such form."""
    if output.datatype != "BYTES":
        raise InvalidRequest(f"output {output.name!r} is {output.datatype}, which JSON cannot carry: ask for it with {ASK}")
    try:
        return [each.decode() if type(each) is bytes else each for each in output.data]
    except UnicodeDecodeError:
        raise InvalidRequest(f"output {output.name!r} has bytes that are not UTF-8: ask for it with {ASK}") from None


def _raw(element: Any) -> bytes:
    return element if type(element) is bytes else element.encode()


def encode_v1(request: InferRequest, response: InferResponse) -> tuple[bytes, int]:
    """The answer in the request's form (TensorFlow Serving's REST API, Predict API, Response format), and 0.

    Rows: `{"predictions": [...]}`, rows of the only output, or objects with every output's row. Columns:
    `{"outputs": ...}`, the only output, or an object of all. BYTES are strings, or all `{"b64": …}` where
    one is not UTF-8 or the output's name ends in `_bytes`. NaN and infinities become null.
    """
    outputs = [_plain(each) if each.datatype in NOT_PLAIN else each for each in response.outputs]
    columnar = type(request) is V1Request and request.columnar
    if len(outputs) == 1:
        return orjson.dumps({"outputs" if columnar else "predictions": _shaped(outputs[0])}, option=OPTIONS), 0
    if columnar:
        return orjson.dumps({"outputs": {each.name: _shaped(each) for each in outputs}}, option=OPTIONS), 0
    counts = {output.shape[0] for output in outputs if output.shape} or {1}
    if len(counts) > 1:
        raise ModelFailed(
            "the model's outputs do not have the same number of rows, which instances need; ask with inputs, or by V2"
        )
    names = [output.name for output in outputs]
    rows = zip(range(counts.pop()), *map(_rows, outputs), strict=False)
    return orjson.dumps({"predictions": [dict(zip(names, row[1:], strict=True)) for row in rows]}, option=OPTIONS), 0


def _plain(output: Tensor) -> Tensor:
    """FP16 and BF16 as the numbers that they are; BYTES as V1 carries them, all in one form."""
    if output.datatype == "FP16":
        return output
    if output.datatype == "BF16":  # the upper half of an FP32
        values = (output.data.astype("u4") << 16).view("f4")
        return Tensor(output.name, output.shape, "FP32", values)
    if not output.name.endswith("_bytes"):
        try:
            data = [each.decode() if type(each) is bytes else each for each in output.data]
            return Tensor(output.name, output.shape, output.datatype, data)
        except UnicodeDecodeError:
            pass
    raw = [each if type(each) is bytes else each.encode() for each in output.data]
    return Tensor(output.name, output.shape, output.datatype, [{"b64": b64encode(each).decode()} for each in raw])


def encode_explanations(request: InferRequest, response: InferResponse) -> tuple[bytes, int]:
    """The answer to V1's `:explain`, and 0: `{"explanations": ...}`, the only output or an object of all, in columns."""
    outputs = [_plain(each) if each.datatype in NOT_PLAIN else each for each in response.outputs]
    document = _shaped(outputs[0]) if len(outputs) == 1 else {each.name: _shaped(each) for each in outputs}
    return orjson.dumps({"explanations": document}, option=OPTIONS), 0


def encode_predictions(request: InferRequest, response: InferResponse) -> tuple[bytes, int]:
    """The answer to `/invocations`, and 0: `{"predictions": [...]}`, rows of the only output, or objects of all."""
    if type(request) is V1Request:
        request.columnar = False
    return encode_v1(request, response)


def _shaped(output: Tensor) -> Any:
    if isinstance(output.data, list):
        return _nested(output.data, output.shape)
    return output.data.reshape(output.shape) if output.shape else output.data[0]


def _rows(output: Tensor) -> Any:
    """One value for each row; an output without a batch dimension belongs to all of them."""
    shaped = _shaped(output)
    if not output.shape:
        return repeat(shaped)
    # Rows that are arrays, and FP32 numbers, are orjson's to write: it keeps FP32 short.
    return shaped if isinstance(shaped, list) or output.datatype == "FP32" or len(output.shape) > 1 else shaped.tolist()


def _nested(data: list[Any], shape: list[int]) -> Any:
    if len(shape) < 2:
        return data if shape else data[0]
    width = prod(shape[1:])
    return [_nested(data[row * width : (row + 1) * width], shape[1:]) for row in range(shape[0])]
