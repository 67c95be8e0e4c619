"""Sending to a collector: nothing of it is imported before a process is ready, nor where nobody asks for it."""

import asyncio
import importlib
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from kfunc.config.pod import PodConfig
from kfunc.http.exchange import Application
from kfunc.telemetry.asking import wanted
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.requests import RequestRecorder

if TYPE_CHECKING:
    from kfunc.telemetry.request_trace import Details
    from kfunc.telemetry.sending import Telemetry

log = logging.getLogger("kfunc.telemetry")
MODULES = ("kfunc.telemetry.sending", "kfunc.telemetry.request_trace")


async def start_telemetry(
    config: PodConfig, metrics: Metrics, *, outermost: bool, worker: int = 0, environ: Mapping[str, str] = os.environ
) -> "Telemetry | None":
    """Begin to send what OpenTelemetry's variables ask for; None where they ask for nothing, or it cannot be."""
    if not wanted(environ):
        return None
    loop = asyncio.get_running_loop()

    def make() -> "Telemetry":
        for name in MODULES:
            importlib.import_module(name)
        from kfunc.telemetry.sending import Telemetry

        return Telemetry(config, metrics, environ, outermost=outermost, worker=worker)

    try:
        telemetry = await loop.run_in_executor(None, make)
        telemetry.start()
    except ImportError as error:
        log.warning("no telemetry is sent: OTEL_EXPORTER_OTLP_PROTOCOL=grpc needs the extra grpc (%s)", error)
        return None
    except OSError as error:
        log.warning("no telemetry is sent: the collector's certificate cannot be read: %s", error)
        return None
    except Exception:  # a function must not fail because of its telemetry
        log.exception("no telemetry is sent: look at the variables OTEL_…; OTEL_SDK_DISABLED=true turns it off")
        return None
    return telemetry


def traced(
    telemetry: "Telemetry | None",
    application: Application,
    recorder: RequestRecorder,
    details: "Details | None",
    *,
    declares: bool,
) -> Application:
    """The application with its requests traced; as it is where no traces are sent."""
    if telemetry is None or telemetry.spans is None:
        return application
    from kfunc.telemetry.request_trace import NoDetails, Traced

    return Traced(application, telemetry.sampler(), telemetry.spans, details or NoDetails(), recorder, declares=declares)
