"""The life that both sidecars share: listen, connect, watch, drain, exit."""

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING

from kfunc.config import pod
from kfunc.config.pod import PodConfig
from kfunc.errors import StartupError
from kfunc.http.address import Address, listen
from kfunc.http.exchange import Application
from kfunc.http.pool import UpstreamPool
from kfunc.http.server import HttpServer
from kfunc.process.arguments import access_log_share, parse_arguments
from kfunc.process.lifecycle import Life, allow_connections, keep_memory, report, run, use_form, wind_down
from kfunc.process.management import serve_management
from kfunc.process.memory_limit import memory_limit
from kfunc.process.observing import start_telemetry, traced
from kfunc.process.page import with_page
from kfunc.process.settings import environment
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

if TYPE_CHECKING:
    from kfunc.process.watcher import Heartbeat
    from kfunc.telemetry.request_trace import Details
    from kfunc.telemetry.sending import Telemetry
    from kfunc.telemetry.span_export import SpanExport

# What is told of requests that outlasted the grace needs time, too; the pod has 5 s more than the grace.
LEAST_END_S = 3.0
LEAST_FLUSH_S = 1.0


class Parts:
    """What a sidecar's application is made of.

    `at_start` is called in the loop, before the first request; `at_stop` at SIGTERM, while requests may be in flight;
    `at_end` is awaited after the last answer, with the seconds of grace that are left. `on_spans` makes ready for
    tracing, where traces are sent, and gives what the sidecar knows of a request's spans.
    """

    def __init__(self, config: PodConfig, component: str, upstream: Address, *, access_log: float, keep: int = 0) -> None:
        self.config = config
        self.metrics = Metrics(component)
        self.recorder = RequestRecorder(self.metrics, access_log=access_log, keep=keep)
        self.pool = UpstreamPool(upstream, config.timeout_s)
        if upstream.path:  # what waited in front of a process of ours would wait without its order, deadlines and bounds
            self.pool.max_connections = config.limits.max_connections
        self.at_start: Callable[[], None] | None = None
        self.at_stop: Callable[[], None] | None = None
        self.at_end: Callable[[float], Awaitable[None]] | None = None
        self.on_spans: Callable[[SpanExport], Details | None] = lambda spans: None

    async def close(self, ends_at: float) -> None:
        """The last answer is given; the grace ends at `ends_at`, monotonic seconds."""
        self.recorder.flush()
        self.pool.close()  # the inner processes end when their client is gone: not only when the events are delivered
        if self.at_end is not None:
            await self.at_end(max(LEAST_END_S, ends_at - monotonic()))

    def traced(self, telemetry: "Telemetry", spans: "SpanExport", application: Application) -> Application:
        """The application with spans; a server that is not ours is told of a trace by its fields."""
        foreign = not self.pool.address.path
        return traced(telemetry, application, self.recorder, self.on_spans(spans), declares=foreign)


def start_sidecar(
    component: str, argv: list[str], manage: str, heartbeat: "Heartbeat", build: Callable[[Parts], Application]
) -> int:
    """Run a sidecar whose application `build` makes; the exit status."""
    try:
        arguments = parse_arguments(f"kfunc.{component}_sidecar", argv, upstream=True, manage=manage)
        config = pod.decode(environment(), needs_model=False)
        use_form(config.log_format, heartbeat)
        listener = listen(arguments.listen)
        manage_listener = listen(arguments.manage, "--manage") if arguments.manage is not None else None
        shown = access_log_share(arguments, config)
        parts = Parts(config, component, arguments.upstream or Address(), access_log=shown, keep=arguments.recent)
    except StartupError as error:
        report(error)
        return 2

    async def main(life: Life) -> None:
        application = _translated(build(parts), config, component)
        page = with_page(application, config, arguments, parts.metrics, parts.recorder)
        server = HttpServer(page, config.limits, memory_limit())
        offers_grpc = "grpc" in config.protocols
        if offers_grpc:
            from kfunc.grpc.offer import offer, prepare  # start-up time: functions of REST need none of it

            offer(server)
        if parts.at_start is not None:
            parts.at_start()
        parts.pool.start()
        await server.start(listener)
        management = await serve_management(parts.metrics, manage_listener, arguments.scrape, recent=parts.recorder.recent)
        life.watch(config.hang_timeout_s)
        keep_memory()
        allow_connections()
        if offers_grpc and not arguments.listen.path:
            prepare()
        telemetry = await start_telemetry(config, parts.metrics, outermost=not arguments.listen.path)
        if telemetry is not None and telemetry.spans is not None:
            application = parts.traced(telemetry, telemetry.spans, application)
            server.application = with_page(application, config, arguments, parts.metrics, parts.recorder)
            if offers_grpc:
                offer(server)  # calls are asked of the application that traces
        await life.stop.wait()
        if life.orphaned and management is not None:
            management.close()  # whoever starts it again needs the port
        await _end(server, parts, telemetry, inner=bool(arguments.listen.path), orphaned=life.orphaned)
        if management is not None:
            management.close()

    return run(main, heartbeat)


async def _end(server: HttpServer, parts: Parts, telemetry: "Telemetry | None", *, inner: bool, orphaned: bool) -> None:
    """Answer what is under way, then deliver what is to be told of it, all within the grace.

    What has lost its watcher, as by a SIGKILL, is started again already: only requests keep it.
    """
    grace_s = parts.config.grace_s
    ends_at = monotonic() + (0.0 if orphaned else grace_s)
    if parts.at_stop is not None:
        parts.at_stop()
    await wind_down(server, inner=inner, grace_s=grace_s)
    await parts.close(ends_at)
    if telemetry is not None:
        await telemetry.close(max(LEAST_FLUSH_S, ends_at - monotonic()))


def _translated(application: Application, config: PodConfig, component: str) -> Application:
    """The application, behind a translation where this sidecar is the one next to a server that lacks a protocol."""
    innermost = "batcher" if config.batcher is not None else "logger"
    if not config.upstream_speaks or component != innermost:
        return application
    from kfunc.translation.application import TranslatingApplication  # start-up time: few functions need it

    return TranslatingApplication(application, config.upstream_speaks, config.model.name, config.limits.max_body_bytes)
