"""The contract that everything behind a codec meets: `Model`.

A loaded model, a batcher, a cache, a graph and a client of a remote function are each a Model and
compose by wrapping one another. `infer` is a coroutine so that any of them may wait; one that does
not wait runs to its end on the first `send(None)` (see kfunc.http.steps), without a task.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata


class Context(Protocol):
    """What surrounds one call. An HTTP exchange is one."""

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

    async def infer(self, request: InferRequest, context: Context) -> InferResponse:
        """Answer one request. Raises a KfuncError; anything else is a fault of the model's."""

    def stream(self, request: InferRequest, context: Context) -> AsyncIterator[InferResponse]:
        """Answer in parts. Raises Unsupported where the model answers at once."""
