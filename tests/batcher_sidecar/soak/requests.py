"""Random requests and what their answers must be."""

import json
import random
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

from kfunc.protocol.v2_binary import join_bytes, split_bytes
from tests.batcher_sidecar.soak.upstream import CODES, POISON

V1, V2 = b"/v1/models/m:predict", b"/v2/models/m/infer"
MAX_ROWS = 40


class Asked(NamedTuple):
    """A request's bytes, whether it is poisoned, and what its answer is by; false: it is another's."""

    data: bytes
    poison: bool
    is_right: Callable[[bytes, int], bool]


def ask(chance: random.Random) -> Asked:
    """One of any kind, with values that no other is likely to have."""
    rows = chance.choice((1, 1, 1, 2, 3, chance.randint(1, MAX_ROWS)))
    width = chance.choice((1, 2, 4))
    poison = chance.random() < 0.003
    values = [chance.randint(1, POISON - 1) for _ in range(rows * width)]
    if poison:
        values[chance.randrange(len(values))] = POISON
    kind = chance.randrange(4)
    if kind == 0:
        return _v1(values, width, poison)
    return _strings(chance, values, rows, width, poison) if kind == 1 else _numbers(chance, values, rows, width, poison)


def _v1(values: list[int], width: int, poison: bool) -> Asked:
    instances = [values[at : at + width] for at in range(0, len(values), width)]
    body = json.dumps({"instances": instances}).encode()
    return Asked(_post(V1, body), poison, lambda answer, _: json.loads(answer) == {"predictions": instances, "extra": 7})


def _numbers(chance: random.Random, values: list[int], rows: int, width: int, poison: bool) -> Asked:
    datatype = chance.choice(tuple(CODES)) if not poison else "INT32"
    raw = array(CODES[datatype], values).tobytes()
    return _v2(chance, datatype, [rows, width], values, raw, poison)


def _strings(chance: random.Random, values: list[int], rows: int, width: int, poison: bool) -> Asked:
    texts = ["x" * (value % 5) + str(value) for value in values]
    if poison:  # in binary it is not seen as a number
        return _numbers(chance, values, rows, width, poison)
    return _v2(chance, "BYTES", [rows, width], texts, join_bytes([text.encode() for text in texts]), poison)


def _v2(chance: random.Random, datatype: str, shape: list[int], values: list[Any], raw: bytes, poison: bool) -> Asked:
    tensor: dict[str, Any] = {"name": "x", "shape": shape, "datatype": datatype}
    identifier = str(values[0])
    document: dict[str, Any] = {"id": identifier, "inputs": [tensor]}
    parameters: dict[str, Any] = {}
    wants_binary = chance.random() < 0.4
    if wants_binary:
        parameters["binary_data_output"] = True
    if chance.random() < 0.1:
        parameters["priority"] = chance.randint(0, 4)
    if chance.random() < 0.02:
        parameters["timeout"] = chance.randint(1, 20_000)
    if parameters:
        document["parameters"] = parameters
    if chance.random() < 0.5:
        tensor["parameters"] = {"binary_data_size": len(raw)}
        head = json.dumps(document).encode()
        data = _post(V2, head + raw, b"inference-header-content-length: %d\r\n" % len(head))
    else:
        tensor["data"] = values
        data = _post(V2, json.dumps(document).encode())

    def is_right(answer: bytes, json_length: int) -> bool:
        told = json.loads(answer[:json_length])
        y, classes = told["outputs"]
        if told["id"] != identifier or y["shape"] != shape or y["datatype"] != datatype or classes["shape"] != [3]:
            return False
        if not wants_binary:
            return bool(y["data"] == values and classes["data"] == [1, 2, 3])
        size = y["parameters"]["binary_data_size"]
        own = answer[json_length : json_length + size]
        if datatype == "BYTES":
            return split_bytes("y", own, len(values)) == [value.encode() for value in values]
        return own == raw

    return Asked(data, poison, is_right)


def _post(path: bytes, body: bytes, more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nhost: soak\r\n%bcontent-length: %d\r\n\r\n%b" % (path, more, len(body), body)
