"""W3C Trace Context: traceparent read and written. Sans-IO.

https://www.w3.org/TR/trace-context/ (Recommendation, 23 November 2021). Ids are hexadecimal text, as in the header.
"""

import re
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


def ids_of(exchange: "Exchange") -> tuple[str, str]:
    """The trace that a request belongs to, and its span here; empty where there is none."""
    trace = getattr(exchange, "trace", None)
    if trace is not None:
        return trace.trace_id.decode(), trace.span_id.decode()
    parent = read_parent(exchange.headers.get(TRACEPARENT, b""))
    return ("", "") if parent is None else (parent.trace_id.decode(), "")
