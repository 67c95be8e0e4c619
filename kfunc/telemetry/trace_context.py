"""W3C Trace Context: traceparent read and written, ids, and the decision whether a trace is kept. Sans-IO.

https://www.w3.org/TR/trace-context/ (Recommendation, 23 November 2021). Ids are hexadecimal text, as in the header.
"""

import re
from collections.abc import Callable
from random import getrandbits
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from kfunc.http.exchange import Exchange

TRACEPARENT = b"traceparent"
TRACESTATE = b"tracestate"
BAGGAGE = b"baggage"
# Version 00 ends behind the flags; later ones may go on behind a hyphen (3.2.1, 4.3).
FORM = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
NO_TRACE = b"0" * 32
NO_SPAN = b"0" * 16
SAMPLED = 1
LOW_64 = (1 << 64) - 1


class Parent(Struct, frozen=True, gc=False):
    """Where a span hangs: its trace, the span above it (empty: none), whether that is kept, and the caller's tracestate."""

    trace_id: bytes
    span_id: bytes
    sampled: bool
    state: bytes = b""


def read_parent(value: bytes, state: bytes = b"") -> Parent | None:
    """The span that a traceparent names; None for one that is to be ignored."""
    match = FORM.fullmatch(value)
    if match is None:
        return None
    version, trace_id, span_id, flags, more = match.groups()
    if version == b"ff" or (version == b"00" and more is not None) or trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    return Parent(trace_id, span_id, bool(int(flags, 16) & SAMPLED), state)


def traceparent(trace_id: bytes, span_id: bytes, *, sampled: bool = True) -> bytes:
    """The header's value."""
    return b"00-%b-%b-0%d" % (trace_id, span_id, sampled)


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


def ids_of(exchange: "Exchange") -> tuple[str, str]:
    """The trace that a request belongs to, and its span here; empty where there is none."""
    trace = getattr(exchange, "trace", None)
    if trace is not None:
        return trace.trace_id.decode(), trace.span_id.decode()
    parent = read_parent(exchange.headers.get(TRACEPARENT, b""))
    return ("", "") if parent is None else (parent.trace_id.decode(), "")
