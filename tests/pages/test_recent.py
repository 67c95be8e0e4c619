from msgspec.structs import replace

from kfunc.pages.recent import MAX_TEXT, MOST, joined
from kfunc.telemetry.recent import Request

OUTER = Request(1.0, "POST", "/v2/models/iris/infer", 200, 9.0, 0.0, 0.0, 0.0, 100, "a-1", "")


def test_a_request_has_the_times_of_the_processes_behind() -> None:
    batcher, handler = replace(OUTER, batch_ms=3.0), replace(OUTER, queue_ms=1.0, compute_ms=4.0, trace_id="7" * 32)
    [shown] = joined([[OUTER], [batcher], [handler]])
    assert (shown.duration_ms, shown.batch_ms, shown.queue_ms, shown.compute_ms) == (9.0, 3.0, 1.0, 4.0)
    assert shown.trace_id == "7" * 32


def test_one_that_no_other_process_knows_is_shown_as_it_is() -> None:
    assert joined([[OUTER], [replace(OUTER, request_id="b-2", compute_ms=4.0)]]) == [OUTER]


def test_only_what_was_posted_is_a_request_here() -> None:
    assert joined([[replace(OUTER, method="GET"), OUTER]]) == [OUTER]


def test_their_number_and_their_paths_have_bounds() -> None:
    shown = joined([[replace(OUTER, path="/" * 9000)] * 200])
    assert (len(shown), len(shown[0].path)) == (MOST, MAX_TEXT)


def test_a_pod_that_keeps_none_shows_none() -> None:
    assert joined([[]]) == joined([]) == []
