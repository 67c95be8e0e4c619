"""V2 infer with one 1×3×224×224 FP32 tensor, 4 connections: as JSON (1.7 MB) and binary (602 KB).

MLServer has no binary tensors over REST. The model is models/image.onnx: it computes little.
"""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from bench.figures import Bound, Figure, ratio
from bench.load import Post
from bench.pod import Plan
from bench.rivals import rates, rounds, same_answers, seen, start

MODEL = Path(__file__).parent / "models" / "image.onnx"
SHAPE = [1, 3, 224, 224]
CONNECTIONS = 4
NAMES = ("kfunc", "uvicorn", "KServe", "MLServer")

Targets = dict[str, tuple[Bound, float]]
JSON_TARGETS: Targets = {"uvicorn": ("", 0.0), "KServe": ("≥", 3.0), "MLServer": ("≥", 1.5)}
BINARY_TARGETS: Targets = {"uvicorn": ("≥", 1.2), "KServe": ("≥", 100.0)}


def measure(plan: Plan) -> list[Figure]:
    """Ratios of rates, JSON and binary."""
    pixels = np.random.default_rng(1).random(SHAPE, np.float32)
    as_json, binary = json_post(pixels), binary_post(pixels)
    with ExitStack() as stack:
        rivals = start(stack, NAMES, str(MODEL), as_json)
        same_answers(rivals, as_json)
        with_binary = [rival for rival in rivals if rival.name != "MLServer"]
        same_answers(with_binary, binary)
        json_runs = rounds(rivals, as_json, CONNECTIONS, plan.rounds, plan.seconds)
        binary_runs = rounds(with_binary, binary, CONNECTIONS, plan.rounds, plan.seconds)
    figures = []
    for form, runs, targets in (("JSON", json_runs, JSON_TARGETS), ("binary", binary_runs, BINARY_TARGETS)):
        for name, (bound, target) in targets.items():
            told = f"{seen(runs, 'kfunc')} · {seen(runs, name)}"
            value = ratio(rates(runs, "kfunc"), rates(runs, name))
            figures.append(Figure(f"images {form}: kfunc / {name}", value, "×", bound, target, told))
    return figures


def json_post(pixels: "np.ndarray[Any, Any]") -> Post:
    """All values in the JSON, each with as many digits as its FP32 needs."""
    tensor = {"name": "input", "shape": SHAPE, "datatype": "FP32", "data": pixels.ravel()}
    return Post(orjson.dumps({"inputs": [tensor]}, option=orjson.OPT_SERIALIZE_NUMPY))


def binary_post(pixels: "np.ndarray[Any, Any]") -> Post:
    """The values behind the JSON; the answer is asked for in the same form."""
    content = pixels.tobytes()
    tensor = {"name": "input", "shape": SHAPE, "datatype": "FP32", "parameters": {"binary_data_size": len(content)}}
    head = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return Post(head + content, len(head))
