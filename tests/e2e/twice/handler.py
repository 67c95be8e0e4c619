"""Answers with twice its input; what a bad revision does is in its environment."""

import os
import random
import time
from pathlib import Path

import numpy as np

from kfunc import Handler, TensorSpec


class Double(Handler):
    """Doubles, now and then fails, or is slow."""

    inputs = [TensorSpec("values", "FP32", [-1, 1])]
    outputs = [TensorSpec("doubled", "FP32", [-1, 1])]

    def load(self, path: Path) -> None:
        self.error_rate = float(os.environ.get("ERROR_RATE", "0"))
        self.sleep_s = float(os.environ.get("SLEEP_S", "0"))
        time.sleep(float(os.environ.get("START_S", "0")))
        if os.environ.get("NEVER_READY"):
            time.sleep(3600)

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if random.random() < self.error_rate:
            raise ValueError("a bad revision")
        time.sleep(self.sleep_s)
        return {"doubled": inputs["values"] * 2}
