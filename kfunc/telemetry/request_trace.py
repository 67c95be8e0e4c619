"""The spans of a request in one process: made where it is kept, handed to the export when it has ended.

`Traced` stands in front of an application only where traces are sent; a request that is not kept costs a look at its
headers. What a component knows besides, its `Details`, it tells when the request ends.
"""

from time import perf_counter, time
from typing import Protocol

import msgspec
from msgspec import Struct

from kfunc.http.exchange import Application, Exchange
from kfunc.telemetry.otlp import INTERNAL, SERVER, Link, Span, attribute, attribute_once
from kfunc.telemetry.requests import CLIENT_GONE, RequestRecorder, is_probe
from kfunc.telemetry.samples import Exemplar
from kfunc.telemetry.sampling import Sampler, new_span_id, new_trace_id
from kfunc.telemetry.span_names import SpanNames
from kfunc.telemetry.trace_context import TRACEPARENT, TRACESTATE, Parent, read_parent, traceparent

EVENT_PARENT, EVENT_STATE = b"ce-traceparent", b"ce-tracestate"
STRUCTURED = b"application/cloudevents+json"
EXEMPLAR_S = 0.05  # between two exemplars: a scrape shows the last one of each bucket
MAX_EVENT = 64 * 1024  # bytes: a larger event is not read for its trace alone


class EventTrace(Struct):
    """The Distributed Tracing extension of a structured event."""

    traceparent: str = ""
    tracestate: str = ""


_EVENT = msgspec.json.Decoder(EventTrace)


class SpanSink(Protocol):
    """Who takes spans that have ended."""

    def add(self, span: Span) -> None:
        """Take one."""


class RequestTrace:
    """What a request's spans are made of. Times are seconds of perf_counter, 0 where nothing was measured.

    `links` are spans that it belongs to besides: its batches, the event's own trace.
    """

    __slots__ = ("decoded_at", "encoded_at", "encoding_at", "ended", "links", "parent", "span_id", "state", "trace_id")

    def __init__(self, parent: Parent, links: tuple[Link, ...]) -> None:
        self.trace_id = parent.trace_id
        self.parent = parent.span_id
        self.state = parent.state
        self.span_id = new_span_id()
        self.links = links
        self.ended = False
        self.decoded_at = self.encoding_at = self.encoded_at = 0.0

    def note_decoded(self) -> None:
        """The request, or the first of an event batch, is decoded: the model is asked now."""
        self.decoded_at = self.decoded_at or perf_counter()

    def note_encoding(self) -> None:
        """The answer, or its first part, is there."""
        self.encoding_at = self.encoding_at or perf_counter()

    def note_encoded(self) -> None:
        """The answer, or one more part of it, is encoded."""
        self.encoded_at = perf_counter()

    def child(self, name: str, started_at: float, ended_at: float, attributes: bytes = b"") -> Span:
        """A span below the request's own."""
        return Span(self.trace_id, new_span_id(), self.span_id, name, INTERNAL, started_at, ended_at, attributes)


class Details(Protocol):
    """What one component knows of its requests."""

    def tell(self, exchange: Exchange, trace: RequestTrace, spans: SpanSink) -> bytes:
        """Hand over the request's inner spans; attributes of its own."""


class NoDetails:
    """Of a component that only passes requests on."""

    def tell(self, exchange: Exchange, trace: RequestTrace, spans: SpanSink) -> bytes:
        """Nothing."""
        return b""


class Traced:
    """An application whose requests are traced, as far as the sampler keeps them. An Application.

    `declares`: a trace that is not kept is said to be none to those behind, who might begin one of their own.
    """

    def __init__(
        self, inner: Application, sampler: Sampler, spans: SpanSink, details: Details, recorder: RequestRecorder, declares: bool
    ) -> None:
        self.inner = inner
        self.stream_above = inner.stream_above
        self._sample = sampler
        self._spans = spans
        self._details = details
        self._recorder = recorder
        self._declares = declares
        self._names = SpanNames()
        self._exemplar_due_at = 0.0

    def handle(self, exchange: Exchange) -> None:
        """Hand on, with the request's span as the parent of all behind."""
        self.begin(exchange)
        self.inner.handle(exchange)

    def begin(self, exchange: Exchange) -> RequestTrace | None:
        """Decide whether a request is kept, and say so to those behind; None where it is not."""
        headers = exchange.headers
        given = headers.get(TRACEPARENT)
        parent = None if given is None else read_parent(given, headers.get(TRACESTATE, b""))
        event = event_parent(exchange)
        kept = self._sample(parent or event)
        if kept is None or is_probe(exchange):
            above = parent or event
            if above is not None and (above.sampled or (self._declares and parent is None)):  # those behind would keep it
                pass_on(exchange, traceparent(above.trace_id, above.span_id, sampled=False), above.state)
            elif above is None and self._declares:
                pass_on(exchange, traceparent(new_trace_id(), new_span_id(), sampled=False), b"")
            return None
        links = ((event.trace_id, event.span_id),) if event is not None and parent is not None else ()
        trace = RequestTrace(kept, links)
        exchange.trace = trace
        self._pass_on(exchange, traceparent(trace.trace_id, trace.span_id), trace.state)
        return trace

    def _pass_on(self, exchange: Exchange, parent: bytes, state: bytes) -> None:
        pass_on(exchange, parent, state)

    def observe(self, exchange: Exchange) -> None:
        """The request has ended, and with it its spans."""
        trace: RequestTrace | None = exchange.trace
        if trace is None and exchange.refused:
            trace = self.begin(exchange)  # it was answered before it came here
        if trace is not None and not trace.ended:
            trace.ended = True
            self._end(exchange, trace)
        self.inner.observe(exchange)

    def _end(self, exchange: Exchange, trace: RequestTrace) -> None:
        ended_at = perf_counter()
        status = exchange.status or CLIENT_GONE
        more = self._details.tell(exchange, trace, self._spans)
        named = self._names.of(exchange)
        parts = [named.common, more, attribute_once("kfunc.request_id", exchange.request_id.decode("latin-1"))]
        failed = status >= 500 or status == CLIENT_GONE
        if exchange.in_grpc:
            parts.append(attribute("rpc.grpc.status_code", max(0, exchange.grpc_status)))
        else:
            parts.append(attribute("http.response.status_code", status))
        if failed:
            parts.append(attribute("error.type", str(status)))
        message = exchange.error.message[:256] if exchange.error is not None and failed else ""
        own = (trace.trace_id, trace.span_id, trace.parent, named.name, SERVER, exchange.started_at, ended_at)
        error = message if failed else None
        self._spans.add(Span(*own, b"".join(parts), trace.links, error, trace.state, bool(trace.parent)))
        if exchange.note is not None and ended_at >= self._exemplar_due_at:
            self._exemplar_due_at = ended_at + EXEMPLAR_S
            duration_s = ended_at - exchange.started_at
            self._recorder.exemplar(Exemplar(duration_s, trace.trace_id, trace.span_id, time()))


def pass_on(exchange: Exchange, parent: bytes, state: bytes) -> None:
    """Give the request another traceparent for those behind; its head may be other requests' too, and stays."""
    own = [(TRACEPARENT, parent), (TRACESTATE, state)] if state else [(TRACEPARENT, parent)]
    exchange.headers = headers = {**exchange.headers, **dict(own)}
    if not state:
        headers.pop(TRACESTATE, None)
    exchange.header_list = [field for field in exchange.header_list if field[0] not in (TRACEPARENT, TRACESTATE)] + own


def event_parent(exchange: Exchange) -> Parent | None:
    """The trace that an event brings in its attributes (CloudEvents, Distributed Tracing extension)."""
    headers = exchange.headers
    given = headers.get(EVENT_PARENT)
    if given is not None:
        return read_parent(given.strip(b'"'), headers.get(EVENT_STATE, b""))
    if not headers.get(b"content-type", b"").startswith(STRUCTURED) or len(exchange.body) > MAX_EVENT:
        return None
    try:
        event = _EVENT.decode(exchange.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # whoever answers says what is wrong with it
    return read_parent(event.traceparent.encode(), event.tracestate.encode())
