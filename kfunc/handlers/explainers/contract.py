"""What an explainer implements, and what it is given: the loaded handler and its settings."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.config.explain import Explain
from kfunc.errors import InvalidRequest, ModelLoadError
from kfunc.handlers.contract import Handler
from kfunc.handlers.explainers.rows import Rows
from kfunc.handlers.parts import yields
from kfunc.handlers.tabular import PROBABILITIES

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Array = np.ndarray[Any, Any]

FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
VALUES, BASE, NAMES = "shap_values", "base_values", "feature_names"


class Explainer:
    """Explains one model. `check` is cheap; `prepare` imports the library and builds what `explain` asks, which takes seconds.

    Both run when the model is loaded, or the second before the first question; `explain` runs in a thread.
    """

    packages: tuple[str, ...] = ()
    _is_ready = False

    def __init__(self, handler: Handler, settings: Explain, background: Rows | None) -> None:
        self.handler = handler
        self.settings = settings
        self.background: Array | None = None if background is None else background.values
        self.columns = handler.columns or (background.names if background is not None else ())
        """The features' names: the model's, else those that the usual rows have."""

    def check(self, path: Path) -> None:
        """Raises ModelLoadError where this explainer cannot explain the model."""

    def require_width(self) -> None:
        """The usual rows are as wide as the only input. Raises ModelLoadError."""
        width, known = self.handler.inputs[0].shape[1], self.background
        if known is not None and width not in (-1, known.shape[1]):
            names = f": {', '.join(self.handler.columns)}" if self.handler.columns else ""
            raise ModelLoadError(f"explain.background has {known.shape[1]} columns, and the model takes {width}{names}")

    def prepare(self) -> None:
        """Once, before the first `explain`."""

    def make_ready(self) -> None:
        """Prepare, unless it is done."""
        if not self._is_ready:
            self.prepare()
            self._is_ready = True

    def explain(self, inputs: "Arrays") -> "Arrays":
        """Explanations of the rows, by name."""
        raise TypeError(f"{type(self).__name__} has no explain method")


class AskingExplainer(Explainer):
    """One that asks any model about changed rows: the model has one input, a matrix of floating numbers."""

    def check(self, path: Path) -> None:
        """One input of two dimensions, the background's width; between two rows there are fractions."""
        inputs, method = self.handler.inputs, self.settings.method
        if len(inputs) != 1 or inputs[0].datatype not in FLOATS or len(inputs[0].shape) != 2:
            raise ModelLoadError(
                f"{path}: explain.method {method} needs a model with one input, a matrix of {', '.join(FLOATS)}"
            )
        if inspect.iscoroutinefunction(self.handler.predict) or yields(self.handler):
            raise ModelLoadError(
                f"{path}: explain.method {method} asks the model in a thread: its predict must not be async, nor yield"
            )
        self.require_width()
        self.asked()

    def asked(self) -> "Callable[[Array], Array]":
        """The model as a function of a matrix: its chosen output, one or several numbers for each row."""
        spec, name = self.handler.inputs[0], self.output()
        dtype = FLOATS[spec.datatype]

        def ask(rows: "Array") -> "Array":
            answer = self.handler.predict({spec.name: np.ascontiguousarray(rows, dtype)})
            values = answer[name] if isinstance(answer, dict) else answer
            return np.asarray(values, np.float64)

        return ask

    def output(self) -> str:
        """The output that is explained. Raises ModelLoadError for one that there is not."""
        offered: tuple[str, ...] = getattr(self.handler, "offered", ())  # of tables: what the model could answer with
        there = [spec.name for spec in self.handler.outputs if spec.datatype not in ("BYTES", "BOOL")]
        if not self.settings.output and PROBABILITIES in offered and PROBABILITIES not in there:
            raise ModelLoadError(
                f"explain.method {self.settings.method} would explain labels: add {PROBABILITIES} to inference.model.outputs, "
                "or set explain.output"
            )
        wanted = self.settings.output or next((name for name in there if "prob" in name), there[0] if there else "")
        if wanted not in there:
            known = ", ".join(there) or "none"
            raise ModelLoadError(f"explain.output {wanted or '(none)'} is no output of numbers; there are {known}")
        return wanted

    def rows(self, inputs: "Arrays") -> "Array":
        """The rows to explain. Raises InvalidRequest where there are none: models, and the libraries, fail at that."""
        rows = np.asarray(inputs[self.handler.inputs[0].name], np.float64)
        if not len(rows):
            raise InvalidRequest("there are no rows to explain")
        return rows

    def names(self, count: int) -> "Array":
        """The features' names, or their numbers."""
        known = self.columns if len(self.columns) == count else [str(number) for number in range(count)]
        return np.array(known, np.object_)


def shap_answer(values: Any, base: Any, names: Any) -> "Arrays":
    """SHAP values of shape [rows, features] or [rows, features, outputs], and what they are added to."""
    values = np.asarray(values, np.float64)
    wanted = (values.shape[0], *values.shape[2:])
    return {
        VALUES: values,
        BASE: np.broadcast_to(np.asarray(base, np.float64).reshape(-1) if values.ndim > 2 else np.ravel(base)[:1], wanted),
        NAMES: np.array([str(name) for name in names], np.object_),
    }
