"""What does not fit together in a batcher's settings: for func.yaml, and for a sidecar that has only variables. Pure."""

from collections.abc import Iterator

from msgspec import UNSET

from kfunc.config.batcher import Batcher

# Of one connection, or made anew for a merged request: no two requests need to agree on them.
UNGROUPED = frozenset(
    ("accept-encoding", "connection", "content-length", "content-type", "expect", "inference-header-content-length")
    + ("keep-alive", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "x-request-id")
)

Fault = tuple[tuple[str | int, ...], str, str]
"""Path within the block, message, suggestion."""


def faults(batcher: Batcher) -> Iterator[Fault]:
    """What does not fit together in one batcher's settings."""
    yield from _sizes(batcher)
    yield from _self_tuning(batcher)
    yield from _bounds(batcher)
    for number, name in enumerate(batcher.group_headers):
        if name in UNGROUPED:
            yield ("group_headers", number), f'"{name}" says nothing of what is asked', "remove it"
        elif name in batcher.group_headers[:number]:
            yield ("group_headers", number), f'"{name}" is already in the list', "remove it"


def _sizes(batcher: Batcher) -> Iterator[Fault]:
    preferred, largest = batcher.preferred_batch_sizes, batcher.max_batch_size
    if preferred and largest == "auto":
        yield ("preferred_batch_sizes",), "max_batch_size: auto finds the size itself", "remove one of the two"
        return
    for number, size in enumerate(preferred):
        if largest != "auto" and size > largest:
            message = f"expected at most max_batch_size, {largest}, found {size}"
            yield ("preferred_batch_sizes", number), message, "raise max_batch_size or remove it"
        elif size in preferred[:number]:
            yield ("preferred_batch_sizes", number), f"{size} is already in the list", "remove it"


def _self_tuning(batcher: Batcher) -> Iterator[Fault]:
    target = batcher.target_p99_ms
    if batcher.max_batch_size != "auto":
        if target is not UNSET:
            yield ("target_p99_ms",), "this is for max_batch_size: auto", "write max_batch_size: auto, or remove it"
    elif target is UNSET:
        yield ("max_batch_size",), "auto needs the time that answers may take", "add target_p99_ms: …"
    elif target <= batcher.max_latency_ms:
        message = f"expected more than max_latency_ms, {batcher.max_latency_ms:g}, found {target:g}"
        yield ("target_p99_ms",), message, "lower max_latency_ms: waiting is part of the time"


def _bounds(batcher: Batcher) -> Iterator[Fault]:
    for less, more in ("max_in_flight", "max_in_flight_total"), ("max_body_bytes", "max_queue_bytes"):
        low, high = getattr(batcher, less), getattr(batcher, more)
        if low > high:
            yield (less,), f"expected at most {more}, {high}, found {low}", f"raise {more} or lower it"
    levels = batcher.priority_levels
    if levels > 1 and batcher.default_priority > levels:
        message = f"expected at most priority_levels, {levels}, found {batcher.default_priority}"
        yield ("default_priority",), message, "1 is served first"
