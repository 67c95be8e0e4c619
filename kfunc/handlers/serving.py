"""One handler worker, from the first connection to the last: a single process, or one of gunicorn's."""

import asyncio
import mmap
import os
import socket
import time
from contextlib import closing
from typing import TYPE_CHECKING

from kfunc.config.pod import PodConfig
from kfunc.handlers.application import Application
from kfunc.handlers.management import ModelManagement
from kfunc.handlers.model_metrics import ModelMetrics
from kfunc.handlers.repository import Repository
from kfunc.http.server import HttpServer
from kfunc.process.arguments import Arguments, access_log_share
from kfunc.process.lifecycle import Life, allow_connections, keep_memory, wind_down
from kfunc.process.management import serve_management
from kfunc.process.memory_limit import memory_limit
from kfunc.process.observing import start_telemetry
from kfunc.process.page import with_page
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

DRIVER = "/proc/driver/nvidia/version"  # without it there is no GPU of NVIDIA's
LEAST_FLUSH_S = 1.0
if TYPE_CHECKING:
    from kfunc.handlers.residents import ResidentModel
    from kfunc.handlers.tracing import TracedHandler
    from kfunc.telemetry.sending import Telemetry

LOAD_HANG_S = 600.0  # an import may hold the GIL for long; a load is no hang


class HandlerMetrics:
    """The handler's metrics, made before any fork so that workers share them."""

    def __init__(self, slabs: int) -> None:
        self.metrics = Metrics("handler", slabs)
        load = "Time that loading the models took; of the slowest worker."
        start = "From the process's start until the models were ready; of the slowest worker."
        self.load = self.metrics.level("kfunc_model_load_seconds", load, combine="max")
        self.cold_start = self.metrics.level("kfunc_cold_start_seconds", start, combine="max")
        self.load_failures = self.metrics.counter(
            "kfunc_model_load_failures_total", "Loads of a model that failed while others were served."
        )

    def show_resident(self, model: "ResidentModel") -> None:
        """What a model that comes and goes has done so far."""
        labels = {"model": model.name, "version": model.settings.model.version}
        gauge, counted = self.metrics.gauge, self.metrics.counted
        gauge("kfunc_model_memory_bytes", "Measured when it was loaded; 0: not in memory.", lambda: model.memory, labels)
        counted("kfunc_model_loads_total", "Loads of a model.", lambda: model.loads, labels)
        counted("kfunc_model_evictions_total", "How often a model left memory.", lambda: model.evictions, labels)


class Crew:
    """The workers of one handler: it is ready when all have loaded once, so that no request meets one that has not.

    One that is started later, in place of a dead one, takes no connections before it has loaded.
    """

    def __init__(self, workers: int, index: int = 0, page: mmap.mmap | None = None) -> None:
        self._workers = workers
        self.index = index
        self._loaded = page or mmap.mmap(-1, workers)
        self.complete = False
        self.joins_late = self.is_complete()

    def member(self, index: int) -> "Crew":
        """The same crew, seen by worker number `index`."""
        return Crew(self._workers, index, self._loaded)

    def report_loaded(self) -> None:
        """This worker has loaded its model."""
        self._loaded[self.index] = 1

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
    recorder = RequestRecorder(metrics.metrics, access_log=access_log_share(arguments, config), keep=arguments.recent)
    models = ModelMetrics(metrics.metrics)
    on_events = metrics.load_failures.add, metrics.show_resident, models.keep
    repository = Repository(config, models.timed_load(), *on_events, life.note)
    with closing(repository):  # also where a model cannot be loaded: what was decrypted must not stay
        application = Application(config, recorder, crew.is_complete, repository, models)
        server = HttpServer(with_page(application, config, arguments, metrics.metrics, recorder), config.limits, memory_limit())
        _offer_grpc(config, server, application)
        late, outermost = crew.joins_late or arguments.late, not arguments.listen.path
        if not late:
            await server.start(listener)
        others = ModelManagement(config, repository)
        management = await serve_management(metrics.metrics, manage, arguments.scrape, others, recorder.recent)
        if management is not None:
            _offer_grpc(config, management)
        telemetry, began_at = None, time.monotonic()
        stopped, loading = asyncio.ensure_future(life.stop.wait()), asyncio.ensure_future(repository.open())
        await asyncio.wait((stopped, loading), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
            metrics.load.set(time.monotonic() - began_at)
            _take_up(application, crew)
            if late:
                await server.start(listener)
            metrics.cold_start.set(seconds_since_start())
            life.watch(config.hang_timeout_s, repository.stuck)
            await _watch_gpus(config, metrics.metrics)
            _prepare_grpc(config, outermost=outermost)
            telemetry = await start_telemetry(config, metrics.metrics, outermost=outermost, worker=crew.index)
            traced = _traced(telemetry, application, recorder)
            if traced is not None:
                server.application = with_page(traced, config, arguments, metrics.metrics, recorder)
                _offer_grpc(config, server, traced)  # calls are asked of the application that traces
            await stopped
        if life.orphaned and management is not None:
            management.close()  # whoever starts it again needs the port
        await _end(server, recorder, telemetry, config.grace_s, inner=not outermost, orphaned=life.orphaned)
        if management is not None:
            management.close()


async def _end(
    server: HttpServer, recorder: RequestRecorder, telemetry: "Telemetry | None", grace_s: float, *, inner: bool, orphaned: bool
) -> None:
    """Answer what is under way; what is told of it has what is left of the grace, and no time where the watcher is gone."""
    ends_at = time.monotonic() + (0.0 if orphaned else grace_s)
    await wind_down(server, inner=inner, grace_s=grace_s)
    recorder.flush()
    if telemetry is not None:
        await telemetry.close(max(LEAST_FLUSH_S, ends_at - time.monotonic()))


def _take_up(application: Application, crew: Crew) -> None:
    """The models are loaded: they answer from now on."""
    from kfunc.handlers.memory import keep_freed_memory  # it comes with the models

    keep_memory()
    allow_connections()
    keep_freed_memory()
    application.start()
    crew.report_loaded()


def _prepare_grpc(config: PodConfig, *, outermost: bool) -> None:
    """What the first call would wait for; inner processes are asked over REST."""
    if outermost and "grpc" in config.protocols:
        from kfunc.grpc.offer import prepare

        prepare()


def _offer_grpc(config: PodConfig, server: HttpServer, application: "Application | TracedHandler | None" = None) -> None:
    """Where the function speaks gRPC: on the server's port, asked of the application, if it has one for inference."""
    if "grpc" in config.protocols:
        from kfunc.grpc.offer import offer  # start-up time: functions of REST need none of it

        offer(server, None if application is None else application.infer)


def _traced(telemetry: "Telemetry | None", application: Application, recorder: RequestRecorder) -> "TracedHandler | None":
    """The application with spans, where they are sent."""
    if telemetry is None or telemetry.spans is None:
        return None
    from kfunc.handlers.tracing import HandlerDetails, TracedHandler

    return TracedHandler(application, telemetry.sampler(), telemetry.spans, HandlerDetails(), recorder, declares=False)


async def _watch_gpus(config: PodConfig, metrics: Metrics) -> None:
    if config.accelerator != "cpu" and os.path.exists(DRIVER):  # noqa: ASYNC240 (of procfs)
        from kfunc.handlers.gpu_metrics import load_nvml, watch

        nvml = await asyncio.get_running_loop().run_in_executor(None, load_nvml)
        if nvml is not None:
            watch(metrics, nvml)


def seconds_since_start() -> float:
    """Age of this process, from the kernel's record of its start."""
    with open("/proc/self/stat", "rb") as stat:
        ticks = int(stat.read().rpartition(b")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
