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
from kfunc.errors import KfuncError, StartupError
from kfunc.http.address import Address
from kfunc.http.coding import inflate
from kfunc.http.upstream import ResponseHead, UpstreamConnection, UpstreamPool
from kfunc.http.wire import Headers, forwarded_headers
from kfunc.logger_sidecar.filters import is_sampled, trace_of
from kfunc.protocol.compare import Answered, Difference, compare
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
JSON_LENGTH = b"inference-header-content-length"


class Shadowed(Struct):
    """A request with its answer. `head` is the answer's, None where it was made here."""

    target: bytes
    headers: Headers
    body: bytes
    request_id: bytes
    status: int
    head: ResponseHead | None
    answer: bytes


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
            raise StartupError(f"logger.shadow.to {settings.to!r} is not a URL such as http://iris-next.default.example.com")
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
        self._waiting: deque[Shadowed] = deque()
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
        """Whether a call is in the sample."""
        return self.share >= 1 or is_sampled(trace_of(headers, request_id), self.share)

    def offer(self, call: Shadowed) -> None:
        """Take up a call; never waits, never raises."""
        size = len(call.body) + len(call.answer)
        if len(self._waiting) >= MAX_WAITING or self._bytes + size > MAX_WAITING_BYTES:
            self._results["dropped"].add()
            return
        self._waiting.append(call)
        self._bytes += size
        if self._under_way < CONNECTIONS:
            asyncio.get_running_loop().call_soon(self._send_next)

    def _send_next(self) -> None:
        if self._waiting and self._under_way < CONNECTIONS:
            self._under_way += 1
            self._pool.send(ShadowCall(self, self._waiting.popleft()))

    def request(self, call: Shadowed) -> bytes:
        """The request as the candidate gets it."""
        fields = [field for field in forwarded_headers(call.headers) if field[0] not in (b"host", b"x-request-id")]
        fields += [(b"x-request-id", call.request_id), (b"x-kfunc-shadow", b"1")]
        lines = b"".join([b"%b: %b\r\n" % field for field in fields])
        head = b"POST %b%b HTTP/1.1\r\nhost: %b\r\n%b" % (self._path, call.target, self._host, lines)
        return b"%bcontent-length: %d\r\n\r\n%b" % (head, len(call.body), call.body)

    # ---- what came of it

    def failed(self, call: Shadowed, reason: str) -> None:
        """There is no answer."""
        self._results["failed"].add()
        self._say(call, reason)
        self._done(call)

    def answered(self, call: Shadowed, head: ResponseHead, body: bytes | None) -> None:
        """The candidate's answer; None: too large to be kept."""
        if not self._compare or body is None or self._thread is None:
            self._results["uncompared"].add()
        elif head.status == call.status and body == call.answer:
            self._results["same"].add()
        elif max(len(body), len(call.answer)) > MAX_COMPARED_BYTES:
            self._told(call, [Difference("body", f"{len(call.answer)} bytes", f"{len(body)} bytes, not looked into")])
        else:
            future = asyncio.get_running_loop().run_in_executor(self._thread, differences, call, head, body)
            future.add_done_callback(lambda done: self._compared(call, done))
            return
        self._done(call)

    def _compared(self, call: Shadowed, done: "asyncio.Future[list[Difference]]") -> None:
        if done.cancelled():
            return
        error = done.exception()
        if error is None:
            self._told(call, done.result())
        else:
            self._results["uncompared"].add()
            self._say(call, str(error))
        self._done(call)

    def _told(self, call: Shadowed, found: list[Difference]) -> None:
        self._results["different" if found else "same"].add()
        if found:
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            shown = [str(each) if self._values else each.path for each in found[:SHOWN]]
            self._say(call, f"differs in {'; '.join(shown)}{more}")

    def _say(self, call: Shadowed, text: str) -> None:
        """Log it, one a second; how many were not said comes with the next."""
        now = monotonic()
        if now - self._said_at < SAY_EVERY_S:
            self._unsaid += 1
            return
        unsaid = f" ({self._unsaid} more since the last)" if self._unsaid else ""
        self._said_at, self._unsaid = now, 0
        target, request_id = call.target.decode("latin-1"), call.request_id.decode("latin-1")
        log.warning("the candidate's answer to %s of %s: %s%s", request_id, target, text, unsaid)

    def _done(self, call: Shadowed) -> None:
        self._bytes -= len(call.body) + len(call.answer)
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

    def __init__(self, traffic: ShadowTraffic, call: Shadowed) -> None:
        self._traffic = traffic
        self._call = call
        self._head: ResponseHead | None = None
        self._parts: list[bytes] | None = []
        self._size = 0

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Write the request."""
        connection.transport.write(self._traffic.request(self._call))

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
        self._traffic.failed(self._call, error.message)

    def on_pressure(self, paused: bool) -> None:
        """What is written is bounded by what waits."""


def differences(call: Shadowed, head: ResponseHead, body: bytes) -> list[Difference]:
    """Where the candidate's answer differs from the function's. Raises KfuncError for a body that cannot be read."""
    mine = _answered(call.status, [] if call.head is None else call.head.headers, call.answer)
    return compare(mine, _answered(head.status, head.headers, body))


def _answered(status: int, headers: Headers, body: bytes) -> Answered:
    coding, length = b"", b""
    for name, value in headers:
        if name == b"content-encoding":
            coding = value
        elif name == JSON_LENGTH:
            length = value
    plain = inflate(body, coding, MAX_ANSWER_BYTES) if coding else body
    return Answered(status, plain, int(length) if length.isdigit() else 0)
