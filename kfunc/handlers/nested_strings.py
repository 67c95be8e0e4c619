"""The strings of a model's own description, looked through before anything of it is opened. Pure."""

from collections.abc import Iterator
from typing import Any

TRUST = "set model.trust: true and model.digest if you trust it"
"""The way for a model whose own description names what could run code."""


def nested_strings(value: Any) -> Iterator[tuple[str, str]]:
    """Every string of a document, with the key that it stands under."""
    waiting = [("", value)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, each) for each in value]
        elif isinstance(value, str):
            yield key, value
