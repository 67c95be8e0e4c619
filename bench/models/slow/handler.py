"""A model whose call costs 5 ms, and 0.1 ms for each row."""

import time
from pathlib import Path

import numpy as np

from kfunc import Handler, TensorSpec

CALL_S = 0.005
ROW_S = 0.0001


class Slow(Handler):
    """Answers each row with its first value."""

    inputs = [TensorSpec("input", "FP32", [-1, 4])]
    outputs = [TensorSpec("label", "FP32", [-1])]

    def load(self, path: Path) -> None:
        """Nothing to read."""

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take the time that it costs."""
        rows = inputs["input"]
        time.sleep(CALL_S + ROW_S * len(rows))
        return {"label": rows[:, 0]}
