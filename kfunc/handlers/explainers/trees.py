"""SHAP values of trees: the boosters' own, which are exact and need no other library; shap's for scikit-learn's."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.errors import ModelLoadError
from kfunc.handlers.explainers.contract import Explainer, shap_answer
from kfunc.handlers.explainers.sklearn_steps import LastStep

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays

INPUT = "input"

OF_TREES = ("tree_", "_predictors", "get_booster", "booster_", "calc_leaf_indexes")
"""What trees, histogram boosting, and the estimators of XGBoost, LightGBM and CatBoost have."""


OTHERS = (
    "AdaBoost",
    "Bagging",
    "Voting",
    "Stacking",
    "MultiOutput",
    "OneVs",
    "OutputCode",
    "RegressorChain",
    "ClassifierChain",
)
"""Ensembles that shap does not know, though their members may be trees."""


def has_trees(estimator: Any) -> bool:
    """Whether shap knows an estimator as trees. It is not asked: its import takes seconds."""
    if type(estimator).__name__.startswith(OTHERS):
        return False
    found = getattr(estimator, "estimators_", ())
    members = found.ravel() if isinstance(found, np.ndarray) else list(found)
    return any(hasattr(estimator, name) for name in OF_TREES) or (
        len(members) > 0 and all(hasattr(each, "tree_") for each in members)
    )


class TreeExplainer(Explainer):
    """Values are in the units of the model's margin (log-odds of classifiers), as boosters have them."""

    def check(self, path: Path) -> None:
        """The model is made of trees."""
        ways: dict[str, Callable[[], Callable[[Arrays], Arrays]]] = {
            "xgboost": lambda: self._of_xgboost,
            "lightgbm": lambda: self._of_lightgbm,
            "catboost": lambda: self._of_catboost,
            "sklearn": self._sklearn,
        }
        way = ways.get(self.handler.platform)
        if way is None or any(spec.datatype == "BYTES" for spec in self.handler.inputs if self.handler.platform == "catboost"):
            raise ModelLoadError(f"{path}: explain.method shap-tree explains {', '.join(ways)}: use shap-kernel, or lime")
        if self.handler.platform == "sklearn" and not has_trees(self._last_step().estimator):
            kind = type(self._last_step().estimator).__name__
            raise ModelLoadError(
                f"{path}: a {kind} is not made of trees: use shap-linear, shap-kernel or lime as explain.method"
            )
        self._explain = way()

    def prepare(self) -> None:
        """shap's explainer; boosters need none."""
        if self.packages:
            import shap

            self._trees: Any = shap.TreeExplainer(self._last_step().estimator)

    def explain(self, inputs: "Arrays") -> "Arrays":
        """The values, what they are added to, and the features' names."""
        return self._explain(inputs)

    def _of_xgboost(self, inputs: "Arrays") -> "Arrays":
        from xgboost import DMatrix

        names = self.handler.columns or None
        told = self.handler.native.predict(
            DMatrix(inputs[INPUT], feature_names=names),
            pred_contribs=True,
            iteration_range=self.handler.trees,  # type: ignore[attr-defined]
            validate_features=False,
        )
        return self._of_contributions(told)

    def _of_lightgbm(self, inputs: "Arrays") -> "Arrays":
        rows = self.handler.matrix(inputs)  # type: ignore[attr-defined]
        told = np.asarray(self.handler.native.predict(rows, pred_contrib=True))
        width = rows.shape[1] + 1
        return self._of_contributions(told if told.shape[1] == width else told.reshape(len(rows), -1, width))

    def _of_catboost(self, inputs: "Arrays") -> "Arrays":
        from catboost import Pool

        told = self.handler.native.get_feature_importance(Pool(inputs[INPUT]), type="ShapValues")
        return self._of_contributions(told)

    def _of_contributions(self, told: Any) -> "Arrays":
        """[rows, features + 1] or [rows, classes, features + 1], the last of each what the others are added to."""
        told = np.asarray(told, np.float64)
        values, base = told[..., :-1], told[..., -1]
        names = list(self.columns) or [spec.name for spec in self.handler.inputs]
        names = names if len(names) == values.shape[-1] else [str(number) for number in range(values.shape[-1])]
        answer = shap_answer(np.moveaxis(values, 1, 2) if values.ndim == 3 else values, 0.0, names)
        return answer | {"base_values": base}

    def _last_step(self) -> LastStep:
        return LastStep(self.handler, self.columns)  # type: ignore[arg-type]

    def _sklearn(self) -> "Callable[[Arrays], Arrays]":
        self.packages = ("shap",)
        last = self._last_step()

        def explain(inputs: "Arrays") -> "Arrays":
            rows = last.rows(inputs)
            values = self._trees.shap_values(rows, check_additivity=False)
            return shap_answer(values, self._trees.expected_value, last.names(rows.shape[1]))

        return explain
