"""The logger's part of a trace: a span for the delivery of each event, below the span of the request that it tells of."""

from time import perf_counter

from kfunc.logger_sidecar.contract import Outcome
from kfunc.logger_sidecar.event import CallEvent
from kfunc.telemetry.otlp import PRODUCER, Span, attribute, attribute_once
from kfunc.telemetry.request_trace import SpanSink
from kfunc.telemetry.sampling import new_span_id
from kfunc.telemetry.trace_context import read_parent


class DeliveryTracer:
    """Of one sink, by its name. One call of the sink takes many events: each has its span over all of that time."""

    def __init__(self, spans: SpanSink, sink: str, kind: str) -> None:
        self._spans = spans
        self._name = f"send {sink}"
        self._common = b"".join(
            [
                attribute("messaging.system", kind),
                attribute("messaging.operation.name", "send"),
                attribute("messaging.operation.type", "send"),
                attribute("messaging.destination.name", sink),
            ]
        )

    def delivered(self, events: list[CallEvent], outcomes: list[Outcome], began_at: float) -> None:
        """What became of events; those of requests that are not kept have no span."""
        ended_at = perf_counter()
        for event, outcome in zip(events, outcomes, strict=False):
            call = event.call
            parent = read_parent(call.traceparent, call.tracestate) if call.traceparent else None
            if parent is None or not parent.sampled:
                continue
            kind = "response" if event.is_response else "request"
            parts = [
                self._common,
                attribute_once("cloudevents.event_id", event.id),
                attribute("kfunc.event", kind),
                attribute("error.type", type(outcome).__name__.lower()) if outcome is not None else b"",
            ]
            error = None if outcome is None else outcome.reason
            own = (parent.trace_id, new_span_id(), parent.span_id, self._name, PRODUCER, began_at, ended_at)
            self._spans.add(Span(*own, b"".join(parts), (), error, parent.state))
