"""Counters, gauges and histograms of one process, or of several that share one exposition.

What is counted is a number in a slab; `collect` reads all of them. Each series has the label `component`.
"""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Container, Mapping, MutableSequence, Sequence
from math import isnan, nan
from time import monotonic

from msgspec import structs

from kfunc.telemetry import exposition
from kfunc.telemetry.samples import Distribution, Exemplar, Family, Labels, Sample
from kfunc.telemetry.slabs import CODES, Entry, Slabs

log = logging.getLogger("kfunc.telemetry")

# Microseconds to minutes, in seconds.
LATENCY_BUCKETS = (
    *(0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
# Of requests ten a decade from 1 ms to 10 s, so that a percentile is known to some percent; all of the others among them.
STEPS_US = (1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000, 6300, 8000)
REQUEST_BUCKETS = (
    *(bound for bound in LATENCY_BUCKETS if bound < 0.001),
    *(step * 10**decade / 1_000_000 for decade in range(4) for step in STEPS_US),
    *(bound for bound in LATENCY_BUCKETS if bound >= 10.0),
)
SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
# Several workers' values of a gauge, each with the time at which it was set where that counts -> one.
COMBINE: dict[str, Callable[[list[tuple[float, float]]], float]] = {
    "last": lambda told: max(told, key=lambda each: each[1])[0],
    "max": lambda told: max(value for value, _ in told),
    "min": lambda told: min(value for value, _ in told),
    "sum": lambda told: sum(value for value, _ in told),
}


class Metrics:
    """The metrics of one process; `slabs` is the number of processes that share them."""

    def __init__(self, component: str, slabs: int = 1) -> None:
        self.component = component
        self._slabs = Slabs(slabs)
        self.values: MutableSequence[float] = self._slabs.values
        self._lock = threading.Lock()  # models are loaded in threads
        self._entries: dict[tuple[str, Labels], Entry] = {}  # allocated before the fork: at one place in all slabs
        self._later: dict[tuple[str, Labels], Entry] = {}  # by this process alone
        self._read: dict[tuple[str, Labels], tuple[Entry, Callable[[], float]]] = {}
        self.inherited: list[Family] = []
        """What an earlier worker had counted in the slab that this one writes."""
        self._exemplars: dict[tuple[str, Labels], dict[int, Exemplar]] = {}

    def attach(self, slab: int) -> None:
        """Write to slab number `slab` from now on; called in a worker after the fork."""
        entries = self._slabs.attach(slab)
        self.values = self._slabs.values
        self._later = {(entry.name, entry.labels): entry for entry in entries}
        for entry in [*self._entries.values(), *entries]:
            if entry.kind == "gauge":  # what the process before said of itself
                self.values[entry.index] = nan
        self.inherited = self.collect(own=True)

    def forget(self, unwanted: Callable[[str, Labels], bool]) -> None:
        """Drop series, and give their room to others; nobody may count in them any more. Of workers each drops its own."""
        with self._lock:
            own = self._later if self._slabs.own >= 0 else self._entries
            gone = [key for key in own if unwanted(*key)]
            for key in gone:
                self._slabs.release(own.pop(key))
                self._exemplars.pop(key, None)
            for key in [key for key in self._read if unwanted(*key)]:
                del self._read[key]
            if gone:
                self._slabs.rewrite(self._later.values())

    # ---- what is counted

    def counter(self, name: str, text: str, labels: Mapping[str, str] | None = None) -> "Counter":
        """A number that only grows; a name may come again with other values of its labels."""
        return Counter(self, self._place(name, "counter", text, labels).index)

    def gauge(self, name: str, text: str, read: Callable[[], float], labels: Mapping[str, str] | None = None) -> None:
        """A number that is read when it is asked for; of the worker that answers."""
        self._read[name, _pairs(labels)] = (Entry(-1, name, "gauge", text, _pairs(labels)), read)

    def counted(self, name: str, text: str, read: Callable[[], float], labels: Mapping[str, str] | None = None) -> None:
        """A number that only grows, kept by whoever counts; of the worker that answers."""
        self._read[name, _pairs(labels)] = (Entry(-1, name, "counter", text, _pairs(labels)), read)

    def level(self, name: str, text: str, labels: Mapping[str, str] | None = None, combine: str = "sum") -> "Level":
        """A number that goes up and down, and is shown once set; several workers' are combined as COMBINE says."""
        entry = self._place(name, "gauge", text, labels, combine=combine)
        return (TimedLevel if combine == "last" else Level)(self, entry.index)

    def codes(self, name: str, text: str) -> "Counter":
        """A counter for each HTTP status, label `code`; `add(status)` with the status as the offset."""
        return Counter(self, self._place(name, "codes", text, None).index - CODES.start)

    def histogram(
        self, name: str, text: str, bounds: tuple[float, ...], labels: Mapping[str, str] | None = None
    ) -> "Histogram":
        """A distribution with the upper `bounds` of its buckets."""
        entry = self._place(name, "histogram", text, labels, bounds)
        return Histogram(self, entry.index, bounds, self._exemplars.setdefault((name, entry.labels), {}))

    def _place(
        self,
        name: str,
        kind: str,
        text: str,
        labels: Mapping[str, str] | None,
        bounds: tuple[float, ...] = (),
        combine: str = "sum",
    ) -> Entry:
        """The place of a series, found again or new. Raises ValueError for another kind, or where there is no room."""
        with self._lock:
            return self._placed(Entry(0, name, kind, text, _pairs(labels), bounds, combine))

    def _placed(self, entry: Entry) -> Entry:
        key = (entry.name, entry.labels)
        known = self._entries.get(key) or self._later.get(key)
        if known is not None:
            if (known.kind, known.bounds, known.combine) != (entry.kind, entry.bounds, entry.combine):
                raise ValueError(
                    f"the metric {entry.name} is a {known.kind} already, or has other buckets, or is combined otherwise; "
                    "give this one another name"
                )
            return known
        entry = structs.replace(entry, index=self._slabs.allocate(entry.size))
        later = self._slabs.own >= 0
        if later:
            try:
                self._slabs.publish(entry)
            except ValueError:
                self._slabs.release(entry)
                raise
        (self._later if later else self._entries)[key] = entry
        if entry.kind == "gauge":
            self.values[entry.index] = nan
        return entry

    # ---- what is shown

    def collect(self, *, own: bool = False, names: Container[str] | None = None) -> list[Family]:
        """All families, in the order in which they were made, or those with these names. `own`: what is in this process's
        slab alone."""
        families: dict[str, Family] = {}
        slabs = [max(0, self._slabs.own)] if own else range(self._slabs.count)

        def add(entry: Entry, samples: list[Sample | Distribution]) -> None:
            kind = "counter" if entry.kind == "codes" else entry.kind
            families.setdefault(entry.name, Family(entry.name, kind, entry.text, [])).samples.extend(samples)

        def asked(name: str) -> bool:
            return names is None or name in names

        entries = [entry for entry in list(self._entries.values()) if asked(entry.name)]
        cells = [(entry, [(slab, entry.index) for slab in slabs]) for entry in entries]
        later: dict[tuple[str, Labels], tuple[Entry, list[tuple[int, int]]]] = {}
        for slab, entry in self._slabs.published():
            if slab in slabs and asked(entry.name):
                later.setdefault((entry.name, entry.labels), (entry, []))[1].append((slab, entry.index))
        for entry, where in [*cells, *later.values()]:
            add(entry, self._samples(entry, where))
        for entry, read in list(self._read.values()):
            if asked(entry.name):
                add(entry, _reading(entry, read))
        return list(families.values())

    def _samples(self, entry: Entry, where: list[tuple[int, int]]) -> list[Sample | Distribution]:
        """What the processes have at these places of their slabs, as one; nothing for a gauge that nobody has set."""
        read = self._slabs.read
        if entry.kind in ("histogram", "codes"):
            each = [read(slab, index, entry.size) for slab, index in where]
            sums = each[0] if len(each) == 1 else [sum(values) for values in zip(*each, strict=True)]
            if entry.kind == "codes":
                return [Sample((("code", str(code)),), total) for code, total in zip(CODES, sums, strict=True) if total]
            exemplars = self._exemplars.get((entry.name, entry.labels), {})
            return [Distribution(entry.labels, entry.bounds, tuple(sums[:-1]), sums[-1], dict(exemplars))]
        timed = entry.combine == "last"
        pairs = [read(slab, index, entry.size) for slab, index in where]
        told = [(pair[0], pair[1] if timed else 0.0) for pair in pairs if not isnan(pair[0])]
        return [Sample(entry.labels, COMBINE[entry.combine](told))] if told or entry.kind == "counter" else []

    def exposition(self, *, openmetrics: bool = False, names: Container[str] | None = None) -> str:
        """All families, or those with these names, as text: Prometheus's format, or OpenMetrics with exemplars."""
        return exposition.encode(self.collect(names=names), self.component, openmetrics=openmetrics)


def _reading(entry: Entry, read: Callable[[], float]) -> list[Sample | Distribution]:
    """What `read` gives; nothing where it raises: the others are asked for all the same."""
    try:
        return [Sample(entry.labels, read())]
    except Exception:
        log.exception("the metric %s could not be read", entry.name)
        return []


class Counter:
    """One or, with offsets, several counters next to each other."""

    __slots__ = ("_metrics", "index")

    def __init__(self, metrics: Metrics, index: int) -> None:
        self._metrics = metrics
        self.index = index

    def add(self, offset: int = 0, amount: float = 1.0) -> None:
        """Count."""
        self._metrics.values[self.index + offset] += amount


class Level:
    """A gauge of this process."""

    __slots__ = ("_metrics", "index")

    def __init__(self, metrics: Metrics, index: int) -> None:
        self._metrics = metrics
        self.index = index

    def set(self, value: float) -> None:
        """It is `value` now."""
        self._metrics.values[self.index] = value

    def add(self, amount: float) -> None:
        """It is so much more now; from nothing where it was not set."""
        before = self._metrics.values[self.index]
        self._metrics.values[self.index] = amount if isnan(before) else before + amount


class TimedLevel(Level):
    """A gauge that remembers when it was set: of several workers' the last one counts."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """It is `value` now."""
        super().set(value)
        self._metrics.values[self.index + 1] = monotonic()  # one clock for all processes of a machine

    def add(self, amount: float) -> None:
        """It is so much more now; from nothing where it was not set."""
        super().add(amount)
        self._metrics.values[self.index + 1] = monotonic()


class Histogram:
    """A distribution. `exemplars` are the last requests of its buckets that were traced."""

    __slots__ = ("_bounds", "_metrics", "exemplars", "index", "sum_index")

    def __init__(self, metrics: Metrics, index: int, bounds: tuple[float, ...], exemplars: dict[int, Exemplar]) -> None:
        self._metrics = metrics
        self.index = index
        self._bounds = bounds
        self.sum_index = index + len(bounds) + 1
        self.exemplars = exemplars

    def observe(self, value: float) -> None:
        """Take up one value."""
        values = self._metrics.values
        values[self.index + bisect_left(self._bounds, value)] += 1.0
        values[self.sum_index] += value

    def merge(self, numbers: Sequence[float]) -> None:
        """Take up a distribution with the same bounds: its counts, and its sum."""
        values = self._metrics.values
        for offset, number in enumerate(numbers):
            values[self.index + offset] += number


def _pairs(labels: Mapping[str, str] | None) -> Labels:
    return tuple((labels or {}).items())
