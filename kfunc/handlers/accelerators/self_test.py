"""The inputs of a first inference: zeros in the model's own shapes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from kfunc.handlers.tensors import BINARY
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

MAX_ELEMENTS = 2**24


def sample(specs: Sequence[TensorSpec], known: Mapping[str, Sequence[int]], size: int = 1) -> "Arrays | None":
    """Zeros for each input, `size` where a dimension may be any and `known` shapes (`model.warmup.shapes`) say nothing.

    None where there is nothing to make: no inputs are known, one is of strings, or one is too large for a test.
    """
    arrays: Arrays = {}
    for spec in specs:
        shape = known.get(spec.name) or [size if dimension < 0 else dimension for dimension in spec.shape]
        if spec.datatype not in BINARY or int(np.prod(shape, dtype=np.float64)) > MAX_ELEMENTS:
            return None
        arrays[spec.name] = np.zeros(tuple(shape), BINARY[spec.datatype])
    return arrays or None
