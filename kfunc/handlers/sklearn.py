"""The runtime for scikit-learn: fitted estimators and pipelines, over matrices, tables and texts."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import ModelLoadError
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.sklearn_files import read_estimator
from kfunc.handlers.sklearn_inputs import INPUT, columns_of, datatype_of, first_step, inputs_of, takes_texts
from kfunc.handlers.tabular import PREDICT, Offer, TabularHandler
from kfunc.handlers.tensors import DATATYPE_OF, texts_of
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

log = logging.getLogger("kfunc.model")

METHODS = (PREDICT, "predict_proba", "predict_log_proba", "decision_function", "score_samples", "transform")


class SklearnHandler(TabularHandler):
    """The answer is what the estimator's methods say that `model.outputs` names."""

    platform = "sklearn"

    def load(self, path: Path) -> None:
        """Read the estimator. Raises ModelLoadError."""
        model = self.config.model
        self.native = estimator = read_estimator(path, trusted=model.trust and model.digest is not None)
        methods = [name for name in METHODS if hasattr(estimator, name)]
        if not methods:
            raise ModelLoadError(f"{path}: a {type(estimator).__name__} has no predict method")
        _use_threads(estimator, model.threads or usable_processors())
        columns = columns_of(estimator)
        self.inputs = inputs_of(estimator, columns)
        self._adopt_rows(columns)
        example = self._example(columns)
        self.offer(path, [Offer(_output(estimator, name, example), _method(estimator, name)) for name in methods])

    def _adopt_rows(self, columns: dict[str, Any]) -> None:
        """Decide once what becomes of a request's arrays."""
        if takes_texts(first_step(self.native)):
            self.rows = lambda inputs: texts_of(INPUT, inputs[INPUT])
        elif columns:
            from pandas import DataFrame, Index

            names = Index(list(columns))
            if len(self.inputs) == 1 and self.inputs[0].name == INPUT:
                self.columns = tuple(columns)
                self.rows = lambda inputs: DataFrame(inputs[INPUT], columns=names)
            else:
                self.rows = lambda inputs: DataFrame({name: _column(name, inputs[name]) for name in columns})

    def _example(self, columns: dict[str, Any]) -> Any:
        """One row that the model could be asked about, or None where the estimator does not say how wide one is."""
        if takes_texts(first_step(self.native)):
            return ["text"]
        if columns:
            from pandas import DataFrame

            return DataFrame({name: [value] for name, value in columns.items()})
        width = self.inputs[0].shape[-1]
        return np.zeros((1, width)) if width > 0 else None


def _column(name: str, elements: "Array") -> Any:
    return texts_of(name, elements) if elements.dtype == np.object_ else elements.ravel()


def _method(estimator: Any, name: str) -> Callable[[Any], "Array"]:
    """A method whose answer is an array: sparse ones are filled, those of several outputs put side by side."""
    method = getattr(estimator, name)

    def call(rows: Any) -> "Array":
        answer = method(rows)
        if isinstance(answer, list):
            return np.stack(answer, axis=1)
        return np.asarray(answer.toarray() if hasattr(answer, "toarray") else answer)

    return call


def _output(estimator: Any, name: str, example: Any) -> TensorSpec:
    """Name, datatype and shape of a method's answer, as it is for an example; where there is none, as far as is known."""
    if example is not None:
        try:
            with np.errstate(all="ignore"):  # a forest's log of 0
                answer = _method(estimator, name)(example)
            return TensorSpec(name, DATATYPE_OF.get(answer.dtype, "BYTES"), [-1, *answer.shape[1:]])
        except Exception as error:  # the example is a guess
            log.info("%s of an example row: %s: %s; its shape is taken for granted", name, type(error).__name__, error)
    if name != PREDICT:
        return TensorSpec(name, "FP64", [-1, -1])
    classes = getattr(estimator, "classes_", None)
    return TensorSpec(name, "FP64" if classes is None else datatype_of(np.asarray(classes).flat[0]), [-1])


def _use_threads(estimator: Any, count: int) -> None:
    """What was fitted with many jobs predicts with as many threads as this process may use."""
    parameters = estimator.get_params() if hasattr(estimator, "get_params") else {}
    many = {name for name, value in parameters.items() if name.split("__")[-1] == "n_jobs" and value not in (None, 1)}
    if many:
        estimator.set_params(**dict.fromkeys(many, count))
