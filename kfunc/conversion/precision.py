"""Smaller numbers in an ONNX model: halves, or integers of 8 bits for the weights of what multiplies matrices."""

import os
import tempfile
from pathlib import Path
from typing import Any

from kfunc.errors import StartupError

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # as in handlers/onnx.py; here it is imported first
QUANTIZED = ("MatMulInteger", "ConvInteger", "DynamicQuantizeLinear", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul")


def lowered(model: Any, precision: str) -> Any:
    """The model with weights of this precision; inputs and outputs stay as they are. Raises StartupError where none can be."""
    if precision == "fp16":
        return _halves(model)
    return _integers(model) if precision == "int8" else model


def _halves(model: Any) -> Any:
    from onnx import TensorProto
    from onnxruntime.transformers.float16 import convert_float_to_float16

    before = _floats(model, TensorProto.FLOAT)
    converted = convert_float_to_float16(model, keep_io_types=True)
    if not before or _floats(converted, TensorProto.FLOAT) == before:
        raise StartupError(
            "the model has no weights that can be halves (in ONNX trees, linear models and encoders have none): "
            "leave --precision out"
        )
    return converted


def _floats(model: Any, kind: int) -> int:
    return sum(each.data_type == kind for each in model.graph.initializer)


def _integers(model: Any) -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        try:
            quantize_dynamic(source, target, weight_type=QuantType.QInt8)
        except ValueError as error:  # a graph of nothing but trees has no operators of the main domain
            if "domain" not in str(error):
                raise
            target = source
        converted = onnx.load(target)
    if not any(node.op_type in QUANTIZED for node in converted.graph.node):
        raise StartupError(
            "the model multiplies no matrices that could be integers (trees and linear models do not): leave --precision out"
        )
    return converted
