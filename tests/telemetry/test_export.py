"""Spans on their way: taken, refused, tried again, dropped and counted; a collector that is away holds up nobody."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

from kfunc.config.pod import PodConfig
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.otlp import INTERNAL, Span, attributes
from kfunc.telemetry.otlp_metrics import Values, carried_on
from kfunc.telemetry.samples import Family, Sample
from kfunc.telemetry.sending import Telemetry
from tests.telemetry.receiver import Collector, GrpcCollector
from tests.telemetry.test_metrics import Samples, read, series

pytestmark = pytest.mark.integration


def span(number: int = 1) -> Span:
    now = time.perf_counter()
    about = attributes({"text": "ä", "number": -3, "ratio": 0.5, "yes": True})
    return Span(b"%032x" % number, b"%016x" % number, b"", "compute", INTERNAL, now - 0.001, now, about)


def send(work: Callable[[Telemetry], Awaitable[None]], url: str, more: dict[str, str], grace_s: float = 2.0) -> Samples:
    """Do something with a process's telemetry, end it, and give what was counted."""
    metrics = Metrics("handler")
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "10", **more}

    async def main() -> None:
        telemetry = Telemetry(PodConfig(function="iris"), metrics, environ, outermost=True)
        telemetry.start()
        await work(telemetry)
        await telemetry.close(grace_s)

    asyncio.run(main())
    return read(metrics.exposition())


def adding(count: int) -> Callable[[Telemetry], Awaitable[None]]:
    async def work(telemetry: Telemetry) -> None:
        assert telemetry.spans is not None
        for number in range(1, count + 1):
            telemetry.spans.add(span(number))

    return work


def dropped(found: Samples, reason: str) -> float:
    return found[series("kfunc_spans_dropped_total", reason=reason)]


@pytest.mark.parametrize("more", [{}, {"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_HEADERS": "a=b%20c"}])
def test_what_was_added_arrives_at_the_end_of_the_process(more: dict[str, str]) -> None:
    with Collector() as collector:
        found = send(adding(1200), collector.url, more)
        assert len(collector.spans) == 1200
        assert found[series("kfunc_spans_exported_total")] == 1200
        assert {path for path, _, _ in collector.requests} == {"/v1/traces"}
        assert {headers.get("a") for _, headers, _ in collector.requests} == ({"b c"} if more else {None})
        assert collector.spans[0].attributes == {"text": "ä", "number": -3, "ratio": 0.5, "yes": True}


def test_it_goes_over_grpc_as_well() -> None:
    with GrpcCollector() as collector:
        send(adding(3), collector.url, {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_HEADERS": "tenant=a"})
        assert len(collector.spans) == 3
        assert collector.requests[0][1]["tenant"] == "a"


def test_a_collector_that_is_away_costs_counted_drops_and_no_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    began_at = time.monotonic()
    found = send(adding(60), url, {"OTEL_BSP_MAX_QUEUE_SIZE": "50"})
    assert time.monotonic() - began_at < 2
    assert (dropped(found, "full"), dropped(found, "lost")) == (10, 50)


def test_a_collector_that_never_answers_is_waited_for_no_longer_than_the_grace() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began_at = time.monotonic()
        found = send(adding(3), f"http://127.0.0.1:{silent.getsockname()[1]}", {}, grace_s=0.3)
    assert time.monotonic() - began_at < 2
    assert dropped(found, "lost") == 3


def test_what_a_collector_refuses_is_not_sent_again() -> None:
    with Collector(status=400) as collector:
        found = send(adding(3), collector.url, {})
        assert len(collector.requests) == 1
    assert dropped(found, "refused") == 3


def test_what_it_takes_only_in_part_is_counted_so() -> None:
    with Collector(answer=b"\x0a\x02\x08\x02") as collector:  # partial_success {rejected_spans: 2}
        found = send(adding(3), collector.url, {})
    assert (found[series("kfunc_spans_exported_total")], dropped(found, "refused")) == (1, 2)


def test_a_collector_that_is_busy_gets_it_again() -> None:
    with Collector(status=503) as collector:

        async def work(telemetry: Telemetry) -> None:
            await adding(3)(telemetry)
            await asyncio.to_thread(collector.wait_for, lambda: collector.requests)
            collector.status = 200
            await asyncio.sleep(1.0)

        found = send(work, collector.url, {})
        assert len(collector.requests) == 2
    assert found[series("kfunc_spans_exported_total")] == 3


def test_metrics_are_pushed_at_the_end_since_nobody_may_scrape_them_any_more() -> None:
    with Collector() as collector:
        send(adding(2), collector.url, {"OTEL_METRICS_EXPORTER": "otlp"})
        points = {point.name: point for point in collector.points}
    exported = points["kfunc_spans_exported_total"]
    assert (exported.value, exported.attributes["component"], exported.resource["service.name"]) == (2, "handler", "iris")


def test_deltas_add_up() -> None:
    with Collector() as collector:

        async def work(telemetry: Telemetry) -> None:
            await adding(2)(telemetry)
            await asyncio.sleep(0.3)
            await adding(3)(telemetry)
            await asyncio.sleep(0.3)

        preference = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta", "OTEL_METRIC_EXPORT_INTERVAL": "100"}
        send(work, collector.url, {"OTEL_METRICS_EXPORTER": "otlp"} | preference)
        values = [point.value for point in collector.points if point.name == "kfunc_spans_exported_total"]
    assert len(values) > 2
    assert sum(values) == 5


@pytest.mark.parametrize("preference", ["delta", "cumulative"])
def test_a_worker_in_anothers_place_does_not_send_what_that_one_has_sent(preference: str) -> None:
    metrics = Metrics("handler", slabs=2)
    counter = metrics.counter("t_total", "T.")
    histogram = metrics.histogram("h", "H.", (1.0,))

    async def live(count: int) -> None:
        metrics.attach(0)
        telemetry = Telemetry(PodConfig(function="iris"), metrics, environ, outermost=True)
        for _ in range(count):
            counter.add()
            histogram.observe(2)
        await telemetry.close(1.0)

    with Collector() as collector:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference,
        }
        for count in (5, 1):
            asyncio.run(live(count))
        points = collector.points
    assert [point.value for point in points if point.name == "t_total"] == [5, 1]
    assert [(point.value, point.sum) for point in points if point.name == "h"] == [(5, 10), (1, 2)]


def test_one_batch_that_is_refused_at_the_end_loses_no_other() -> None:
    with Collector() as collector:
        collector.statuses = [400]
        found = send(adding(6), collector.url, {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"})
    assert (found[series("kfunc_spans_exported_total")], dropped(found, "refused"), dropped(found, "lost")) == (4, 2, 0)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://collector..svc:4318", "no connection to collector..svc:4318: "),
        ("http://127.0.0.1:1", "no connection to 127.0.0.1:1: "),
    ],
)
def test_a_collector_that_cannot_be_reached_is_named_with_the_cause(
    url: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(telemetry: Telemetry) -> None:
        await adding(1)(telemetry)
        await asyncio.sleep(0.2)

    send(work, url, {})
    assert reason in caplog.text


def test_a_collector_of_http_behind_https_is_told_as_such(caplog: pytest.LogCaptureFixture) -> None:
    async def work(telemetry: Telemetry) -> None:
        await adding(1)(telemetry)
        await asyncio.sleep(0.5)

    with Collector() as collector:
        send(work, collector.url.replace("http:", "https:"), {})
    assert "SSL" in caplog.text


def test_a_series_that_was_forgotten_and_began_anew_is_sent_whole_from_then_on() -> None:
    before: Values = {("n", ()): Sample((), 100.0), ("gone", ()): Sample((), 1.0)}
    kept = []
    for value in (100.0, 130.0, 0.0, 50.0, 150.0):
        before = carried_on(before, [Family("n", "counter", "", [Sample((), value)])])
        kept.append([sample.value for sample in before.values() if isinstance(sample, Sample)])
    assert kept == [[100.0], [100.0], [], [], []]
