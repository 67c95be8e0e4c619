"""SHAP values of any model, by asking it about rows that mix the explained one with usual ones."""

from typing import TYPE_CHECKING, Any

from kfunc.handlers.explainers.contract import AskingExplainer, shap_answer

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays


class KernelExplainer(AskingExplainer):
    """Values are in the units of the explained output: probabilities, where those are explained."""

    packages = ("shap",)
    _explainer: Any = None

    def explain(self, inputs: "Arrays") -> "Arrays":
        """The values, what they are added to, and the features' names."""
        import shap

        if self._explainer is None:
            self._explainer = shap.KernelExplainer(self.asked(), self.background)
        rows = self.rows(inputs)
        values = self._explainer.shap_values(rows, nsamples=self.settings.samples, silent=True)
        return shap_answer(values, self._explainer.expected_value, self.names(rows.shape[1]))
