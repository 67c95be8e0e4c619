"""Live shadow: sampled requests go to a candidate as well, after their answer; where its answers differ is said and counted.

Nothing here is on the path of a request: what a full queue or a slow candidate does not take is dropped and counted.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from urllib.parse import urlsplit

from msgspec import Struct

from kfunc.config.logger import Shadow
from kfunc.errors import KfuncError, NoConnection, StartupError
from kfunc.http.address import Address
from kfunc.http.coding import inflate
from kfunc.http.exchange import Exchange
from kfunc.http.pool import UpstreamPool
from kfunc.http.upstream import ResponseHead, UpstreamConnection
from kfunc.http.wire import Headers, forwarded_headers, header_lines
from kfunc.logger_sidecar.filters import is_sampled, trace_of
from kfunc.protocol.compare import Answered, Difference, compare
from kfunc.protocol.json_length import JSON_LENGTH, number_of
from kfunc.telemetry.metrics import Metrics

log = logging.getLogger("kfunc.shadow")

MAX_WAITING = 256  # requests
MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_COMPARED_BYTES = 1024 * 1024  # of a larger answer only the bytes are compared
MAX_ANSWER_BYTES = 8 * 1024 * 1024
CONNECTIONS = 8
SAY_EVERY_S = 1.0
SHOWN = 3  # differences of one answer
RESULTS = ("same", "different", "failed", "uncompared", "dropped")
NOT_PASSED_ON = frozenset((b"host", b"x-request-id", b"x-kfunc-shadow"))


class Waiting(Struct):
    """A request with its answer; `answer` is None where that was streamed."""

    start: bytes
    body: bytes
    request_id: bytes
    target: bytes
    head: ResponseHead
    answer: bytes | None
    size: int


class ShadowTraffic:
    """Sends to the candidate at `settings.to`. Raises StartupError for what is no URL.

    Without `values` only the places of differences are said: something is to be redacted.
    """

    def __init__(
        self, settings: Shadow, timeout_s: float, metrics: Metrics, environ: Mapping[str, str], *, values: bool = True
    ) -> None:
        parts = urlsplit(settings.to)
        try:
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            port = 0
        if not parts.hostname or not port:
            from kfunc.config.field_path import show_text

            raise StartupError(
                f"logger.shadow.to {show_text(settings.to)} is not a URL such as http://iris-next.default.example.com"
            )
        tls = None
        if parts.scheme == "https":
            from kfunc.logger_sidecar.sink_libraries import trust

            tls = trust(environ)
        self.share = settings.sample
        self._compare = settings.compare
        self._values = values
        self._path = parts.path.rstrip("/").encode()
        self._host = parts.netloc.rpartition("@")[2].encode()
        self._pool = UpstreamPool(Address(parts.hostname, port), timeout_s, CONNECTIONS, MAX_WAITING, tls)
        self._waiting: deque[Waiting] = deque()
        self._bytes = 0
        self._under_way = 0
        self._thread: ThreadPoolExecutor | None = None
        self._said_at = -SAY_EVERY_S
        self._unsaid = 0
        text = "Requests for the candidate, by what came of them."
        self._results = {result: metrics.counter("kfunc_shadow_requests_total", text, {"result": result}) for result in RESULTS}

    def start(self) -> None:
        """Within the loop."""
        self._pool.start()
        if self._compare:
            self._thread = ThreadPoolExecutor(1, "shadow")

    def is_wanted(self, headers: Mapping[bytes, bytes], request_id: bytes) -> bool:
        """Whether a call is in the sample; one that is a shadow itself has none, or two functions would send it on for ever."""
        if b"x-kfunc-shadow" in headers:
            return False
        return self.share >= 1 or is_sampled(trace_of(headers, request_id), self.share)

    def offer(self, exchange: Exchange, head: ResponseHead, answer: bytes | None) -> None:
        """Take up a call that has been answered; never waits, never raises."""
        body = exchange.body
        size = len(body) + len(answer or b"")
        if len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self._results["dropped"].add()
            return
        start, request_id = self._start(exchange), exchange.request_id
        self._waiting.append(Waiting(start, body, request_id, exchange.target, head, answer, size))
        self._bytes += size
        if self._under_way < CONNECTIONS:
            asyncio.get_running_loop().call_soon(self._send_next)

    def _start(self, exchange: Exchange) -> bytes:
        """The request's head as the candidate gets it, but for its framing."""
        fields = [field for field in forwarded_headers(exchange.header_list) if field[0] not in NOT_PASSED_ON]
        fields += [(b"x-request-id", exchange.request_id), (b"x-kfunc-shadow", b"1")]
        line = b"POST %b%b HTTP/1.1\r\nhost: %b\r\n" % (self._path, exchange.target, self._host)
        return line + header_lines(fields)

    def _send_next(self) -> None:
        if self._waiting and self._under_way < CONNECTIONS:
            self._under_way += 1
            self._pool.send(ShadowCall(self, self._waiting.popleft()))

    # ---- what came of it

    def failed(self, call: Waiting, reason: str) -> None:
        """There is no answer."""
        self._results["failed"].add()
        self._say(call, reason)
        self._done(call)

    def answered(self, call: Waiting, head: ResponseHead, body: bytes | None) -> None:
        """The candidate's answer; None: too large to be kept."""
        answer = call.answer
        if self._thread is None or body is None or answer is None:
            self._results["uncompared"].add()
        elif head.status == call.head.status and body == answer:
            self._results["same"].add()
        elif max(len(body), len(answer)) > MAX_COMPARED_BYTES:
            self._told(call, [Difference("body", f"{len(answer)} bytes", f"{len(body)} bytes, not looked into")])
        else:
            future = asyncio.get_running_loop().run_in_executor(self._thread, differences, call, head, body)
            future.add_done_callback(lambda done: self._compared(call, done))
            return
        self._done(call)

    def _compared(self, call: Waiting, done: "asyncio.Future[list[Difference]]") -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._told(call, done.result())
        else:
            self._results["uncompared"].add()
            self._say(call, str(error))
        self._done(call)

    def _told(self, call: Waiting, found: list[Difference]) -> None:
        self._results["different" if found else "same"].add()
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            shown = [str(each) if self._values else each.path for each in found[:SHOWN]]
            self._say(call, f"differs in {'; '.join(shown)}{more}")

    def _say(self, call: Waiting, text: str) -> None:
        """Log it, one a second; how many were not said comes with the next."""
        now = monotonic()
        if now - self._said_at < SAY_EVERY_S:
            self._unsaid += 1
            return
        unsaid = f" ({self._unsaid} more since the last)" if self._unsaid else ""
        self._said_at, self._unsaid = now, 0
        target, request_id = call.target.decode("latin-1"), call.request_id.decode("latin-1")
        log.warning("the candidate's answer to %s of %s: %s%s", request_id, target, text, unsaid)

    def _done(self, call: Waiting) -> None:
        self._bytes -= call.size
        self._under_way -= 1
        self._send_next()

    def close(self) -> None:
        """What waits is dropped: the pod ends."""
        self._results["dropped"].add(0, len(self._waiting))
        self._waiting.clear()
        self._pool.close()
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)


class ShadowCall:
    """One request on a connection of the pool."""

    idempotent = True  # twice is no harm here, and a kept connection may have been closed just now
    bodiless = False

    def __init__(self, traffic: ShadowTraffic, call: Waiting) -> None:
        self._traffic = traffic
        self._call = call
        self._head: ResponseHead | None = None
        self._parts: list[bytes] | None = []
        self._size = 0

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        call = self._call
        connection.transport.write(b"%bcontent-length: %d\r\n\r\n%b" % (call.start, len(call.body), call.body))

    def on_response(self, head: ResponseHead, body: bytes) -> None:
        """A whole answer."""
        self._traffic.answered(self._call, head, body)

    def on_head(self, head: ResponseHead, length: int | None) -> None:
        """A large answer begins."""
        self._head = head

    def on_chunk(self, chunk: bytes) -> None:
        """Part of it: kept up to a bound."""
        self._size += len(chunk)
        if self._size > MAX_ANSWER_BYTES:
            self._parts = None
        if self._parts is not None:
            self._parts.append(chunk)

    def on_end(self) -> None:
        """The end of a large answer."""
        if self._head is not None:
            self._traffic.answered(self._call, self._head, None if self._parts is None else b"".join(self._parts))

    def on_failure(self, error: KfuncError) -> None:
        """No answer."""
        self._traffic.failed(self._call, error.reason if isinstance(error, NoConnection) else error.message)

    def on_pressure(self, paused: bool) -> None:
        """What is written is bounded by what waits."""


def differences(call: Waiting, head: ResponseHead, body: bytes) -> list[Difference]:
    """Where the candidate's answer differs from the function's. Raises KfuncError for a body that cannot be read."""
    mine = _answered(call.head.status, call.head.headers, call.answer or b"")
    return compare(mine, _answered(head.status, head.headers, body))


def _answered(status: int, headers: Headers, body: bytes) -> Answered:
    coding, length = b"", b""
    for name, value in headers:
        if name == b"content-encoding":
            coding = value
        elif name == JSON_LENGTH:
            length = value
    plain = inflate(body, coding, MAX_ANSWER_BYTES) if coding else body
    return Answered(status, plain, number_of(length) or 0)
