"""CPU of a request's whole path in each process, with transports that go nowhere.

Without sockets, a load generator and other processes it repeats within a few per cent: what to
watch while changing code. The handler stands beside the ceiling, the sidecars beside the bare proxy.
"""

import asyncio
import os
import time
from statistics import median
from typing import Any, TypeVar
from uuid import uuid4

import hpack
import uvloop
from msgspec import structs

from bench.figures import Figure, interleaved, ratio
from bench.load import PATH, infer_request
from bench.pod import Plan, settings
from bench.processes import LOAD_CORE, SERVER_CORE, BenchError
from bench.servers.bare_proxy import Client, Upstream
from bench.servers.ceiling import Ceiling
from kfunc.batcher_sidecar import main as batcher
from kfunc.config import pod
from kfunc.handlers.application import Application
from kfunc.handlers.loaded import LoadedModel
from kfunc.handlers.opening import load_handler
from kfunc.http.address import Address
from kfunc.http.connection import HttpConnection
from kfunc.http.exchange import Application as Answers
from kfunc.http.h2 import frames
from kfunc.http.h2.answers import STATUS
from kfunc.http.h2.connection import H2Connection
from kfunc.http.h2.settings import DEFAULT_WINDOW
from kfunc.http.server import HttpServer
from kfunc.http.upstream import UpstreamConnection
from kfunc.logger_sidecar import main as logger
from kfunc.process.sidecar import Parts
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

REQUESTS = 2000
FLOORS = ("ceiling", "bare proxy")
WARM_UP = 5
SETTLE_S = 0.1  # the logger writes its events behind the requests


Kind = TypeVar("Kind", HttpConnection, H2Connection)


class Nowhere:
    """A transport that keeps the last bytes written to it."""

    last = b""

    def write(self, data: bytes) -> None:
        """Keep."""
        self.last = data

    def is_closing(self) -> bool:
        """Never."""
        return False


class Path:
    """Feeds one request to a server's protocol and, for a proxy, the answer to its upstream's."""

    def __init__(self, body: bytes, client: Any, upstream: Any = None) -> None:
        self.transport = Nowhere()
        self.answer = b""
        self._body = body
        self._client = client
        self._upstream = upstream
        client.connection_made(self.transport)

    def request(self, identifier: str) -> bytes:
        """The next request, with an id of its own if one is given."""
        return infer_request(self._body, f"X-Request-Id: {identifier}\r\n" if identifier else "")

    def pass_one(self, request: bytes) -> None:
        """One request, one answer."""
        self._client.data_received(request)
        if self._upstream is not None:
            self._upstream.data_received(self.answer)

    def answered(self) -> bool:
        """Whether the last answer is a 200."""
        return self.transport.last.startswith(b"HTTP/1.1 200")


class StreamsPath(Path):
    """Over HTTP/2, on one connection, with header blocks as clients make them."""

    def __init__(self, body: bytes, client: H2Connection, upstream: Any = None) -> None:
        super().__init__(body, client, upstream)
        self._encoder = hpack.Encoder()
        self._stream_id = -1
        window = frames.window_update(0, frames.MAX_WINDOW - DEFAULT_WINDOW)
        client.data_received(frames.PREFACE + frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0) + window)

    def request(self, identifier: str) -> bytes:
        """The next request: they must come in this order."""
        self._stream_id = number = self._stream_id + 2
        fields = [(":method", "POST"), (":scheme", "http"), (":authority", "127.0.0.1"), (":path", PATH)]
        fields += [("content-type", "application/json"), ("content-length", str(len(self._body)))]
        block = self._encoder.encode([*fields, *([("x-request-id", identifier)] if identifier else [])])
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, number, block)
        return head + frames.frame(frames.DATA, frames.END_STREAM, number, self._body)

    def answered(self) -> bool:
        """Whether the last answer is a 200."""
        return STATUS[200] in self.transport.last


def measure(plan: Plan) -> list[Figure]:
    """µs per request of each process's own code, and ratios to what does only the necessary."""
    config = pod.decode(settings(plan.model))
    config = structs.replace(config, model=structs.replace(config.model, execution="loop"))  # a slow moment moves no call
    os.sched_setaffinity(0, {SERVER_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        paths = runner.run(_paths(config, plan.body))
        cases = {name: (path, False) for name, path in paths.items()}
        cases |= {f"{name}, heads differ": (path, True) for name, path in paths.items() if name not in FLOORS}
        timed = [lambda case=case: runner.run(_spend(*case)) for case in cases.values()]
        samples = dict(zip(cases, interleaved(max(plan.rounds, 9), timed), strict=True))
    os.sched_setaffinity(0, {LOAD_CORE})
    return [_figure(name, kept, samples["ceiling"]) for name, kept in samples.items()]


def _figure(name: str, samples: list[float], ceiling: list[float]) -> Figure:
    beside = f"; {ratio(samples, ceiling):.2f} × the ceiling" if name.startswith("handler") else ""
    return Figure(f"paths: {name}", median(samples), "µs/request", seen=f"least {min(samples):.1f}{beside}")


async def _paths(config: pod.PodConfig, body: bytes) -> dict[str, Path]:
    """What is measured, each having answered."""
    application, ceiling = _handlers(config, body)
    handler = HttpServer(application, config.limits)
    paths = {
        "ceiling": ceiling,
        "bare proxy": _bare_proxy(body),
        "handler": Path(body, HttpConnection(handler)),
        "handler over HTTP/2": StreamsPath(body, H2Connection(handler)),
        "batcher, one request at a time": Path(body, *_sidecar("batcher", config, HttpConnection)),
        "logger with its events": Path(body, *_sidecar("logger", config, HttpConnection)),
        "logger over HTTP/2": StreamsPath(body, *_sidecar("logger", config, H2Connection)),
    }
    for path in paths.values():
        path.answer = ceiling.transport.last
        for _ in range(WARM_UP):
            path.pass_one(path.request(""))
            await asyncio.sleep(0.02)  # a new model is tried in a thread first
        if not path.answered():
            raise BenchError(f"answered {path.transport.last!r}")
    return paths


async def _spend(path: Path, vary: bool) -> float:
    """µs of CPU per request, of what is done afterwards too."""
    requests = [path.request(uuid4().hex if vary else "") for _ in range(REQUESTS)]
    began_at = time.process_time()
    for request in requests:
        path.pass_one(request)
    await asyncio.sleep(SETTLE_S)
    return (time.process_time() - began_at) / REQUESTS * 1e6


def _handlers(config: pod.PodConfig, body: bytes) -> tuple[Application, Path]:
    handler: Any = load_handler(config)
    application = Application(config, RequestRecorder(Metrics("handler"), access_log=False))
    application.serve(LoadedModel(config, handler))
    return application, Path(body, Ceiling(handler._session))


def _bare_proxy(body: bytes) -> Path:
    idle: list[Upstream] = []
    upstream = Upstream(idle)
    upstream.connection_made(Nowhere())  # type: ignore[arg-type]
    idle.append(upstream)
    return Path(body, Client(idle, ""), upstream)


def _sidecar(name: str, config: pod.PodConfig, kind: type[Kind]) -> tuple[Kind, UpstreamConnection]:
    """A connection of the kind to a sidecar, and that of the sidecar to what is behind it."""
    parts = Parts(config, name, Address(path="nowhere"), access_log=False)
    upstream = UpstreamConnection(parts.pool)
    upstream.connection_made(Nowhere())  # type: ignore[arg-type]
    parts.pool.connections.add(upstream)
    parts.pool.release(upstream)
    application: Answers
    if name == "batcher":
        application = merging = batcher.build(parts)
        merging.learn(b"/v2/models/iris/infer", batched=True)
    else:
        application = logger.build(parts)
        if parts.at_start is not None:
            parts.at_start()
    return kind(HttpServer(application, config.limits)), upstream
