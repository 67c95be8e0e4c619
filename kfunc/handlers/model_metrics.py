"""Metrics by model and version. Only models that are loaded have series: no request can make one."""

from bisect import bisect_left
from time import monotonic

from kfunc.config.pod import PodConfig
from kfunc.handlers.repository import load_one
from kfunc.handlers.slots import Load, Loaded, Slot
from kfunc.http.exchange import Exchange
from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.metrics import LATENCY_BUCKETS, Metrics

OUTCOMES = ("2xx", "3xx", "4xx", "5xx")


class _Series:
    """Of one version of a model."""

    __slots__ = ("compute", "outcomes", "queue")

    def __init__(self, metrics: Metrics, model: str, version: str) -> None:
        about = {"model": model, "version": version}
        text = "Requests to a model, by kind of status."
        self.outcomes = [metrics.counter("kfunc_model_requests_total", text, {**about, "status": each}) for each in OUTCOMES]
        text = "Time in the model's own code."
        self.compute = metrics.histogram("kfunc_model_compute_seconds", text, LATENCY_BUCKETS, about)
        text = "Time that a request waited for a thread."
        self.queue = metrics.histogram("kfunc_model_queue_seconds", text, LATENCY_BUCKETS, about)


class ModelMetrics:
    """Counts what the handler's requests were for."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._series: dict[tuple[str, str], _Series | None] = {}

    def observe(self, slot: Slot, exchange: Exchange) -> None:
        """A request to the model in `slot` has ended."""
        key = (slot.name, slot.version)
        series = self._series.get(key)
        if series is None:
            series = self._make(slot, key)
            if series is None:
                return
        values, status = self._metrics.values, exchange.status
        values[series.outcomes[2 if not 200 <= status < 600 else status // 100 - 2].index] += 1.0
        compute_s = exchange.compute_s
        if compute_s:
            compute = series.compute
            values[compute.index + bisect_left(LATENCY_BUCKETS, compute_s)] += 1.0
            values[compute.sum_index] += compute_s
            if exchange.queue_s:
                series.queue.observe(exchange.queue_s)

    def timed_load(self) -> Load:
        """Loads models, whose code may have metrics of its own, and shows how long each took."""
        business = BusinessMetrics(self._metrics)

        def load(config: PodConfig) -> Loaded:
            began_at = monotonic()
            model = load_one(config, business)
            self._show_load(config.model.name, config.model.version, monotonic() - began_at)
            return model

        return load

    def _show_load(self, model: str, version: str, seconds: float) -> None:
        about = {"model": model, "version": version}
        try:
            self._metrics.level(
                "kfunc_model_version_load_seconds", "Time that loading a version took.", about, combine="max"
            ).set(seconds)
        except ValueError:
            pass  # as many models as this have no metrics of their own

    def _make(self, slot: Slot, key: tuple[str, str]) -> _Series | None:
        if key in self._series or slot.model is None:
            return None
        try:
            series = _Series(self._metrics, *key)
        except ValueError:
            self._series[key] = None  # no room
            return None
        self._series[key] = series
        return series
