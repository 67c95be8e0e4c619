"""Metrics of a handler's own code: what is shown, how many series there can be, what is refused."""

from collections.abc import Callable

import pytest

from kfunc.telemetry import figures
from kfunc.telemetry.business import MAX_SERIES, BusinessMetrics
from kfunc.telemetry.exposition import merge
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
    for number in range(1000):
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
    texts = ('a"b', "a\nb", "a\\b", "a\rb", "a\x0bb", "a\x85b", "a\u2028b", "ü", "", "\ud800", "x" * 1000)
    for kind in texts:
        kinds.add(kind=kind)
    text = merge([metrics.exposition()])
    assert len(text.encode()) < 2000
    assert len(text.split("\n")) == len(texts) + 3
    assert len(figures.read(text, 0.0).series["k_total"]) == len(texts)


CLASHES: list[tuple[Callable[[BusinessMetrics], object], Callable[[BusinessMetrics], object]]] = [
    (lambda made: made.counter("x_total", "X."), lambda made: made.gauge("x_total", "X.")),
    (lambda made: made.counter("orders", "O."), lambda made: made.gauge("orders", "O.")),
    (lambda made: made.gauge("stock", "S."), lambda made: made.histogram("stock", "S.", ("a",))),
    (lambda made: made.histogram("h", "H."), lambda made: made.histogram("h", "H.", buckets=(1, 2))),
    (lambda made: made.histogram("h", "H."), lambda made: made.gauge("h_sum", "H.")),
    (lambda made: made.gauge("g", "G."), lambda made: made.gauge("g", "G.", combine="sum")),
]


@pytest.mark.parametrize(("first", "second"), CLASHES)
def test_a_name_that_is_another_metrics_is_refused(
    metrics: Metrics, first: Callable[[BusinessMetrics], object], second: Callable[[BusinessMetrics], object]
) -> None:
    business = BusinessMetrics(metrics)
    first(business)
    first(business)
    with pytest.raises(ValueError, match="another name"):
        second(business)


def test_what_another_process_calls_otherwise_is_not_shown_and_said_once(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    worker, parent = BusinessMetrics(keep=True), BusinessMetrics(metrics)
    worker.gauge("orders", "O.").set(1)
    parent.counter("orders", "O.").add()
    for _ in range(2):
        worker.gauge("orders", "O.").set(1)
        parent.apply(worker.take())
    assert read(metrics.exposition()) == {series("orders_total"): 1}
    assert len(caplog.messages) == 1


def test_a_last_bucket_without_a_bound_may_be_named(metrics: Metrics) -> None:
    BusinessMetrics(metrics).histogram("h", "H.", buckets=(1, float("inf"))).observe(2)
    assert read(metrics.exposition())[series("h_bucket", le="+Inf")] == 1


@pytest.mark.parametrize("buckets", [(2, 1), (1, 1), (float("nan"),), (1, float("nan"), 2), (float("inf"), 1)])
def test_buckets_that_do_not_grow_are_refused(metrics: Metrics, buckets: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="must be numbers that grow"):
        BusinessMetrics(metrics).histogram("h", "H.", buckets=buckets)


def test_a_label_that_is_named_twice_is_refused(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="named twice"):
        BusinessMetrics(metrics).counter("a", "A.", ("a", "a"))


def test_what_a_worker_process_was_told_is_shown_by_its_parent(metrics: Metrics) -> None:
    worker, parent = BusinessMetrics(keep=True), BusinessMetrics(metrics)
    worker.counter("a", "A.").add(2)
    worker.gauge("b", "B.", combine="max").set(4)
    parent.apply(worker.take())
    parent.apply(worker.take())
    assert read(metrics.exposition()) == {series("a_total"): 2, series("b"): 4}


def test_what_is_kept_for_the_parent_is_one_update_a_series(metrics: Metrics) -> None:
    worker, parent = BusinessMetrics(keep=True), BusinessMetrics(metrics)
    for number in range(1000):
        worker.counter("a", "A.").add(2)
        worker.gauge("set", "G.").set(number)
        worker.gauge("set", "G.").add(1)
        worker.gauge("added", "G.", combine="sum").add(1)
        worker.histogram("h", "H.", buckets=(10, 500)).observe(number)
        worker.counter("users", "U.", ("user",)).add(user=number)
    updates = worker.take()
    assert len(updates) == 4 + MAX_SERIES + 1
    parent.apply(updates)
    found = read(metrics.exposition())
    assert (found[series("a_total")], found[series("set")], found[series("added")]) == (2000, 1000, 1000)
    assert (found[series("h_bucket", le="10")], found[series("h_count")], found[series("h_sum")]) == (11, 1000, 499500)


def test_without_a_server_instruments_do_nothing() -> None:
    BusinessMetrics().counter("a", "A.").add()
