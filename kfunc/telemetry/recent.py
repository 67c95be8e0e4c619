"""The last requests of a process, for pages and terminals: kept only where somebody asks for them."""

from collections import deque
from time import time

from msgspec import Struct

from kfunc.http.exchange import Exchange
from kfunc.telemetry.trace_context import ids_of


class InBatch(Struct, frozen=True, gc=False):
    """A call of several requests: its own id, by which the processes behind know it, and how many requests are in it."""

    request_id: str
    requests: int


class Request(Struct, frozen=True, gc=False):
    """One request that has ended; times in milliseconds, `at_s` in seconds since the epoch. No header and no body.

    `trace_id` is empty where the request belongs to no trace. `compute_at_ms` is from its arrival until the model began;
    `batches` are those that it was sent on in, `process` the one that it was seen in.
    """

    at_s: float
    method: str
    path: str
    status: int
    duration_ms: float
    queue_ms: float
    batch_ms: float
    compute_ms: float
    bytes: int
    request_id: str
    trace_id: str
    compute_at_ms: float = 0.0
    batches: tuple[InBatch, ...] = ()
    process: str = ""


class RecentRequests:
    """The last `most` requests."""

    def __init__(self, most: int = 64, process: str = "") -> None:
        self._process = process
        self._kept: deque[Request] = deque(maxlen=most)

    def add(self, exchange: Exchange, status: int, duration_s: float) -> None:
        """Keep what is shown of a request."""
        self._kept.append(
            Request(
                time(),
                exchange.method.decode("latin-1"),
                exchange.target.decode("latin-1"),
                status,
                round(duration_s * 1e3, 3),
                round(exchange.queue_s * 1e3, 3),
                round(exchange.batch_s * 1e3, 3),
                round(exchange.compute_s * 1e3, 3),
                exchange.sent_length,
                exchange.request_id.decode("latin-1"),
                ids_of(exchange)[0],
                round((exchange.compute_at - exchange.started_at) * 1e3, 3) if exchange.compute_at else 0.0,
                tuple([InBatch(identity.decode(), requests) for identity, requests in exchange.batches]),
                self._process,
            )
        )

    def latest(self, most: int = 64) -> list[Request]:
        """The last ones, the newest first."""
        return list(self._kept)[: -most - 1 : -1]
