"""The messages of an inference call, one kind for V1, V2 and gRPC. Values only: no codec, no numpy, no I/O."""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType


class Tensor(Struct, gc=False):
    """A named array, row-major.

    `datatype` is one of `datatypes.DATATYPES`, or `datatypes.JSON` for V1 rows that no metadata
    has typed yet. `data` is a JSON list (flat or nested to `shape`), or an object that offers the
    buffer protocol: elements little-endian, BOOL as one byte, BF16 as its upper half of an FP32, BYTES
    as elements with a length of 4 bytes before each. None: the request had no data.
    """

    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(Struct, gc=False):
    """An output that the caller asked for by name."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(Struct, gc=False):
    """One call of a model; empty `model_name` and `model_version` mean the default ones."""

    inputs: list[Tensor]
    id: str = ""
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None
    model_name: str = ""
    model_version: str = ""


class InferResponse(Struct, gc=False):
    """The answer to one InferRequest."""

    model_name: str
    outputs: list[Tensor]
    model_version: str = ""
    id: str = ""
    parameters: dict[str, Any] | None = None


class TensorSpec(Struct, frozen=True):
    """Name, datatype and shape of a model's input or output; -1 is a dimension of any size."""

    name: str
    datatype: str
    shape: Sequence[int]


class ModelMetadata(Struct, frozen=True):
    """What a model says of itself (Open Inference Protocol, Model Metadata); `parameters` are kfunc's, and MLServer's."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    parameters: dict[str, str] | UnsetType = UNSET
