"""The last requests: what is kept of them, in which order, and how many."""

from kfunc.http.exchange import Exchange
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.recent import InBatch
from kfunc.telemetry.requests import RequestRecorder

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Nobody:
    """A transmitter that nothing is written to."""


def ended(number: int, **headers: str) -> Exchange:
    given = {name.encode(): value.encode() for name, value in {"x-request-id": f"r{number}", **headers}.items()}
    target = b"/v2/models/iris/infer"
    exchange = Exchange(Nobody(), b"POST", target, list(given.items()), given, True)  # type: ignore[arg-type]
    exchange.status, exchange.compute_s, exchange.body = 200, 0.0015, b"secret"
    return exchange


def test_the_newest_comes_first_and_old_ones_go() -> None:
    recorder = RequestRecorder(Metrics("x"), access_log=False, keep=3)
    for number in range(5):
        recorder.record(ended(number), True)
    assert recorder.recent is not None
    assert [request.request_id for request in recorder.recent.latest()] == ["r4", "r3", "r2"]
    assert [request.request_id for request in recorder.recent.latest(1)] == ["r4"]


def test_a_request_is_shown_with_its_trace_and_times_and_without_its_body() -> None:
    recorder = RequestRecorder(Metrics("x"), access_log=False, keep=3)
    recorder.record(ended(1, traceparent=f"00-{TRACE}-00f067aa0ba902b7-00"), True)
    assert recorder.recent is not None
    (request,) = recorder.recent.latest()
    assert (request.trace_id, request.compute_ms, request.status) == (TRACE, 1.5, 200)
    assert "secret" not in repr(request)


def test_it_is_known_where_it_was_when_its_model_began_and_with_whom_it_was_sent_on() -> None:
    recorder = RequestRecorder(Metrics("handler"), access_log=False, keep=3)
    exchange = ended(1)
    exchange.started_at, exchange.compute_at, exchange.batches = 5.0, 5.25, ((b"b-1", 4),)
    recorder.record(exchange, True)
    assert recorder.recent is not None
    (request,) = recorder.recent.latest()
    assert (request.process, request.compute_at_ms, request.batches) == ("handler", 250.0, (InBatch("b-1", 4),))


def test_requests_for_metadata_push_no_inference_out() -> None:
    recorder = RequestRecorder(Metrics("x"), access_log=False, keep=3)
    recorder.record(ended(0), True)
    for number in range(1, 5):
        recorder.record(ended(number), False)
    assert recorder.recent is not None
    assert [request.request_id for request in recorder.recent.latest()] == ["r0"]


def test_nothing_is_kept_where_nobody_asks() -> None:
    assert RequestRecorder(Metrics("x"), access_log=False).recent is None
