"""Figures from two snapshots of an exposition: rates, percentiles, batches, events."""

import pytest

from kfunc.telemetry.figures import Figures, between, quantile, read
from kfunc.telemetry.metrics import Metrics

BUCKETS = (0.001, 0.01, 0.1)


def pod(component: str = "handler") -> Metrics:
    metrics = Metrics(component)
    metrics.codes("kfunc_requests_total", "R.")
    metrics.histogram("kfunc_request_duration_seconds", "D.", BUCKETS)
    return metrics


def test_rates_are_of_the_time_between() -> None:
    metrics = pod()
    codes = metrics.codes("kfunc_requests_total", "R.")
    codes.add(200, 5)
    before = read(metrics.exposition(), 10.0)
    codes.add(200, 6)
    codes.add(503, 2)
    figures = between(before, read(metrics.exposition(), 12.0))
    assert (figures.requests_per_s, figures.errors_per_s) == (4.0, 1.0)


def test_percentiles_are_those_of_what_came_in_between() -> None:
    metrics = pod()
    durations = metrics.histogram("kfunc_request_duration_seconds", "D.", BUCKETS)
    durations.observe(0.05)
    before = read(metrics.exposition(), 0.0)
    for _ in range(10):
        durations.observe(0.005)
    figures = between(before, read(metrics.exposition(), 1.0))
    assert figures.inferences_per_s == 10
    assert figures.p50_s == pytest.approx(0.0055)
    assert figures.p99_s == pytest.approx(0.00991)


def test_a_process_that_was_started_again_counts_from_its_start() -> None:
    old, new = pod(), pod()
    old.codes("kfunc_requests_total", "R.").add(200, 100)
    new.codes("kfunc_requests_total", "R.").add(200, 3)
    assert between(read(old.exposition(), 0.0), read(new.exposition(), 1.0)).requests_per_s == 3


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_outermost_counts_and_not_what_is_behind_it(openmetrics: bool) -> None:
    parts = {name: pod(name) for name in ("handler", "batcher", "logger")}
    for count, metrics in enumerate(parts.values(), 1):
        metrics.codes("kfunc_requests_total", "R.").add(200, count)
    nothing = read("".join(pod(name).exposition() for name in parts), 0.0)
    now = read("".join(metrics.exposition(openmetrics=openmetrics) for metrics in parts.values()), 1.0)
    assert now.outermost == "logger"
    assert between(nothing, now).requests_per_s == 3


def test_batches_and_events_have_figures() -> None:
    metrics = pod("batcher")
    for size in (2, 4):
        metrics.histogram("kfunc_batch_size", "B.", (1.0, 8.0)).observe(size)
        metrics.histogram("kfunc_batch_fill_ratio", "F.", (0.5, 1.0)).observe(size / 4)
    metrics.counter("kfunc_events_delivered_total", "E.").add(0, 6)
    metrics.gauge("kfunc_events_waiting", "W.", lambda: 2.0)
    figures = between(read("", 0.0), read(metrics.exposition(), 2.0))
    assert (figures.batch_size, figures.batch_fill, figures.events_per_s, figures.events_waiting) == (3, 0.75, 3, 2)


@pytest.mark.parametrize("text", ["", "nonsense", "# HELP a", 'kfunc_requests_total{code="200"} many', "\x00{} 1"])
def test_what_is_no_exposition_has_no_figures(text: str) -> None:
    assert between(read(text, 0.0), read(text, 1.0)) == Figures()


@pytest.mark.parametrize(
    ("buckets", "part", "value"),
    [
        ([], 0.5, 0.0),
        ([(1.0, 0.0), (float("inf"), 0.0)], 0.5, 0.0),
        ([(1.0, 10.0), (2.0, 10.0), (float("inf"), 10.0)], 0.5, 0.5),
        ([(1.0, 0.0), (2.0, 10.0), (float("inf"), 10.0)], 0.5, 1.5),
        ([(1.0, 0.0), (2.0, 0.0), (float("inf"), 10.0)], 0.99, 2.0),
    ],
)
def test_a_quantile_is_between_the_bounds_of_its_bucket(buckets: list[tuple[float, float]], part: float, value: float) -> None:
    assert quantile(buckets, part) == value
