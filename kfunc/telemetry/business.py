"""Metrics of a handler's own code: `self.metrics.counter("orders_total", "Orders.", labels=("kind",)).add(kind="a")`.

They are shown with the others. However many values its labels take, a metric has at most MAX_SERIES series, and OTHER.
"""

import logging
import re
import threading
from bisect import bisect_left
from collections.abc import Sequence
from math import inf, isnan
from typing import Any

from kfunc.telemetry.metrics import COMBINE, LATENCY_BUCKETS, Counter, Histogram, Level, Metrics
from kfunc.telemetry.samples import Labels

log = logging.getLogger("kfunc.telemetry")

MAX_SERIES = 100
MAX_LABEL = 256  # characters of a label's value
OTHER = "other"  # the value of every label of the series that takes what is past the bound
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
RESERVED = frozenset(("component", "le", "quantile"))

Kind = tuple[str, str, tuple[float, ...], str]
"""What a metric is: its kind, its full name, its buckets, and how workers' values combine."""
Update = tuple[str, Kind, str, Labels, tuple[float, ...]]
"""What an instrument was told: operation, kind, text, labels, values: one, or a histogram's counts and its sum."""


class BusinessMetrics:
    """Makes instruments; safe to use in threads. Without `metrics` what they are told is kept for `take`, or dropped."""

    def __init__(self, metrics: Metrics | None = None, *, keep: bool = False) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._keep = keep
        self._kept: dict[tuple[str, Labels], Update] = {}
        self._kinds: dict[str, Kind] = {}  # by each name that its lines have
        self._series: dict[str, dict[Labels, Any]] = {}
        self._not_shown: set[str] = set()

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

    def declare(self, kind: Kind) -> None:
        """There is such a metric. Raises ValueError where a name of its lines is another metric's."""
        with self._lock:
            self._declare(kind)

    def _declare(self, kind: Kind) -> None:
        for name in _names(kind):
            known = self._kinds.get(name, kind)
            if known != kind:
                raise ValueError(
                    f"the name {name} is taken by the {known[0]} {known[1]}, which has other buckets or is of another kind; "
                    f"give the {kind[0]} {kind[1]} another name"
                )
        self._kinds |= dict.fromkeys(_names(kind), kind)

    def take(self) -> list[Update]:
        """What was kept since the last time: for the process that shows it."""
        with self._lock:
            kept, self._kept = self._kept, {}
        return list(kept.values())

    def apply(self, updates: list[Update]) -> None:
        """Do what instruments in another process were told."""
        for update in updates:
            self.tell(update)

    def tell(self, update: Update) -> None:
        """Do it here. Never raises for want of room: a request must not fail because of a metric."""
        operation, kind, text, labels, values = update
        with self._lock:
            try:
                if self._metrics is not None:
                    _do(self._find(self._metrics, kind, text, labels), operation, values)
                elif self._keep:
                    self._add(operation, kind, text, self._bounded(kind[1], labels), values)
            except ValueError as error:
                if kind[1] not in self._not_shown and len(self._not_shown) < MAX_SERIES:
                    self._not_shown.add(kind[1])
                    log.warning("the metric %s is not shown: %s", kind[1], error)

    def _add(self, operation: str, kind: Kind, text: str, labels: Labels, values: tuple[float, ...]) -> None:
        """Keep it as one with what was kept of the same series."""
        self._series[kind[1]][labels] = None
        if operation == "observe":
            (value,), buckets = values, kind[2]
            at = bisect_left(buckets, value)
            operation, values = "merge", (*(float(each == at) for each in range(len(buckets) + 1)), value)
        before = self._kept.get((kind[1], labels))
        if before is not None and operation != "set":
            operation = before[0]  # what is added to a value that was set, is set with it
            values = tuple(map(float.__add__, before[4], values))
        self._kept[kind[1], labels] = (operation, kind, text, labels, values)

    def _bounded(self, name: str, labels: Labels) -> Labels:
        known = self._series.setdefault(name, {})
        if labels in known or len(known) < MAX_SERIES:
            return labels
        return tuple((label, OTHER) for label, _ in labels)

    def _find(self, metrics: Metrics, kind: Kind, text: str, labels: Labels) -> Counter | Level | Histogram:
        word, name, buckets, combine = kind
        labels = self._bounded(name, labels)
        series: Counter | Level | Histogram | None = self._series[name].get(labels)
        if series is None:
            self._declare(kind)  # another process's may not have been
            if word == "counter":
                series = metrics.counter(name, text, dict(labels))
            elif word == "gauge":
                series = metrics.level(name, text, dict(labels), combine)
            else:
                series = metrics.histogram(name, text, buckets, dict(labels))
            self._series[name][labels] = series
        return series


def _do(series: Counter | Level | Histogram, operation: str, values: tuple[float, ...]) -> None:
    if isinstance(series, Histogram):
        if operation == "merge":
            series.merge(values)
        else:
            series.observe(values[0])
    elif isinstance(series, Counter):
        series.add(0, values[0])
    elif operation == "set":
        series.set(values[0])
    else:
        series.add(values[0])


def _names(kind: Kind) -> tuple[str, ...]:
    """The names that a metric takes: of its family, of its lines, and in OpenMetrics of its family without `_total`."""
    word, name, _, _ = kind
    if word == "counter":
        return name, name.removesuffix("_total")
    return (name, f"{name}_bucket", f"{name}_sum", f"{name}_count") if word == "histogram" else (name,)


def _clean(text: str) -> str:
    """Text that can be sent: lone surrogates, of file names say, cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


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
        if len(set(labels)) < len(labels):
            raise ValueError(f"a label of {name} is named twice: {', '.join(labels)}")
        bounds = [float(each) for each in buckets]
        if bounds[-1:] == [inf]:
            del bounds[-1]  # there is always one without a bound
        if bounds != sorted(set(bounds)) or any(isnan(each) for each in bounds):
            raise ValueError(f"the buckets of {name} must be numbers that grow")
        self._owner = owner
        self._labels = tuple(labels)
        self._kind: Kind = (kind, name, tuple(bounds), combine)
        self._text = _clean(text)
        owner.declare(self._kind)

    def _tell(self, operation: str, value: float, given: dict[str, object]) -> None:
        try:
            labels = tuple([(label, _clean(str(given[label])[:MAX_LABEL])) for label in self._labels])
        except KeyError:
            labels = ()
        if len(labels) != len(given) or len(labels) != len(self._labels):
            own = ", ".join(self._labels) or "none"
            raise ValueError(f"the labels of {self._kind[1]} are {own}; given: {', '.join(given) or 'none'}")
        self._owner.tell((operation, self._kind, self._text, labels, (float(value),)))


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
