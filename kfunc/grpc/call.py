"""A call with one message each way: asked as REST, answered once, ended by its deadline or by its client."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from kfunc.errors import BadGateway, DeadlineExceeded, InvalidRequest, KfuncError, PayloadTooLarge, Unsupported
from kfunc.grpc.asked import Asked, unasked
from kfunc.http.exchange import Exchange
from kfunc.http.wire import LEAST_CODED, header_lines
from kfunc.protocol.grpc.framing import HEAD_BYTES, head, only_message
from kfunc.protocol.grpc.status import CANCELLED, GOOD, OK, OPENING, code_of, decode_timeout
from kfunc.protocol.json_length import JSON_LENGTH

if TYPE_CHECKING:
    from kfunc.grpc.front import GrpcFront

CODINGS = (b"gzip", b"deflate")
LARGE = 256 * 1024  # bytes: more is inflated, deflated and read in a thread
OPENING_LINES = header_lines(OPENING)
# Of REST's answer, what is not metadata of the call's.
NOT_METADATA = frozenset(
    (b"connection", b"content-encoding", b"content-length", b"content-type", b"date", JSON_LENGTH)
    + (b"server", b"transfer-encoding", b"vary", b"x-request-id")
)

RECORDED = object()
"""The note of a call that has ended: not the call, since both would keep the body until the collector comes."""

Parts = Sequence[bytes | memoryview]


class Call:
    """What the calls of all unary methods share. `outer` is the call's exchange, `asked` REST's in its place."""

    __slots__ = ("_coding", "_task", "_timer", "asked", "front", "outer")

    def __init__(self, front: "GrpcFront", outer: Exchange) -> None:
        self.front = front
        self.outer = outer
        self.asked: Asked | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._coding = b""
        outer.note = self
        outer.on_cancel = self.on_cancel

    def begin(self) -> None:
        """Take up the call; whatever is wrong with it ends it."""
        try:
            timeout = self.outer.headers.get(b"grpc-timeout")
            if timeout is not None:
                self._limit(decode_timeout(timeout))
            self._read()
        except KfuncError as error:
            self.fail(error)
        except Exception:
            self._broken()

    def _limit(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.outer.deadline = loop.time() + seconds
        self._timer = loop.call_later(seconds, self.expire)

    # ---- the request

    def _read(self) -> None:
        """Find the message, and go on with it."""
        body = self.outer.body
        if not only_message(body):
            self.take(body, HEAD_BYTES)
            return
        from kfunc.http.coding import inflate

        self._coding = coding = given_coding(self.outer)
        limit = self.front.limits.max_body_bytes
        try:
            message = inflate(body[HEAD_BYTES:], coding, min(limit, LARGE))
        except PayloadTooLarge:
            if limit <= LARGE:
                raise
            self.spawn(self._inflate_later(body[HEAD_BYTES:], limit))
        else:
            self.take(message, 0)

    async def _inflate_later(self, compressed: bytes, limit: int) -> None:
        from kfunc.http.coding import inflate

        loop = asyncio.get_running_loop()
        self.take(await loop.run_in_executor(None, inflate, compressed, self._coding, limit), 0)

    def take(self, data: bytes, at: int) -> None:
        """Go on with the message in `data[at:]`."""
        raise TypeError("a method takes its message")

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do what waits in a task; what it raises ends the call."""
        self._task = self.front.spawn(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except KfuncError as error:
            self.fail(error)
        except Exception:
            self._broken()

    def _broken(self) -> None:
        self.fail(self.front.broken(self.outer))

    # ---- the answer

    def answered(self, status: int, lines: bytes, body: bytes) -> None:
        """REST's answer."""
        try:
            parts = self.translate(status, lines, body)
        except KfuncError as error:
            self.fail(error)
        except Exception:
            self._broken()
        else:
            self.succeed(parts, metadata_of(lines))

    def broken_off(self) -> None:
        """REST's answer did not come to its end."""
        self.fail(BadGateway("the upstream broke off its answer"))

    def translate(self, status: int, lines: bytes, body: bytes) -> Parts:
        """The call's answer, made of REST's. Raises KfuncError."""
        raise TypeError("a method knows its answer")

    def succeed(self, parts: Parts, metadata: bytes = b"") -> None:
        """End the call with a message, and `metadata` as lines."""
        size = sum(map(len, parts))
        if self._coding and size >= LEAST_CODED:
            message = b"".join(parts)
            if size > LARGE:
                self.spawn(self._deflate_later(message, metadata))
                return
            from kfunc.http.coding import deflate

            self._send_coded(deflate(message, self._coding), metadata)
            return
        if self._end(200, OK):
            self.outer.trailers = GOOD
            self.outer.relay(200, OPENING_LINES + metadata, b"".join([head(size), *parts]))

    async def _deflate_later(self, message: bytes, metadata: bytes) -> None:
        from kfunc.http.coding import deflate

        loop = asyncio.get_running_loop()
        self._send_coded(await loop.run_in_executor(None, deflate, message, self._coding), metadata)

    def _send_coded(self, message: bytes, metadata: bytes) -> None:
        if self._end(200, OK):
            self.outer.trailers = GOOD
            lines = b"%bgrpc-encoding: %b\r\n%b" % (OPENING_LINES, self._coding, metadata)
            self.outer.relay(200, lines, head(len(message), compressed=True) + message)

    def fail(self, error: KfuncError) -> None:
        """End the call with an error."""
        if self._end(error.status, code_of(error.status), error):
            self.outer.fail(error)

    def expire(self) -> None:
        """The caller waits no longer."""
        self._stop()
        self.fail(DeadlineExceeded("the call's deadline has passed (grpc-timeout)"))

    def on_cancel(self) -> None:
        """The caller is gone."""
        self._stop()
        self._end(0, CANCELLED)

    def _stop(self) -> None:
        """Nobody needs the answer: take back the question, and what waits for the model."""
        if self.asked is not None:
            self.asked.cancel()
        if self._task is not None:
            self._task.cancel()

    def _end(self, status: int, code: int, error: KfuncError | None = None) -> bool:
        """Record the call once, as REST's; false if it has ended before."""
        outer = self.outer
        if outer.on_cancel is None:
            return False
        outer.on_cancel = None
        outer.note = RECORDED
        if self._timer is not None:
            self._timer.cancel()
        asked = self.asked or unasked(outer)
        self.asked = None
        asked.status, asked.grpc_status, asked.cancelled = status, code, True
        asked.error = asked.error or error
        outer.queue_s, outer.batch_s, outer.compute_s = asked.queue_s, asked.batch_s, asked.compute_s
        self.front.application.observe(asked)
        return True


def given_coding(outer: Exchange) -> bytes:
    """How the call's compressed messages are. Raises InvalidRequest, Unsupported."""
    coding = outer.headers.get(b"grpc-encoding", b"identity")
    if coding == b"identity":
        raise InvalidRequest("the message says that it is compressed, and grpc-encoding does not say how")
    if coding not in CODINGS:
        raise Unsupported(f"the grpc-encoding {coding.decode('latin-1')[:40]!r} is not read here; gzip and deflate are")
    return coding


def metadata_of(lines: bytes) -> bytes:
    """The lines of REST's answer that are told to the caller."""
    kept = [line for line in lines.split(b"\r\n") if line and line.partition(b":")[0].lower() not in NOT_METADATA]
    return b"".join([line + b"\r\n" for line in kept])
