"""SHAP values of scikit-learn's linear models, alone or at the end of a pipeline."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kfunc.errors import ModelLoadError
from kfunc.handlers.explainers.contract import Explainer, shap_answer
from kfunc.handlers.explainers.sklearn_steps import LastStep

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays


class LinearExplainer(Explainer):
    """Values are in the units of the linear function: log-odds of classifiers."""

    packages = ("shap",)

    def check(self, path: Path) -> None:
        """The last estimator has coefficients."""
        if self.handler.platform != "sklearn" or len(self.handler.inputs) != 1:
            raise ModelLoadError(f"{path}: explain.method shap-linear explains scikit-learn's models of one matrix")
        self._last = LastStep(self.handler, self.columns)  # type: ignore[arg-type]
        if not hasattr(self._last.estimator, "coef_"):
            kind = type(self._last.estimator).__name__
            raise ModelLoadError(f"{path}: a {kind} is not linear: use shap-tree, shap-kernel or lime as explain.method")
        if len(self.handler.inputs[0].shape) == 2:
            self.require_width()

    def prepare(self) -> None:
        """The explainer of the last step."""
        import shap

        usual = self._last.rows({self.handler.inputs[0].name: self.background})  # type: ignore[dict-item]
        self._explainer: Any = shap.LinearExplainer(self._last.estimator, usual)

    def explain(self, inputs: "Arrays") -> "Arrays":
        """The values, what they are added to, and the features' names."""
        rows = self._last.rows(inputs)
        return shap_answer(self._explainer.shap_values(rows), self._explainer.expected_value, self._last.names(rows.shape[1]))
