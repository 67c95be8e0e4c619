"""What a person wants to know of a pod's metrics: rates, percentiles, batches, events. Sans-IO.

Two snapshots of one exposition give the figures of the time between them.
"""

import re
from collections.abc import Iterator
from math import inf

from msgspec import Struct

SERIES = re.compile(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: .*)?")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
OUTERMOST_FIRST = ("logger", "batcher", "handler")
DURATIONS = "kfunc_request_duration_seconds_bucket"
NAMES = (
    *("kfunc_requests_total", "kfunc_request_duration_seconds"),
    *("kfunc_batch_size", "kfunc_batch_fill_ratio", "kfunc_batch_queue_length"),
    *("kfunc_events_delivered_total", "kfunc_events_waiting", "kfunc_events_dropped_total"),
)
"""The metrics that figures are made of: all that an exposition needs to have."""


class Series(Struct, frozen=True):
    """One line of an exposition."""

    name: str
    labels: dict[str, str]
    value: float


class Snapshot(Struct, frozen=True):
    """An exposition at one moment; `at_s` in any clock's seconds that goes forward."""

    at_s: float
    series: dict[str, list[Series]]

    def total(self, name: str, **labels: str) -> float:
        """The sum of the series with these labels."""
        return sum(each.value for each in self.select(name, **labels))

    def select(self, name: str, **labels: str) -> Iterator[Series]:
        """The series with these labels."""
        return (each for each in self.series.get(name, ()) if labels.items() <= each.labels.items())

    @property
    def outermost(self) -> str:
        """The component that callers talk to."""
        found = {each.labels.get("component", "") for each in self.series.get(DURATIONS, ())}
        return next((name for name in OUTERMOST_FIRST if name in found), "")


class Figures(Struct, frozen=True):
    """Of the time between two snapshots. Times in seconds; what nothing is known of is 0.

    `p50_s` and `p99_s` are of inference alone, `errors_per_s` counts 5xx.
    """

    requests_per_s: float = 0.0
    errors_per_s: float = 0.0
    inferences_per_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0
    batch_size: float = 0.0
    batch_fill: float = 0.0
    queue_length: float = 0.0
    events_per_s: float = 0.0
    events_waiting: float = 0.0
    events_dropped: float = 0.0


def read(text: str, at_s: float) -> Snapshot:
    """An exposition in Prometheus's text format or OpenMetrics; lines that are neither are left out."""
    series: dict[str, list[Series]] = {}
    for line in text.split("\n"):  # a label's text may have other ends of lines
        match = None if line.startswith("#") else SERIES.fullmatch(line.partition(" # ")[0])
        if match is not None:
            name, labels, value = match.groups()
            try:
                found = Series(name, dict(LABEL.findall(labels or "")), float(value))
            except ValueError:
                continue
            series.setdefault(name, []).append(found)
    return Snapshot(at_s, series)


def between(before: Snapshot, after: Snapshot) -> Figures:
    """The figures of the time between; a process that was started again in between counts from its start."""
    seconds = max(after.at_s - before.at_s, 1e-9)
    outer = {"component": after.outermost}

    def grown(name: str, **labels: str) -> float:
        return sum(max(0.0, each.value - _before(before, each)) for each in after.select(name, **labels))

    failed = sum(
        max(0.0, each.value - _before(before, each))
        for each in after.select("kfunc_requests_total", **outer)
        if each.labels.get("code", "").startswith("5")
    )
    buckets = [
        (float(each.labels.get("le", "inf").replace("+Inf", "inf")), max(0.0, each.value - _before(before, each)))
        for each in after.select(DURATIONS, **outer)
    ]
    calls, filled = grown("kfunc_batch_size_count"), grown("kfunc_batch_fill_ratio_count")
    return Figures(
        requests_per_s=grown("kfunc_requests_total", **outer) / seconds,
        errors_per_s=failed / seconds,
        inferences_per_s=grown("kfunc_request_duration_seconds_count", **outer) / seconds,
        p50_s=quantile(buckets, 0.5),
        p99_s=quantile(buckets, 0.99),
        batch_size=grown("kfunc_batch_size_sum") / calls if calls else 0.0,
        batch_fill=grown("kfunc_batch_fill_ratio_sum") / filled if filled else 0.0,
        queue_length=after.total("kfunc_batch_queue_length"),
        events_per_s=grown("kfunc_events_delivered_total") / seconds,
        events_waiting=after.total("kfunc_events_waiting"),
        events_dropped=grown("kfunc_events_dropped_total"),
    )


def _before(snapshot: Snapshot, series: Series) -> float:
    """What a series was; 0 where it was not there, or was more: its process began again."""
    value = next((each.value for each in snapshot.series.get(series.name, ()) if each.labels == series.labels), 0.0)
    return value if value <= series.value else 0.0


def quantile(buckets: list[tuple[float, float]], part: float) -> float:
    """A quantile of cumulative buckets `(upper bound, count)`, as `histogram_quantile` has it; 0 without a value."""
    buckets = sorted(buckets)
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return 0.0
    wanted, low, seen = part * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            if bound == inf:
                return low
            return low + (bound - low) * (wanted - seen) / (count - seen) if count > seen else bound
        low, seen = bound, count
    return low
