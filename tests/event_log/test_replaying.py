"""What of a logged request is sent again, and what is said of its new answer."""

import gzip
from typing import Any

import pytest

from kfunc.client.wire import Answer
from kfunc.event_log.pairing import pair
from kfunc.event_log.replaying import DIFFERENT, JSON_LENGTH, SAME, UNCOMPARED, Outcome, Skipped, Summary, judge, request_of
from kfunc.logger_sidecar.record import HAS_REQUEST, HAS_RESPONSE, REQUEST_REDACTED, CallRecord, Payload
from tests.event_log.logs import call, stored

BOTH = HAS_REQUEST | HAS_RESPONSE


def request(record: CallRecord, compat: str = "none", endpoint: str = "") -> Any:
    return request_of(stored(record, compat=compat)[0], 5.0, endpoint)


def test_a_request_goes_to_its_path_as_it_came() -> None:
    again = request(call(3))
    assert (again.method, again.path, again.body) == ("POST", "/v1/models/iris:predict", b'{"instances":[[3]]}')
    assert again.headers == {"content-type": "application/json", "x-request-id": "call-3"}


def test_a_compressed_request_with_binary_tensors_says_so_again() -> None:
    body = Payload(b"\x1f\x8b\x00", 3, b"application/octet-stream", b"gzip", b"42")
    headers = request(call(request=body)).headers
    assert (headers["content-encoding"], headers["inference-header-content-length"]) == ("gzip", "42")


def test_header_fields_that_were_logged_are_sent_again_but_for_those_of_the_connection() -> None:
    headers = request(call(headers=b'{"x-user":"ann","Host":"a"}')).headers
    assert headers["x-user"] == "ann"
    assert "host" not in headers


def test_another_path_can_be_given() -> None:
    assert request(call(), endpoint="/v2/models/next/infer").path == "/v2/models/next/infer"


@pytest.mark.parametrize(
    ("body", "path"), [(b'{"instances":[1]}', "/v1/models/iris:predict"), (b'{"inputs":[]}', "/v2/models/iris/infer")]
)
def test_kserves_events_have_no_path_and_it_is_told_from_the_body(body: bytes, path: str) -> None:
    assert request(call(request=body), "kserve").path == path


@pytest.mark.parametrize(
    ("record", "compat", "reason"),
    [
        (call(request=Payload(b"[1", 9)), "none", "not all of its body was logged"),
        (call(flags=BOTH | REQUEST_REDACTED), "none", "values of its body are redacted"),
        (call(request=b'{"x":1}'), "kserve", "its path was not logged: give --endpoint"),
    ],
)
def test_what_cannot_be_sent_as_it_was_is_skipped_with_the_reason(record: CallRecord, compat: str, reason: str) -> None:
    with pytest.raises(Skipped, match=reason):
        request(record, compat)


def verdict(record: CallRecord, answer: Answer, tolerance: float = 1e-5) -> Outcome:
    (exchange,) = pair(stored(record))
    return judge(exchange, answer, 0.002, tolerance=tolerance)


def test_the_same_answer_is_the_same_and_both_times_are_told() -> None:
    outcome = verdict(call(3), Answer(200, {}, b'{"predictions":[3.0]}'))
    assert (outcome.verdict, outcome.recorded_ms, outcome.answered_ms) == (SAME, 1.5, 2.0)


def test_another_answer_is_told_by_its_place() -> None:
    outcome = verdict(call(3), Answer(200, {}, b'{"predictions":[4]}'))
    assert (outcome.verdict, [str(each) for each in outcome.differences]) == (DIFFERENT, ["predictions[0]: 3 became 4"])


def test_answers_are_compared_without_their_content_codings() -> None:
    body = gzip.compress(b'{"predictions":[3]}')
    record = call(3, response=Payload(body, len(body), b"application/json", b"gzip"))
    assert verdict(record, Answer(200, {}, b'{"predictions":[3]}')).verdict == SAME
    assert verdict(call(3), Answer(200, {"content-encoding": "gzip"}, body)).verdict == SAME


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (call(flags=HAS_REQUEST), "its answer was not logged"),
        (call(response=Payload(b"[1", 9)), "not all of its logged answer is there"),
        (call(response=Payload(b"broken", 6, b"application/json", b"gzip")), "the body is not valid gzip data"),
    ],
)
def test_what_cannot_be_compared_is_told(record: CallRecord, reason: str) -> None:
    outcome = verdict(record, Answer(200, {}, b"{}"))
    assert outcome.verdict == UNCOMPARED
    assert reason in outcome.reason


def test_the_summary_counts_verdicts_reasons_and_places() -> None:
    summary = Summary()
    for body in (b'{"predictions":[3]}', b'{"predictions":[4]}', b'{"predictions":[5]}'):
        summary.add(verdict(call(3), Answer(200, {}, body)))
    summary.add(verdict(call(flags=HAS_REQUEST), Answer(200, {}, b"")))
    document = summary.document()
    assert (document[SAME], document[DIFFERENT], document[UNCOMPARED]) == (1, 2, 1)
    assert document["places"] == {"predictions": 2}
    assert document["reasons"] == {"uncompared: its answer was not logged": 1}
    assert (document["p50_recorded_ms"], document["p50_answered_ms"]) == (1.5, 2.0)


@pytest.mark.parametrize("length", ["9" * 5000, "x", "\u00b2"])
def test_an_answer_whose_json_length_is_no_number_is_compared_as_json(length: str) -> None:
    first, second = stored(call(response=b'{"predictions":[1]}'))
    (exchange,) = pair(iter([first, second]))
    answer = Answer(200, {JSON_LENGTH: length}, b'{"predictions":[1]}')
    assert judge(exchange, answer, 0.01, tolerance=0).verdict == SAME


def test_a_cloudevent_is_sent_again_as_it_was_where_its_fields_are_in_its_body_or_were_logged() -> None:
    structured = Payload(b"{}", 2, b"application/cloudevents+json")
    assert request(call(target=b"/", request=structured)).headers["content-type"] == "application/cloudevents+json"
    fields = b'{"ce-specversion":"1.0","ce-id":"1"}'
    assert request(call(target=b"/", headers=fields)).headers["ce-id"] == "1"
    with pytest.raises(Skipped, match=r"ce-… fields were not logged \(logger.headers\)"):
        request(call(target=b"/"))
    assert request(call(target=b"/"), endpoint="/v1/models/iris:predict").path == "/v1/models/iris:predict"
