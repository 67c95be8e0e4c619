"""FP16 and BF16 all the way: V1 and V2 binary in, an ONNX model that computes with them, and out again."""

import asyncio
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest
from kfunc.handlers.encoding import encode_v1, encode_v2
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.onnx import try_out
from kfunc.handlers.opening import load_handler
from kfunc.protocol import v1, v2_binary
from kfunc.protocol.messages import InferRequest, InferResponse

Configured = Callable[..., PodConfig]


class Surroundings:
    headers: dict[bytes, bytes] = {}
    deadline = queue_s = compute_s = compute_at = 0.0
    cancelled = False


@pytest.fixture
def doubling(configured: Configured, tmp_path: Path) -> LoadedModel:
    """BF16 `x` and FP16 `h`, doubled as BF16 `y` and FP16 `g`."""
    kinds = {"x": TensorProto.BFLOAT16, "h": TensorProto.FLOAT16, "y": TensorProto.BFLOAT16, "g": TensorProto.FLOAT16}
    told = {name: helper.make_tensor_value_info(name, kind, ["rows", 2]) for name, kind in kinds.items()}
    nodes = []
    for taken, given in ("x", "y"), ("h", "g"):
        nodes += [
            helper.make_node("Cast", [taken], [f"{taken}32"], to=TensorProto.FLOAT),
            helper.make_node("Add", [f"{taken}32", f"{taken}32"], [f"{given}32"]),
            helper.make_node("Cast", [f"{given}32"], [given], to=kinds[given]),
        ]
    graph = helper.make_graph(nodes, "doubling", [told["x"], told["h"]], [told["y"], told["g"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    config = configured(str(path))
    return LoadedModel(config, load_handler(config))


def answer(model: LoadedModel, request: InferRequest) -> InferResponse:
    async def ask() -> InferResponse:
        answer = model.infer(request, Surroundings())
        return await answer if inspect.isawaitable(answer) else answer

    return asyncio.run(ask())


def bits(values: Any) -> "np.ndarray[Any, np.dtype[np.uint16]]":
    """BF16 of numbers that it holds exactly."""
    return (np.array(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_they_pass_an_onnx_model_in_binary(doubling: LoadedModel) -> None:
    x, h = bits([[1.5, -2.5]]), np.array([[0.25, 3]], np.float16)
    inputs = [
        {"name": name, "shape": [1, 2], "datatype": datatype, "parameters": {"binary_data_size": 4}}
        for name, datatype in (("x", "BF16"), ("h", "FP16"))
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    request = v2_binary.decode_request(head + x.tobytes() + h.tobytes(), len(head))
    body, length = encode_v2(request, answer(doubling, request))
    assert [(each["name"], each["datatype"]) for each in json.loads(body[:length])["outputs"]] == [("y", "BF16"), ("g", "FP16")]
    assert body[length:] == bits([[3, -5]]).tobytes() + np.array([[0.5, 6]], np.float16).tobytes()


def test_they_pass_the_first_inference_on_an_accelerator(doubling: LoadedModel, tmp_path: Path) -> None:
    try_out(onnxruntime.InferenceSession(tmp_path / "model.onnx"), {"x": [3, 2], "h": [3, 2]})
    with pytest.raises(Exception, match="Got invalid dimensions"):
        try_out(onnxruntime.InferenceSession(tmp_path / "model.onnx"), {"x": [3, 1]})


def test_in_v1_they_are_numbers(doubling: LoadedModel) -> None:
    request = v1.decode_request(json.dumps({"instances": [{"x": [1.5, -2.5], "h": [0.25, 3]}]}).encode())
    assert json.loads(encode_v1(request, answer(doubling, request))[0]) == {"predictions": [{"y": [3, -5], "g": [0.5, 6]}]}


@pytest.mark.parametrize(("name", "number"), [("x", 3.4e38), ("x", -3.4e38), ("h", 65520), ("x", 10**400)])
def test_a_number_that_they_cannot_hold_is_refused(doubling: LoadedModel, name: str, number: float) -> None:
    columns = {"x": [[1, 2]], "h": [[1, 2]], name: [[1, number]]}
    request = v1.decode_request(json.dumps({"inputs": columns}).encode())
    with pytest.raises(InvalidRequest, match=f"input '{name}': a number is out of the range of"):
        answer(doubling, request)


@pytest.mark.parametrize("value", ["1", None])
def test_what_is_no_number_is_refused(doubling: LoadedModel, value: Any) -> None:
    request = v1.decode_request(json.dumps({"inputs": {"x": [[1, value]], "h": [[1, 2]]}}).encode())
    with pytest.raises(InvalidRequest, match="input 'x': BF16 expected in every element"):
        answer(doubling, request)


@pytest.mark.parametrize(
    ("number", "rounded"), [(1.00390625, 1.0), (1.01171875, 1.015625), (-1.00390625, -1.0), (1.005, 1.0078125), (1e-45, 0.0)]
)
def test_bf16_is_rounded_to_the_nearest_and_to_even(number: float, rounded: float) -> None:
    tensor = v1._halves("x", "BF16", [number])
    assert (np.frombuffer(tensor, np.uint16).astype(np.uint32) << 16).view(np.float32).tolist() == [rounded]
