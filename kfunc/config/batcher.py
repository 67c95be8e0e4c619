"""The `batcher` block: how requests are merged into calls of the model."""

from typing import Annotated

from msgspec import Meta

from kfunc.config.block import Block, PositiveInt


class Batcher(Block, frozen=True):
    """Dynamic batching in front of the model; present: on, absent: off."""

    max_batch_size: Annotated[PositiveInt, Meta(description="Most rows in one call of the model.")] = 32
    max_latency_ms: Annotated[
        float, Meta(ge=0, le=60_000, description="Longest wait for a batch to fill; 0: only while a batch is in flight.")
    ] = 5.0
    max_queue: Annotated[PositiveInt, Meta(description="Requests waiting; more are 503 with Retry-After.")] = 1_000
