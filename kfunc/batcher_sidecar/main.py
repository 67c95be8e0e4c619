"""The batcher's process."""

from typing import TYPE_CHECKING

from kfunc.batcher_sidecar.application import BatcherApplication
from kfunc.config.batcher import Batcher
from kfunc.config.batcher_faults import faults
from kfunc.config.pod import VARIABLE
from kfunc.errors import ConfigError, Problem
from kfunc.process.sidecar import Parts, start_sidecar

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.tracing import BatchTracer
    from kfunc.process.watcher import Heartbeat
    from kfunc.telemetry.span_export import SpanExport

MANAGE = "0.0.0.0:9096"


def start(argv: list[str], heartbeat: "Heartbeat") -> int:
    """The batcher's main; the exit status."""
    return start_sidecar("batcher", argv, MANAGE, heartbeat, build)


def build(parts: Parts) -> BatcherApplication:
    """The application, with the function's settings or the defaults. Raises ConfigError where they do not fit together."""
    settings, limit = parts.config.batcher or Batcher(), parts.config.limits.max_body_bytes
    problems = [
        Problem(f"batcher.{'.'.join(map(str, path))}: {message}", suggestion=suggestion)
        for path, message, suggestion in faults(settings)
    ]
    if problems:
        raise ConfigError(problems, VARIABLE)
    application = BatcherApplication(settings, parts.pool, parts.metrics, parts.recorder, limit)

    def trace(spans: "SpanExport") -> "BatchTracer":
        from kfunc.batcher_sidecar.tracing import BatchTracer

        application.tracer = BatchTracer(spans)
        return application.tracer

    parts.on_spans = trace
    return application
