"""The management listener of a process: /metrics, its own and, in the outermost one, the pod's; the last requests."""

import asyncio
import logging
import socket
from collections.abc import Sequence

import msgspec

from kfunc.config.inference import Limits
from kfunc.errors import MethodNotAllowed, NotFound
from kfunc.http.address import Address, connect_unix
from kfunc.http.exchange import Application, Exchange
from kfunc.http.server import HttpServer, NotServed
from kfunc.http.tasks import AnswerTasks
from kfunc.telemetry.exposition import OPENMETRICS, PROMETHEUS, merge, metrics_target, names_in, takes_openmetrics
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.recent import RecentRequests, Request

log = logging.getLogger("kfunc.process")

SCRAPE_TIMEOUT_S = 2.0
MAX_BODY_BYTES = 64 * 1024
ONLY_METRICS = "this management port serves /metrics alone; models are managed on the handler's"
REQUEST = b"GET %b HTTP/1.0\r\nhost: localhost\r\naccept: %b\r\n\r\n"


class Management:
    """Answers on the management port. `scrape` are the other processes whose metrics are shown too.

    `recent` are the last requests, at /requests, for callers on this machine; `others` answers every other path.
    """

    stream_above = MAX_BODY_BYTES

    def __init__(
        self, metrics: Metrics, scrape: list[Address], others: Application | None, recent: RecentRequests | None
    ) -> None:
        self._metrics = metrics
        self._recent = recent
        self._scrape = scrape
        self._others = others
        self._tasks = AnswerTasks(log)

    def handle(self, exchange: Exchange) -> None:
        """`GET /metrics`, and what there is besides."""
        path = exchange.target.partition(b"?")[0]
        if path != b"/metrics" and not (path == b"/requests" and self._recent is not None):
            if self._others is not None:
                self._others.handle(exchange)
                return
            raise NotFound(ONLY_METRICS)
        if exchange.method not in (b"GET", b"HEAD"):
            raise MethodNotAllowed("only GET is possible here", "GET, HEAD")
        if path == b"/requests" and self._recent is not None:
            if not _is_of_this_machine(exchange):
                raise NotFound("the last requests are for callers on this machine")
            exchange.respond(200, msgspec.json.encode(self._recent.latest()))
            return
        self._tasks.spawn(exchange, self._answer(exchange))

    def observe(self, exchange: Exchange) -> None:
        """Scrapes are not counted."""

    async def _answer(self, exchange: Exchange) -> None:
        openmetrics = takes_openmetrics(exchange.headers.get(b"accept", b""))
        names = names_in(exchange.target.partition(b"?")[2])
        text = await pod_exposition(self._metrics, self._scrape, openmetrics=openmetrics, names=names)
        exchange.respond(
            200, text.encode("utf-8", "replace"), OPENMETRICS if openmetrics else PROMETHEUS, [(b"vary", b"accept")]
        )


def _is_of_this_machine(exchange: Exchange) -> bool:
    """Whether the caller is: paths and ids of requests are nobody else's affair, and a pod's port is open to the cluster."""
    from kfunc.pages.access import is_local  # start-up time: the last requests are kept for a page

    transport: asyncio.Transport | None = getattr(exchange.transmitter, "transport", None)
    if transport is None:
        return False
    peer = transport.get_extra_info("peername")
    return not isinstance(peer, tuple) or is_local(peer, exchange.headers)  # a Unix socket's has no address


async def pod_exposition(
    metrics: Metrics, scrape: list[Address], *, openmetrics: bool = False, names: Sequence[str] = ()
) -> str:
    """A process's metrics, and those of the others that it shows; with `names` no others than these."""
    kind = OPENMETRICS if openmetrics else PROMETHEUS
    texts = [metrics.exposition(openmetrics=openmetrics, names=names or None)]
    if scrape:
        texts += await asyncio.gather(*[fetch_metrics(address, kind, names) for address in scrape])
    return merge([text for text in texts if text])


async def fetch_metrics(address: Address, kind: bytes = PROMETHEUS, names: Sequence[str] = ()) -> str:
    """Another process's metrics in a content type; empty where it does not answer: half a pod's truth is better than none."""
    return (await _fetch(address, metrics_target(names).encode("latin-1"), kind)).decode("utf-8", "replace")


async def fetch_requests(address: Address) -> list[Request]:
    """Another process's last requests; none where it keeps none, or does not answer."""
    try:
        return msgspec.json.decode(await _fetch(address, b"/requests", b"application/json") or b"[]", type=list[Request])
    except msgspec.MsgspecError:
        return []


async def _fetch(address: Address, path: bytes, kind: bytes) -> bytes:
    """The body of a 200; empty for anything else."""
    try:
        async with asyncio.timeout(SCRAPE_TIMEOUT_S):
            if address.path:
                reader, writer = await asyncio.open_unix_connection(sock=connect_unix(address.path))
            else:
                reader, writer = await asyncio.open_connection(address.host, address.port)
            try:
                writer.write(REQUEST % (path, kind))
                answer = await reader.read()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200") else b""


async def serve_management(
    metrics: Metrics,
    listener: socket.socket | None,
    scrape: list[Address],
    others: Application | None = None,
    recent: RecentRequests | None = None,
) -> HttpServer | None:
    """Listen for scrapes, and what `others` answers, unless there is no listener."""
    if listener is None:
        return None
    limits = Limits(max_connections=64, max_body_bytes=MAX_BODY_BYTES)
    server = HttpServer(Management(metrics, scrape, others, recent), limits)
    if others is None:
        metrics_alone = NotServed(ONLY_METRICS)
        server.grpc = lambda target: metrics_alone
    await server.start(listener)
    return server
