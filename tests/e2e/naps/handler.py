"""Sleeps for the seconds that it is asked for; asked for less than nothing, it takes all memory."""

import asyncio
from typing import Any

import numpy as np

from kfunc.handlers.contract import Handler
from kfunc.protocol.messages import TensorSpec


class Naps(Handler):
    """One row of one number."""

    inputs = [TensorSpec("seconds", "FP32", [1])]
    outputs = [TensorSpec("slept", "FP32", [1])]

    async def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        """Sleep, and say how long."""
        seconds = float(inputs["seconds"][0])
        if seconds < 0:
            taken = [np.ones(10_000_000) for _ in range(1000)]
            return {"slept": np.array([float(len(taken))], np.float32)}
        await asyncio.sleep(seconds)
        return {"slept": inputs["seconds"]}
