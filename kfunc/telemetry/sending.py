"""Traces and metrics of one process on their way to a collector: made after the process is ready, closed at its end."""

import logging
from collections.abc import Mapping
from time import monotonic

from kfunc.config.pod import PodConfig
from kfunc.telemetry import resource
from kfunc.telemetry.metric_export import MetricExport
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.otel_settings import GRPC, Target, read
from kfunc.telemetry.otlp import encode_resource
from kfunc.telemetry.otlp_http import HttpTransport
from kfunc.telemetry.sampling import Sampler, ratio_sampler
from kfunc.telemetry.span_export import SpanExport, Transport

log = logging.getLogger("kfunc.telemetry")


class Telemetry:
    """What is sent of a process. `spans` takes them, and is None where no traces are sent."""

    def __init__(
        self, config: PodConfig, metrics: Metrics, environ: Mapping[str, str], *, outermost: bool, worker: int = 0
    ) -> None:
        self._settings = settings = read(environ)
        for complaint in settings.complaints:
            log.warning("%s", complaint)
        self._outermost = outermost
        attributes = resource.attributes(config, metrics.component, environ, settings.resource)
        if worker:  # each counts for itself
            attributes["service.instance.id"] += f"-{worker}"
        described = encode_resource(attributes)
        self.spans: SpanExport | None = None
        self._metrics: MetricExport | None = None
        if settings.traces is not None and settings.propagates:
            self.spans = SpanExport(settings, _transport(settings.traces, "traces"), described, metrics)
        if settings.metrics is not None:
            self._metrics = MetricExport(settings, _transport(settings.metrics, "metrics"), described, metrics)

    def sampler(self) -> Sampler:
        """Where callers talk to another process first, that one has decided."""
        return self._settings.sample() if self._outermost else ratio_sampler(0.0, by_parent=True)

    def start(self) -> None:
        """Begin to send; within the loop."""
        if self.spans is not None:
            self.spans.start()
        if self._metrics is not None:
            self._metrics.start()

    async def close(self, grace_s: float) -> None:
        """Send what waits, for at most `grace_s`."""
        ends_at = monotonic() + grace_s
        if self.spans is not None:
            await self.spans.close(grace_s if self._metrics is None else grace_s / 2)
        if self._metrics is not None:
            await self._metrics.close(max(0.1, ends_at - monotonic()))


def _transport(target: Target, signal: str) -> Transport:
    if target.protocol != GRPC:
        return HttpTransport(target)
    from kfunc.telemetry.otlp_grpc import GrpcTransport

    return GrpcTransport(target, signal)
