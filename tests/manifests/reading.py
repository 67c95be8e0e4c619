"""A rendered document as a YAML reader of another origin sees it."""

from typing import Any

from ruamel.yaml import YAML


def read(text: str) -> Any:
    """The one document in a text, by YAML 1.2."""
    return YAML(typ="safe", pure=True).load(text)
