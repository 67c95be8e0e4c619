"""Requests that give each column of a table by its name, to a model whose only input is the matrix of them all."""

from typing import TYPE_CHECKING

import numpy as np

from kfunc.errors import InvalidRequest
from kfunc.handlers.tensors import InputCheck
from kfunc.protocol import v1
from kfunc.protocol.messages import InferRequest, ModelMetadata, TensorSpec
from kfunc.protocol.v2 import flatten

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays, Handler


class Inputs:
    """A model's inputs: tensors with types from a request of V1, arrays from any request."""

    def __init__(self, handler: "Handler", metadata: ModelMetadata) -> None:
        self._metadata = metadata
        self.arrays = InputCheck(handler.inputs, handler.optional_inputs, exact_datatypes=handler.exact_datatypes).arrays

    def typed(self, request: InferRequest) -> InferRequest:
        """A V1 request with the model's names and datatypes. Raises InvalidRequest."""
        return v1.typed(request, self._metadata)


class Table(Inputs):
    """Inputs that are columns of one table."""

    def __init__(self, handler: "Handler", metadata: ModelMetadata) -> None:
        super().__init__(handler, metadata)
        self._columns = self.arrays
        self.arrays = self._even

    def _even(self, request: InferRequest) -> "Arrays":
        found = self._columns(request)
        _require_even(found)
        return found


class NamedColumns(Inputs):
    """Inputs that may also come as columns: V1 rows that are objects, V2 inputs of shape [rows] or [rows, 1]."""

    def __init__(self, handler: "Handler", metadata: ModelMetadata) -> None:
        super().__init__(handler, metadata)
        (whole,) = handler.inputs
        self._whole, self._together = whole.name, self.arrays
        self._names = dict.fromkeys(handler.columns)
        specs = [TensorSpec(name, whole.datatype, [-1]) for name in handler.columns]
        self._by_column = ModelMetadata(metadata.name, metadata.versions, metadata.platform, specs, metadata.outputs)
        self._check = InputCheck(specs, exact_datatypes=handler.exact_datatypes)
        self.arrays = self._either

    def typed(self, request: InferRequest) -> InferRequest:
        """The same, for rows and columns with names. Raises InvalidRequest."""
        first = request.inputs[0]
        rows = first.name == v1.ROWS and type(first.data) is list and type(first.data[0]) is dict
        named = rows and self._whole not in first.data[0]
        return v1.typed(request, self._by_column if named or first.name in self._names else self._metadata)

    def _either(self, request: InferRequest) -> "Arrays":
        if request.inputs and request.inputs[0].name in self._names:
            for tensor in request.inputs:
                if len(tensor.shape) == 2 and tensor.shape[1] == 1:
                    if type(tensor.data) is list:
                        flatten(tensor)  # it may be nested as its shape says
                    tensor.shape = tensor.shape[:1]
            found = self._check.arrays(request)
            _require_even(found)
            return {self._whole: np.stack([found[name] for name in self._names], axis=1)}
        return self._together(request)


def _require_even(columns: "Arrays") -> None:
    if len({column.size for column in columns.values()}) > 1:
        raise InvalidRequest("the columns do not all have the same number of rows")


def inputs_of(handler: "Handler", metadata: ModelMetadata) -> Inputs:
    """The way from requests to the handler's arrays, decided once."""
    if handler.columns:
        return NamedColumns(handler, metadata)
    return (Table if handler.is_table else Inputs)(handler, metadata)
