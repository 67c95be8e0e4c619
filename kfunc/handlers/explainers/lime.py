"""LIME: the weights of a linear model that answers as the explained one does near a row."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kfunc.handlers.explainers.contract import NAMES, AskingExplainer

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays


class LimeExplainer(AskingExplainer):
    """Of several columns of the explained output, the one that is largest for the row is explained."""

    packages = ("lime",)

    def prepare(self) -> None:
        """The explainer; whether the explained output has several columns, a usual row's answer says."""
        from lime.lime_tabular import LimeTabularExplainer

        answers = self.asked()(self.background[:1])  # type: ignore[index]
        self._wide = answers.ndim > 1 and answers.shape[1] > 1
        mode = "classification" if self._wide else "regression"
        self._explainer: Any = LimeTabularExplainer(self.background, mode=mode, discretize_continuous=False)

    def explain(self, inputs: "Arrays") -> "Arrays":
        """Weights [rows, features], intercepts, the fits' R², and the column of the output that each row's are about."""
        rows, ask = self.rows(inputs), self.asked()
        answers, wide = ask(rows), self._wide
        about = answers.argmax(axis=1) if wide else np.zeros(len(rows), np.int64)
        weights = np.zeros(rows.shape)
        intercepts, fits = np.zeros(len(rows)), np.zeros(len(rows))
        for number, row in enumerate(rows):
            label = int(about[number]) if wide else 1  # LIME calls a regression's only output 1
            # A row's explanation must not depend on those that were asked for before.
            self._explainer.random_state = self._explainer.base.random_state = np.random.RandomState(self.settings.seed)
            told = self._explainer.explain_instance(
                row, ask if wide else lambda changed: ask(changed).reshape(len(changed)),
                labels=(label,), num_features=rows.shape[1], num_samples=self.settings.samples,
            )  # fmt: skip
            for feature, weight in told.local_exp[label]:
                weights[number, feature] = weight
            intercepts[number] = told.intercept[label]
            fits[number] = np.mean(told.score[label] if isinstance(told.score, dict) else told.score)
        return {
            "weights": weights, "intercepts": intercepts, "fits": fits,
            "columns": about.astype(np.int64), NAMES: self.names(rows.shape[1]),
        }  # fmt: skip
