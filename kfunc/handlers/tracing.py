"""The handler's part of a trace: decoding, waiting, computing, encoding. Only requests that are kept pass through here."""

from collections.abc import Awaitable
from time import perf_counter

from msgspec import structs

from kfunc.handlers.application import Application
from kfunc.handlers.inference import Endpoint
from kfunc.http.exchange import Exchange
from kfunc.protocol.messages import InferRequest, InferResponse
from kfunc.telemetry.otlp import Span, attribute, attributes
from kfunc.telemetry.request_trace import RequestTrace, SpanSink, Traced
from kfunc.telemetry.trace_context import TRACEPARENT, TRACESTATE


class HandlerDetails:
    """The spans within a handler."""

    def tell(self, exchange: Exchange, trace: RequestTrace, spans: SpanSink) -> bytes:
        """Hand them over: what was not reached, has none."""
        if trace.decoded_at:
            spans.add(trace.child("decode", exchange.started_at, trace.decoded_at))
        if exchange.compute_at:
            began_at = exchange.compute_at
            if exchange.queue_s:
                spans.add(trace.child("queue", began_at - exchange.queue_s, began_at))
            spans.add(_compute(exchange, trace))
        if trace.encoding_at:
            spans.add(trace.child("encode", trace.encoding_at, trace.encoded_at or perf_counter()))
        endpoint = exchange.note
        if type(endpoint) is not Endpoint:
            return b""
        slot = endpoint.slot
        about = attributes({"kfunc.model.name": slot.name, "kfunc.model.version": slot.version}) if exchange.in_grpc else b""
        return about + attribute("kfunc.model.version_served", slot.version)


def _compute(exchange: Exchange, trace: RequestTrace) -> Span:
    """The model's own code; where it failed, with the type of what it raised (whose words may be the caller's data)."""
    began_at, error = exchange.compute_at, exchange.error
    span = trace.child("compute", began_at, began_at + exchange.compute_s)
    if error is None or error.status < 500 or trace.encoding_at:
        return span
    kind = getattr(error, "cause", "") or type(error.__cause__ or error).__name__
    return structs.replace(span, attributes=attribute("error.type", kind), error=error.message[:256])


class TracedHandler(Traced):
    """The handler's application, traced; `infer` for other protocols too."""

    inner: Application

    def _pass_on(self, exchange: Exchange, parent: bytes, state: bytes) -> None:
        """Nothing is forwarded here: the model's own calls and events that answer look at the fields alone."""
        exchange.headers = headers = exchange.headers | {TRACEPARENT: parent}
        if state:
            headers[TRACESTATE] = state
        else:
            headers.pop(TRACESTATE, None)

    def infer(self, exchange: Exchange, request: InferRequest) -> InferResponse | Awaitable[InferResponse]:
        """Inference that another protocol has decoded."""
        trace = self.begin(exchange)
        if trace is None:
            return self.inner.infer(exchange, request)
        trace.note_decoded()
        answer = self.inner.infer(exchange, request)
        if isinstance(answer, InferResponse):
            trace.note_encoding()
            return answer
        return _awaited(answer, trace)


async def _awaited(answer: Awaitable[InferResponse], trace: RequestTrace) -> InferResponse:
    response = await answer
    trace.note_encoding()
    return response
