"""One handler worker, from the first connection to the last: a single process, or one of gunicorn's."""

import asyncio
import gc
import mmap
import os
import socket
import time
from typing import TYPE_CHECKING

from kfunc.config.pod import PodConfig
from kfunc.handlers.application import Application
from kfunc.http.server import HttpServer
from kfunc.process.arguments import Arguments
from kfunc.process.lifecycle import Life, wind_down
from kfunc.process.management import serve_management
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

if TYPE_CHECKING:
    from kfunc.handlers.loaded import LoadedModel

LOAD_HANG_S = 600.0  # an import may hold the GIL for long; a load is no hang
GC_THRESHOLD = 20_000
SETTLE_S = 0.5  # not before the first answer: it takes milliseconds


class HandlerMetrics:
    """The handler's metrics, made before any fork so that workers share them."""

    def __init__(self, slabs: int) -> None:
        self.metrics = Metrics("handler", slabs)
        self.load_s = 0.0
        self.cold_start_s = 0.0
        self.metrics.gauge("kfunc_model_load_seconds", "Time that loading the model took.", lambda: self.load_s)
        self.metrics.gauge(
            "kfunc_cold_start_seconds", "From the process's start until the model was ready.", lambda: self.cold_start_s
        )


class Crew:
    """The workers of one handler: it is ready when all have loaded once, so that no request meets one that has not.

    One that is started later, in place of a dead one, takes no connections before it has loaded.
    """

    def __init__(self, workers: int, index: int = 0, page: mmap.mmap | None = None) -> None:
        self._workers = workers
        self._index = index
        self._loaded = page or mmap.mmap(-1, workers)
        self.complete = False
        self.joins_late = self.is_complete()

    def member(self, index: int) -> "Crew":
        """The same crew, seen by worker number `index`."""
        return Crew(self._workers, index, self._loaded)

    def report_loaded(self) -> None:
        """This worker has loaded its model."""
        self._loaded[self._index] = 1

    def is_complete(self) -> bool:
        """Whether every worker has loaded once; it stays so."""
        self.complete = self.complete or all(self._loaded[: self._workers])
        return self.complete


async def serve(
    config: PodConfig,
    arguments: Arguments,
    listener: socket.socket,
    manage: socket.socket | None,
    metrics: HandlerMetrics,
    life: Life,
    crew: Crew,
) -> None:
    """Serve until `life.stop`. Raises ModelLoadError where the model cannot be loaded."""
    recorder = RequestRecorder(metrics.metrics, access_log=arguments.access_log)
    application = Application(config, recorder, crew.is_complete)
    server = HttpServer(application, config.limits)
    if not crew.joins_late:
        await server.start(listener)
    management = await serve_management(metrics.metrics, manage, arguments.scrape)
    model: LoadedModel | None = None
    stopped = asyncio.ensure_future(life.stop.wait())
    loading = asyncio.get_running_loop().run_in_executor(None, load, config)
    await asyncio.wait((stopped, loading), return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        model, metrics.load_s = loading.result()
        application.serve(model)
        crew.report_loaded()
        asyncio.get_running_loop().call_later(SETTLE_S, settle_memory)
        if crew.joins_late:
            await server.start(listener)
        metrics.cold_start_s = seconds_since_start()
        life.watch(config.hang_timeout_s, model.stuck)
        await stopped
    await wind_down(server, inner=bool(arguments.listen.path), grace_s=config.grace_s)
    recorder.flush()
    if management is not None:
        management.close()
    if model is not None:
        model.close()


def load(config: PodConfig) -> "tuple[LoadedModel, float]":
    """The model and the seconds that loading took; numpy and the runtime are imported here."""
    began_at = time.monotonic()
    from kfunc.handlers.loaded import LoadedModel, load_handler

    model = LoadedModel(config, load_handler(config))
    return model, time.monotonic() - began_at


def settle_memory() -> None:
    """What is loaded stays: keep the collector from walking it again and again while requests run."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 50)


def seconds_since_start() -> float:
    """Age of this process, from the kernel's record of its start."""
    with open("/proc/self/stat", "rb") as stat:
        ticks = int(stat.read().rpartition(b")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
