"""The `batcher` block: how requests are merged into calls of the model."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from kfunc.config.block import Block, PositiveInt

Merge = Literal["auto", "always", "never"]
HeaderName = Annotated[
    str,
    Meta(
        pattern=r"^[a-z0-9!#$%&'*+.^_`|~-]+$",
        extra_json_schema={"patternErrorMessage": 'expected the name of a header field in lower case, such as "x-tenant"'},
    ),
]


class Pad(Block, frozen=True):
    """V2 requests that differ in one dimension are merged, the shorter ones filled up."""

    dim: Annotated[int, Meta(ge=1, le=31, description="The dimension that may differ; 0 is the batch.")] = 1
    value: Annotated[float, Meta(description="What shorter rows are filled up with; strings get empty ones.")] = 0.0
    mask: Annotated[
        str,
        Meta(
            min_length=1,
            description="Input that is 1 where a row has values and 0 where it is filled up; "
            "added where the model has it and the request does not.",
        ),
    ] = "attention_mask"


class Batcher(Block, frozen=True):
    """Dynamic batching in front of the model; present: on, absent: off."""

    max_batch_size: Annotated[
        PositiveInt | Literal["auto"], Meta(description="Most rows in one call of the model; `auto` keeps to `target_p99_ms`.")
    ] = 32
    target_p99_ms: (
        Annotated[
            float, Meta(gt=0, le=600_000, description="What 99 % of answers should take at most, with `max_batch_size: auto`.")
        ]
        | UnsetType
    ) = UNSET
    max_latency_ms: Annotated[
        float, Meta(ge=0, le=60_000, description="Longest wait for a batch to fill; 0: only while a batch is in flight.")
    ] = 5.0
    preferred_batch_sizes: Annotated[
        list[PositiveInt],
        Meta(description="Sizes that the model likes: batches are cut to the largest that fits."),
    ] = field(default_factory=list)
    max_in_flight: Annotated[PositiveInt, Meta(description="Batches in flight of requests that are alike.")] = 4
    max_in_flight_total: Annotated[PositiveInt, Meta(description="Batches in flight of all; models take turns.")] = 16
    max_queue: Annotated[PositiveInt, Meta(description="Requests waiting; more are 503 with Retry-After.")] = 1_000
    max_queue_bytes: Annotated[PositiveInt, Meta(description="Bytes of waiting requests; more are 503 with Retry-After.")] = (
        64 * 1024 * 1024
    )
    max_body_bytes: Annotated[
        int, Meta(ge=1024, description="Largest request that is merged; a larger one passes through as a stream.")
    ] = 1024 * 1024
    merge: Annotated[
        Merge,
        Meta(description="auto: V1, and V2 where the model's metadata allow it; always: V1 and V2; never: nothing is merged."),
    ] = "auto"
    retry_alone: Annotated[
        bool, Meta(description="Requests of a batch that was answered with an error are sent again, each alone.")
    ] = True
    priority_levels: Annotated[
        int,
        Meta(ge=1, le=100, description="Levels of parameters.priority, 1 is served first; 1: it is not looked at."),
    ] = 3
    default_priority: Annotated[PositiveInt, Meta(description="Level of requests that name none that there is.")] = 2
    group_headers: Annotated[
        list[HeaderName], Meta(description="Only requests with equal values of these header fields are merged.")
    ] = field(default_factory=list)
    pad: Pad | UnsetType = UNSET
