"""µs of each codec on the path of a request, beside orjson and numpy doing the minimum."""

import timeit
from collections.abc import Callable
from statistics import median

import numpy as np
import orjson

from bench.figures import Figure, interleaved, ratio
from bench.pod import Plan
from kfunc.handlers.encoding import encode_v2
from kfunc.handlers.tensors import to_array, to_tensor
from kfunc.protocol import v1, v2
from kfunc.protocol.messages import InferResponse

Pair = tuple[str, Callable[[], object], Callable[[], object]]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

ROWS = {"4 floats": (1, 4), "150,528 floats": (1, 3, 224, 224)}
SAMPLE_SECONDS = 0.02


def measure(plan: Plan) -> list[Figure]:
    """Decoding to an array, and encoding one, for a small and a large tensor."""
    figures = []
    for size, shape in ROWS.items():
        values = np.random.default_rng(0).random(shape, np.float32)
        for name, ours, least in (*_decoders(values), *_encoders(values)):
            figures.append(_compare(f"micro: {name}, {size}", ours, least, plan.rounds))
    return figures


def _decoders(values: Floats) -> list[Pair]:
    flat = {"name": "X", "shape": list(values.shape), "datatype": "FP32", "data": values.ravel().tolist()}
    flat_body = orjson.dumps({"inputs": [flat]})
    nested_body = orjson.dumps({"inputs": [{**flat, "data": values.tolist()}]})
    rows_body = orjson.dumps({"instances": values.tolist()})

    def least_v2(body: bytes) -> object:
        tensor = orjson.loads(body)["inputs"][0]
        return np.array(tensor["data"], np.float32).reshape(tensor["shape"])

    return [
        ("V2 decode, flat", lambda: to_array(v2.decode_request(flat_body).inputs[0]), lambda: least_v2(flat_body)),
        ("V2 decode, nested", lambda: to_array(v2.decode_request(nested_body).inputs[0]), lambda: least_v2(nested_body)),
        (
            "V1 decode, untyped",
            lambda: v1.decode_request(rows_body),
            lambda: orjson.loads(rows_body)["instances"],
        ),
    ]


def _encoders(values: Floats) -> list[Pair]:
    def ours() -> bytes:
        answer = InferResponse("iris", [to_tensor("y", values)], "1")
        return encode_v2(answer)

    def least() -> bytes:
        tensor = {"name": "y", "datatype": "FP32", "shape": values.shape, "data": values.reshape(-1)}
        document = {"model_name": "iris", "model_version": "1", "outputs": [tensor]}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)

    return [("V2 encode", ours, least)]


def _compare(name: str, ours: Callable[[], object], least: Callable[[], object], rounds: int) -> Figure:
    count = max(1, int(SAMPLE_SECONDS / max(timeit.timeit(ours, number=1), 1e-6)))

    def spent_us(call: Callable[[], object]) -> float:
        return timeit.timeit(call, number=count) / count * 1e6

    samples = interleaved(max(rounds, 5), [lambda: spent_us(ours), lambda: spent_us(least)])
    seen = f"{median(samples[0]):,.1f} µs; orjson + numpy {median(samples[1]):,.1f} µs"
    return Figure(name, ratio(samples[0], samples[1]), "×", seen=seen)
