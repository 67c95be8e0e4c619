"""Metrics pushed by OTLP: now and then, and at the end, since a pod may be gone before anybody scrapes it."""

import asyncio
import logging
from time import time_ns

from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.otel_settings import OtelSettings
from kfunc.telemetry.otlp_metrics import Values, carried_on, metrics_request, values_of
from kfunc.telemetry.span_export import Transport

log = logging.getLogger("kfunc.telemetry")


class MetricExport:
    """Sends what this process counts itself; each worker of a handler is a resource of its own."""

    def __init__(self, settings: OtelSettings, transport: Transport, resource: bytes, metrics: Metrics) -> None:
        self._transport = transport
        self._resource = resource
        self._interval_s = settings.interval_s
        self._metrics = metrics
        self._delta = settings.delta
        self._before: Values = values_of(metrics.inherited)  # another process has sent them
        self._began_ns = time_ns()
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._failures = metrics.counter("kfunc_metric_pushes_failed_total", "Pushes of metrics that no collector took.")

    def start(self) -> None:
        """Begin to send; within the loop."""
        self._transport.start()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, grace_s: float) -> None:
        """Send a last time, for at most `grace_s`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        try:
            async with asyncio.timeout(grace_s):
                await self._push()
        except TimeoutError:
            log.warning("the collector did not take the last metrics in time")
        self._transport.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            await self._push()

    async def _push(self) -> None:
        families, now_ns = self._metrics.collect(own=True), time_ns()
        times = (self._began_ns, now_ns)
        self._before = before = carried_on(self._before, families)
        component = self._metrics.component
        outcome = await self._transport.send(
            metrics_request(self._resource, families, component, times, before, delta=self._delta)
        )
        if outcome.taken and self._delta:
            self._before, self._began_ns = values_of(families), now_ns
        if not outcome.taken:
            self._failures.add()
            if not self._failing:
                log.warning("the collector takes no metrics: %s", outcome.reason)
        self._failing = not outcome.taken
