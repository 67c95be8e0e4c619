import pytest

from kfunc.bench.results import Plan, Recorder, bottleneck, overload, summarize

CLOSED = Plan(16, 10.0, 1.0, 30.0)
OPEN = Plan(256, 10.0, 1.0, 30.0, rate=100.0)


def test_what_was_due_before_or_after_the_time_that_counts_is_left_out() -> None:
    recorder = Recorder(100.0, 110.0)
    for due_at in (99.9, 100.0, 109.9, 110.0):
        recorder.answered(due_at, due_at, due_at + 0.01, 50)
        recorder.fail(due_at, "status 500")
    result, latencies = summarize(CLOSED, recorder, 1.0)
    assert (result.requests, result.errors, latencies.count) == (2, {"status 500": 2}, 2)
    assert (result.requests_per_s, result.bytes_per_s) == (0.2, 10.0)


def test_a_stall_counts_for_every_request_that_was_due_in_it() -> None:
    """One second of standstill at 100 requests/s: half of a second's requests waited half a second or more."""
    recorder = Recorder(0.0, 1.0)
    for number in range(100):
        recorder.answered(number / 100, 1.0, 1.001, 0)
    result, _ = summarize(OPEN, recorder, 0.1)
    assert result.latency_ms["p50"] == pytest.approx(500, rel=0.03)
    assert result.service_ms["p99"] == pytest.approx(1, rel=0.02)


def test_each_second_has_its_own_figures() -> None:
    recorder = Recorder(0.0, 2.0)
    recorder.answered(0.5, 0.5, 0.51, 0)
    recorder.answered(1.5, 1.5, 1.52, 0)
    recorder.fail(1.6, "timeout")
    seconds = summarize(CLOSED, recorder, 0.0)[0].seconds
    assert [(each.requests, each.errors) for each in seconds] == [(1, 0), (1, 1)]
    assert [each.p50_ms for each in seconds] == pytest.approx([10, 20], rel=0.02)


@pytest.mark.parametrize(("duration_s", "lengths"), [(2.0004, [1.0, 1.0004]), (2.5, [1.0, 1.0, 0.5]), (0.1, [0.1])])
def test_the_last_second_has_what_is_left(duration_s: float, lengths: list[float]) -> None:
    recorder = Recorder(0.0, duration_s)
    last = duration_s - 0.011
    recorder.answered(last, last, last + 0.01, 1)
    recorder.fail(last, "status 500")
    seconds = summarize(CLOSED, recorder, 0.0)[0].seconds
    assert [each.length_s for each in seconds] == lengths
    assert (seconds[-1].requests, seconds[-1].errors) == (1, 1)


def test_what_a_slow_server_answers_after_the_end_is_not_its_rate() -> None:
    """100 requests/s arrive for 10 s after one that does not count, and one is answered each 50 ms."""
    recorder = Recorder(0.0, 10.0)
    for number in range(1100):
        recorder.answered(number / 100 - 1, 0.0, number / 20 - 1, 10)
    result, _ = summarize(OPEN, recorder, 0.1)
    assert result.requests == 1000
    assert result.requests_per_s == pytest.approx(20, rel=0.01)
    assert result.bytes_per_s == pytest.approx(200, rel=0.01)
    assert [each.requests for each in result.seconds] == [20] * 10
    assert overload(result) == "the function answers 20/s of the 100/s that arrive"


@pytest.mark.parametrize("latency_s", [0.001, 3.0, 20.0])
def test_a_function_that_keeps_up_is_not_overloaded_however_long_it_takes(latency_s: float) -> None:
    recorder = Recorder(0.0, 10.0)
    for number in range(1000):
        recorder.answered(number / 100, number / 100, number / 100 + latency_s, 0)
    result, _ = summarize(OPEN, recorder, 0.1)
    assert result.requests_per_s == pytest.approx(100)
    assert overload(result) == ""


def test_a_client_that_was_late_by_little_beside_the_latency_is_not_the_cause() -> None:
    assert bottleneck(OPEN, 0.2, 0.003, 0.006, p99_s=2.0) == ""
    assert bottleneck(OPEN, 0.2, 0.3, 0.006, p99_s=2.0)
    assert bottleneck(CLOSED, 0.95, 0.0, 0.0, p99_s=2.0)


@pytest.mark.parametrize(
    ("plan", "cpu", "late_s", "lag_s", "words"),
    [
        (CLOSED, 0.5, 0.0, 0.001, ""),
        (CLOSED, 0.97, 0.0, 0.0, "the client used 97% of a core"),
        (OPEN, 0.2, 0.0001, 0.0, ""),
        (OPEN, 0.2, 0.02, 0.0, "more than 20.0 ms late"),
        (CLOSED, 0.2, 0.02, 0.0, ""),
        (CLOSED, 0.4, 0.0, 0.012, "woke 12.0 ms late"),
    ],
)
def test_a_client_that_was_the_bottleneck_says_so(plan: Plan, cpu: float, late_s: float, lag_s: float, words: str) -> None:
    told = bottleneck(plan, cpu, late_s, lag_s)
    assert words in told
    assert bool(told) is bool(words)
