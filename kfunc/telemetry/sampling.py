"""Ids of traces and spans, and the decision whether a trace is kept: loaded where traces are sent."""

from collections.abc import Callable
from random import getrandbits

from kfunc.telemetry.trace_context import Parent

LOW_64 = (1 << 64) - 1


def new_trace_id() -> bytes:
    """Random, and not nothing."""
    return b"%032x" % (getrandbits(128) or 1)


def new_span_id() -> bytes:
    """Random, and not nothing."""
    return b"%016x" % (getrandbits(64) or 1)


Sampler = Callable[[Parent | None], Parent | None]
"""Gives the parent of a span that is to be kept, a new trace's too; None for one that is not."""


def ratio_sampler(ratio: float, *, by_parent: bool) -> Sampler:
    """Keeps `ratio` of the traces, the same in every process by the trace's id (OpenTelemetry, TraceIdRatioBased).

    `by_parent`: only of those that begin here; others are kept where their caller's span is.
    """
    bound = round(ratio * (LOW_64 + 1))

    def sample(parent: Parent | None) -> Parent | None:
        if parent is None:
            number = getrandbits(128) or 1
            return Parent(b"%032x" % number, b"", sampled=True) if number & LOW_64 < bound else None
        if by_parent:
            return parent if parent.sampled else None
        return parent if int(parent.trace_id[16:], 16) < bound else None

    return sample
