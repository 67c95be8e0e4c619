"""kfunc: a model and one func.yaml become a scale-to-zero inference function on Knative and Istio."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kfunc.handlers.contract import Handler
    from kfunc.protocol.messages import TensorSpec

__all__ = ["Handler", "TensorSpec", "__version__"]
__version__ = "0.1.0"

_HOMES = {"Handler": "kfunc.handlers.contract", "TensorSpec": "kfunc.protocol.messages"}


def __getattr__(name: str) -> Any:
    """Import the public names on first use: every process of the pod imports this module at start."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kfunc' has no attribute {name!r}")
