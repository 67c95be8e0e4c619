"""Requests that are wrong, one table for each protocol: what is sent, and the words that the refusal must have.

They are for the model of `HANDLER`: x FP32 [-1, 2], n INT64 [-1], u UINT64 [-1], s BYTES [-1], t BOOL [-1].
"""

import gzip
import json
from typing import Any, NamedTuple

HANDLER = """\
from kfunc import Handler, TensorSpec


class Echo(Handler):
    inputs = [
        TensorSpec("x", "FP32", [-1, 2]),
        TensorSpec("n", "INT64", [-1]),
        TensorSpec("u", "UINT64", [-1]),
        TensorSpec("s", "BYTES", [-1]),
        TensorSpec("t", "BOOL", [-1]),
    ]

    def predict(self, inputs):
        return inputs
"""
MEGABYTES = b" " * 2**21


class Case(NamedTuple):
    """A body, its further header fields, and what the refusal must say."""

    body: bytes
    words: tuple[str, ...]
    headers: dict[str, str] = {}
    status: int = 400


def case(body: Any, *words: str, status: int = 400, **headers: str) -> Case:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(content, words, {name.replace("_", "-"): value for name, value in headers.items()}, status)


# ---- V2, JSON

TENSORS: dict[str, dict[str, Any]] = {
    "x": {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2]},
    "n": {"name": "n", "shape": [1], "datatype": "INT64", "data": [2**63 - 1]},
    "u": {"name": "u", "shape": [1], "datatype": "UINT64", "data": [2**64 - 1]},
    "s": {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["p"]},
    "t": {"name": "t", "shape": [1], "datatype": "BOOL", "data": [True]},
}
GOOD_V2 = {"inputs": list(TENSORS.values())}


def v2(name: str, /, **changes: Any) -> dict[str, Any]:
    """The good request with one tensor's members changed; those that are None are left out."""
    changed = {member: value for member, value in {**TENSORS[name], **changes}.items() if value is not None}
    return {"inputs": [changed if each == name else tensor for each, tensor in TENSORS.items()]}


def raw(name: str, data: bytes, shape: bytes = b"[1]") -> bytes:
    """One tensor whose `data` is any text."""
    datatype = TENSORS[name]["datatype"].encode()
    return b'{"inputs":[{"name":"%b","shape":%b,"datatype":"%b","data":%b}]}' % (name.encode(), shape, datatype, data)


V2 = {
    "empty": case(b"", "the request has no body"),
    "blanks": case(MEGABYTES, "is not a V2 inference request"),
    "blanks and half a document": case(MEGABYTES + b'{"inputs":', "is not a V2 inference request"),
    "cut off": case(json.dumps(GOOD_V2).encode()[:-10], "is not a V2 inference request"),
    "more behind it": case(json.dumps(GOOD_V2).encode() + b"{}", "is not a V2 inference request"),
    "an array": case([], "Expected `object`"),
    "null": case(None, "Expected `object`"),
    "no inputs": case({}, "`inputs`"),
    "inputs null": case({"inputs": None}, "Expected `array`"),
    "inputs of numbers": case({"inputs": [5]}, "Expected `object`"),
    "inputs empty": case({"inputs": []}, "missing input x, n, u, s, t"),
    "one missing": case({"inputs": [TENSORS["x"]]}, "missing input n, u, s, t"),
    "one twice": case({"inputs": [*TENSORS.values(), TENSORS["x"]]}, "an input is there twice"),
    "one unknown": case({"inputs": [{**TENSORS["x"], "name": "z"}]}, "unknown input 'z'", "x, n, u, s, t"),
    "an unknown output": case({**GOOD_V2, "outputs": [{"name": "z"}]}, "unknown output 'z'"),
    "V1 rows": case({"instances": [[1, 2]]}, "`inputs`"),
    "no UTF-8": case(raw("s", b'["\xff"]'), "not UTF-8"),
    "no UTF-8 in a name": case(b'{"inputs":[{"name":"\xc3("}]}', "not UTF-8"),
    "a lone surrogate": case(raw("s", b'["\\ud800"]'), "is not a V2 inference request"),
    "a control character": case(raw("s", b'["\x01"]'), "is not a V2 inference request"),
    "a depth bomb": case(raw("x", b"[" * 100_000), "nested too deeply"),
    "a deep array": case(raw("x", b"[" * 500 + b"]" * 500), "'x'"),
    "a depth bomb in parameters": case(b'{"parameters":' + b'{"a":' * 100_000, "nested too deeply"),
    "no name": case(v2("x", name=None), "`name`"),
    "a number as name": case(v2("x", name=5), "Expected `str`"),
    "no shape": case(v2("x", shape=None), "`shape`"),
    "a fraction in the shape": case(v2("x", shape=[1.5, 2]), "Expected `int`"),
    "a string in the shape": case(v2("x", shape=["1", 2]), "Expected `int`"),
    "a shape in the shape": case(v2("x", shape=[[1], 2]), "Expected `int`"),
    "a dimension of 2^64": case(v2("n", shape=[2**64]), "'n'", "2^40"),
    "a dimension of 10^4000": case(raw("n", b"[1]", b"[1%b]" % (b"0" * 4000)), "'n'", "2^40"),
    "a dimension of 10^5000": case(raw("n", b"[1]", b"[1%b]" % (b"0" * 5000)), "out of range"),
    "a negative dimension": case(v2("n", shape=[-1]), "'n'", "[-1]"),
    "negative dimensions that cancel": case(v2("x", shape=[-1, -2]), "'x'", "[-1, -2]"),
    "a product over 64 bits": case(v2("x", shape=[2**63, 2]), "'x'", "2^40"),
    "much shape, little data": case(v2("n", shape=[2**30]), "'n'", "1073741824 elements", "data has 1"),
    "another shape": case(v2("x", shape=[2], data=[1, 2]), "'x'", "[-1, 2] expected", "[2] given"),
    "another size": case(v2("x", shape=[1, 3], data=[1, 2, 3]), "'x'", "[-1, 2] expected", "[1, 3] given"),
    "a thousand dimensions": case(v2("x", shape=[1] * 1000), "'x'"),
    "no datatype": case(v2("x", datatype=None), "`datatype`"),
    "an unknown datatype": case(v2("x", datatype="FLOAT"), "'x'", "FLOAT", "FP32"),
    "the datatype of V1": case(v2("x", datatype="JSON"), "'x'", "unknown datatype 'JSON'"),
    "another datatype": case(v2("n", datatype="INT32"), "'n'", "INT64 expected, INT32 given"),
    "no data": case(v2("x", data=None), "'x'", "data"),
    "an object as data": case(v2("x", data={}), "'x'", "data must be an array"),
    "a string as data": case(v2("s", data="p"), "'s'", "data must be an array"),
    "too little data": case(v2("x", data=[1]), "'x'", "2 elements, data has 1"),
    "too much data": case(v2("x", data=[1, 2, 3]), "'x'", "2 elements, data has 3"),
    "ragged": case(v2("x", shape=[2, 2], data=[[1, 2], [3]]), "'x'", "nested"),
    "half nested": case(v2("x", shape=[2, 2], data=[[1, 2], 3]), "'x'", "nested"),
    "nested too deep": case(v2("x", data=[[[1, 2]]]), "'x'"),
    "nested otherwise": case(v2("x", shape=[2, 2], data=[[1, 2, 3, 4]]), "'x'", "data has 1 rows"),
    "a string among floats": case(v2("x", data=[1, "2"]), "'x'", "FP32 expected"),
    "null among floats": case(v2("x", data=[1, None]), "'x'", "FP32 expected"),
    "an array among floats": case(v2("x", data=[1, [2]]), "'x'", "FP32 expected"),
    "an object among floats": case(v2("x", data=[1, {}]), "'x'", "FP32 expected"),
    "a boolean among floats": case(v2("x", data=[1, True]), "'x'", "FP32 expected, found a boolean"),
    "a boolean among integers": case(v2("n", data=[True]), "'n'", "INT64 expected, found a boolean"),
    "a fraction among integers": case(v2("n", data=[1.5]), "'n'", "INT64 expected"),
    "an integer past 64 bits": case(v2("n", data=[2**63]), "'n'", "range of INT64"),
    "an integer below 64 bits": case(v2("n", data=[-(2**63) - 1]), "'n'", "range of INT64"),
    "a negative unsigned integer": case(v2("u", data=[-1]), "'u'", "range of UINT64"),
    "an unsigned integer past 64 bits": case(v2("u", data=[2**64]), "'u'", "range of UINT64"),
    "an integer of 400 digits": case(v2("n", data=[10**400]), "'n'", "range of INT64"),
    "a float past its range": case(raw("x", b"[1e999,1]", b"[1,2]"), "out of range"),
    "not a number": case(raw("x", b"[NaN,1]", b"[1,2]"), "is not a V2 inference request"),
    "infinity": case(raw("x", b"[-Infinity,1]", b"[1,2]"), "is not a V2 inference request"),
    "a number among strings": case(v2("s", data=[5]), "'s'", "BYTES expected"),
    "a number among booleans": case(v2("t", data=[1]), "'t'", "BOOL expected"),
    "a string among booleans": case(v2("t", data=["true"]), "'t'", "BOOL expected"),
    "a long name": case(v2("x", name="z" * 100_000), "unknown input 'zzz"),
    "a coding that is not there": case(GOOD_V2, "gzip", status=415, content_encoding="br"),
    "a coding that is not true": case(GOOD_V2, "gzip", content_encoding="gzip"),
    "half a coding": case(gzip.compress(json.dumps(GOOD_V2).encode())[:-9], "gzip", content_encoding="gzip"),
    "a bomb": case(gzip.compress(bytes(2**28), 9), "limits.max_body_bytes", status=413, content_encoding="gzip"),
}

# ---- V1

ROW: dict[str, Any] = {"x": [1.5, 2], "n": 2**63 - 1, "u": 2**64 - 1, "s": {"b64": "/w=="}, "t": True}
COLUMNS = {name: [value] for name, value in ROW.items()}
GOOD_V1 = {"instances": [ROW]}


def row(**changes: Any) -> dict[str, Any]:
    return {"instances": [ROW, {**ROW, **changes}]}


def columns(**changes: Any) -> dict[str, Any]:
    return {"inputs": {**COLUMNS, **changes}}


V1 = {
    "empty": case(b"", "the request has no body"),
    "blanks": case(MEGABYTES, "the request is not JSON"),
    "cut off": case(json.dumps(GOOD_V1).encode()[:-3], "the request is not JSON"),
    "more behind it": case(json.dumps(GOOD_V1).encode() + b"5", "the request is not JSON"),
    "an array": case([ROW], '"instances" or "inputs"'),
    "no instances": case({}, '"instances" must be an array'),
    "no instance": case({"instances": []}, '"instances" must be an array'),
    "an object of instances": case({"instances": ROW}, '"instances" must be an array'),
    "both forms": case({**GOOD_V1, "inputs": COLUMNS}, "not both"),
    "a V2 request": case(GOOD_V2, "V2 request", "/v2/models/"),
    "a number as signature": case({**GOOD_V1, "signature_name": 5}, '"signature_name" must be a string'),
    "no UTF-8": case(b'{"instances":["\xff"]}', "not UTF-8"),
    "a lone surrogate": case(b'{"instances":["\\udfff"]}', "the request is not JSON"),
    "a depth bomb": case(b'{"instances":' + b"[" * 100_000, "nested too deeply"),
    "a depth bomb in columns": case(b'{"inputs":' + b'{"x":' * 100_000, "nested too deeply"),
    "a deep array": case(row(x=json.loads("[" * 500 + "]" * 500)), "'x'", "same shape"),
    "deep arrays": case({"instances": [{**ROW, "x": json.loads("[" * 500 + "]" * 500)}]}, "'x'", "32 dimensions"),
    "values without names": case({"instances": [[1, 2]]}, "the inputs x, n, u, s, t"),
    "columns without names": case({"inputs": [[1, 2]]}, "the inputs x, n, u, s, t"),
    "a column missing": case({"inputs": {"x": [[1, 2]]}}, "missing input n, u, s, t"),
    "a column too many": case(columns(z=[1]), "unknown input 'z'"),
    "no column": case({"inputs": {}}, '"inputs" must name at least one input'),
    "a name missing": case({"instances": [ROW, {"x": [1, 2]}]}, "instance 1", "'n' is missing"),
    "a name too many": case(row(z=1), "instance 1", "'z' is none of them"),
    "a number among objects": case({"instances": [ROW, 5]}, "instance 1", "it is a number"),
    "ragged": case(row(x=[1]), "'x'", "same shape"),
    "a scalar among arrays": case(row(x=1), "'x'", "same shape"),
    "a ragged column": case(columns(x=[[1, 2], [3]]), "'x'", "same shape"),
    "another shape": case({"instances": [{**ROW, "x": [1, 2, 3]}]}, "'x'", "[-1, 2] expected", "[1, 3] given"),
    "a scalar column": case(columns(n=5), "'n'", "[-1] expected", "[] given"),
    "a string among floats": case(row(x=[1, "2"]), "'x'", "FP32 expected"),
    "null among floats": case(row(x=[1, None]), "'x'", "FP32 expected"),
    "a boolean among floats": case(row(x=[1, False]), "'x'", "FP32 expected, found a boolean"),
    "an object among floats": case(row(x=[1, {"b64": ""}]), "'x'", "FP32 expected"),
    "a fraction among integers": case(row(n=1.0), "'n'", "INT64 expected"),
    "a boolean among integers": case(row(n=True), "'n'", "INT64 expected, found a boolean"),
    "an integer past 64 bits": case(row(n=2**63), "'n'", "range of INT64"),
    "a negative unsigned integer": case(row(u=-1), "'u'", "range of UINT64"),
    "an integer of 400 digits": case(columns(u=[10**400]), "'u'", "range of UINT64"),
    "a float past its range": case(b'{"instances":[1e999]}', "out of range"),
    "not a number": case(b'{"instances":[NaN]}', "the request is not JSON"),
    "a number among strings": case(row(s=5), "'s'", "BYTES expected"),
    "null among strings": case(columns(s=[None]), "'s'", "BYTES expected"),
    "an object among strings": case(row(s={"b65": ""}), "'s'", '{"b64": "…"}'),
    "no base64": case(row(s={"b64": "***"}), "'s'", "not base64"),
    "base64 of a number": case(row(s={"b64": 5}), "'s'", '{"b64": "…"}'),
    "a number among booleans": case(row(t=1), "'t'", "BOOL expected"),
    "binary tensors": case(GOOD_V1, "V2", status=415, inference_header_content_length="5"),
}

# ---- V2, binary tensors

DATA = {
    "x": b"\0\0\xc0\x3f\0\0\0\x40",
    "n": b"\xff" * 8,
    "u": b"\xff" * 8,
    "s": b"\x02\0\0\0pq",
    "t": b"\x01",
}


def binary(
    *, length: int | str | None = None, more: bytes = b"", sizes: dict[str, Any] | None = None, **data: bytes
) -> tuple[bytes, str]:
    """The good request with some tensors' bytes, their sizes or the length of the JSON part changed."""
    raw_data = {**DATA, **data}
    told = {name: len(content) for name, content in raw_data.items()} | (sizes or {})
    inputs = [
        {"name": name, "shape": tensor["shape"], "datatype": tensor["datatype"], "parameters": {"binary_data_size": told[name]}}
        for name, tensor in TENSORS.items()
    ]
    head = json.dumps({"inputs": inputs}).encode()
    return head + b"".join(raw_data.values()) + more, str(len(head) if length is None else length)


def binary_case(content: tuple[bytes, str], *words: str, status: int = 400) -> Case:
    return Case(content[0], words, {"inference-header-content-length": content[1]}, status)


def one(tensor: dict[str, Any], data: bytes) -> tuple[bytes, str]:
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, str(len(head))


def sized(size: Any, **changes: Any) -> dict[str, Any]:
    tensor = {**TENSORS["x"], "parameters": {"binary_data_size": size}, **changes}
    return {member: value for member, value in tensor.items() if member != "data" or "data" in changes}


GOOD_BINARY = binary()
LENGTH = "Inference-Header-Content-Length"
V2_BINARY = {
    "empty": binary_case((b"", "0"), "the request has no body"),
    "a length that is no number": binary_case((GOOD_BINARY[0], "abc"), LENGTH),
    "a negative length": binary_case((GOOD_BINARY[0], "-5"), LENGTH),
    "no length": binary_case((GOOD_BINARY[0], ""), LENGTH),
    "a length of nothing": binary_case((GOOD_BINARY[0], "0"), LENGTH),
    "a length past the body": binary_case((GOOD_BINARY[0], "100000"), LENGTH),
    "a length of 2^64": binary_case((GOOD_BINARY[0], str(2**64)), LENGTH),
    "a length that cuts the JSON part": binary_case((GOOD_BINARY[0], "20"), "is not a V2 inference request"),
    "a length that takes some of a tensor": binary_case(
        binary(length=int(GOOD_BINARY[1]) + 1), "is not a V2 inference request"
    ),
    "the JSON part only": binary_case((GOOD_BINARY[0][: int(GOOD_BINARY[1])], GOOD_BINARY[1]), "'x'", "binary_data_size"),
    "cut off": binary_case((GOOD_BINARY[0][:-1], GOOD_BINARY[1]), "'t'", "binary_data_size"),
    "more behind it": binary_case(binary(more=b"\0"), "binary_data_size", "follow the JSON part"),
    "too little for the shape": binary_case(binary(x=b"\0\0\0\0"), "'x'", "[1, 2] has 8 bytes"),
    "too much for the shape": binary_case(binary(x=bytes(12)), "'x'", "[1, 2] has 8 bytes"),
    "a size that lies": binary_case(binary(sizes={"x": 16}), "'x'", "[1, 2] has 8 bytes"),
    "a negative size": binary_case(binary(sizes={"x": -8}), "'x'", "binary_data_size must be"),
    "a size of 2^64": binary_case(binary(sizes={"x": 2**64}), "'x'", "binary_data_size"),
    "a string as size": binary_case(binary(sizes={"x": "8"}), "'x'", "binary_data_size must be"),
    "a fraction as size": binary_case(binary(sizes={"x": 8.0}), "'x'", "binary_data_size must be"),
    "true as size": binary_case(binary(sizes={"x": True}), "'x'", "binary_data_size must be"),
    "data and a size": binary_case(one(sized(8, data=[1, 2]), DATA["x"]), "'x'", "both data and binary_data_size"),
    "neither data nor a size": binary_case(one({"name": "x", "shape": [1, 2], "datatype": "FP32"}, b""), "'x'", "data"),
    "much shape, little data": binary_case(one(sized(8, shape=[2**30, 2]), DATA["x"]), "'x'", "8589934592 bytes"),
    "a product over 64 bits": binary_case(one(sized(8, shape=[2**62, 8]), DATA["x"]), "'x'", "2^40"),
    "a negative dimension": binary_case(one(sized(8, shape=[-1, -2]), DATA["x"]), "'x'", "negative dimension"),
    "a thousand dimensions": binary_case(one(sized(8, shape=[1] * 1000), DATA["x"]), "'x'", "32 dimensions"),
    "an unknown datatype": binary_case(one(sized(8, datatype="FLOAT"), DATA["x"]), "'x'", "unknown datatype 'FLOAT'"),
    "another datatype": binary_case(one(sized(4, datatype="FP16"), DATA["x"][:4]), "'x'", "FP32 expected, FP16 given"),
    "another shape": binary_case(one(sized(8, shape=[2]), DATA["x"]), "'x'", "[-1, 2] expected"),
    "a string longer than its tensor": binary_case(binary(s=b"\x09\0\0\0pq"), "'s'", "element 0"),
    "a string of 2^32 bytes": binary_case(binary(s=b"\xff\xff\xff\xffpq"), "'s'", "element 0"),
    "a string shorter than its tensor": binary_case(binary(s=b"\x01\0\0\0pq"), "'s'", "lengths"),
    "half a length": binary_case(binary(s=b"\x02\0"), "'s'", "at least 4 bytes"),
    "compressed, and cut off": Case(
        gzip.compress(GOOD_BINARY[0])[:-9],
        ("gzip",),
        {"inference-header-content-length": GOOD_BINARY[1], "content-encoding": "gzip"},
    ),
}
PATHS = {"V2": "/v2/models/iris/infer", "V1": "/v1/models/iris:predict", "V2 binary": "/v2/models/iris/infer"}
TABLES = {"V2": V2, "V1": V1, "V2 binary": V2_BINARY}
CASES = [(PATHS[table], each, f"{table}: {name}") for table, cases in TABLES.items() for name, each in cases.items()]
