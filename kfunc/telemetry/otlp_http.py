"""OTLP over HTTP: a body POSTed to a collector, on a kept connection that no request of the function waits for."""

import asyncio
import ssl
import zlib

from msgspec import Struct

from kfunc.errors import InvalidRequest, KfuncError, NoConnection
from kfunc.http.address import Address
from kfunc.http.head_lines import LENGTH as DIGITS
from kfunc.http.pool import UpstreamPool
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from kfunc.protocol.grpc.wire import LENGTH, VARINT, fields
from kfunc.telemetry.otel_settings import Target

RETRIED = frozenset((429, 502, 503, 504))
LONGEST_PAUSE_S = 60.0


class Outcome(Struct, frozen=True):
    """What became of a request: taken, to be sent again after a while, or refused for good."""

    taken: bool
    again: bool = False
    after_s: float = 0.0
    rejected: int = 0
    """Spans or points that were not taken with the others."""
    reason: str = ""


class HttpTransport:
    """Sends to one target, one request after the other."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._pool = UpstreamPool(Address(target.host, target.port), target.timeout_s, 1, 4, _trust(target))
        host = f"[{target.host}]" if ":" in target.host else target.host
        lines = [f"POST {target.path} HTTP/1.1", f"host: {host}:{target.port}", "content-type: application/x-protobuf"]
        lines += ["content-encoding: gzip"] if target.gzip else []
        lines += [f"{name}: {value}" for name, value in target.headers.items() if (name + value).isprintable()]
        self._head = "".join(f"{line}\r\n" for line in lines).encode("latin-1", "replace")

    def start(self) -> None:
        """Begin to watch the connection's deadlines."""
        self._pool.start()

    async def send(self, body: bytes) -> Outcome:
        """Send; never raises for what the collector does."""
        if self._target.gzip:
            body = await asyncio.get_running_loop().run_in_executor(None, _gzip, body)
        post = _Post(b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(body), body))
        self._pool.send(post)
        return await post.outcome

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.close()


class _Post:
    """A Call of the pool."""

    idempotent = False
    bodiless = False

    def __init__(self, request: bytes) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._request = request
        self._head: ResponseHead | None = None
        self._parts: list[bytes] = []

    def on_connection(self, connection: UpstreamConnection) -> None:
        connection.transport.write(self._request)

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        self._end(outcome_of(head, body))

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        self._head = head

    def on_chunk(self, chunk: bytes) -> None:
        self._parts.append(chunk[:4096])

    def on_end(self) -> None:
        if self._head is not None:
            self._end(outcome_of(self._head, b"".join(self._parts)))

    def on_failure(self, error: KfuncError) -> None:
        self._end(Outcome(False, again=True, reason=error.reason if isinstance(error, NoConnection) else error.message))

    def on_pressure(self, paused: bool) -> None:
        """The body is in memory already."""

    def _end(self, outcome: Outcome) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def outcome_of(head: ResponseHead, body: bytes) -> Outcome:
    """What an answer means (OTLP, OTLP/HTTP Response)."""
    if 200 <= head.status < 300:
        return Outcome(True, rejected=rejected(body))
    after = dict(head.headers).get(b"retry-after", b"")
    after_s = float(after) if DIGITS.fullmatch(after) else 0.0
    return Outcome(False, again=head.status in RETRIED, after_s=min(after_s, LONGEST_PAUSE_S), reason=f"HTTP {head.status}")


def rejected(answer: bytes) -> int:
    """How many spans or points a collector has not taken (Export…PartialSuccess); 0 for what cannot be read."""
    try:
        for number, kind, start, end in fields(answer, 0, len(answer)):
            if number == 1 and kind == LENGTH:
                return sum(value for inner, form, value, _ in fields(answer, start, end) if inner == 1 and form == VARINT)
    except InvalidRequest:
        pass  # some answer with JSON, or nothing
    return 0


def _gzip(body: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(body) + packer.flush()


def _trust(target: Target) -> ssl.SSLContext | None:
    if not target.secure:
        return None
    context = ssl.create_default_context(cafile=target.certificate or None)
    if target.client_certificate:
        context.load_cert_chain(target.client_certificate, target.client_key or None)
    return context
