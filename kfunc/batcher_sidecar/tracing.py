"""The batcher's part of a trace: how long a request was collected, and a span for each batch, linked with its requests."""

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from msgspec import Struct

from kfunc.batcher_sidecar.calls import Member
from kfunc.http.exchange import Exchange
from kfunc.telemetry.otlp import CLIENT, Link, Span, attribute, attribute_once
from kfunc.telemetry.request_trace import RequestTrace, SpanSink
from kfunc.telemetry.sampling import new_span_id
from kfunc.telemetry.trace_context import traceparent

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.queues import Part

MAX_LINKS = 128  # OpenTelemetry's own bound


class BatchSpan(Struct):
    """A merged call in flight: its ids and those of its requests' spans; `number` is the batch's own."""

    parent: Link
    links: tuple[Link, ...]
    state: bytes
    number: int
    requests: int
    rows: int
    span_id: bytes
    began_at: float

    @property
    def traceparent(self) -> bytes:
        """What the call says."""
        return traceparent(self.parent[0], self.span_id)


class BatchTracer:
    """Makes the spans of batches; of requests it tells what the policy did with them. Details of the batcher's requests."""

    def __init__(self, spans: SpanSink) -> None:
        self._spans = spans

    def begin(self, parts: "Sequence[Part[Member]]") -> BatchSpan | None:
        """A batch is sent; None where none of its requests is kept. It hangs below the first that is."""
        traces = [trace for part in parts if (trace := part.ticket.item.exchange.trace) is not None]
        if not traces:
            return None
        links = tuple([(trace.trace_id, trace.span_id) for trace in traces[:MAX_LINKS]])
        rows = sum(part.rows for part in parts)
        number = parts[0].ticket.item.batches[-1]
        span = BatchSpan(links[0], links, traces[0].state, number, len(parts), rows, new_span_id(), perf_counter())
        own = ((span.parent[0], span.span_id),)
        for trace in traces:
            if len(trace.links) < MAX_LINKS:
                trace.links += own
        return span

    def end(self, span: BatchSpan, status: int, error: str = "") -> None:
        """The call was answered, or has failed; 0: nobody waits for it any more."""
        failed = error or (f"HTTP {status}" if status >= 500 else "" if status else "every client went away")
        parts = [
            attribute_once("kfunc.batch.id", span.number),
            attribute("kfunc.batch.requests", span.requests),
            attribute("kfunc.batch.rows", span.rows),
            attribute("http.request.method", "POST"),
            attribute("http.response.status_code", status) if status else b"",
            attribute("error.type", str(status or "error")) if failed else b"",
        ]
        trace_id, parent_id = span.parent
        times = (span.began_at, perf_counter())
        own = (trace_id, span.span_id, parent_id, "batch", CLIENT, *times)
        self._spans.add(Span(*own, b"".join(parts), span.links, failed or None, span.state))

    def tell(self, exchange: Exchange, trace: RequestTrace, spans: SpanSink) -> bytes:
        """The time in which a request was collected, and what was decided."""
        note = exchange.note
        member = note.note if isinstance(note, Exchange) else note  # behind a translation another is asked in its place
        if type(member) is not Member:
            return attribute("kfunc.batch.merged", False)
        if member.sent_at:
            spans.add(trace.child("queue", exchange.started_at, member.sent_at))
        return b"".join(
            [
                attribute("kfunc.batch.merged", bool(member.calls)),
                attribute("kfunc.batch.parts", len(member.batches)),
                attribute("kfunc.batch.request_rows", member.request.rows),
                *[attribute_once("kfunc.batch.id", number) for number in member.batches[:1]],
            ]
        )
