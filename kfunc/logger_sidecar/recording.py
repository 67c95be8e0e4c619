"""How a call that has passed becomes a record: what is kept of its head and its bodies. It holds no call."""

from time import perf_counter, time
from typing import Protocol

from kfunc.config.logger import Logger
from kfunc.http.exchange import Exchange
from kfunc.http.head_lines import PER_REQUEST
from kfunc.http.upstream import ResponseHead
from kfunc.http.wire import JSON, error_body
from kfunc.logger_sidecar.capture import Capture, captured, grpc_status
from kfunc.logger_sidecar.filters import kept_headers
from kfunc.logger_sidecar.record import (
    HAS_REQUEST,
    HAS_RESPONSE,
    MAX_DURATION,
    NO_BODIES,
    NO_GRPC,
    REQUEST_REDACTED,
    RESPONSE_REDACTED,
    Bodies,
    Payload,
    join_record,
    request_texts,
    response_texts,
)
from kfunc.logger_sidecar.redaction import Redactor

MODES = {"all": 3, "request": HAS_REQUEST, "response": HAS_RESPONSE, "metadata": 3 | NO_BODIES}
MAX_KNOWN_HEADS = 512
NO_DIGESTS = (b"", b"")

Pair = tuple[bytes, bytes]  # the request's and the answer's


class Call(Protocol):
    """A call as it has passed, whole or in parts."""

    exchange: Exchange
    head: ResponseHead | None
    sent: Capture | None
    """Of a request that was streamed."""

    answer: Capture | None
    """Of an answer that was streamed."""

    cut: int
    """A flag of the record: whether the answer broke off."""


class CallWriter:
    """Writes the records of calls as the settings say. Texts of heads that are the same are made once."""

    def __init__(self, settings: Logger) -> None:
        self.flags = MODES[settings.mode]
        bodies = settings.max_body_bytes if settings.mode != "metadata" else 0
        self.max_request = bodies if self.flags & HAS_REQUEST else 0
        self.max_response = bodies if self.flags & HAS_RESPONSE else 0
        hashed = settings.redact_with == "hash"
        self._redactor = Redactor(settings.redact, hashed=hashed, most=bodies) if settings.redact else None
        self._header_names = [name.lower().encode() for name in settings.headers]
        self._shares_texts = not any(name in PER_REQUEST for name in self._header_names)
        self._answers: dict[bytes, bytes] = {}  # the texts of answers by their heads
        self._clock_us = 0.0  # of perf_counter's zero, since the epoch
        self.set_clock()

    def set_clock(self) -> None:
        """Follow the system's clock; called now and then."""
        self._clock_us = (time() - perf_counter()) * 1e6

    def write(self, call: Call, body: bytes, status: int) -> bytes:
        """The record of a call whose answer is `body`, or what its `answer` holds of it."""
        exchange, head = call.exchange, call.head
        memo, request = exchange.memo, exchange.body
        if memo is not None and head is not None and call.sent is None and call.answer is None and self._redactor is None:
            request_side, response_side = memo.get("logged"), self._answers.get(head.lines)
            if request_side is not None and response_side is not None:
                size, answer_size = len(request), len(body)
                if size <= self.max_request and answer_size <= self.max_response:  # both as they are
                    sides, bodies = (request_side, response_side), (request, size, body, answer_size)
                    return self._join(exchange, sides, NO_DIGESTS, bodies, status, self.flags)
        return self._write_slowly(call, body, status)

    def _write_slowly(self, call: Call, body: bytes, status: int) -> bytes:
        """The record of what is not like most calls, or the first of its kind."""
        exchange, head, sent, answer = call.exchange, call.head, call.sent, call.answer
        request = captured(exchange.body, self.max_request) if sent is None else sent.payload()
        if exchange.error is not None and not body and answer is None:
            body = error_body(exchange.error.message)
        response = captured(body, self.max_response) if answer is None else answer.payload()
        flags = self.flags | call.cut
        if self._redactor is not None:
            flags |= _redacted(self._redactor, exchange, head, request, response)
            sides = self._request_texts(exchange, request), response_texts(response)
        else:
            sides = self._request_side(exchange, request), self._response_side(head, response)
        bodies = (request.body, request.size, response.body, response.size)
        return self._join(exchange, sides, (request.digest, response.digest), bodies, status, flags)

    def _request_side(self, exchange: Exchange, payload: Payload) -> bytes:
        """The texts of the request; those of one head are the same."""
        memo = exchange.memo if self._shares_texts else None
        if memo is not None:
            texts: bytes | None = memo.get("logged")
            if texts is not None:
                return texts
        _read_request_head(exchange, payload)
        texts = self._request_texts(exchange, payload)
        if memo is not None:
            memo["logged"] = texts
        return texts

    def _request_texts(self, exchange: Exchange, payload: Payload) -> bytes:
        return request_texts(exchange.target, payload, kept_headers(exchange.headers, self._header_names))

    def _response_side(self, head: ResponseHead | None, payload: Payload) -> bytes:
        """The texts of the answer; those of one head are the same."""
        answers = self._answers
        if head is None:
            return response_texts(payload)
        texts = answers.get(head.lines)
        if texts is None:
            _read_response_head(head, payload)
            texts = response_texts(payload)
            if len(answers) >= MAX_KNOWN_HEADS:
                answers.clear()
            answers[head.lines] = texts
        return texts

    def _join(
        self,
        exchange: Exchange,
        sides: tuple[bytes, bytes],
        digests: tuple[bytes, bytes],
        bodies: Bodies,
        status: int,
        flags: int,
    ) -> bytes:
        headers, started_at = exchange.headers, exchange.started_at
        parent = headers.get(b"traceparent", b"")
        state = headers.get(b"tracestate", b"") if parent else b""
        duration_us = int((perf_counter() - started_at) * 1e6)
        if duration_us > MAX_DURATION:
            duration_us = MAX_DURATION
        time_us = int(self._clock_us + started_at * 1e6)
        code = grpc_status(exchange, status) if exchange.in_grpc else NO_GRPC
        texts = (sides[0], parent, state, exchange.request_id, digests[0], sides[1], digests[1])
        return join_record(texts, (time_us, duration_us, status, code, flags), bodies)


def _read_request_head(exchange: Exchange, payload: Payload) -> None:
    get = exchange.headers.get
    payload.content_type = get(b"content-type", JSON)
    payload.coding = get(b"content-encoding", b"")
    payload.json_length = get(b"inference-header-content-length", b"")


def _read_response_head(head: ResponseHead, payload: Payload) -> None:
    for name, value in head.headers:
        if name == b"content-type":
            payload.content_type = value
        elif name == b"content-encoding":
            payload.coding = value
        elif name == b"inference-header-content-length":
            payload.json_length = value


def _redacted(redactor: Redactor, exchange: Exchange, head: ResponseHead | None, request: Payload, response: Payload) -> int:
    """Take out of both bodies what must not be written down; the flags that say so."""
    flags = 0
    _read_request_head(exchange, request)
    if head is not None:
        _read_response_head(head, response)
    for payload, flag in ((request, REQUEST_REDACTED), (response, RESPONSE_REDACTED)):
        how = (payload.content_type, payload.coding, payload.json_length)
        redacted = redactor.redact(payload.body, *how, is_answer=payload is response)
        if redacted.changed:
            flags |= flag
            if not payload.digest:  # what is left is the whole of what is shown
                payload.size = len(redacted.body)
        payload.body, payload.coding, payload.json_length = redacted.body, redacted.coding, redacted.json_length
    return flags
