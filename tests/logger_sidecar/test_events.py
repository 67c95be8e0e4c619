"""Events of calls, read with the cloudevents SDK."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from kfunc.logger_sidecar.events import CallRecord, EventWriter, is_call, rfc3339

V2 = b"/v2/models/iris/infer"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEADER_BYTES = st.binary(max_size=40).map(lambda value: value.translate(None, b"\r\n\0"))


def record(target: bytes = V2, *, is_response: bool = False, **fields: Any) -> CallRecord:
    made = CallRecord(is_response=is_response, correlation="call-1", target=target, time_s=1_795_219_200.5)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def writer() -> EventWriter:
    return EventWriter("iris", "team", "1", "prefix")


def read(made: CallRecord) -> Any:
    return JSONFormat().read(None, writer().encode(made))


def test_a_request_event_tells_function_model_path_and_body() -> None:
    event = read(record(body=b'{"inputs": []}', size=14))
    assert event.get_type() == "io.kfunc.inference.request"
    assert event.get_source() == "/namespaces/team/functions/iris"
    assert event.get_subject() == "iris"
    assert event.get_time() == datetime(2026, 11, 21, 0, 0, 0, 500_000, tzinfo=UTC)
    assert event.get_data() == {"inputs": []}
    extensions = ("function", "namespace", "model", "modelversion", "endpoint", "correlationid", "statuscode")
    assert [event.get_extension(name) for name in extensions] == ["iris", "team", "iris", "1", V2.decode(), "call-1", None]


def test_a_response_event_tells_status_and_duration() -> None:
    event = read(record(is_response=True, status=404, duration_s=0.0125))
    assert event.get_type() == "io.kfunc.inference.response"
    assert (event.get_extension("statuscode"), event.get_extension("durationus")) == (404, 12_500)


def test_a_duration_stays_within_cloudevents_integers() -> None:
    assert read(record(is_response=True, duration_s=1e6)).get_extension("durationus") == 2**31 - 1


def test_a_body_that_was_cut_is_marked_and_is_octets() -> None:
    event = read(record(body=b"[1", size=1000))
    assert (event.get_extension("truncated"), event.get_extension("bodysize")) == (True, 1000)
    assert (event.get_data(), event.get_datacontenttype()) == (b"[1", "application/octet-stream")


def test_a_body_that_is_cut_to_something_that_looks_like_json_is_not_taken_for_it() -> None:
    assert read(record(body=b"12", size=3)).get_data() == b"12"


def test_the_trace_of_the_request_is_passed_on() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert read(record(traceparent=parent.encode())).get_extension("traceparent") == parent
    assert read(record()).get_extension("traceparent") is None


def test_every_event_has_an_id_of_its_own() -> None:
    one = writer()
    ids = {json.loads(one.encode(record()))["id"] for _ in range(100)}
    assert len(ids) == 100
    assert all(each.startswith("prefix-") for each in ids)


@pytest.mark.parametrize(
    ("target", "model", "version"),
    [
        (V2, "iris", "1"),
        (b"/v2/models/iris/versions/7/infer", "iris", "7"),
        (b"/v1/models/iris:predict", "iris", "1"),
        (b"/v1/models/iris/versions/7:predict", "iris", "7"),
        (b"/v1/models/iris:explain", "iris", "1"),
        (b"/v1/models/a:b:predict", "a:b", "1"),
        (b"/v2/models/iris/infer?a=/b/c", "iris", "1"),
        (b"/v2/models/iris/infer/", "iris", "1"),
        (b"//v2/models/iris/infer", "iris", "1"),
        (b"/v2/models/%C3%A4%2Fb/infer", "ä/b", "1"),
        (b"/v2/models/\xff/infer", "\ufffd", "1"),
        (b"/v2/models/iris/%69nfer", "iris", "1"),
    ],
)
def test_model_and_version_are_those_of_the_path_however_it_is_written(target: bytes, model: str, version: str) -> None:
    assert is_call(target)
    event = read(record(target))
    assert (event.get_subject(), event.get_extension("modelversion")) == (model, version)


@pytest.mark.parametrize("target", [b"/infer", b"/v2/models//infer", b"/x/y/z/infer", b":predict"])
def test_a_path_that_names_no_model_gives_an_event_without_a_subject(target: bytes) -> None:
    assert is_call(target)
    assert read(record(target)).get_subject() is None


@pytest.mark.parametrize("target", [b"/", b"/v2", b"/v2/models/infer/ready", b"/v2/repository/index", b"*", b"", b"/?/infer%"])
def test_other_paths_are_no_calls(target: bytes) -> None:
    assert not is_call(target)


@given(HEADER_BYTES, HEADER_BYTES, HEADER_BYTES, st.binary(max_size=40))
def test_whatever_a_client_sends_the_event_is_one_line_that_the_sdk_reads(
    target: bytes, content_type: bytes, traceparent: bytes, body: bytes
) -> None:
    made = record(b"/v2/models/" + target, body=body, size=len(body), content_type=content_type, traceparent=traceparent)
    encoded = writer().encode(made)
    assert len(encoded.splitlines()) == 1
    assert JSONFormat().read(None, encoded).get_extension("correlationid") == "call-1"


@given(st.lists(st.floats(0, 253_402_300_799), min_size=1, max_size=5))
def test_times_are_those_of_datetime(times: list[float]) -> None:
    one = writer()
    for time_s in times:
        made = record()
        made.time_s = time_s
        text = json.loads(one.encode(made))["time"]
        assert len(text) == len("2026-11-21T00:00:00.000000Z")
        difference = EPOCH + timedelta(seconds=time_s) - datetime.fromisoformat(text)
        assert abs(difference) <= timedelta(microseconds=1)


@given(st.integers(0, 253_402_300_799))
def test_whole_seconds_are_exact(time_s: int) -> None:
    assert datetime.fromisoformat(rfc3339(time_s)) == EPOCH + timedelta(seconds=time_s)
