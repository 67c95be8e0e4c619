"""Inputs and outputs of models whose files do not tell them: func.yaml declares them, or an inference on zeros shows them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from kfunc.config.pod import PodConfig
from kfunc.handlers.accelerators.self_test import sample
from kfunc.handlers.tensors import DATATYPE_OF
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays


def declared(
    config: PodConfig, inputs: list[TensorSpec], outputs: list[TensorSpec]
) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """What func.yaml says (`model.signature`), else what the model says of itself."""
    signature = config.model.signature
    return (
        [TensorSpec(each.name, each.datatype, each.shape) for each in signature.inputs] or inputs,
        [TensorSpec(each.name, each.datatype, each.shape) for each in signature.outputs] or outputs,
    )


def observed(
    inputs: Sequence[TensorSpec], shapes: Mapping[str, Sequence[int]], predict: "Callable[[Arrays], Arrays]"
) -> list[TensorSpec]:
    """The outputs of an inference on zeros, of `shapes` where those say some; none where the model takes other ones."""
    zeros = sample(inputs, shapes, 2)
    try:
        found = predict(zeros) if zeros is not None else {}
    except Exception:  # each framework's own
        return []
    rows = {array.shape[0] for array in (zeros or {}).values() if array.ndim}
    by_row = all(spec.shape and spec.shape[0] < 0 for spec in inputs)
    return [
        TensorSpec(name, DATATYPE_OF.get(array.dtype, "BYTES"), _any_rows(list(array.shape), rows if by_row else set()))
        for name, array in found.items()
    ]


def _any_rows(shape: list[int], rows: set[int]) -> list[int]:
    return [-1, *shape[1:]] if shape and rows == {shape[0]} else shape
