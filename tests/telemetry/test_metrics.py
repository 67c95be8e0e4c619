"""Metrics as Prometheus reads them."""

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from kfunc.telemetry.business import BusinessMetrics
from kfunc.telemetry.exposition import merge
from kfunc.telemetry.metrics import LATENCY_BUCKETS, REQUEST_BUCKETS, Metrics
from kfunc.telemetry.samples import Exemplar, Labels
from kfunc.telemetry.slabs import CODES, HEAD, SLAB_DOUBLES

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    """What Prometheus's own parser reads, by name and labels; a series that stands there twice fails."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def series(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted({"component": "handler", **labels}.items()))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("handler")


def test_a_counter_grows_by_what_is_added(metrics: Metrics) -> None:
    counter = metrics.counter("a_total", "A.")
    counter.add()
    counter.add(amount=1.5)
    assert read(metrics.exposition()) == {series("a_total"): 2.5}


def test_a_gauge_is_read_when_it_is_asked_for(metrics: Metrics) -> None:
    values = [1.0, 2.0]
    metrics.gauge("g", "G.", values.pop)
    assert [read(metrics.exposition())[series("g")] for _ in range(2)] == [2.0, 1.0]


def test_a_gauge_that_cannot_be_read_keeps_nobody_from_the_others(metrics: Metrics) -> None:
    metrics.gauge("kfunc_bad", "Raises.", lambda: 1 / 0)
    metrics.gauge("kfunc_good", "Does not.", lambda: 2.0)
    assert read(metrics.exposition()) == {series("kfunc_good"): 2.0}


def test_statuses_are_counted_by_code_and_only_those_that_came(metrics: Metrics) -> None:
    codes = metrics.codes("r_total", "R.")
    for status in (100, 200, 200, 599):
        codes.add(status)
    assert read(metrics.exposition()) == {
        series("r_total", code="100"): 1,
        series("r_total", code="200"): 2,
        series("r_total", code="599"): 1,
    }


def test_a_histogram_counts_up_to_and_including_its_bounds(metrics: Metrics) -> None:
    histogram = metrics.histogram("h", "H.", (0.5, 1.0))
    for value in (0.1, 0.5, 0.7, 5.0):
        histogram.observe(value)
    assert read(metrics.exposition()) == {
        series("h_bucket", le="0.5"): 2,
        series("h_bucket", le="1"): 3,
        series("h_bucket", le="+Inf"): 4,
        series("h_sum"): pytest.approx(6.3),
        series("h_count"): 4,
    }


def test_metrics_beside_each_other_do_not_mix(metrics: Metrics) -> None:
    first, codes, last = metrics.counter("a_total", "A."), metrics.codes("r_total", "R."), metrics.counter("b_total", "B.")
    first.add()
    codes.add(599)
    last.add(amount=3)
    assert read(metrics.exposition()) == {series("a_total"): 1, series("r_total", code="599"): 1, series("b_total"): 3}


def test_more_metrics_than_a_slab_holds_are_refused(metrics: Metrics) -> None:
    for number in range(SLAB_DOUBLES // len(CODES)):
        metrics.codes(f"r{number}_total", "R.")
    with pytest.raises(ValueError, match="too many metrics"):
        metrics.codes("more_total", "R.")


def of_model(model: str) -> Callable[[str, Labels], bool]:
    return lambda name, labels: name.startswith("kfunc_model_") and ("model", model) in labels


def test_series_that_are_forgotten_give_their_room_to_others(metrics: Metrics) -> None:
    for number in range(2 * SLAB_DOUBLES // 10):
        metrics.histogram("kfunc_model_h", "H.", (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0), {"model": f"m{number}"}).observe(1)
        metrics.forget(of_model(f"m{number - 1}"))
    last = f"m{2 * SLAB_DOUBLES // 10 - 1}"
    found = read(metrics.exposition())
    assert {dict(labels)["model"] for _, labels in found} == {last}
    assert found[series("kfunc_model_h_count", model=last)] == 1


def test_what_is_read_when_asked_is_shown_once_and_can_be_forgotten(metrics: Metrics) -> None:
    for value in (1.0, 2.0):
        metrics.gauge("kfunc_model_g", "G.", partial(float, value), {"model": "a"})
    assert read(metrics.exposition()) == {series("kfunc_model_g", model="a"): 2.0}
    metrics.forget(of_model("a"))
    assert read(metrics.exposition()) == {}


@pytest.mark.integration
def test_what_a_worker_forgets_the_others_do_not_show() -> None:
    metrics = Metrics("handler", slabs=2)

    def work() -> None:
        for number in range(3000):  # more than its directory would hold
            metrics.counter("kfunc_model_a_total", "A." * 200, {"model": f"m{number}"}).add()
            metrics.forget(of_model(f"m{number - 1}"))

    in_worker(metrics, 0, work)
    in_worker(metrics, 1, lambda: metrics.counter("kfunc_model_a_total", "A.", {"model": "m2999"}).add())
    assert read(metrics.exposition()) == {series("kfunc_model_a_total", model="m2999"): 2}


@pytest.mark.integration
def test_a_worker_that_ended_while_it_wrote_its_directory_keeps_no_scrape() -> None:
    metrics = Metrics("handler", slabs=2)
    directories = metrics._slabs._directories
    assert directories is not None
    in_worker(metrics, 0, lambda: metrics.counter("a_total", "A.").add())
    HEAD.pack_into(directories, 0, 1, 17)
    assert read(metrics.exposition()) == {}
    in_worker(metrics, 0, lambda: metrics.counter("b_total", "B.").add())
    assert read(metrics.exposition()) == {series("b_total"): 1}


def test_only_the_families_that_are_asked_for_are_shown(metrics: Metrics) -> None:
    metrics.counter("a_total", "A.").add()
    metrics.gauge("b", "B.", lambda: 1.0)
    metrics.gauge("c", "C.", lambda: 1.0)
    assert read(metrics.exposition(names={"a_total", "c"})) == {series("a_total"): 1, series("c"): 1}


@pytest.mark.integration
def test_workers_that_were_forked_add_up() -> None:
    metrics = Metrics("handler", slabs=3)
    counter = metrics.counter("a_total", "A.")
    for slab in range(3):
        child = os.fork()
        if child == 0:
            metrics.attach(slab)
            counter.add(amount=10.0**slab)
            os._exit(0)
        os.waitpid(child, 0)
    assert read(metrics.exposition()) == {series("a_total"): 111}


def test_two_processes_texts_are_merged_family_by_family() -> None:
    texts = []
    for component, count in (("logger", 1.0), ("handler", 2.0)):
        metrics = Metrics(component)
        metrics.counter("a_total", "A.").add(amount=count)
        metrics.histogram(f"h_{component}", "H.", (1.0,)).observe(count)
        texts.append(metrics.exposition())
    merged = merge(texts)
    assert merged.count("# TYPE a_total counter\n") == 1
    found = read(merged)
    assert (found["a_total", (("component", "logger"),)], found[series("a_total")]) == (1, 2)
    assert found[series("h_handler_count")] == 1


@pytest.mark.parametrize("text", ["", "\n", "# TYPE\n", "# TYPE a counter\na 1\n", "a 1\n", "# a comment\n", "nonsense"])
def test_whatever_another_process_says_what_is_ours_is_shown(text: str) -> None:
    metrics = Metrics("handler")
    metrics.counter("b_total", "B.").add()
    assert 'b_total{component="handler"} 1\n' in merge([metrics.exposition(), text])


def in_worker(metrics: Metrics, slab: int, work: Callable[[], object]) -> None:
    """Do something in a worker that was forked, and has this slab."""
    child = os.fork()
    if child == 0:
        metrics.attach(slab)
        work()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.integration
def test_what_workers_count_on_their_own_adds_up_too() -> None:
    metrics = Metrics("handler", slabs=2)
    in_worker(metrics, 0, lambda: metrics.counter("b_total", "B.", {"kind": "x"}).add())
    in_worker(metrics, 1, lambda: metrics.counter("c_total", "C.").add())
    in_worker(metrics, 1, lambda: metrics.counter("b_total", "B.", {"kind": "x"}).add(amount=2))
    assert read(metrics.exposition()) == {series("b_total", kind="x"): 3, series("c_total"): 1}


@pytest.mark.integration
@pytest.mark.parametrize(("combine", "expected"), [("last", 12), ("max", 20), ("min", 5), ("sum", 37)])
def test_workers_gauges_combine_as_the_gauge_says(combine: str, expected: float) -> None:
    metrics = Metrics("handler", slabs=3)
    for slab, value in ((1, 20), (2, 5), (0, 12)):
        stock = BusinessMetrics(metrics).gauge("stock", "Pieces.", combine=combine)
        in_worker(metrics, slab, partial(stock.set, value))
    assert read(metrics.exposition()) == {series("stock"): expected}


@pytest.mark.integration
def test_a_gauge_that_all_workers_set_alike_is_shown_once() -> None:
    metrics = Metrics("handler", slabs=2)
    stock = BusinessMetrics(metrics).gauge("stock", "Pieces.")
    for slab in (0, 1):
        in_worker(metrics, slab, partial(stock.set, 12))
    assert read(metrics.exposition()) == {series("stock"): 12}


@pytest.mark.integration
def test_a_worker_in_anothers_place_goes_on_counting_and_forgets_its_gauges() -> None:
    metrics = Metrics("handler", slabs=2)

    def work() -> None:
        metrics.counter("b_total", "B.").add()
        metrics.level("in_flight", "F.").add(1)

    for slab in (0, 1, 1):
        in_worker(metrics, slab, work)
    assert read(metrics.exposition()) == {series("b_total"): 3, series("in_flight"): 2}


def test_a_gauge_that_nobody_has_set_is_not_shown(metrics: Metrics) -> None:
    level = metrics.level("g", "G.")
    assert read(metrics.exposition()) == {}
    level.set(0)
    assert read(metrics.exposition()) == {series("g"): 0}


def test_one_name_is_of_one_kind(metrics: Metrics) -> None:
    metrics.counter("a_total", "A.")
    with pytest.raises(ValueError, match="a counter already"):
        metrics.level("a_total", "A.")


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan"), 1e300])
def test_any_number_can_be_shown(metrics: Metrics, value: float) -> None:
    metrics.gauge("g", "G.", lambda: value)
    assert str(read(metrics.exposition())[series("g")]) == str(value)


def test_openmetrics_is_as_its_own_parser_wants_it_with_exemplars(metrics: Metrics) -> None:
    metrics.counter("a_total", "A.").add()
    histogram = metrics.histogram("h", "H.", (0.5, 1.0))
    histogram.observe(0.7)
    histogram.exemplars[1] = Exemplar(0.7, b"a" * 32, b"b" * 16, 1_795_262_400.5)
    text = merge([metrics.exposition(openmetrics=True), Metrics("batcher").exposition(openmetrics=True)])
    families = {family.name: family for family in openmetrics_families(text)}  # type: ignore[no-untyped-call]
    assert families["a"].type == "counter"
    (bucket,) = [sample for sample in families["h"].samples if sample.labels.get("le") == "1.0"]
    assert bucket.exemplar.labels == {"trace_id": "a" * 32, "span_id": "b" * 16}
    assert (bucket.exemplar.value, float(bucket.exemplar.timestamp)) == (0.7, 1_795_262_400.5)


def test_requests_have_finer_buckets_and_those_of_all_other_times_among_them() -> None:
    assert set(LATENCY_BUCKETS) < set(REQUEST_BUCKETS)
    assert list(REQUEST_BUCKETS) == sorted(REQUEST_BUCKETS)
    fine = [bound for bound in REQUEST_BUCKETS if 0.001 <= bound <= 10]
    assert max(high / low for low, high in pairwise(fine)) < 1.3
    assert {0.00125, 0.0063, 0.1, 3.15} < set(REQUEST_BUCKETS)
