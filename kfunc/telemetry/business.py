"""Metrics of a handler's own code: `self.metrics.counter("orders_total", "Orders.", labels=("kind",)).add(kind="a")`.

They are shown with the others. However many values its labels take, a metric has at most MAX_SERIES series.
"""

import logging
import re
import threading
from collections.abc import Sequence
from typing import Any

from kfunc.telemetry.metrics import COMBINE, LATENCY_BUCKETS, Counter, Histogram, Level, Metrics

log = logging.getLogger("kfunc.telemetry")

MAX_SERIES = 100
OTHER = "other"  # the value of every label of the series that takes what is past the bound
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
RESERVED = frozenset(("component", "le", "quantile"))

Update = tuple[str, str, str, str, tuple[tuple[str, str], ...], tuple[float, ...], float, str]
"""What an instrument was told: operation, kind, name, text, labels, buckets, value, how workers' values combine."""


class BusinessMetrics:
    """Makes instruments; safe to use in threads. Without `metrics` what they are told is kept for `take`, or dropped."""

    def __init__(self, metrics: Metrics | None = None, *, keep: bool = False) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._keep = keep
        self._kept: list[Update] = []
        self._series: dict[str, dict[tuple[tuple[str, str], ...], Any]] = {}
        self._full = False

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> "BusinessCounter":
        """A number that only grows; its name gets the end `_total`. Raises ValueError for names that cannot be used."""
        return BusinessCounter(self, "counter", name if name.endswith("_total") else f"{name}_total", text, labels)

    def gauge(self, name: str, text: str, labels: Sequence[str] = (), *, combine: str = "last") -> "BusinessGauge":
        """A number that goes up and down. Of several workers' values the `last` one that was set is shown, or their `max`,
        `min` or `sum`. Raises ValueError for names that cannot be used, and for another way to combine."""
        if combine not in COMBINE:
            raise ValueError(f"the gauge {name} cannot be combined by {combine!r}: choose one of {', '.join(COMBINE)}")
        return BusinessGauge(self, "gauge", name, text, labels, combine=combine)

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), buckets: Sequence[float] = LATENCY_BUCKETS
    ) -> "BusinessHistogram":
        """A distribution with upper bounds; by default those for seconds. Raises ValueError."""
        return BusinessHistogram(self, "histogram", name, text, labels, buckets)

    def take(self) -> list[Update]:
        """What was kept since the last time: for the process that shows it."""
        with self._lock:
            kept, self._kept = self._kept, []
        return kept

    def apply(self, updates: list[Update]) -> None:
        """Do what instruments in another process were told."""
        for update in updates:
            self.tell(update)

    def tell(self, update: Update) -> None:
        """Do it here. Never raises for want of room: a request must not fail because of a metric."""
        with self._lock:
            if self._metrics is None:
                if self._keep:
                    self._kept.append(update)
                return
            try:
                series = self._find(self._metrics, update)
            except ValueError as error:
                if not self._full:
                    log.warning("the metric %s is not shown: %s", update[2], error)
                self._full = True
                return
            self._do(series, update[0], update[6])

    def _do(self, series: Counter | Level | Histogram, operation: str, value: float) -> None:
        if isinstance(series, Histogram):
            series.observe(value)
        elif isinstance(series, Counter):
            series.add(0, value)
        elif operation == "set":
            series.set(value)
        else:
            series.add(value)

    def _find(self, metrics: Metrics, update: Update) -> Counter | Level | Histogram:
        _, kind, name, text, labels, buckets, _, combine = update
        known = self._series.setdefault(name, {})
        if labels not in known and len(known) >= MAX_SERIES:
            labels = tuple((label, OTHER) for label, _ in labels)
        series = known.get(labels)
        if series is None:
            if kind == "counter":
                series = metrics.counter(name, text, dict(labels))
            elif kind == "gauge":
                series = metrics.level(name, text, dict(labels), combine)
            else:
                series = metrics.histogram(name, text, buckets, dict(labels))
            known[labels] = series
        return series


class _Instrument:
    """One metric of the handler's."""

    def __init__(
        self,
        owner: BusinessMetrics,
        kind: str,
        name: str,
        text: str,
        labels: Sequence[str],
        buckets: Sequence[float] = (),
        combine: str = "sum",
    ) -> None:
        if NAME.fullmatch(name) is None or name.startswith("kfunc_"):
            raise ValueError(f"{name!r} cannot be a metric's name: letters, digits and _, and not kfunc_ at the beginning")
        for label in labels:
            if NAME.fullmatch(label) is None or label in RESERVED or label.startswith("__"):
                raise ValueError(f"{label!r} cannot be a label of {name}: letters, digits and _, and not {', '.join(RESERVED)}")
        if list(buckets) != sorted(set(buckets)):
            raise ValueError(f"the buckets of {name} must grow")
        self._owner = owner
        self._labels = tuple(labels)
        self._about = (kind, name, text)
        self._buckets = tuple(map(float, buckets))
        self._combine = combine

    def _tell(self, operation: str, value: float, given: dict[str, object]) -> None:
        try:
            labels = tuple([(label, str(given[label])) for label in self._labels])
        except KeyError:
            labels = ()
        if len(labels) != len(given) or len(labels) != len(self._labels):
            own = ", ".join(self._labels) or "none"
            raise ValueError(f"the labels of {self._about[1]} are {own}; given: {', '.join(given) or 'none'}")
        self._owner.tell((operation, *self._about, labels, self._buckets, float(value), self._combine))


class BusinessCounter(_Instrument):
    """A counter."""

    def add(self, amount: float = 1.0, **labels: object) -> None:
        """Count. Raises ValueError for other labels than it has, or an amount below 0."""
        if not amount >= 0:
            raise ValueError(f"a counter only grows; given {amount}")
        self._tell("add", amount, labels)


class BusinessGauge(_Instrument):
    """A gauge."""

    def set(self, value: float, **labels: object) -> None:
        """It is `value` now. Raises ValueError for other labels than it has."""
        self._tell("set", value, labels)

    def add(self, amount: float, **labels: object) -> None:
        """It is so much more now. Raises ValueError for other labels than it has."""
        self._tell("raise", amount, labels)


class BusinessHistogram(_Instrument):
    """A histogram."""

    def observe(self, value: float, **labels: object) -> None:
        """Take up one value. Raises ValueError for other labels than it has."""
        self._tell("observe", value, labels)
