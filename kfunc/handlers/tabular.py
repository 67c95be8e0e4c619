"""What runtimes of tables share: rows of features in, and the outputs that func.yaml chooses of those that the model has."""

from collections.abc import Callable
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from kfunc.errors import KfuncError, ModelLoadError
from kfunc.handlers.contract import Handler
from kfunc.protocol.messages import TensorSpec

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

    Array = np.ndarray[Any, Any]

INPUT = "input"
PREDICT = "predict"
PROBABILITIES = "predict_proba"


class Offer(Struct, frozen=True):
    """An output that a model can give, and how: `call` gets what `score` gave for the rows."""

    spec: TensorSpec
    call: "Callable[[Array], Array]"


class TabularHandler(Handler):
    """A model of rows: the input `input`, of shape [-1, features], and outputs by the names of an estimator's methods."""

    exact_datatypes = False
    offered: tuple[str, ...] = ()
    """All outputs that `model.outputs` may name."""

    def offer(self, path: Path, offers: list[Offer]) -> None:
        """Take the outputs of `model.outputs`, or `predict`, from what there is. Raises ModelLoadError."""
        self.is_table = len(self.inputs) > 1
        there = {each.spec.name: each for each in offers}
        wanted = wanted_outputs(path, self.config.model.outputs, list(there)) or [next(iter(there))]
        self.offered = tuple(there)
        self.outputs = [there[name].spec for name in wanted]
        self._calls = [(name, there[name].call) for name in wanted]

    rows: "Callable[[Arrays], Any]" = itemgetter(INPUT)
    """What `score` gets: the inputs as the library takes them."""

    def score(self, rows: Any) -> Any:
        """What the outputs are made from."""
        return rows

    def predict(self, inputs: "Arrays") -> "Arrays":
        """The chosen outputs of the rows."""
        try:
            score = self.score(self.rows(inputs))
            return {name: call(score) for name, call in self._calls}
        except KfuncError:
            raise
        except Exception as error:  # each library's own
            self.refuse(error, inputs)
            raise

    def refuse(self, error: Exception, inputs: "Arrays") -> None:
        """Raise InvalidRequest where the caller's values have made the library fail."""
        from kfunc.handlers.caller_faults import refuse  # start-up time

        refuse(self.platform, error, inputs)


def wanted_outputs(path: Path, wanted: list[str], there: list[str]) -> list[str]:
    """Those of `model.outputs`. Raises ModelLoadError for one that the model has not."""
    unknown = [name for name in wanted if name not in there]
    if unknown:
        raise ModelLoadError(f"{path}: has no output {unknown[0]} (inference.model.outputs); it has {', '.join(there)}")
    return wanted


def features(count: int, datatype: str = "FP32") -> list[TensorSpec]:
    """The one input of a model of `count` features; -1: it does not tell."""
    return [TensorSpec(INPUT, datatype, [-1, count])]


def classes_of_scores(count: int) -> list[Offer]:
    """The outputs of a booster that scores classes: P(class 1) where there are two, else a column for each class."""
    proba = TensorSpec(PROBABILITIES, "FP32", [-1, count])
    label = TensorSpec(PREDICT, "INT64", [-1])
    if count == 2:
        return [Offer(label, lambda score: (score > 0.5).astype(np.int64)), Offer(proba, _both)]
    return [Offer(label, lambda score: score.argmax(axis=1).astype(np.int64)), Offer(proba, _single_precision)]


def values_of_scores(count: int) -> list[Offer]:
    """The only output of a booster whose scores are the answer, `count` for each row."""
    return [Offer(TensorSpec(PREDICT, "FP32", [-1] if count == 1 else [-1, count]), _single_precision)]


def _both(score: "Array") -> "Array":
    return np.stack((1 - score, score), axis=1).astype(np.float32, copy=False)


def _single_precision(score: "Array") -> "Array":
    return score.astype(np.float32, copy=False)
