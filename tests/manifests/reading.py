"""A rendered document as a YAML reader of another origin sees it, and its texts as Kubernetes does."""

import re
from typing import Any

from ruamel.yaml import YAML


def read(text: str) -> Any:
    """The one document in a text, by YAML 1.2."""
    return YAML(typ="safe", pure=True).load(text)


def expand(value: str) -> str:
    """As Kubernetes does (k8s.io/kubernetes/third_party/forked/golang/expansion), where every variable is "EXPANDED"."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda match: "$" if match[1] == "$" else "EXPANDED", value)
