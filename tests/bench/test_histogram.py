import random

import pytest

from kfunc.bench.histogram import Histogram


def filled(*values: float) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@pytest.mark.parametrize("percent", [1.0, 50.0, 90.0, 99.0, 99.9])
def test_a_percentile_is_within_one_percent_of_the_exact_one(percent: float) -> None:
    values = sorted(random.Random(7).lognormvariate(-6, 1.5) for _ in range(20_000))
    exact = values[max(0, -(-len(values) * percent // 100).__int__() - 1)]
    assert filled(*values).percentile(percent) == pytest.approx(exact, rel=0.0101)


def test_no_percentile_is_above_the_largest_value() -> None:
    assert all(filled(value).percentile(99.9) <= value for value in (0.0123, 0.01234, 0.0124, 1e-7))


def test_without_values_all_is_zero() -> None:
    empty = Histogram()
    assert (empty.count, empty.mean, empty.percentile(50)) == (0, 0.0, 0.0)


def test_merged_histograms_hold_the_values_of_both() -> None:
    both = filled(0.001, 0.002)
    both.merge(filled(0.004))
    assert (both.count, both.largest) == (3, 0.004)
    assert both.mean == pytest.approx(0.007 / 3)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-9])
def test_what_is_below_a_microsecond_counts_as_one(value: float) -> None:
    assert filled(value).count == 1


@pytest.mark.parametrize("value", [0.00999, 0.01999, 0.004999, 0.0009999])
def test_a_value_just_below_an_edge_is_in_the_band_below_it(value: float) -> None:
    assert list(filled(*[value] * 100).bands([value / 2, value * 1.0005, value * 2])) == [100, 0]


def test_no_bucket_is_wider_than_one_percent() -> None:
    assert len(filled(*(0.9 + number / 1000 for number in range(200))).counts) >= 20


def test_bands_hold_each_value_once() -> None:
    edges = [0.001, 0.002, 0.005, 0.01]
    assert list(filled(0.0015, 0.0016, 0.003, 0.0099).bands(edges)) == [2, 1, 1]
