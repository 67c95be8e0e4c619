"""The inputs that an ONNX file tells, read without onnxruntime: its import takes longer than all else that validates."""

import mmap
from pathlib import Path
from typing import Any, cast

from kfunc.errors import InvalidRequest
from kfunc.protocol.grpc.schema import INT, Schema, decode, many, one

# Fields of onnx.proto3: ModelProto, GraphProto, ValueInfoProto, TypeProto, TensorShapeProto; TensorProto has its name in 8.
SHAPE: Schema = {"dim": many(1, {"dim_value": one(1, INT)})}
TYPE: Schema = {"tensor_type": one(1, {"shape": one(2, SHAPE)})}
GRAPH: Schema = {"input": many(11, {"name": one(1), "type": one(2, TYPE)}), "initializer": many(5, {"name": one(8)})}
MODEL: Schema = {"graph": one(7, GRAPH)}


def onnx_inputs(file: Path) -> dict[str, list[int]]:
    """Shapes by name, -1 for a dimension of any size; empty where one of them has no rank, and for what is no ONNX."""
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
            graph = decode(MODEL, cast(bytes, content)).get("graph", {})
    except (InvalidRequest, OSError, ValueError, IndexError):
        return {}  # the handler says what is wrong with it
    constants = {each["name"] for each in graph.get("initializer", ())}
    found: dict[str, list[int]] = {}
    for each in graph.get("input", ()):
        shape: Any = each.get("type", {}).get("tensor_type", {}).get("shape")
        if shape is None:
            return {}
        if each["name"] not in constants:
            found[each["name"]] = [size["dim_value"] or -1 for size in shape["dim"]]
    return found
