"""The runtime for MLflow: a folder with an MLmodel, of any flavour that is a pyfunc."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.pyfunc
import numpy as np
from mlflow.exceptions import MlflowException
from pandas import DataFrame, Series

from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.caller_faults import refuse
from kfunc.handlers.contract import Handler
from kfunc.handlers.mlflow_trust import FILE, refuse_code
from kfunc.handlers.tensors import text_array
from kfunc.handlers.versions import require_not_newer
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

log = logging.getLogger("kfunc.model")

ONLY = "predictions"
COLUMNS = {
    "boolean": "BOOL", "integer": "INT32", "long": "INT64", "float": "FP32", "double": "FP64", "string": "BYTES",
    "binary": "BYTES",
}  # fmt: skip
TENSORS = {
    "bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64", "str": "BYTES", "object": "BYTES",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip


class MlflowHandler(Handler):
    """A pyfunc. Its signature says what it takes; without one, columns by name make a table and a single tensor an array."""

    platform = "mlflow"
    exact_datatypes = False

    def load(self, path: Path) -> None:
        """Load the flavour. Raises ModelLoadError."""
        folder = path.parent if path.name == FILE else path
        model = self.config.model
        try:
            if not (model.trust and model.digest is not None):
                refuse_code(folder, self.config)
            settings = mlflow.models.Model.load(str(folder))
            if settings.mlflow_version:
                require_not_newer(folder, "mlflow", ".".join(settings.mlflow_version.split(".")[:2]))
            self.model = mlflow.pyfunc.load_model(str(folder), suppress_warnings=True)
        except ModelLoadError:
            raise
        except ModuleNotFoundError as error:
            raise ModelLoadError(
                f"{folder}: its flavour needs the package {error.name}: install it (requirements.txt there lists all)"
            ) from None
        except Exception as error:  # MLflow's, yaml's, and those of each flavour's library
            raise ModelLoadError(f"{folder}: mlflow cannot load it: {_words(error)}") from None
        self._describe(folder)

    def _describe(self, folder: Path) -> None:
        signature = self.model.metadata.signature
        self._named = self._tensor = False
        self.is_table = True
        if signature is None or signature.inputs is None:
            log.info("%s: has no signature; what it takes is not checked", folder)
            return
        if signature.inputs.is_tensor_spec():
            specs = signature.inputs.inputs
            self._tensor, self._named, self.is_table = True, specs[0].name is not None, False
            self.inputs = [TensorSpec(each.name or "input-0", _tensor_type(folder, each), list(each.shape)) for each in specs]
        else:
            self.inputs = [TensorSpec(str(each.name), _column_type(folder, each), [-1]) for each in signature.inputs.inputs]
        self.outputs = _outputs(signature.outputs)

    def predict(self, inputs: "Arrays") -> "Arrays":
        """What the pyfunc says of the table or the tensors. Raises InvalidRequest for what its signature does not allow."""
        arrays = {name: text_array(name, array) if array.dtype == np.object_ else array for name, array in inputs.items()}
        if self._tensor or (not self.inputs and len(arrays) == 1 and next(iter(arrays.values())).ndim > 1):
            question: Any = arrays if self._named else next(iter(arrays.values()))
        else:
            question = DataFrame({name: array.ravel() for name, array in arrays.items()})
        try:
            answer = self.model.predict(question)
        except MlflowException as error:
            if "schema" not in str(error):
                raise
            raise InvalidRequest(f"the model's signature does not allow this: {_words(error)}") from None
        except Exception as error:  # each library's own
            refuse(self.platform, error, inputs)
            raise
        return self._outputs_of(answer)

    def _outputs_of(self, answer: Any) -> "Arrays":
        if isinstance(answer, DataFrame):
            return {str(name): np.asarray(answer[name]) for name in answer.columns}
        if isinstance(answer, dict):
            return {str(name): np.asarray(value) for name, value in answer.items()}
        only = self.outputs[0].name if len(self.outputs) == 1 else ONLY
        if isinstance(answer, Series):
            return {only: answer.to_numpy()}
        return {only: np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)}


def _column_type(folder: Path, column: Any) -> str:
    name = getattr(column.type, "name", str(column.type))
    if name not in COLUMNS or not column.name:
        raise ModelLoadError(
            f"{folder}: the protocols cannot carry the column {column.name or '(without a name)'} of type {name}; "
            f"they carry {', '.join(COLUMNS)}"
        )
    return COLUMNS[name]


def _tensor_type(folder: Path, spec: Any) -> str:
    name = str(spec.type)
    if name not in TENSORS and spec.type.kind not in "OUS":
        raise ModelLoadError(f"{folder}: the protocols cannot carry a tensor of {name}")
    return TENSORS.get(name, "BYTES")


def _outputs(schema: Any) -> list[TensorSpec]:
    """The outputs that a signature tells, as far as it does."""
    if schema is None:
        return []
    found = []
    for each in schema.inputs:
        kind = str(getattr(each.type, "name", each.type))
        shape = list(each.shape) if hasattr(each, "shape") else [-1]
        found.append(TensorSpec(each.name or ONLY, {**TENSORS, **COLUMNS}.get(kind, "BYTES"), shape))
    return found


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
