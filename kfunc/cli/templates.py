"""The texts that `kfunc init` writes. Pure."""

import json
import re

PLAIN_SCALAR = re.compile(r"[A-Za-z./][A-Za-z0-9._/-]*")

HANDLER_PY = '''"""A model in Python: kfunc calls `load` once, then `predict` for each request or batch of requests."""

from pathlib import Path

import numpy as np

from kfunc import Handler, TensorSpec


class RowStatistics(Handler):
    """Answers with the mean and the largest value of each row. -1 is a dimension of any size."""

    inputs = [TensorSpec("values", "FP32", [-1, 3])]
    outputs = [TensorSpec("mean", "FP32", [-1]), TensorSpec("largest", "FP32", [-1])]

    def load(self, path: Path) -> None:
        """Read weights here; `path` is this folder."""

    def predict(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = inputs["values"]
        return {"mean": rows.mean(axis=1), "largest": rows.max(axis=1)}
'''


def func_yaml(version: str, name: str, created: str, model: dict[str, str]) -> str:
    """The text of a func.yaml. `model` holds the values of its `inference.model`."""
    lines = [f"    {key}: {_scalar(value)}" for key, value in model.items()]
    return "\n".join(
        [
            f"specVersion: {version}",
            f"name: {_scalar(name)}",
            f"created: {created}",
            "runtime: python",
            "inference:",
            "  model:",
            *lines,
            "  # Merge requests that arrive together into one call of the model:",
            "  # batcher: {max_batch_size: 32, max_latency_ms: 5}",
            "  # Requests and responses as CloudEvents, here to .kfunc/events.jsonl unless `sink` says otherwise:",
            "  logger: {mode: all}",
            "",
        ]
    )


def _scalar(text: str) -> str:
    """Quoted as JSON, which YAML reads too, unless it is plainly a word or a path."""
    if text in ("true", "false") or (PLAIN_SCALAR.fullmatch(text) and text not in WORDS):
        return text
    return json.dumps(text, ensure_ascii=False)


# What YAML 1.1 or 1.2 would take for something other than text.
WORDS = {"y", "n", "yes", "no", "on", "off", "null", ".", "..", ".nan", ".inf"}
