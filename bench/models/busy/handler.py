"""A model whose rows cost 1 ms of the processor each, or whose calls do (BENCH_FLAT)."""

import os
import time

import numpy as np

from kfunc import Handler, TensorSpec

ROW_S = 0.001
FLAT = bool(os.environ.get("BENCH_FLAT"))


class Busy(Handler):
    """Answers each row with its first value."""

    inputs = [TensorSpec("input", "FP32", [-1, 4])]
    outputs = [TensorSpec("label", "FP32", [-1])]

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute for as long as it costs, whoever else has the processor meanwhile."""
        ends_at = time.thread_time() + ROW_S * (1 if FLAT else len(inputs["input"]))
        while time.thread_time() < ends_at:
            pass
        return {"label": inputs["input"][:, 0]}
