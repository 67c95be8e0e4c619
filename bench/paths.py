"""CPU of a request's whole path in each process, with transports that go nowhere.

Without sockets, a load generator and other processes it repeats within a few per cent: what to
watch while changing code. The handler stands beside the ceiling, the sidecars beside the bare proxy.
"""

import asyncio
import os
import time
from statistics import median
from typing import Any

import uvloop

from bench.figures import Figure, interleaved, ratio
from bench.load import infer_request
from bench.pod import Plan, settings
from bench.processes import LOAD_CORE, SERVER_CORE, BenchError
from bench.servers.bare_proxy import Client, Upstream
from bench.servers.ceiling import Ceiling
from kfunc.batcher_sidecar import main as batcher
from kfunc.config import pod
from kfunc.handlers.application import Application
from kfunc.handlers.loaded import LoadedModel, load_handler
from kfunc.http.address import Address
from kfunc.http.connection import HttpConnection
from kfunc.http.exchange import Application as Answers
from kfunc.http.server import HttpServer
from kfunc.http.upstream import UpstreamConnection
from kfunc.logger_sidecar import main as logger
from kfunc.process.sidecar import Parts
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

REQUESTS = 2000
VARIANTS = 64
FLOORS = ("ceiling", "bare proxy")
WARM_UP = 5
SETTLE_S = 0.1  # the logger writes its events behind the requests


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

    def __init__(self, client: Any, upstream: Any = None) -> None:
        self.transport = Nowhere()
        self._client = client
        self._upstream = upstream
        self._at = 0
        self.requests = [b""]
        self.answer = b""
        client.connection_made(self.transport)

    def pass_one(self) -> None:
        """One request, one answer; of several requests the next."""
        self._at = (self._at + 1) % len(self.requests)
        self._client.data_received(self.requests[self._at])
        if self._upstream is not None:
            self._upstream.data_received(self.answer)


def measure(plan: Plan) -> list[Figure]:
    """µs per request of each process's own code, and ratios to what does only the necessary."""
    config = pod.decode(settings(plan.model))
    same = [infer_request(plan.body)]
    differ = [infer_request(plan.body, f"X-Request-Id: {number:032x}\r\n") for number in range(VARIANTS)]
    os.sched_setaffinity(0, {SERVER_CORE})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        paths = runner.run(_paths(config, same))
        cases = {name: (path, same) for name, path in paths.items()}
        cases |= {f"{name}, heads differ": (path, differ) for name, path in paths.items() if name not in FLOORS}
        timed = [lambda case=case: runner.run(_spend(*case)) for case in cases.values()]
        samples = dict(zip(cases, interleaved(max(plan.rounds, 9), timed), strict=True))
    os.sched_setaffinity(0, {LOAD_CORE})
    return [_figure(name, kept, samples["ceiling"]) for name, kept in samples.items()]


def _figure(name: str, samples: list[float], ceiling: list[float]) -> Figure:
    beside = f"; {ratio(samples, ceiling):.2f} × the ceiling" if name.startswith("handler") else ""
    return Figure(f"paths: {name}", median(samples), "µs/request", seen=f"least {min(samples):.1f}{beside}")


async def _paths(config: pod.PodConfig, requests: list[bytes]) -> dict[str, Path]:
    """What is measured, each having answered."""
    handler, ceiling = _handlers(config)
    paths = {
        "ceiling": ceiling,
        "bare proxy": _bare_proxy(),
        "handler": handler,
        "batcher, one request at a time": _sidecar("batcher", config),
        "logger with its events": _sidecar("logger", config),
    }
    for path in paths.values():
        path.requests = requests
        path.answer = ceiling.transport.last
        for _ in range(WARM_UP):
            path.pass_one()
            await asyncio.sleep(0.02)  # a new model is tried in a thread first
        if not path.transport.last.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"answered {path.transport.last!r}")
    return paths


async def _spend(path: Path, requests: list[bytes]) -> float:
    """µs of CPU per request, of what is done afterwards too."""
    path.requests = requests
    began_at = time.process_time()
    for _ in range(REQUESTS):
        path.pass_one()
    await asyncio.sleep(SETTLE_S)
    return (time.process_time() - began_at) / REQUESTS * 1e6


def _handlers(config: pod.PodConfig) -> tuple[Path, Path]:
    handler: Any = load_handler(config)
    application = Application(config, RequestRecorder(Metrics("handler"), access_log=False))
    application.serve(LoadedModel(config, handler))
    return _served(application, config), Path(Ceiling(handler._session))


def _served(application: Answers, config: pod.PodConfig, upstream: UpstreamConnection | None = None) -> Path:
    return Path(HttpConnection(HttpServer(application, config.limits)), upstream)


def _bare_proxy() -> Path:
    idle: list[Upstream] = []
    upstream = Upstream(idle)
    upstream.connection_made(Nowhere())  # type: ignore[arg-type]
    idle.append(upstream)
    return Path(Client(idle, ""), upstream)


def _sidecar(name: str, config: pod.PodConfig) -> Path:
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
    return _served(application, config, upstream)
