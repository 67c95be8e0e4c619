"""Intervals and quantiles against values that were worked out elsewhere."""

import pytest

from kfunc.rollout.exposition import read_exposition
from kfunc.rollout.statistics import (
    CHANCE,
    Sample,
    added,
    difference,
    grown,
    holm,
    is_above_all,
    mean,
    p_value,
    proportion,
    quantile,
    sure,
    sure_difference,
)

BOUNDS = [0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (10, 10, 0.7225, 1.0)],
)
def test_a_rate_has_wilsons_interval(hits: int, total: int, low: float, high: float) -> None:
    found = proportion(hits, total)
    assert [found.low, found.high] == pytest.approx([low, high], abs=1e-4)


def test_a_difference_has_newcombes_interval() -> None:
    found = difference(56, 70, 48, 80)  # Newcombe 1998, example (a), method 10
    assert (round(found.value, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


def test_a_quantile_is_read_between_the_bounds_of_its_bucket() -> None:
    sample = Sample(100, 0, BOUNDS, [50, 40, 10, 0], 12.0)
    assert quantile(sample, 0.5).value == pytest.approx(0.1)
    assert quantile(sample, 0.7).value == pytest.approx(0.15)
    assert (quantile(sample, 0.7).low, quantile(sample, 0.7).high) == (0.1, 0.2)


def test_times_above_the_last_bound_count_as_it() -> None:
    slow = Sample(10, 0, BOUNDS, [0, 0, 0, 10], 50.0)
    assert (quantile(slow, 0.99).value, is_above_all(slow, 0.99), is_above_all(slow, 0.0)) == (0.4, True, True)
    assert not is_above_all(Sample(10, 0, BOUNDS, [0, 0, 10, 0], 50.0), 0.99)


def test_a_quantile_of_nothing_can_be_anything() -> None:
    assert quantile(Sample(), 0.99).high == float("inf")


@pytest.mark.parametrize(("bound", "most"), [(0.01, 1000), (0.001, 3000), (0.05, 500), (0.3, 300)])
def test_a_bound_that_is_kept_is_found_broken_at_any_of_all_looks_less_often_than_promised(bound: float, most: int) -> None:
    left, broken, first = [1.0], 0.0, 1  # the chance of so many errors, and of having been over the bound
    for total in range(1, most + 1):
        left = [was * (1 - bound) + fewer * bound for was, fewer in zip([*left, 0.0], [0.0, *left], strict=True)]
        while first <= total and sure(first, total).low <= bound:
            first += 1
        broken += sum(left[first:])
        left = left[:first]
    assert 0 < broken < CHANCE


@pytest.mark.parametrize(
    ("hits", "total", "bound", "is_over"),
    [(10, 20, 0.01, True), (4, 10, 0.01, True), (3, 10, 0.01, False), (1, 10, 0.001, False), (1, 10, 0.0, True),
     (28, 1000, 0.01, True), (20, 1000, 0.01, False), (10, 10, 1.0, False)],
)  # fmt: skip
def test_a_rate_is_surely_over_a_bound_or_not(hits: int, total: int, bound: float, is_over: bool) -> None:
    assert (sure(hits, total).low > bound) is is_over


def test_what_is_sure_is_within_what_is_possible() -> None:
    assert (sure(0, 0).low, sure(0, 0).high) == (0.0, 1.0)
    assert (sure(0, 50).low, sure(50, 50).high) == (0.0, 1.0)
    assert sure(3.5, 50.2).low < 3.5 / 50.2 < sure(3.5, 50.2).high  # Prometheus extrapolates
    gap = sure_difference(60, 100, 5, 100)
    assert 0 < gap.low < gap.value == pytest.approx(0.55)


def test_the_chance_of_a_difference_is_that_of_two_proportions() -> None:
    assert p_value(45, 1000, 30, 1000) == pytest.approx(0.0775, abs=1e-4)
    assert p_value(0, 10, 0, 10) == 1.0
    assert p_value(1, 0, 1, 5) == 1.0


@pytest.mark.parametrize(
    ("counts", "chance"),
    [((1, 50, 0, 900), 50 / 950), ((3, 10, 0, 10), 0.2105), ((8, 10, 1, 6), 0.0350), ((3, 4, 1, 4), 0.4857)],
)
def test_of_few_errors_it_is_fishers(counts: tuple[int, int, int, int], chance: float) -> None:
    assert p_value(*counts) == pytest.approx(chance, abs=1e-4)


def test_several_comparisons_at_once_are_corrected() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_counters_that_began_anew_count_from_zero() -> None:
    before = Sample(100, 5, BOUNDS, [90, 5, 5, 0], 9.0)
    assert grown(Sample(130, 6, BOUNDS, [115, 8, 7, 0], 12.0), before) == Sample(30, 1, BOUNDS, [25, 3, 2, 0], 3.0)
    restarted = Sample(7, 0, BOUNDS, [7, 0, 0, 0], 0.1)
    assert grown(restarted, before) == restarted


def test_samples_add_up() -> None:
    one = Sample(10, 1, BOUNDS, [9, 1, 0, 0], 1.0)
    assert added(Sample(), one) == one
    assert added(one, one) == Sample(20, 2, BOUNDS, [18, 2, 0, 0], 2.0)
    assert mean(one) == pytest.approx(0.1)


EXPOSITION = """\
# HELP kfunc_requests_total Requests by status.
# TYPE kfunc_requests_total counter
kfunc_requests_total{component="handler",code="200"} 99
kfunc_requests_total{component="logger",code="200"} 7
kfunc_requests_total{component="logger",code="503"} 2
kfunc_requests_total{component="logger",code="404"} 1
kfunc_request_duration_seconds_bucket{component="logger",le="0.1"} 6 # {trace_id="4bf92f"} 0.07 1.5e9
kfunc_request_duration_seconds_bucket{component="logger",le="0.2"} 8
kfunc_request_duration_seconds_bucket{component="logger",le="+Inf"} 9
kfunc_request_duration_seconds_sum{component="logger"} 1.5
kfunc_request_duration_seconds_count{component="logger"} 9
kfunc_batch_size_bucket{component="batcher",le="1"} 4
"""


def test_of_a_whole_pods_metrics_the_outermost_process_counts() -> None:
    assert read_exposition(EXPOSITION) == Sample(10, 2, [0.1, 0.2], [6, 2, 1], 1.5)


@pytest.mark.parametrize("text", ["", "kfunc_requests_total{", 'kfunc_requests_total{component="logger"} x', "\x00}{"])
def test_text_that_is_no_exposition_is_an_empty_sample(text: str) -> None:
    assert read_exposition(text) == Sample()
