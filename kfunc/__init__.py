"""kfunc: a model and one func.yaml become a scale-to-zero inference function on Knative and Istio."""

TYPE_CHECKING = False  # the module typing would be imported before the watcher forks, and copied page by page after it
if TYPE_CHECKING:
    from typing import Any

    from kfunc.errors import InvalidRequest
    from kfunc.handlers.contract import Handler
    from kfunc.protocol.messages import TensorSpec

__all__ = ["Handler", "InvalidRequest", "TensorSpec", "__version__"]
__version__ = "0.1.0"

_HOMES = {
    "Handler": "kfunc.handlers.contract",
    "InvalidRequest": "kfunc.errors",
    "TensorSpec": "kfunc.protocol.messages",
}


def __getattr__(name: str) -> "Any":
    """Import the public names on first use: every process of the pod imports this module at start."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'kfunc' has no attribute {name!r}")
