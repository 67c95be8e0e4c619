"""The logger's proxy: everything passes; inference calls leave a record of request and response."""

from time import perf_counter

from kfunc.config.logger import Logger
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import STREAM_ABOVE, Forward, pass_on
from kfunc.http.upstream import ResponseHead, UpstreamPool
from kfunc.http.wire import JSON, error_body
from kfunc.logger_sidecar.delivery import Delivery
from kfunc.logger_sidecar.events import CallRecord, Payload, is_call, is_event
from kfunc.telemetry.requests import CLIENT_GONE, RequestRecorder

SAYS_HOW_TO_READ = {b"content-encoding": "coding", b"inference-header-content-length": "json_length"}


class LoggerApplication:
    """Forwards; a call's two events share its `x-request-id`, which the caller gets back."""

    stream_above = STREAM_ABOVE

    def __init__(self, settings: Logger, pool: UpstreamPool, delivery: Delivery, recorder: RequestRecorder) -> None:
        self.pool = pool
        self.delivery = delivery
        self.max_request = settings.max_body_bytes if settings.mode != "response" else 0
        self.max_response = settings.max_body_bytes if settings.mode != "request" else 0
        self._recorder = recorder

    def handle(self, exchange: Exchange) -> None:
        """Pass on; POSTs to inference paths, and events for the function, are logged."""
        target = exchange.target
        if exchange.method == b"POST" and (is_call(target) or is_event(target, exchange.headers)):
            Logged(self, exchange)
        else:
            pass_on(exchange, self.pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        logged: Logged | None = exchange.note
        self._recorder.record(exchange, logged is not None)
        if logged is not None:
            logged.ended_at = perf_counter()
            self.delivery.add(logged)
            # They refer to the exchange: without them it is freed now, and not when garbage is collected.
            exchange.note = exchange.on_cancel = None


class Logged(Forward):
    """A forwarded call that is recorded when it has ended: whole bodies as they are, streamed ones as they pass."""

    __slots__ = ("_answer", "_application", "_head", "_received", "_sent", "ended_at")

    def __init__(self, application: LoggerApplication, exchange: Exchange) -> None:
        self._application = application
        self._head: ResponseHead | None = None
        self._answer = b""
        self._sent: Payload | None = None
        self._received: Payload | None = None
        self.ended_at = 0.0
        exchange.note = self
        super().__init__(exchange, application.pool)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self._head = head
        self._answer = body
        self.exchange.relay(head.status, head.lines, body)

    def sent_chunk(self, chunk: bytes) -> None:
        """Part of a request that is streamed."""
        self._sent = sent = self._sent or Payload()
        _keep(sent, chunk, self._application.max_request)

    def passed_head(self, head: ResponseHead) -> None:
        """An answer that is streamed begins."""
        self._head = head

    def passed_chunk(self, chunk: bytes) -> None:
        """Part of an answer that is streamed."""
        self._received = received = self._received or Payload()
        _keep(received, chunk, self._application.max_response)

    def record(self, clock_s: float) -> CallRecord:
        """Both sides, with the status that the client got."""
        application, exchange = self._application, self.exchange
        get = exchange.headers.get
        request = self._sent or _whole(exchange.body, application.max_request)
        request.content_type = get(b"content-type", JSON)
        request.coding = get(b"content-encoding", b"")
        request.json_length = get(b"inference-header-content-length", b"")
        response = self._received or _whole(self._answer, application.max_response)
        if self._head is not None:
            for name, value in self._head.headers:
                if name == b"content-type":
                    response.content_type = value
                elif name in SAYS_HOW_TO_READ:
                    setattr(response, SAYS_HOW_TO_READ[name], value)
        elif exchange.error is not None:
            _keep(response, error_body(exchange.error.message), application.max_response)
        return CallRecord(
            exchange.target,
            exchange.request_id,
            get(b"traceparent", b""),
            clock_s + exchange.started_at,
            self.ended_at - exchange.started_at,
            exchange.status or CLIENT_GONE,
            request,
            response,
        )


def _whole(body: bytes, most: int) -> Payload:
    size = len(body)
    return Payload(body if size <= most else body[:most], size)


def _keep(payload: Payload, part: bytes, most: int) -> None:
    """Keep as much of a body as may be kept, `most` bytes."""
    payload.size += len(part)
    room = most - len(payload.body)
    if room > 0:
        payload.body += part[:room]
