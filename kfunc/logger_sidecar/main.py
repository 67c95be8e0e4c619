"""The logger's process."""

import asyncio
import os
from typing import TYPE_CHECKING

from msgspec import UNSET

from kfunc.config.logger import Logger, sinks_of
from kfunc.errors import StartupError
from kfunc.logger_sidecar.application import LoggerApplication
from kfunc.logger_sidecar.contract import SinkContext
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.pipeline import Pipeline
from kfunc.logger_sidecar.record import Origin
from kfunc.logger_sidecar.recording import MODES
from kfunc.logger_sidecar.recovery import open_spool
from kfunc.logger_sidecar.sink_metrics import LoggerMetrics
from kfunc.logger_sidecar.spool import Spool
from kfunc.process.sidecar import Parts, start_sidecar
from kfunc.protocol.own_events import source_of

if TYPE_CHECKING:
    from kfunc.process.watcher import Heartbeat

MANAGE = "0.0.0.0:9095"
CLOCK_S = 1.0
ANSWER_S = 1.0


def start(argv: list[str], heartbeat: "Heartbeat") -> int:
    """The logger's main; the exit status."""
    return start_sidecar("logger", argv, MANAGE, heartbeat, build)


def build(parts: Parts) -> LoggerApplication:
    """The application, with the function's settings; a sink must be configured. Raises StartupError."""
    config, environ = parts.config, os.environ
    settings = config.logger or Logger()
    sinks = sinks_of(settings, environ.get("K_SINK", ""))
    if not sinks:
        raise StartupError("the logger has no sink: set inference.logger.sink, KFUNC_LOGGER_SINK, or K_SINK by a SinkBinding")
    origin = Origin(
        *(os.urandom(8).hex(), config.function, config.namespace, environ.get("K_REVISION", "")),
        *(config.model.name, config.model.version),
    )
    figures = LoggerMetrics(parts.metrics, 2 if MODES[settings.mode] & 3 == 3 else 1)
    notices = Notices(figures.dropped)
    spool = open_spool(settings, origin, notices)
    try:
        context = SinkContext(config.function, config.namespace, environ)
        pipeline = Pipeline(settings, sinks, context, spool, metrics=parts.metrics, figures=figures, notices=notices)
        source = source_of(config.namespace, config.function)
        application = LoggerApplication(settings, parts.pool, spool, parts.recorder, notices, config.model.name, source)
        if settings.shadow is not UNSET:
            from kfunc.logger_sidecar.shadow import ShadowTraffic

            hidden = bool(settings.redact)
            application.shadow = ShadowTraffic(settings.shadow, config.timeout_s, parts.metrics, environ, values=not hidden)
    except BaseException:
        spool.abandon()
        raise
    parts.on_spans = pipeline.trace
    parts.at_start = lambda: _begin(pipeline, application)
    parts.at_stop = lambda: _stop(pipeline, spool, config.grace_s)
    parts.at_end = lambda grace_s: _end(pipeline, application, grace_s)
    return application


def _begin(pipeline: Pipeline, application: LoggerApplication) -> None:
    pipeline.start()
    if application.shadow is not None:
        application.shadow.start()
    _keep_time(application)


def _stop(pipeline: Pipeline, spool: Spool, grace_s: float) -> None:
    """SIGTERM. What waits for room (`on_full: block`) is refused while there is time to say so."""
    pipeline.hurry()
    answer_s = min(ANSWER_S, grace_s / 2)
    asyncio.get_running_loop().call_later(grace_s - answer_s, spool.admission.give_up)


async def _end(pipeline: Pipeline, application: LoggerApplication, grace_s: float) -> None:
    if application.shadow is not None:
        application.shadow.close()
    await pipeline.flush(grace_s)


def _keep_time(application: LoggerApplication) -> None:
    application.writer.set_clock()
    asyncio.get_running_loop().call_later(CLOCK_S, _keep_time, application)
