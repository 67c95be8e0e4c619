"""Metrics of a handler's own code: what is shown, how many series there can be, what is refused."""

import pytest

from kfunc.telemetry.business import MAX_SERIES, BusinessMetrics
from kfunc.telemetry.metrics import Metrics
from tests.telemetry.test_metrics import read, series


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("handler")


def test_instruments_are_shown_with_kfuncs_own(metrics: Metrics) -> None:
    business = BusinessMetrics(metrics)
    orders = business.counter("orders", "Orders.", labels=("kind",))
    orders.add(kind="a")
    orders.add(2, kind="a")
    stock = business.gauge("stock", "Stock.")
    stock.set(5)
    stock.add(-2)
    business.histogram("amount", "Amounts.", buckets=(10, 100)).observe(20)
    found = read(metrics.exposition())
    assert found[series("orders_total", kind="a")] == 3
    assert found[series("stock")] == 3
    assert found[series("amount_bucket", le="100")] == 1


def test_however_many_values_a_label_takes_the_series_are_bounded(metrics: Metrics) -> None:
    users = BusinessMetrics(metrics).counter("users_total", "Users.", labels=("user",))
    for number in range(10 * MAX_SERIES):
        users.add(user=f"user-{number}")
    found = read(metrics.exposition())
    assert len(found) == MAX_SERIES + 1
    assert found[series("users_total", user="other")] == 9 * MAX_SERIES


def test_more_metrics_than_there_is_room_for_fail_no_request(metrics: Metrics) -> None:
    business = BusinessMetrics(metrics)
    for number in range(600):
        business.histogram(f"h{number}", "H.").observe(1)
    assert series("h0_count") in read(metrics.exposition())


@pytest.mark.parametrize("name", ["", "1a", "a-b", "kfunc_requests", "a b", "ä"])
def test_a_name_that_cannot_be_used_is_refused(metrics: Metrics, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a metric's name"):
        BusinessMetrics(metrics).gauge(name, "X.")


def test_a_gauge_that_combines_in_no_known_way_is_refused_with_the_ways_there_are(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="'mean': choose one of last, max, min, sum"):
        BusinessMetrics(metrics).gauge("x", "X.", combine="mean")


@pytest.mark.parametrize("label", ["component", "le", "__name__", "a-b", ""])
def test_a_label_that_cannot_be_used_is_refused(metrics: Metrics, label: str) -> None:
    with pytest.raises(ValueError, match="cannot be a label"):
        BusinessMetrics(metrics).gauge("x", "X.", labels=(label,))


@pytest.mark.parametrize("labels", [{}, {"kind": 1, "more": 2}, {"other": 1}])
def test_other_labels_than_declared_are_refused(metrics: Metrics, labels: dict[str, object]) -> None:
    orders = BusinessMetrics(metrics).counter("orders_total", "Orders.", labels=("kind",))
    with pytest.raises(ValueError, match="the labels of orders_total are kind"):
        orders.add(**labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("amount", [-1, float("nan")])
def test_a_counter_only_grows(metrics: Metrics, amount: float) -> None:
    with pytest.raises(ValueError, match="only grows"):
        BusinessMetrics(metrics).counter("a", "A.").add(amount)


def test_labels_of_any_text_are_one_series_each(metrics: Metrics) -> None:
    kinds = BusinessMetrics(metrics).counter("k", "K.", labels=("kind",))
    for kind in ('a"b', "a\nb", "a\\b", "ü", ""):
        kinds.add(kind=kind)
    assert sum(read(metrics.exposition()).values()) == 5


def test_what_a_worker_process_was_told_is_shown_by_its_parent(metrics: Metrics) -> None:
    worker, parent = BusinessMetrics(keep=True), BusinessMetrics(metrics)
    worker.counter("a", "A.").add(2)
    worker.gauge("b", "B.", combine="max").set(4)
    parent.apply(worker.take())
    parent.apply(worker.take())
    assert read(metrics.exposition()) == {series("a_total"): 2, series("b"): 4}


def test_without_a_server_instruments_do_nothing() -> None:
    BusinessMetrics().counter("a", "A.").add()
