"""A pipeline's last estimator, and the rows and names of features as it sees them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kfunc.handlers.contract import Arrays
    from kfunc.handlers.sklearn import SklearnHandler


class LastStep:
    """The estimator at the end; what is explained are the features that come out of the steps before it."""

    def __init__(self, handler: "SklearnHandler", columns: Sequence[str]) -> None:
        self._rows = handler.rows
        native = handler.native
        before = native[:-1] if hasattr(native, "steps") else None
        self.estimator = native[-1] if before is not None else native
        self._before = before if before is not None and len(before.steps) else None
        self._given = list(getattr(native, "feature_names_in_", columns))

    def rows(self, inputs: "Arrays") -> Any:
        """A request's rows, transformed."""
        return self.transformed(self._rows(inputs))

    def transformed(self, rows: Any) -> Any:
        """Rows as the last estimator gets them, as a full matrix of numbers."""
        if self._before is not None:
            rows = self._before.transform(rows)
        return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows, np.float64)

    def names(self, count: int) -> list[str]:
        """The features' names, or their numbers."""
        if self._before is not None:
            try:
                return [str(name) for name in self._before.get_feature_names_out(self._given or None)]
            except (AttributeError, ValueError):
                return [str(number) for number in range(count)]
        given = [str(name) for name in self._given]
        return given if len(given) == count else [str(number) for number in range(count)]
