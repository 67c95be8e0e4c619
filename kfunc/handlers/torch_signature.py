"""What PyTorch's files say of their inputs and outputs, as TensorSpecs."""

import pickle
from pathlib import Path
from typing import Any

import torch

from kfunc.handlers.torch_arrays import DATATYPES
from kfunc.protocol.messages import TensorSpec
from kfunc.storage.zips import open_zip


def of_program(program: Any) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs of an exported program; symbolic sizes are -1. Raises ValueError for a type that no protocol has."""
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    inputs = [_spec(name, nodes[name].meta.get("val")) for name in signature.user_inputs if name in nodes]
    outputs = [
        _spec(f"output-{index}", nodes[name].meta.get("val"))
        for index, name in enumerate(signature.user_outputs)
        if name in nodes
    ]
    return inputs, outputs


def _spec(name: str, value: Any) -> TensorSpec:
    if not isinstance(value, torch.Tensor):
        return TensorSpec(name, "FP32", [])
    if value.dtype not in DATATYPES:
        raise ValueError(f"{name} is of {value.dtype}, which the protocols cannot carry")
    shape = [size if isinstance(size, int) else -1 for size in value.shape]
    return TensorSpec(name, DATATYPES[value.dtype], shape)


def parameters(script: Any) -> list[str]:
    """The names of the tensors that a TorchScript module's forward takes."""
    return [each.name for each in script.forward.schema.arguments[1:]]


def of_script(path: Path, names: list[str]) -> list[TensorSpec]:
    """The inputs that a module was traced with, which its file keeps; empty for a scripted one, which has none."""
    try:
        with open_zip(path) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith("/traced_inputs.pkl")]
            with archive.open(name) as file:
                traced = _Shapes(file).load()
        tensors = [each for each in traced.get("forward", ()) if isinstance(each, tuple)]
    except Exception:  # another version of PyTorch may write it otherwise; then the module tells nothing
        return []
    if len(tensors) != len(names):
        return []
    return [TensorSpec(name, datatype, list(shape)) for name, (datatype, shape) in zip(names, tensors, strict=True)]


class _Shapes(pickle.Unpickler):
    """Reads datatypes and shapes of pickled tensors, and nothing else: what it finds by name are functions of this file."""

    STORAGES = {
        f"{name}Storage": DATATYPES[dtype]
        for name, dtype in (
            *(("Float", torch.float32), ("Double", torch.float64), ("Half", torch.float16), ("BFloat16", torch.bfloat16)),
            *(("Long", torch.int64), ("Int", torch.int32), ("Short", torch.int16), ("Char", torch.int8), ("Byte", torch.uint8)),
            ("Bool", torch.bool),
        )
    }

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in self.STORAGES:
            return self.STORAGES[name]
        found = {"_rebuild_tensor_v2": _shape, "restore_type_tag": _tagged, "OrderedDict": dict}.get(name)
        if found is None:
            raise pickle.UnpicklingError(name)
        return found

    def persistent_load(self, pid: Any) -> Any:
        return pid[1]


def _shape(storage: str, offset: int, size: tuple[int, ...], *others: Any) -> tuple[str, tuple[int, ...]]:
    return storage, size


def _tagged(value: Any, tag: str) -> Any:
    return value
