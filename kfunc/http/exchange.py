"""One request and its answer, as an application sees them, whatever version of HTTP carries them."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from kfunc.errors import KfuncError
from kfunc.http.head_lines import REQUEST_ID
from kfunc.http.identity import new_request_id
from kfunc.http.plain import PlainHead
from kfunc.http.wire import CONTENT_TYPE_LINES, JSON, Headers, error_body, error_headers, header_lines

MAX_REQUEST_ID = 128
MIN_CHUNK = 1024  # on average; smaller ones are joined, since each costs some 50 bytes
MANY_CHUNKS = 64


class Receiver(Protocol):
    """Takes the body of a request that is handed over before it is complete."""

    def on_chunk(self, chunk: bytes) -> None:
        """The next bytes of the body."""

    def on_end(self) -> None:
        """The body is complete."""


class Unfinished(NamedTuple):
    """A body of which `size` bytes are here, late at `late_at` if no more comes; `refuse` answers its request."""

    late_at: float
    size: int
    refuse: Callable[[KfuncError], None]


class Transmitter(Protocol):
    """What writes answers: a connection of HTTP/1.1, or a stream of one of HTTP/2."""

    def send_response(self, exchange: "Exchange", lines: bytes, body: bytes) -> None:
        """A whole answer; `lines` are its header fields but for the framing."""

    def send_head(self, exchange: "Exchange", lines: bytes, length: int | None) -> None:
        """Begin an answer of `length` bytes, or of unknown length."""

    def send_chunk(self, exchange: "Exchange", chunk: bytes) -> None:
        """The next bytes of the answer."""

    def send_end(self, exchange: "Exchange") -> None:
        """The answer is complete."""

    def reset(self, exchange: "Exchange") -> None:
        """Break off: the caller must not take what it got for a complete answer."""

    def hold(self, exchange: "Exchange", paused: bool) -> None:
        """Stop or go on reading the request's body."""


class Exchange:
    """A request (`method`, `target`, `headers` with lower-case names, `body`) and the way to answer it.

    `complete` says whether `body` is whole; if not, `receive` streams it. Exactly one of `respond`,
    `fail` or `start` … `finish` answers; after `cancelled` all of them do nothing.
    """

    # Class attributes are the defaults: an exchange is made for every request, and most stay as they are.
    body = b""
    chunks: list[bytes] | None = None  # the parts so far of a body that came in more than one
    complete = False
    cancelled = False
    deadline = 0.0
    started_at = 0.0
    version = "1.1"
    status = 0
    sent_length = 0
    chunked = False  # the answer is
    forwarded = False  # the answer is another server's, its Date too
    receiver: Receiver | None = None
    on_cancel: Callable[[], object] | None = None
    on_pressure: Callable[[bool], None] | None = None
    note: Any = None
    trailers: Headers | None = None  # to be sent behind the answer, by HTTP/2; in HTTP/1.1 few clients read them
    error: KfuncError | None = None  # what it was answered with, if by `fail`
    plain: PlainHead | None = None  # HTTP/1.1, kept alive, complete, not HEAD, no field twice
    memo: dict[str, Any] | None = None  # what was worked out from the head, but for PER_REQUEST; requests share it
    queue_s = 0.0  # waited for a thread or a batch; with compute_s it becomes Server-Timing
    batch_s = 0.0
    compute_s = 0.0  # the model's own time
    compute_at = 0.0  # and when it began
    in_grpc = False  # it is asked in the place of a gRPC call
    called = b""  # the path of that call's method
    trace: Any = None  # the RequestTrace of a request that is traced (kfunc.telemetry.request_trace)
    grpc_status = -1  # the code that the call ends with in whose place this is asked; -1: in nobody's
    batches: tuple[tuple[bytes, int], ...] = ()  # ids that it was sent on under, with others: how many; for pages
    refused = False  # answered without the application, which only observes it
    received = 0  # bytes of the body, where it was refused before that was whole
    _request_id = b""

    def __init__(
        self,
        transmitter: Transmitter,
        method: bytes,
        target: bytes,
        header_list: Headers,
        headers: dict[bytes, bytes],
        keep_alive: bool,
    ) -> None:
        self.transmitter = transmitter
        self.method = method
        self.target = target
        self.header_list = header_list
        self.headers = headers
        self.keep_alive = keep_alive

    @property
    def request_id(self) -> bytes:
        """The caller's x-request-id if it brought a sane one, else one that is made here; the same for one exchange."""
        if not self._request_id:
            given = self.headers.get(REQUEST_ID)
            valid = given is not None and 0 < len(given) <= MAX_REQUEST_ID and given.isascii()
            self._request_id = given if given is not None and valid else new_request_id()
        return self._request_id

    def respond(self, status: int, body: bytes = b"", content_type: bytes = JSON, headers: Headers | None = None) -> None:
        """Answer at once. `content_type` empty: `headers` hold what is to be sent."""
        if self.cancelled:
            return
        self.status = status
        if headers is None:
            self.transmitter.send_response(self, CONTENT_TYPE_LINES[content_type], body)
        else:
            fields = [(b"content-type", content_type), *headers] if content_type else headers
            self.transmitter.send_response(self, header_lines(fields), body)

    def relay(self, status: int, lines: bytes, body: bytes) -> None:
        """Answer as another server did: its status, its fields as lines without framing, its body."""
        if not self.cancelled:
            self.status = status
            self.forwarded = True
            self.transmitter.send_response(self, lines, body)

    def fail(self, error: KfuncError) -> None:
        """Answer with an error, or break off where the answer has begun."""
        if self.cancelled:
            return
        if self.status:
            self.transmitter.reset(self)
            return
        self.error = error
        if error.close:
            self.keep_alive = False
        self.respond(error.status, error_body(error.message, error.details), JSON, error_headers(error))

    def start(self, status: int, lines: bytes, length: int | None = None) -> None:
        """Begin an answer that is written in parts; `lines` are its fields, `length` its bytes where they are known."""
        if not self.cancelled:
            self.status = status
            self.transmitter.send_head(self, lines, length)

    def write(self, chunk: bytes) -> None:
        """The next part of the answer's body."""
        if not self.cancelled:
            self.transmitter.send_chunk(self, chunk)

    def finish(self) -> None:
        """End an answer that was started."""
        if not self.cancelled:
            self.transmitter.send_end(self)

    def keep_chunk(self, chunk: bytes, received: int) -> None:
        """Keep part of a body that is handed over whole; `received` bytes of it are here now."""
        chunks = self.chunks
        if chunks is None:
            if not self.body:
                self.body = chunk
                return
            self.chunks = chunks = [self.body]
        chunks.append(chunk)
        if len(chunks) > MANY_CHUNKS + received // MIN_CHUNK:
            self.chunks = [b"".join(chunks)]

    def join(self) -> None:
        """The body is whole."""
        if self.chunks is not None:
            self.body, self.chunks = b"".join(self.chunks), None

    def drop_body(self, received: int) -> None:
        """The request is refused before its body is whole; `received` bytes of it have come."""
        self.body, self.chunks, self.received = b"", None, received

    def receive(self, receiver: Receiver) -> None:
        """Stream the rest of the body into `receiver`, what has arrived first."""
        self.receiver = None if self.complete else receiver
        chunks, self.chunks = self.chunks or [self.body], None
        self.body = b""
        for chunk in chunks:
            if chunk:
                receiver.on_chunk(chunk)
        if self.complete:
            receiver.on_end()

    def end_receiving(self, receiver: Receiver) -> None:
        """The body has come to its end; its receiver, which knows the exchange, is not kept."""
        self.receiver = None
        receiver.on_end()

    def hold(self, paused: bool) -> None:
        """Stop or go on reading the request's body, while its receiver cannot take more."""
        if not self.cancelled:
            self.transmitter.hold(self, paused)

    def cancel(self) -> None:
        """The client is gone."""
        if not self.cancelled:
            self.cancelled = True
            if self.on_cancel is not None:
                self.on_cancel()


class Application(Protocol):
    """What answers the exchanges of a server."""

    stream_above: int
    """Bodies of more bytes than this are handed over before they are complete."""

    def handle(self, exchange: Exchange) -> None:
        """Begin to answer; may raise a KfuncError, which becomes the answer."""

    def observe(self, exchange: Exchange) -> None:
        """The exchange has ended: answered, or its client is gone."""
