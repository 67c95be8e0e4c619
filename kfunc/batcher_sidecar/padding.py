"""Requests that differ in one dimension: filled up on the way in, cut back on the way out. Sans-IO.

Lengths are merged within a factor of two, so that at most half of a batch is filling.
"""

from math import prod
from typing import TYPE_CHECKING, Any

from kfunc.batcher_sidecar.tensor_rows import pad_rows
from kfunc.config.batcher import Pad
from kfunc.protocol.datatypes import DATATYPES
from kfunc.protocol.messages import ModelMetadata, Tensor

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.v2_requests import V2Request

MASK_RANK = 2


class Padding:
    """What of a model is ragged: inputs and outputs with a free dimension `dim`, and the mask that it takes, if any."""

    __slots__ = ("dim", "inputs", "mask", "outputs", "value")

    def __init__(self, pad: Pad, metadata: ModelMetadata) -> None:
        self.dim = pad.dim
        self.value = pad.value
        self.inputs = {each.name for each in metadata.inputs if self._is_free(each.shape)}
        self.outputs = {each.name for each in metadata.outputs if self._is_free(each.shape)}
        masks = [each for each in metadata.inputs if each.name == pad.mask and len(each.shape) == MASK_RANK]
        fits = pad.dim == 1 and masks and DATATYPES.get(masks[0].datatype) and masks[0].datatype not in ("FP16", "BF16")
        self.mask = masks[0] if fits else None

    def _is_free(self, shape: Any) -> bool:
        return len(shape) > self.dim and bool(shape[self.dim] == -1)

    def signature(self, request: "V2Request") -> list[Any]:
        """Names, datatypes and trailing shapes, with the magnitude of the ragged dimension for its size."""
        dim, lengths = self.dim, {}
        signature: list[Any] = []
        for tensor in request.inputs:
            shape = tensor.shape
            signature += (tensor.name, tensor.datatype, *shape[1:])
            if tensor.name in self.inputs and len(shape) > dim:
                lengths[tensor.name] = shape[dim]
                signature[dim - len(shape)] = ("to", (shape[dim] - 1).bit_length())
        request.lengths = lengths
        if lengths and self.mask is not None and self.mask.name not in [tensor.name for tensor in request.inputs]:
            length = next(iter(lengths.values()))
            mask = Tensor(self.mask.name, [request.rows, length], self.mask.datatype, self._ones(request.rows * length))
            request.inputs.append(mask)
            lengths[self.mask.name] = length
            request.altered = True
            signature.append("masked")
        return signature

    def _ones(self, count: int) -> list[Any]:
        datatype = self.mask.datatype if self.mask is not None else ""
        return [True if datatype == "BOOL" else 1] * count

    def filled(self, tensor: Tensor, wanted: int) -> Tensor:
        """The tensor with `wanted` as its ragged dimension."""
        dim, shape = self.dim, tensor.shape
        width = shape[dim]
        inner, outer = prod(shape[dim + 1 :]), prod(shape[:dim])
        value = 0.0 if self.mask is not None and tensor.name == self.mask.name else self.value
        data = pad_rows(tensor.data, tensor.datatype, outer, width * inner, wanted * inner, value)
        return Tensor(tensor.name, [*shape[:dim], wanted, *shape[dim + 1 :]], tensor.datatype, data)
