"""µs and new memory of each codec alone, beside orjson and numpy doing the minimum."""

import gc
import timeit
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import numpy as np
import orjson

from bench.figures import Figure, interleaved, ratio
from bench.pod import Plan
from kfunc.handlers.encoding import encode_v1, encode_v2
from kfunc.handlers.tensors import to_array, to_tensor
from kfunc.protocol import v1, v2, v2_binary
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata, TensorSpec

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Call = Callable[[], object]

SHAPES = {"4 floats": (1, 4), "1×3×224×224": (1, 3, 224, 224)}
SAMPLE_SECONDS = 0.02
NUMPY = orjson.OPT_SERIALIZE_NUMPY


class Codec(NamedTuple):
    """One direction of a protocol, ours and the minimum: body → array, or array → body."""

    name: str
    ours: Call
    least: Call


def measure(plan: Plan) -> list[Figure]:
    """Decoding to an array, and encoding one, for a small and a large tensor."""
    figures = []
    for size, shape in SHAPES.items():
        values = np.random.default_rng(0).random(shape, np.float32)
        codecs = [*_v1(values), *_v2(values), *_v2_binary(values)]
        figures += [_compare(codec, size, plan.rounds) for codec in codecs]
    return figures


def _v1(values: Floats) -> list[Codec]:
    body = orjson.dumps({"instances": values}, option=NUMPY)
    metadata = ModelMetadata("m", ["1"], "bench", [TensorSpec("x", "FP32", [-1, *values.shape[1:]])], [])
    request = v1.decode_request(body)

    def decode() -> object:
        return to_array(v1.typed(v1.decode_request(body), metadata).inputs[0])

    def encode() -> bytes:
        return encode_v1(request, InferResponse("m", [to_tensor("y", values)]))[0]

    return [
        Codec("V1 in", decode, lambda: np.array(orjson.loads(body)["instances"], np.float32)),
        Codec("V1 out", encode, lambda: orjson.dumps({"predictions": values}, option=NUMPY)),
    ]


def _v2(values: Floats) -> list[Codec]:
    flat = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "data": values.reshape(-1)}
    flat_body = orjson.dumps({"inputs": [flat]}, option=NUMPY)
    nested_body = orjson.dumps({"inputs": [{**flat, "data": values}]}, option=NUMPY)

    def decode(body: bytes) -> object:
        return to_array(v2.decode_request(body).inputs[0])

    def least(body: bytes) -> object:
        tensor = orjson.loads(body)["inputs"][0]
        return np.array(tensor["data"], np.float32).reshape(tensor["shape"])

    def encode() -> bytes:
        return encode_v2(InferRequest([]), InferResponse("m", [to_tensor("y", values)], "1"))[0]

    return [
        Codec("V2 JSON in, flat", lambda: decode(flat_body), lambda: least(flat_body)),
        Codec("V2 JSON in, nested", lambda: decode(nested_body), lambda: least(nested_body)),
        Codec("V2 JSON out", encode, lambda: orjson.dumps(_answer(values, data=values.reshape(-1)), option=NUMPY)),
    ]


def _v2_binary(values: Floats) -> list[Codec]:
    size = {"binary_data_size": values.nbytes}
    tensor = {"name": "x", "shape": list(values.shape), "datatype": "FP32", "parameters": size}
    head = orjson.dumps({"inputs": [tensor]})
    body = head + values.tobytes()
    wanted = InferRequest([], parameters={"binary_data_output": True})

    def decode() -> object:
        return to_array(v2_binary.decode_request(body, len(head)).inputs[0])

    def least_decode() -> object:
        told = orjson.loads(memoryview(body)[: len(head)])["inputs"][0]
        return np.frombuffer(body, np.float32, offset=len(head)).reshape(told["shape"])

    def encode() -> bytes:
        return encode_v2(wanted, InferResponse("m", [to_tensor("y", values)], "1"))[0]

    def least_encode() -> bytes:
        return b"".join((orjson.dumps(_answer(values, parameters=size)), values.data))

    return [Codec("V2 binary in", decode, least_decode), Codec("V2 binary out", encode, least_encode)]


def _answer(values: Floats, **more: object) -> dict[str, object]:
    output = {"name": "y", "datatype": "FP32", "shape": values.shape, **more}
    return {"model_name": "m", "model_version": "1", "outputs": [output]}


def _compare(codec: Codec, size: str, rounds: int) -> Figure:
    count = max(1, int(SAMPLE_SECONDS / max(timeit.timeit(codec.ours, number=1), 1e-6)))

    def spent_us(call: Call) -> float:
        return timeit.timeit(call, number=count) / count * 1e6

    samples = interleaved(max(rounds, 5), [lambda: spent_us(codec.ours), lambda: spent_us(codec.least)])
    ours, least = (f"{median(spent):,.1f} µs and {_new_memory(call)}" for spent, call in zip(samples, codec[1:], strict=True))
    return Figure(f"micro: {codec.name}, {size}", ratio(samples[0], samples[1]), "×", seen=f"{ours}; orjson + numpy {least}")


def _new_memory(call: Call) -> str:
    """The most that `call` allocates at one time, by Python and numpy: what is copied, and what it is made into."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return f"{peak / 1024:,.1f} KiB"
