"""Writes image.onnx beside this file: `python bench/models/image.py` (needs the package `onnx`).

`input` FP32 [-1, 3, 224, 224] → `mean` FP32 [-1, 3]: large to carry and cheap to compute, so that a
benchmark with it measures the server.
"""

from pathlib import Path

from onnx import TensorProto, checker, helper

MODEL = Path(__file__).with_name("image.onnx")
OPSET = 20  # any onnxruntime from 1.17 on reads it
IR_VERSION = 9


def main() -> None:
    """One ReduceMean over height and width."""
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 3, 224, 224])
    result = helper.make_tensor_value_info("mean", TensorProto.FLOAT, [None, 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    node = helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=0)
    graph = helper.make_graph([node], "image", [source], [result], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    checker.check_model(model)
    MODEL.write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
