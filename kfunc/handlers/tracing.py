"""The handler's part of a trace: decoding, waiting, computing, encoding. Only requests that are kept pass through here."""

from collections.abc import AsyncGenerator, Awaitable
from time import perf_counter

from kfunc.handlers.application import Application
from kfunc.handlers.inference import Codec, Encoded, Endpoint
from kfunc.handlers.slots import Slot
from kfunc.http.exchange import Exchange
from kfunc.protocol.contract import Context, Model
from kfunc.protocol.messages import InferRequest, InferResponse, ModelMetadata
from kfunc.telemetry.otlp import attribute, attributes
from kfunc.telemetry.request_trace import RequestTrace, SpanSink, Traced
from kfunc.telemetry.trace_context import TRACEPARENT, TRACESTATE


class TimedModel:
    """A Model that says when it was asked: then the request is decoded."""

    def __init__(self, model: Model, trace: RequestTrace) -> None:
        self._model = model
        self._trace = trace

    @property
    def metadata(self) -> ModelMetadata:
        """The model's."""
        return self._model.metadata

    @property
    def ready(self) -> bool:
        """Whether the model is."""
        return self._model.ready

    @property
    def explains(self) -> bool:
        """Whether the model does."""
        return self._model.explains

    def infer(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """Ask the model."""
        self._trace.decoded_at = perf_counter()
        return self._model.infer(request, context)

    def explain(self, request: InferRequest, context: Context) -> InferResponse | Awaitable[InferResponse]:
        """Ask the model."""
        self._trace.decoded_at = perf_counter()
        return self._model.explain(request, context)

    def stream(self, request: InferRequest, context: Context) -> AsyncGenerator[InferResponse]:
        """Ask the model."""
        self._trace.decoded_at = perf_counter()
        return self._model.stream(request, context)


class TimedSlot(Slot):
    """A slot whose model is a timed one, for one request."""

    __slots__ = ("_slot", "_trace")

    def __init__(self, slot: Slot, trace: RequestTrace) -> None:
        self.name, self.version, self.state, self.reason = slot.name, slot.version, slot.state, slot.reason
        self._slot, self._trace = slot, trace
        self.model = None if slot.model is None else TimedModel(slot.model, trace)

    def taken(self) -> Model:
        """The model. Raises what the slot itself raises."""
        return self.model if self.model is not None else TimedModel(self._slot.taken(), self._trace)


class TimedCodec(Codec):
    """A codec that says when it encodes the answer, for one request."""

    __slots__ = ("_codec", "_trace")

    def __init__(self, codec: Codec, trace: RequestTrace) -> None:
        self.decode, self.decode_large = codec.decode, codec.decode_large
        self.explains, self.binary = codec.explains, codec.binary
        self._codec, self._trace = codec, trace
        self.encode = self._encode

    def _encode(self, request: InferRequest, response: InferResponse) -> Encoded:
        trace = self._trace
        trace.encoding_at = trace.encoding_at or perf_counter()  # the first part's, of an answer in parts
        try:
            return self._codec.encode(request, response)
        finally:
            trace.encoded_at = perf_counter()


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
            spans.add(trace.child("compute", began_at, began_at + exchange.compute_s))
        if trace.encoding_at:
            spans.add(trace.child("encode", trace.encoding_at, trace.encoded_at or perf_counter()))
        endpoint = exchange.note
        if type(endpoint) is not Endpoint:
            return b""
        slot = endpoint.slot
        about = attributes({"kfunc.model.name": slot.name, "kfunc.model.version": slot.version}) if exchange.in_grpc else b""
        return about + attribute("kfunc.model.version_served", slot.version)


class TracedHandler(Traced):
    """The handler's application, traced; `infer` for other protocols too."""

    inner: Application

    def handle(self, exchange: Exchange) -> None:
        """Answer; the endpoint of a request that is kept says when what happened."""
        trace = self.begin(exchange)
        if trace is None:
            self.inner.handle(exchange)
            return
        endpoint = self.inner.endpoint(exchange)
        endpoint.answer(exchange, _timed(endpoint, trace))

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
        trace.decoded_at = perf_counter()
        answer = self.inner.infer(exchange, request)
        if isinstance(answer, InferResponse):
            trace.encoding_at = perf_counter()
            return answer
        return _awaited(answer, trace)


async def _awaited(answer: Awaitable[InferResponse], trace: RequestTrace) -> InferResponse:
    response = await answer
    trace.encoding_at = perf_counter()
    return response


def _timed(endpoint: Endpoint, trace: RequestTrace) -> Endpoint:
    return Endpoint(endpoint.answer, endpoint.methods, TimedSlot(endpoint.slot, trace), TimedCodec(endpoint.codec, trace))
