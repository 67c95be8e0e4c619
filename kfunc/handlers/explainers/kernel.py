"""SHAP values of any model, by asking it about rows that mix the explained one with usual ones."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.handlers.explainers.contract import AskingExplainer, shap_answer

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.explainers.rows import Array


class KernelExplainer(AskingExplainer):
    """Values are in the units of the explained output: probabilities, where those are explained."""

    packages = ("shap",)

    def prepare(self) -> None:
        """The explainer, which asks the model about the usual rows."""
        import shap

        self._explainer: Any = shap.KernelExplainer(self.asked(), self.background)

    def explain(self, inputs: "Arrays") -> "Arrays":
        """The values, what they are added to, and the features' names."""
        rows = self.rows(inputs)
        values = np.concatenate([self._of(rows[number : number + 1]) for number in range(len(rows))])
        return shap_answer(values, self._explainer.expected_value, self.names(rows.shape[1]))

    def _of(self, row: "Array") -> "Array":
        """One row's: it must not depend on those that were asked for before. shap draws from numpy's own generator."""
        before = np.random.get_state()
        np.random.seed(self.settings.seed)
        try:
            return np.asarray(self._explainer.shap_values(row, nsamples=self.settings.samples, silent=True))
        finally:
            np.random.set_state(before)
