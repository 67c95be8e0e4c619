"""The logger's proxy: everything passes; inference calls leave a record in the spool before their answer is complete."""

from collections.abc import Callable
from time import perf_counter, time
from typing import TYPE_CHECKING

from kfunc.config.logger import Logger
from kfunc.errors import KfuncError, Unavailable
from kfunc.http.exchange import Exchange
from kfunc.http.head_lines import PER_REQUEST
from kfunc.http.pool import UpstreamPool
from kfunc.http.proxy import STREAM_ABOVE, Forward, pass_on
from kfunc.http.upstream import ResponseHead
from kfunc.http.wire import JSON, error_body
from kfunc.logger_sidecar.capture import Capture, captured, grpc_status
from kfunc.logger_sidecar.filters import Filter, is_sampled, kept_headers, trace_of
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import (
    CUT_OFF,
    HAS_REQUEST,
    HAS_RESPONSE,
    NO_BODIES,
    NO_GRPC,
    REQUEST_REDACTED,
    RESPONSE_REDACTED,
    Payload,
    join_record,
    request_texts,
    response_texts,
)
from kfunc.logger_sidecar.redaction import Redactor
from kfunc.logger_sidecar.spool import Spool
from kfunc.protocol.own_events import comes_back
from kfunc.telemetry.requests import CLIENT_GONE, RequestRecorder

if TYPE_CHECKING:
    from kfunc.logger_sidecar.shadow import ShadowTraffic

MODES = {"all": 3, "request": HAS_REQUEST, "response": HAS_RESPONSE, "metadata": 3 | NO_BODIES}
MAX_KNOWN_HEADS = 512
CLOGGED = "the log of requests is full; try again later"


class LoggerApplication:
    """Forwards; a call's two events share its `x-request-id`, which the caller gets back."""

    stream_above = STREAM_ABOVE

    def __init__(
        self,
        settings: Logger,
        pool: UpstreamPool,
        spool: Spool,
        recorder: RequestRecorder,
        notices: Notices,
        default_model: str = "",
        source: str = "",
    ) -> None:
        self.pool = pool
        self.append = spool.append
        self._admission = spool.admission
        self.shadow: ShadowTraffic | None = None
        self.flags = MODES[settings.mode]
        bodies = settings.max_body_bytes if settings.mode != "metadata" else 0
        self.max_request = bodies if self.flags & HAS_REQUEST else 0
        self.max_response = bodies if self.flags & HAS_RESPONSE else 0
        hashed = settings.redact_with == "hash"
        self.redactor = Redactor(settings.redact, hashed=hashed, most=bodies) if settings.redact else None
        self.header_names = [name.lower().encode() for name in settings.headers]
        self.shares_texts = not any(name in PER_REQUEST for name in self.header_names)
        self.answers: dict[bytes, bytes] = {}  # the texts of answers by their heads
        self.clock_us = 0.0  # of perf_counter's zero, since the epoch
        self._filter = Filter(settings, default_model)
        self._source = source  # of this function's events
        self._recorder = recorder
        self._notices = notices
        self.set_clock()

    def copies(self, request: bytes, response: bytes) -> bool:
        """Whether both bodies are written down as they are."""
        return self.redactor is None and len(request) <= self.max_request and len(response) <= self.max_response

    def set_clock(self) -> None:
        """Follow the system's clock; called now and then."""
        self.clock_us = (time() - perf_counter()) * 1e6

    def handle(self, exchange: Exchange) -> None:
        """Pass on; POSTs to inference paths, and events for the function but its own, are logged."""
        if (
            exchange.method == b"POST"
            and self._filter.is_logged(exchange.target, exchange.headers)
            and not comes_back(self._source, exchange.headers, exchange.body)
        ):
            share = self._filter.share
            shadow = self.shadow
            is_shadowed = shadow is not None and exchange.complete and shadow.is_wanted(exchange.headers, exchange.request_id)
            if share >= 1 or is_sampled(trace_of(exchange.headers, exchange.request_id), share):
                if self._admission.clogged:
                    exchange.fail(Unavailable(CLOGGED))
                    return
                Logged(self, exchange).is_shadowed = is_shadowed
            else:
                exchange.note = Shadowed(exchange, self.pool) if is_shadowed else Unlogged(exchange, self.pool)
        else:
            pass_on(exchange, self.pool)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        call: Unlogged | None = exchange.note
        self._recorder.record(exchange, call is not None)
        if call is not None:
            if type(call) is Logged and not call.recorded:  # refused here, or its client is gone
                call.record_end(exchange.status or CLIENT_GONE)
            if self.shadow is not None and call.is_shadowed and call.head is not None:
                self.shadow.offer(exchange, call.head, call.whole)
            # They refer to the exchange: without them it is freed now, and not when garbage is collected.
            exchange.note = exchange.on_cancel = None

    def failed(self, error: Exception) -> None:
        """A call that cannot be written must not fail, nor stop those that follow."""
        self._notices.drop("failed")
        self._notices.say("failed call", "the events of a call could not be written: %r", error)


class Unlogged(Forward):
    """A call that is counted, and not in the sample."""

    __slots__ = ()
    is_shadowed = False
    head: ResponseHead | None = None
    whole: bytes | None = None


class Shadowed(Unlogged):
    """A call that is not logged, and goes to the candidate when it is answered."""

    __slots__ = ("head", "whole")
    is_shadowed = True

    def __init__(self, exchange: Exchange, pool: UpstreamPool) -> None:
        self.head = self.whole = None
        super().__init__(exchange, pool)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self.head, self.whole = head, body
        self.exchange.relay(head.status, head.lines, body)

    def passed_head(self, head: ResponseHead) -> None:
        """An answer that is streamed begins."""
        self.head = head


class Logged(Unlogged):
    """A forwarded call that is recorded: whole bodies as they are, streamed ones as they pass."""

    __slots__ = (
        *("_answer", "_application", "_body", "_cut", "_held", "_left", "_sent", "head", "is_shadowed", "recorded", "whole"),
    )

    def __init__(self, application: LoggerApplication, exchange: Exchange) -> None:
        self._application = application
        self.head: ResponseHead | None = None
        self.whole: bytes | None = None
        self.is_shadowed = False
        self._sent: Capture | None = None
        self._answer: Capture | None = None
        self._body = b""
        self._held: list[Callable[[], None]] | None = None
        self._left = -1  # bytes of a streamed answer that are to come, if that is known
        self.recorded = False
        self._cut = 0
        exchange.note = self
        super().__init__(exchange, application.pool)

    # ---- what passes

    def sent_chunk(self, chunk: bytes) -> None:
        """Part of a request that is streamed."""
        sent = self._sent
        if sent is None:
            sent = self._sent = Capture(self._application.max_request)
        sent.add(chunk)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self.head = head
        self._body = body
        if self.is_shadowed:
            self.whole = body
        if self.record(head.status, body, self._relay):
            self.exchange.relay(head.status, head.lines, body)

    def _relay(self) -> None:
        head = self.head
        if head is not None:
            self.exchange.relay(head.status, head.lines, self._body)

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """An answer that is streamed begins."""
        self.head = head
        self._left = -1 if length is None else length
        self._answer = Capture(self._application.max_response)
        super().on_head(head, length)

    def on_chunk(self, chunk: bytes) -> None:
        """Part of an answer that is streamed; the last one passes when the call is recorded."""
        if self._answer is not None:
            self._answer.add(chunk)
        if self._left > 0:
            self._left -= len(chunk)
            if self._left <= 0:
                self._record_streamed()
        self._pass(lambda: super(Logged, self).on_chunk(chunk))

    def on_end(self) -> None:
        """The end of an answer that is streamed."""
        if not self.recorded:
            self._record_streamed()
        self._pass(super().on_end)

    def on_failure(self, error: KfuncError) -> None:
        """No answer, or not all of it."""
        if not self.recorded:
            begun = self._answer is not None and self.head is not None
            status = self.head.status if begun and self.head is not None else error.status
            self._cut = CUT_OFF if begun else 0
            if not self.record(status, b"" if begun else error_body(error.message), self._release):
                self._held = []
        self._pass(lambda: super(Logged, self).on_failure(error))

    def _record_streamed(self) -> None:
        status = self.head.status if self.head is not None else 0
        if not self.record(status, b"", self._release):
            self._held = []

    def _pass(self, step: Callable[[], None]) -> None:
        """Do it now, or when the call is recorded."""
        if self._held is None:
            step()
        else:
            self._held.append(step)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for step in held:
            step()

    # ---- the record

    def record(self, status: int, body: bytes, go_on: Callable[[], None]) -> bool:
        """Append the call to the spool; False: its answer has to wait for `go_on`."""
        self.recorded = True
        application = self._application
        try:
            record = self._encode(status, body)
        except Exception as error:
            application.failed(error)
            return True
        return application.append(record, go_on)

    def record_end(self, status: int) -> None:
        """It was refused here, or its client is gone, maybe while the answer came."""
        if self._answer is not None:
            status, self._cut = CLIENT_GONE, CUT_OFF
        self.record(status, b"", _go_on)

    def _encode(self, status: int, body: bytes) -> bytes:
        application, exchange = self._application, self.exchange
        sent, memo, head = exchange.body, exchange.memo, self.head
        if memo is not None and head is not None and self._answer is None and application.copies(sent, body):
            request, answer = memo.get("logged"), application.answers.get(head.lines)
            if request is not None and answer is not None and self._sent is None:
                return self._join(request, answer, status, sent, len(sent), body, len(body), application.flags)
        return self._encode_slowly(status, body)

    def _encode_slowly(self, status: int, body: bytes) -> bytes:
        """The record of what is not like most calls, or the first of its kind."""
        application, exchange = self._application, self.exchange
        sent = captured(exchange.body, application.max_request) if self._sent is None else self._sent.payload()
        if exchange.error is not None and not body and self._answer is None:
            body = error_body(exchange.error.message)
        answer = captured(body, application.max_response) if self._answer is None else self._answer.payload()
        if application.redactor is not None:
            return self._encode_redacted(application.redactor, status, sent, answer)
        texts = self._request_side(sent), self._response_side(answer)
        return self._join_payloads(texts, status, sent, answer, application.flags | self._cut)

    def _request_side(self, payload: Payload) -> bytes:
        """The texts of the request; those of one head are the same."""
        memo = self.exchange.memo if self._application.shares_texts else None
        if memo is not None:
            texts: bytes | None = memo.get("logged")
            if texts is not None:
                return texts
        self._read_request_head(payload)
        texts = self._request_texts(payload)
        if memo is not None:
            memo["logged"] = texts
        return texts

    def _read_request_head(self, payload: Payload) -> None:
        get = self.exchange.headers.get
        payload.content_type = get(b"content-type", JSON)
        payload.coding = get(b"content-encoding", b"")
        payload.json_length = get(b"inference-header-content-length", b"")

    def _request_texts(self, payload: Payload) -> bytes:
        exchange = self.exchange
        return request_texts(exchange.target, payload, kept_headers(exchange.headers, self._application.header_names))

    def _response_side(self, payload: Payload) -> bytes:
        """The texts of the answer; those of one head are the same."""
        head, answers = self.head, self._application.answers
        if head is None:
            return response_texts(payload)
        texts = answers.get(head.lines)
        if texts is None:
            self._read_response_head(payload)
            texts = response_texts(payload)
            if len(answers) >= MAX_KNOWN_HEADS:
                answers.clear()
            answers[head.lines] = texts
        return texts

    def _read_response_head(self, payload: Payload) -> None:
        for name, value in self.head.headers if self.head is not None else ():
            if name == b"content-type":
                payload.content_type = value
            elif name == b"content-encoding":
                payload.coding = value
            elif name == b"inference-header-content-length":
                payload.json_length = value

    def _encode_redacted(self, redactor: Redactor, status: int, sent: Payload, answer: Payload) -> bytes:
        """The record without what must not be written down."""
        flags = self._application.flags | self._cut
        self._read_request_head(sent)
        self._read_response_head(answer)
        for payload, flag in ((sent, REQUEST_REDACTED), (answer, RESPONSE_REDACTED)):
            how = (payload.content_type, payload.coding, payload.json_length)
            redacted = redactor.redact(payload.body, *how, is_answer=payload is answer)
            if redacted.changed:
                flags |= flag
                if not payload.digest:  # what is left is the whole of what is shown
                    payload.size = len(redacted.body)
            payload.body, payload.coding, payload.json_length = redacted.body, redacted.coding, redacted.json_length
        return self._join_payloads((self._request_texts(sent), response_texts(answer)), status, sent, answer, flags)

    def _join_payloads(self, texts: tuple[bytes, bytes], status: int, sent: Payload, answer: Payload, flags: int) -> bytes:
        sizes = (sent.body, sent.size, answer.body, answer.size)
        return self._join(*texts, status, *sizes, flags, sent.digest, answer.digest)

    def _join(
        self,
        request_side: bytes,
        response_side: bytes,
        status: int,
        request: bytes,
        request_size: int,
        response: bytes,
        response_size: int,
        flags: int,
        request_digest: bytes = b"",
        response_digest: bytes = b"",
    ) -> bytes:
        exchange = self.exchange
        headers, started_at = exchange.headers, exchange.started_at
        parent = headers.get(b"traceparent", b"")
        state = headers.get(b"tracestate", b"") if parent else b""
        duration_us = int((perf_counter() - started_at) * 1e6)
        time_us = int(self._application.clock_us + started_at * 1e6)
        code = grpc_status(exchange, status) if exchange.in_grpc else NO_GRPC
        return join_record(
            request_side,
            parent,
            state,
            exchange.request_id,
            request_digest,
            response_side,
            response_digest,
            time_us,
            duration_us,
            status,
            code,
            flags,
            request,
            request_size,
            response,
            response_size,
        )


def _go_on() -> None:
    """The exchange has ended: nothing waits."""
