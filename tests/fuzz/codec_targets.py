"""Targets: the decoders of requests, and what a model that answers with its inputs makes of them."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from kfunc.batcher_sidecar import v1_rows, v2_answers, v2_merging, v2_requests
from kfunc.batcher_sidecar.tensor_rows import Unrepresentable
from kfunc.batcher_sidecar.v2_answers import V2Answer
from kfunc.errors import InvalidRequest
from kfunc.handlers import large_json
from kfunc.handlers.encoding import encode_predictions, encode_v1, encode_v2
from kfunc.handlers.tensors import InputCheck, to_response
from kfunc.protocol import invocations, v1, v2, v2_binary
from kfunc.protocol.datatypes import JSON
from kfunc.protocol.messages import InferRequest, ModelMetadata, TensorSpec
from tests.fuzz.engine import Target

END_OF_JSON = b"\n\0\n"


def model(*inputs: TensorSpec) -> tuple[ModelMetadata, InputCheck]:
    return ModelMetadata("m", ["1"], "test", list(inputs), []), InputCheck(list(inputs), exact_datatypes=not inputs)


MODELS = [
    model(),
    model(TensorSpec("x", "FP32", [-1, 2])),
    model(TensorSpec("a", "INT64", [-1]), TensorSpec("b", "BYTES", [-1])),
]


def echo(request: InferRequest, encode: Callable[..., tuple[bytes, int]]) -> str:
    """Ask each model, which answers with its inputs; refused only if none takes it."""
    refusals: list[InvalidRequest] = []
    inputs = request.inputs
    for metadata, check in MODELS:
        request.inputs = list(inputs)
        try:
            asked = v1.typed(request, metadata) if inputs and inputs[0].datatype == JSON else request
            encode(asked, to_response(asked, metadata, check.arrays(asked)))
        except InvalidRequest as error:
            refusals.append(error)
    if len(refusals) == len(MODELS):
        raise refusals[-1]
    return "echoed"


def call_v1(content: bytes) -> str:
    return echo(v1.decode_request(content), encode_v1)


def call_invocations(content: bytes) -> str:
    """MLflow's bodies; what begins with no brace is CSV, with a column of texts."""
    if content.lstrip().startswith(b"{"):
        return echo(invocations.decode_request(content), encode_predictions)
    return echo(invocations.decode_csv(content, [TensorSpec("b", "BYTES", [-1])]), encode_predictions)


def call_v2(content: bytes) -> str:
    return echo(v2.decode_request(content), encode_v2)


def call_v2_large(content: bytes) -> str:
    """Numbers straight from the text are those of the codec, or both refuse."""
    found = [_arrays(decode, content) for decode in (v2.decode_request, large_json.decode_request)]
    assert found[0] == found[1], f"{found[0]!r}, and straight from the text {found[1]!r}"
    return "read" if isinstance(found[0], dict) else "refused"


def _arrays(decode: Callable[[bytes], InferRequest], content: bytes) -> dict[str, Any] | str:
    try:
        arrays = MODELS[0][1].arrays(decode(content))
    except InvalidRequest as error:
        return error.message
    return {name: (array.dtype, array.shape, array.tolist()) for name, array in arrays.items()}


def call_v2_binary(content: bytes) -> str:
    """A line with what is wrong with the length of the JSON part, the part, an end of its own, the tensors."""
    line, _, rest = content.partition(b"\n")
    head, _, tail = rest.partition(END_OF_JSON)
    wrong = int(line) if line.removeprefix(b"-").isdigit() and len(line) < 20 else 0
    return echo(v2_binary.decode_request(head + tail, len(head) + wrong), encode_v2)


def call_batcher(content: bytes) -> str:
    """What can be merged can be split; anything else is the upstream's to judge."""
    read_v1, read_v2 = v1_rows.read(content), v2_requests.read(content, None, None)
    if read_v1 is not None:
        request = read_v1[0]
        body = merged(v1_rows.merge([(request, 0, request.rows)] * 2))
        if body is None:
            return "a number that none can hold"
        answer = v1_rows.V1Answer(msgspec.json.encode({"predictions": body["instances"]}), 2 * request.rows)
        msgspec.json.decode(answer.part([(answer, 0, request.rows)]))
    if read_v2 is not None:
        _merge_v2(read_v2[0])
    return f"{(read_v1 is not None) + (read_v2 is not None)} merged"


def merged(body: bytes) -> Any:
    """The document that the upstream gets. Numbers pass as text: None where one is too large for it to read."""
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError as error:
        if str(error).startswith("Number out of range"):
            return None
        raise


def _merge_v2(request: v2_requests.V2Request) -> None:
    try:
        body, json_length, _ = v2_merging.merge([(request, 0, request.rows)] * 2, None)
    except Unrepresentable:
        return
    head, tail = body[: json_length or len(body)], body[json_length:] if json_length else b""
    document = merged(head)
    if document is None:
        return
    head = msgspec.json.encode({"outputs": document["inputs"]})
    answer = V2Answer(head + tail, len(head) if json_length else None, 2 * request.rows)
    try:
        assert v2_answers.part(request, [(answer, request.rows, 2 * request.rows)])
    except Unrepresentable:
        pass


X = b'{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,2]}'
V1_SEEDS = [
    b'{"instances":[[1.5,2],[3,4]],"signature_name":"s"}',
    b'{"instances":[{"a":1,"b":"p"},{"a":2,"b":{"b64":"/w=="}}]}',
    b'{"inputs":{"a":[1,-9223372036854775808],"b":["p",{"b64":"YQ=="}]}}',
    b'{"inputs":[[1.5,2],[3,4]]}',
    b'{"instances":[[[true],[false]]]}',
]
INVOCATION_SEEDS = [
    *V1_SEEDS[:2],
    b'{"dataframe_split":{"index":[0],"columns":["a","b"],"data":[[1,"p"],[2,"q"]]}}',
    b'{"dataframe_records":[{"a":1,"b":"p"},{"a":2,"b":"q"}]}',
    b'{"dataframe_split":{"data":[[1.5,2],[3,4]]}}',
    b'a,b\r\n1,"p, ""q"""\r\n2,7\r\n',
    b"x\n1.5\n\n-2e3\n",
]
V2_SEEDS = [
    b'{"id":"7","inputs":[%b],"outputs":[{"name":"x","parameters":{"binary_data":false}}]}' % X,
    b'{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP64","data":[[1,2],[3.5,4]]}],"parameters":{"p":true}}',
    b'{"inputs":[{"name":"a","shape":[2],"datatype":"INT64","data":[9223372036854775807,1]},'
    b'{"name":"b","shape":[2],"datatype":"BYTES","data":["p","q"]}]}',
    b'{"inputs":[{"name":"u","shape":[1],"datatype":"UINT64","data":[18446744073709551615]},'
    b'{"name":"t","shape":[2],"datatype":"BOOL","data":[true,false]},{"name":"i","shape":[],"datatype":"INT8","data":[5]}]}',
]

LARGE_SEEDS = [
    b'{"inputs":[{"name":"x","shape":[2,8],"datatype":"FP32","data":[[1,2,3,4,5,6,7,-0],[1.5,0.1,1e-46,3.4e38,1e3,0,0,0]]}]}',
    b'{"inputs":[{"name":"x","shape":[1,1,8],"datatype":"INT8","data":[[[1,2,3,4,5,6,-128,127]]]}],"outputs":[{"name":"y"}]}',
]


def binary(*inputs: tuple[str, list[int], str, bytes], parameters: dict[str, Any] | None = None, more: bytes = b"") -> bytes:
    tensors = [
        {"name": name, "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
        for name, shape, datatype, data in inputs
    ]
    head = msgspec.json.encode({"inputs": tensors, "parameters": parameters or {}})
    return b"0\n%b%b%b%b" % (head, END_OF_JSON, b"".join(each[3] for each in inputs), more)


FLOATS = np.array([1.5, 2], "<f4").tobytes()
BINARY_SEEDS = [
    binary(("x", [1, 2], "FP32", FLOATS), parameters={"binary_data_output": True}),
    binary(("a", [1], "INT64", bytes(8)), ("b", [1], "BYTES", b"\x02\0\0\0pq")),
    binary(("h", [2], "FP16", FLOATS[:4]), ("g", [2], "BF16", FLOATS[:4]), ("t", [2], "BOOL", b"\1\0")),
    b"0\n%b%b" % (V2_SEEDS[0], END_OF_JSON),
    b"-1\n%b%b" % (V2_SEEDS[0], END_OF_JSON),
]

TARGETS = [
    Target("v1", V1_SEEDS, call_v1),
    Target("invocations", INVOCATION_SEEDS, call_invocations),
    Target("v2", V2_SEEDS, call_v2),
    Target("v2_large", V2_SEEDS + LARGE_SEEDS, call_v2_large),
    Target("v2_binary", BINARY_SEEDS, call_v2_binary),
    Target("batcher", V1_SEEDS + V2_SEEDS, call_batcher),
]
