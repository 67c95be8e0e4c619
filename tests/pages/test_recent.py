import pytest
from msgspec.structs import replace

from kfunc.pages.recent import MAX_TEXT, MOST, joined
from kfunc.pages.waterfall import Span
from kfunc.telemetry.recent import InBatch, Request

OUTER = Request(1.0, "POST", "/v2/models/iris/infer", 200, 9.0, 0.0, 0.0, 0.0, 100, "a-1", "")


def test_a_request_has_the_times_of_the_processes_behind() -> None:
    batcher, handler = replace(OUTER, batch_ms=3.0), replace(OUTER, queue_ms=1.0, compute_ms=4.0, trace_id="7" * 32)
    [shown] = joined([[OUTER], [batcher], [handler]])
    assert (shown.duration_ms, shown.batch_ms, shown.queue_ms, shown.compute_ms) == (9.0, 3.0, 1.0, 4.0)
    assert shown.trace_id == "7" * 32


def test_one_that_no_other_process_knows_is_shown_as_it_is() -> None:
    [shown] = joined([[OUTER], [replace(OUTER, request_id="b-2", compute_ms=4.0)]])
    assert (shown.request_id, shown.compute_ms, len(shown.spans)) == ("a-1", 0.0, 1)


def test_an_id_that_a_caller_uses_again_mixes_no_requests() -> None:
    outer = [replace(OUTER, at_s=float(second)) for second in (3, 2, 1)]
    inner = [replace(OUTER, at_s=float(second), compute_ms=float(second)) for second in (3, 2, 1)]
    assert [(each.compute_ms, len({span.process for span in each.spans})) for each in joined([outer, inner])] == [
        (3.0, 1),
        (2.0, 1),
        (1.0, 1),
    ]


def test_only_what_was_posted_is_a_request_here() -> None:
    assert [each.method for each in joined([[replace(OUTER, method="GET"), OUTER]])] == ["POST"]


def test_their_number_and_their_paths_have_bounds() -> None:
    shown = joined([[replace(OUTER, path="/" * 9000)] * 200])
    assert (len(shown), len(shown[0].path)) == (MOST, MAX_TEXT)


def test_a_pod_that_keeps_none_shows_none() -> None:
    assert joined([[]]) == joined([]) == []


def ended(process: str, began_ms: float, duration_ms: float, **more: object) -> Request:
    """A request that came `began_ms` after the moment 1 s."""
    at_s = 1.0 + (began_ms + duration_ms) / 1e3
    return replace(OUTER, process=process, at_s=at_s, duration_ms=duration_ms, **more)


HANDLER = {"compute_at_ms": 1.5, "queue_ms": 1.0, "compute_ms": 4.0}


def waterfall(*processes: Request) -> list[Span]:
    [shown] = joined([[each] for each in processes])
    return shown.spans


def test_a_request_has_its_spans_in_the_order_of_the_processes() -> None:
    assert waterfall(ended("logger", 0.0, 9.0), ended("handler", 2.0, 6.0, **HANDLER)) == [
        Span("logger", "", 0.0, 9.0),
        Span("handler", "", 2.0, 6.0),
        Span("handler", "decode", 2.0, 0.5, 1),
        Span("handler", "queue", 2.5, 1.0, 1),
        Span("handler", "model", 3.5, 4.0, 1),
        Span("handler", "encode", 7.5, 0.5, 1),
    ]


def test_a_merged_request_has_its_wait_and_the_models_time_by_the_batchs_id() -> None:
    batcher = ended("batcher", 0.5, 8.0, batch_ms=1.5, batches=(InBatch("batch-1", 3),))
    handler = ended("handler", 2.0, 6.0, request_id="batch-1", **HANDLER)
    [shown] = joined([[ended("logger", 0.0, 9.0)], [batcher], [handler, replace(handler, request_id="batch-2")]])
    assert (shown.batch_ms, shown.queue_ms, shown.compute_ms) == (1.5, 1.0, 4.0)
    names = [(each.process, each.name, each.requests) for each in shown.spans]
    assert names[:5] == [
        ("logger", "", 0),
        ("batcher", "", 0),
        ("batcher", "wait for batch", 0),
        ("handler", "", 3),
        ("handler", "decode", 3),
    ]
    assert len(names) == 8


@pytest.mark.parametrize("began_ms", [-0.01, -500.0])
def test_a_clock_that_was_set_puts_no_span_before_the_request(began_ms: float) -> None:
    assert waterfall(ended("logger", 0.0, 9.0), ended("handler", began_ms, 6.0))[1].at_ms == 0.0
