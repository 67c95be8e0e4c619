"""The contract that everything behind a codec meets: `Model`.

A loaded model, a batcher, a cache, a graph and a client of a remote function are each a Model and
compose by wrapping one another. `infer` gives its answer at once where nothing waits, so that a
fast model costs neither a task nor a coroutine, and an awaitable where something does.
"""

from collections.abc import AsyncGenerator, Awaitable
from typing import Protocol

from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata


class Context(Protocol):
    """What surrounds one call. An HTTP exchange is one."""

    queue_s: float
    """Seconds that the call waited for a thread; the model tells it, with `compute_s`."""

    compute_s: float
    """Seconds that the model's own code took."""

    compute_at: float
    """When the model's own code began, in seconds of perf_counter."""

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The request's header fields, names in lower case; a gRPC call's metadata."""

    @property
    def deadline(self) -> float:
        """When the caller stops waiting, in the loop's time; 0: it did not say."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits any more."""


class Model(Protocol):
    """What answers inference requests."""

    @property
    def metadata(self) -> ModelMetadata:
        """Names, datatypes and shapes; fixed while the model is loaded."""

    @property
    def ready(self) -> bool:
        """Whether `infer` would be answered now."""

    @property
    def explains(self) -> bool:
        """Whether `explain` has an answer."""

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """The answer, or what is to be awaited for it where the model has to wait.

        Raises a KfuncError, at once or when awaited; anything else is a fault of the model's.
        """

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """Why the model answers as it does, in outputs of its own. Raises Unsupported where it does not tell."""

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """The answer in parts; a model that answers at once gives one. Raises as `infer` does, or when iterated."""
