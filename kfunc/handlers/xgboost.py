"""The runtime for XGBoost: models in JSON and UBJSON, as `save_model` writes them."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xgboost as xgb

from kfunc.errors import ModelLoadError
from kfunc.handlers.processors import usable_processors
from kfunc.handlers.tabular import Offer, TabularHandler, classes_of_scores, features, values_of_scores
from kfunc.handlers.tree_shape import Broken
from kfunc.handlers.versions import release, require_not_newer
from kfunc.handlers.xgboost_files import checked

if TYPE_CHECKING:
    from kfunc.handlers.tabular import Array

TAIL_BYTES = 256
# The last member of the document: [3,2,0]; in UBJSON each number has a letter for its type before it.
JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)')
UBJSON_VERSION = re.compile(rb"version\[#L.{8}[iU](.)[iU](.)", re.DOTALL)
LABELS = ("binary:hinge", "multi:softmax")
WITHOUT_INPLACE = "gblinear"
LEAVES_APART = (3, 2)


class XgboostHandler(TabularHandler):
    """A booster. Its classes are 0, 1 …, as training has numbered them."""

    platform = "xgboost"
    trees = (0, 0)
    """The rounds of boosting that answer: up to the best one of a training that stopped early; (0, 0): all."""

    def load(self, path: Path) -> None:
        """Read the booster. Raises ModelLoadError."""
        _check_version(path)
        self.native = booster = xgb.Booster({"nthread": self.config.model.threads or usable_processors()})
        try:
            booster.load_model(content_of(path))
            learner = json.loads(booster.save_config())["learner"]
        except xgb.core.XGBoostError as error:
            raise ModelLoadError(f"{path}: xgboost cannot read it: {_reason(error)}") from None
        self.inputs = features(booster.num_features())
        self.columns = tuple(booster.feature_names or ())
        best = booster.attr("best_iteration")
        linear = learner["gradient_booster"]["name"] == WITHOUT_INPLACE
        self.trees = (0, 0) if best is None or linear else (0, min(int(best) + 1, booster.num_boosted_rounds()))
        self.offer(path, _offers(learner))
        if linear:
            self.score = self._score_matrix  # type: ignore[method-assign]

    def score(self, rows: "Array") -> Any:
        """Predictions without a matrix of XGBoost's own; NaN is a missing value."""
        return self.native.inplace_predict(rows, iteration_range=self.trees, validate_features=False)

    def _score_matrix(self, rows: "Array") -> Any:
        return self.native.predict(xgb.DMatrix(rows), validate_features=False)


def _offers(learner: Any) -> list[Offer]:
    """What a booster's objective makes of its scores."""
    objective = learner["objective"]["name"]
    parameters = learner["learner_model_param"]
    count = max(int(parameters["num_class"]), 1)
    if objective == "binary:logistic":
        return classes_of_scores(2)
    if objective == "multi:softprob":
        return classes_of_scores(count)
    return values_of_scores(1 if objective in LABELS else max(count, int(parameters.get("num_target", 1))))


def content_of(path: Path, *, best_as_told: bool = False) -> bytearray:
    """The file's bytes, which XGBoost may read: what is checked is what it gets, also while somebody writes the file.

    best_as_told: its interface of scikit-learn takes the best round as it is told. Raises ModelLoadError.
    """
    try:
        return checked(path.read_bytes(), release(xgb.__version__) >= LEAVES_APART, best_as_told=best_as_told)
    except Broken as error:
        raise ModelLoadError(f"{path}: {error}") from None


def _check_version(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(-min(TAIL_BYTES, path.stat().st_size), 2)
        tail = file.read()
    if found := JSON_VERSION.search(tail):
        require_not_newer(path, "xgboost", f"{int(found[1])}.{int(found[2])}")
    elif found := UBJSON_VERSION.search(tail):
        require_not_newer(path, "xgboost", f"{found[1][0]}.{found[2][0]}")


def _reason(error: Exception) -> str:
    """The words of XGBoost's error, without the place in its source and the stack."""
    first = str(error).partition("\nStack trace")[0]
    return " ".join(re.sub(r"^\[[\d:]+\] \S+: ", "", first).split())[:300]
