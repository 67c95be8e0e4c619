"""What a model's code implements: `Handler`. Every runtime is one, and so is a user's handler.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from kfunc.errors import Unsupported
from kfunc.protocol.messages import TensorSpec
from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.current import trace_headers

if TYPE_CHECKING:
    import numpy as np

    from kfunc.config.pod import PodConfig

    Arrays = dict[str, np.ndarray[Any, Any]]


class Choice(Struct, frozen=True):
    """The accelerator that a model runs on, the device's name, and why none of the better ones.

    `tells_why`: the metadata say it, too: there is a GPU that is not used or that failed, or the runtime uses none at all.
    """

    accelerator: str
    device: str = ""
    why: str = ""
    tells_why: bool = False


class Handler:
    """A model: `load` once, then `preprocess` → `predict` → `postprocess` for every request.

    Arrays are named as `inputs` says and have the datatypes and shapes given there, the batch
    dimension included. Any of these methods may be an `async def`, and `predict` may yield. Raise `kfunc.InvalidRequest` for
    input that is wrong, which is 400; any other exception is answered with 500 and logged.
    """

    platform = "python"
    inputs: list[TensorSpec] = []
    outputs: list[TensorSpec] = []
    optional_inputs: list[TensorSpec] = []
    """Inputs that a request may leave out; the metadata do not name them."""
    exact_datatypes = True
    """Whether an input of another numeric datatype is refused (True) or converted (False)."""

    signatures: "dict[str, Handler]" = {}
    """Of a model with several functions: each by its name, the one that this handler is among them."""

    choice: Choice | None = None
    """The accelerator that the model runs on, where its runtime chooses one."""
    columns: tuple[str, ...] = ()
    """Names of the columns of the only input, a matrix: a request may give each of them as an input instead."""

    is_table = False
    """Whether the inputs are columns of one table, each with an element for each row."""

    takes_images = False
    """Whether the only input, of BYTES, is files of pictures: a body of image/… is a request then, and the metadata say so."""

    is_users_code = False
    """Whether `predict` is code of a handler.py, which may log, call other services, and not be safe in two threads."""

    native: Any = None
    """The library's own object of the model, where explainers can use it."""

    config: "PodConfig"
    """The function's configuration, set before `load`."""

    metrics: BusinessMetrics = BusinessMetrics()
    """Makes counters, gauges and histograms that are shown with kfunc's own; set before `load` (docs/metrics.md)."""

    @staticmethod
    def trace_headers() -> dict[str, str]:
        """Header fields for a call to another service, which put it into the running request's trace (docs/tracing.md)."""
        return trace_headers()

    def load(self, path: Path) -> None:
        """Read the model. Runs in a thread, an `async def` on a loop of its own there.

        `path` is where `model.uri` points; for a handler.py, its folder.
        """

    def ready(self) -> bool:
        """Whether requests can be answered now; asked after `load`. The last answer of an `async def` counts."""
        return True

    def preprocess(self, inputs: "Arrays") -> "Arrays":
        """Change the inputs before `predict`."""
        return inputs

    def predict(self, inputs: "Arrays") -> "Arrays | np.ndarray[Any, Any]":
        """The model's outputs by name; a plain array is the only output. Do not write into `inputs`: binary ones refuse it.

        With `yield` instead of `return` the answer goes in parts: each is sent when it is there.
        """
        raise TypeError(f"{type(self).__name__} has no predict method")

    def predict_stream(self, inputs: "Arrays") -> "Iterator[Arrays]":
        """What `predict` gives, in parts with `yield`, for a model that can do both; runs in a thread."""
        raise Unsupported("this model answers at once")

    def postprocess(self, outputs: "Arrays") -> "Arrays":
        """Change the outputs after `predict`."""
        return outputs

    def explain(self, inputs: "Arrays") -> "Arrays | np.ndarray[Any, Any]":
        """Why `predict` answers as it does, for V1's `:explain`, with what `preprocess` gave. Runs in a thread."""
        raise Unsupported("no explanations here: set inference.explain, or write an explain method in handler.py")
