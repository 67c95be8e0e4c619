"""The logger's proxy: everything passes; inference calls leave a record of request and response."""

from os import urandom
from time import perf_counter, time

from kfunc.config.inference import Logger
from kfunc.errors import KfuncError
from kfunc.http.exchange import Exchange
from kfunc.http.proxy import STREAM_ABOVE, Forward, pass_on
from kfunc.http.upstream import ResponseHead, UpstreamPool
from kfunc.http.wire import JSON, error_body, error_headers
from kfunc.logger_sidecar.delivery import Delivery
from kfunc.logger_sidecar.events import CallRecord, is_call
from kfunc.telemetry.requests import CLIENT_GONE, RequestRecorder

REQUEST_ID = b"x-request-id"
MAX_REQUEST_ID = 128


class LoggerApplication:
    """Forwards; a call's two events share its `x-request-id`, which the caller gets back."""

    stream_above = STREAM_ABOVE

    def __init__(self, settings: Logger, pool: UpstreamPool, delivery: Delivery, recorder: RequestRecorder) -> None:
        self.pool = pool
        self.delivery = delivery
        self.logs_request = settings.mode != "response"
        self.logs_response = settings.mode != "request"
        self.max_body_bytes = settings.max_body_bytes
        self._recorder = recorder

        self._id_prefix = urandom(8).hex().encode()
        self._ids = 0

    def next_id(self) -> bytes:
        """An id for a call that came without one."""
        self._ids += 1
        return b"%b-%x" % (self._id_prefix, self._ids)

    def handle(self, exchange: Exchange) -> None:
        """Pass on; POSTs to inference paths are logged."""
        if exchange.method == b"POST" and is_call(exchange.target):
            exchange.note = exchange.target
            Logged(self, exchange)
        else:
            pass_on(exchange, self.pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        self._recorder.record(exchange, exchange.note is not None)


class Logged(Forward):
    """A forwarded call that is recorded on its way."""

    __slots__ = ("_application", "_id", "_open", "_request", "_response", "answer_extra")

    def __init__(self, application: LoggerApplication, exchange: Exchange) -> None:
        self._application = application
        given = exchange.headers.get(REQUEST_ID, b"")
        valid = 0 < len(given) <= MAX_REQUEST_ID and given.isascii()
        self._id = given if valid else application.next_id()
        correlation = self._id.decode()
        now = time()
        self._request = request = CallRecord(False, correlation, exchange.target, now)
        request.content_type = exchange.headers.get(b"content-type", b"application/json")
        request.traceparent = exchange.headers.get(b"traceparent", b"")
        self._response = CallRecord(True, correlation, exchange.target, now)
        self._response.traceparent = request.traceparent
        self._open = True
        if exchange.complete:
            self._keep(request, exchange.body)
        self.answer_extra = b"x-request-id: %b\r\n" % self._id
        super().__init__(exchange, application.pool, b"" if valid else self.answer_extra)

    def _keep(self, record: CallRecord, part: bytes) -> None:
        if not record.size and len(part) <= self._application.max_body_bytes:
            record.body, record.size = part, len(part)
            return
        record.size += len(part)
        room = self._application.max_body_bytes - len(record.body)
        if room >= len(part):
            record.body = record.body + part if record.body else part
        elif room > 0:
            record.body += part[:room]

    def sent_chunk(self, chunk: bytes) -> None:
        """Part of a request that is streamed."""
        self._keep(self._request, chunk)

    def passed_head(self, head: ResponseHead) -> None:
        """The answer begins."""
        self._response.status = head.status
        for name, value in head.headers:
            if name == b"content-type":
                self._response.content_type = value

    def passed_chunk(self, chunk: bytes) -> None:
        """Part of the answer."""
        self._keep(self._response, chunk)

    def on_failure(self, error: KfuncError) -> None:
        """The answer is our own; it carries the call's id too."""
        self.passed_end(complete=False, error=error)
        if self.exchange.status:
            self.exchange.fail(error)
        else:
            headers = [*error_headers(error), (REQUEST_ID, self._id)]
            self.exchange.respond(error.status, error_body(error.message), JSON, headers)

    def passed_end(self, *, complete: bool, error: KfuncError | None = None) -> None:
        """The answer ends: record both sides, before its last byte is written."""
        if not self._open:
            return
        self._open = False
        if error is not None and not self._response.status:
            self._response.status = error.status
            self._keep(self._response, error_body(error.message))
        application, exchange, response = self._application, self.exchange, self._response
        if application.logs_request:
            application.delivery.add(self._request)
        if application.logs_response:
            response.status = response.status or CLIENT_GONE
            duration_s = perf_counter() - exchange.started_at
            response.duration_s = duration_s
            response.time_s += duration_s
            application.delivery.add(response)
