"""Metrics by model and version. Only models that are loaded have series: no request can make one."""

import logging
from bisect import bisect_left
from collections.abc import Callable
from time import monotonic

from kfunc.config.pod import PodConfig
from kfunc.handlers.repository import load_one
from kfunc.handlers.slots import Load, Loaded, Slot
from kfunc.http.exchange import Exchange
from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.metrics import LATENCY_BUCKETS, Metrics
from kfunc.telemetry.samples import Labels

log = logging.getLogger("kfunc.telemetry")

OUTCOMES = ("2xx", "3xx", "4xx", "5xx")


OF_REQUESTS = ("kfunc_model_requests_", "kfunc_model_compute_", "kfunc_model_queue_")

Key = tuple[str, str]
"""A model's name, and a version."""


class _Series:
    """Of one version of a model. Raises ValueError where there is no room."""

    __slots__ = ("compute", "outcomes", "queue")

    def __init__(self, metrics: Metrics, key: Key) -> None:
        about = {"model": key[0], "version": key[1]}
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
        self._series: dict[Key, _Series | None] = {}
        self._full = False

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

    def keep(self, slots: list[Slot]) -> None:
        """These are served now: what was shown of others is dropped, and gives its room to those that will come."""
        models = [(slot, slot.model) for slot in slots if slot.model is not None]
        served = {(slot.name, slot.version) for slot, _ in models}
        # Of a folder elsewhere the newest version is loaded, and only its metadata say which.
        served |= {(slot.name, version) for slot, model in models if model.told is not None for version in model.told.versions}
        self._series = {key: series for key, series in self._series.items() if key in served and series is not None}
        self._forget(lambda name, key: name.startswith("kfunc_model_") and key not in served)

    def timed_load(self) -> Load:
        """Loads models, whose code may have metrics of its own, and shows how long each took and what it runs on."""
        business = BusinessMetrics(self._metrics)

        def load(config: PodConfig) -> Loaded:
            began_at = monotonic()
            model = load_one(config, business)
            try:
                self._show_load((config.model.name, config.model.version), monotonic() - began_at, model)
            except ValueError as error:
                self._complain(error)
            return model

        return load

    def _show_load(self, key: Key, seconds: float, model: Loaded) -> None:
        about = {"model": key[0], "version": key[1]}
        text = "Time that loading a version took."
        self._metrics.level("kfunc_model_version_load_seconds", text, about, combine="max").set(seconds)
        self._forget(lambda name, of: name == "kfunc_model_accelerator" and of == key)  # it may have run on another one
        told = model.metadata.parameters
        if told and "accelerator" in told:
            labels = {**about, **{name: told.get(name, "") for name in ("accelerator", "device")}}
            text = "The accelerator and the device that a model runs on."
            self._metrics.level("kfunc_model_accelerator", text, labels, combine="max").set(1)

    def _make(self, slot: Slot, key: Key) -> _Series | None:
        if key in self._series or slot.model is None:
            return None
        series = None
        try:
            series = _Series(self._metrics, key)
        except ValueError as error:
            self._forget(lambda name, of: name.startswith(OF_REQUESTS) and of == key)  # all of them, or none
            self._complain(error)
        self._series[key] = series
        return series

    def _forget(self, unwanted: Callable[[str, Key], bool]) -> None:
        """Drop series of models by their names and keys."""

        def found(name: str, labels: Labels) -> bool:
            about = dict(labels)
            return "model" in about and "version" in about and unwanted(name, (about["model"], about["version"]))

        self._metrics.forget(found)

    def _complain(self, error: ValueError) -> None:
        if not self._full:
            log.warning("not every model has metrics of its own, as many as there are: %s", error)
        self._full = True
