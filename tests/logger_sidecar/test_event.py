"""Events of calls, read with the cloudevents SDK."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from cloudevents.core.formats.json import JSONFormat
from hypothesis import given
from hypothesis import strategies as st

from kfunc.logger_sidecar.event import EventWriter, event_maker
from kfunc.logger_sidecar.record import HAS_REQUEST, HAS_RESPONSE, NO_BODIES, REQUEST_REDACTED, CallRecord, Origin, Payload
from kfunc.logger_sidecar.targets import is_call, is_event

V2 = b"/v2/models/iris/infer"
ORIGIN = {"run": "prefix", "function": "iris", "namespace": "team", "model": "iris", "version": "1"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
HEADER_BYTES = st.binary(max_size=40).map(lambda value: value.translate(None, b"\r\n\0"))


class Side(NamedTuple):
    """A call as it is seen from one of its sides."""

    call: CallRecord
    is_response: bool


def record(target: bytes = V2, *, is_response: bool = False, **fields: Any) -> Side:
    """A call with `fields` of it, or of the one of its bodies that counts."""
    own = {name: fields.pop(name) for name in [*fields] if name in Payload.__struct_fields__}
    bodies = {"request": Payload(), "response": Payload(), "response" if is_response else "request": Payload(**own)}
    call = {"correlation": b"call-1", "time_us": 1_795_219_200_500_000, "duration_us": 0, "status": 200}
    return Side(CallRecord(**{"target": target, **call, **bodies, **fields}), is_response)


def writer(compat: str = "none", extensions: dict[str, str] | None = None, **origin: str) -> EventWriter:
    return EventWriter(Origin(**{**ORIGIN, **origin}), compat, extensions)


def encoded(made: Side, one: EventWriter | None = None) -> bytes:
    return (one or writer()).encode(made.call, made.is_response)


def read(made: Side) -> Any:
    return JSONFormat().read(None, encoded(made))


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
    event = read(record(is_response=True, status=404, duration_us=12_500))
    assert event.get_type() == "io.kfunc.inference.response"
    assert (event.get_extension("statuscode"), event.get_extension("durationus")) == (404, 12_500)


def test_a_duration_stays_within_cloudevents_integers() -> None:
    assert read(record(is_response=True, duration_us=2**32)).get_extension("durationus") == 2**31 - 1


def test_a_body_that_was_cut_is_marked_and_is_octets() -> None:
    event = read(record(body=b"[1", size=1000))
    assert (event.get_extension("truncated"), event.get_extension("bodysize")) == (True, 1000)
    assert (event.get_data(), event.get_datacontenttype()) == (b"[1", "application/octet-stream")


@pytest.mark.parametrize("body", [b"data: 1\n\nda", b"12"])
def test_a_body_that_was_cut_and_was_no_json_keeps_its_type(body: bytes) -> None:
    event = read(record(is_response=True, body=body, size=1000, content_type=b"text/event-stream"))
    assert (event.get_data(), event.get_datacontenttype()) == (body, "text/event-stream")


def test_a_body_that_is_cut_to_something_that_looks_like_json_is_not_taken_for_it() -> None:
    assert read(record(body=b"12", size=3)).get_data() == b"12"


def test_the_trace_of_the_request_is_passed_on() -> None:
    assert read(record(traceparent=PARENT)).get_extension("traceparent") == PARENT.decode()
    assert read(record()).get_extension("traceparent") is None


@pytest.mark.parametrize("parent", [b"garbage", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01", b"\xff"])
def test_what_is_no_trace_is_left_out_with_its_state(parent: bytes) -> None:
    made = record(traceparent=parent, tracestate=b"a=b")
    assert not {"traceparent", "tracestate"} & writer().attributes(made.call, False).keys()


def test_every_event_has_an_id_of_its_own_that_is_the_same_at_each_try() -> None:
    make = event_maker("none")
    calls = [record(number=number).call for number in range(100)]
    ids = [event.id for call in calls for event in make(Origin("run"), call)]
    assert len(set(ids)) == 200
    assert [event.id for call in calls for event in make(Origin("run"), call)] == ids
    assert all(each.startswith("run-") for each in ids)


@pytest.mark.parametrize(
    ("target", "model", "version"),
    [
        (V2, "iris", "1"),
        (b"/v2/models/iris/versions/7/infer", "iris", "7"),
        (b"/v1/models/iris:predict", "iris", "1"),
        (b"/v1/models/iris/versions/7:predict", "iris", "7"),
        (b"/v1/models/iris:explain", "iris", "1"),
        (b"/v2/models/iris/explain", "iris", "1"),
        (b"/v2/models/iris/versions/7/explain", "iris", "7"),
        (b"/invocations", "iris", "1"),
        (b"/invocations/?a=b", "iris", "1"),
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
    one = writer()
    for _ in range(2):  # what the first of a path leaves behind serves the next
        event = encoded(made, one)
        assert len(event.splitlines()) == 1
        assert JSONFormat().read(None, event).get_extension("correlationid") == "call-1"


@given(st.integers(0, 253_402_300_799_999_999))
def test_times_are_those_of_datetime(time_us: int) -> None:
    text = json.loads(encoded(record(time_us=time_us)))["time"]
    assert len(text) == len("2026-11-21T00:00:00.000000Z")
    assert datetime.fromisoformat(text) == EPOCH + timedelta(microseconds=time_us)


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [(HAS_REQUEST | HAS_RESPONSE, ["request", "response"]), (HAS_REQUEST, ["request"]), (HAS_RESPONSE, ["response"])],
)
def test_a_record_says_which_events_there_are(flags: int, kinds: list[str]) -> None:
    events = writer().events(record(flags=flags).call)
    assert [json.loads(event.structured())["type"].rpartition(".")[2] for event in events] == kinds


def test_without_bodies_their_sizes_are_told() -> None:
    event = read(record(size=1000, flags=HAS_REQUEST | HAS_RESPONSE | NO_BODIES))
    assert (event.get_extension("bodysize"), event.get_extension("truncated"), event.get_data()) == (1000, None, None)


def test_a_digest_and_a_redaction_are_told() -> None:
    made = record(body=b"[1", size=9, digest=b"sha256:00", flags=HAS_REQUEST | HAS_RESPONSE | REQUEST_REDACTED)
    event = read(made)
    assert (event.get_extension("bodydigest"), event.get_extension("redacted")) == ("sha256:00", True)
    assert read(Side(made.call, True)).get_extension("redacted") is None


def test_revision_grpc_status_and_logged_headers_are_told() -> None:
    made = record(is_response=True, grpc_status=5, headers=b'{"x-user":"ann"}', traceparent=PARENT, tracestate=b"a=b")
    one = writer(revision="iris-00002")
    response, request = (json.loads(one.encode(made.call, side)) for side in (True, False))
    assert (response["grpcstatus"], response["revision"], response["tracestate"]) == (5, "iris-00002", "a=b")
    assert (json.loads(request["headers"]), "headers" in response) == ({"x-user": "ann"}, False)


def test_baggage_is_told_where_the_settings_name_it_and_in_the_request_s_event_only() -> None:
    made = record(headers=b'{"baggage":"tier=gold,user=a%22b"}')
    assert read(made).get_extension("baggage") == "tier=gold,user=a%22b"
    assert read(Side(made.call, True)).get_extension("baggage") is None
    assert read(record(headers=b'{"x-user":"\\"baggage\\""}')).get_extension("baggage") is None


def test_what_one_call_lacks_another_one_with_the_same_id_may_have() -> None:
    one = writer()
    plain, traced = record(body=b"1", size=1).call, record(body=b"1", size=1, traceparent=PARENT).call
    assert plain.correlation is traced.correlation
    for call, expected in ((plain, None), (plain, None), (traced, PARENT.decode()), (plain, None)):
        assert json.loads(one.encode(call, False)).get("traceparent") == expected


def test_the_attributes_are_those_of_the_structured_event() -> None:
    one = writer(extensions={"region": "eu"})
    for made in (record(body=b"[1]", size=3), record(is_response=True, body=b"x", size=1, content_type=b"text/plain")):
        (event,) = [each for each in one.events(made.call) if each.is_response == made.is_response]
        structured = json.loads(event.structured())
        assert {**event.attributes(), "specversion": "1.0"} == {
            name: value for name, value in structured.items() if not name.startswith("data") or name == "datacontenttype"
        }
        assert (event.data, structured["region"], event.id) == (made.call.response.body or b"[1]", "eu", structured["id"])


def test_kserves_consumers_get_its_names_and_pair_both_events_by_their_one_id() -> None:
    one = writer("kserve")
    call = record(number=7, headers=b'{"x-user-id":"ann"}').call
    request, response = (event.attributes() for event in one.events(call))
    assert request["type"] == "org.kubeflow.serving.inference.request"
    assert response["type"] == "org.kubeflow.serving.inference.response"
    assert request["id"] == response["id"] == "prefix-14"
    names = ("inferenceservicename", "namespace", "component", "endpoint", "metadata")
    assert [request[name] for name in names] == ["iris", "team", "predictor", "default", '{"X-User-Id":["ann"]}']


def test_a_response_comes_after_its_request_by_the_calls_duration() -> None:
    made = record(is_response=True, duration_us=250_000)
    assert read(made).get_time() - read(Side(made.call, False)).get_time() == timedelta(seconds=0.25)


@pytest.mark.parametrize("is_response", [False, True])
def test_binary_tensors_are_base64_with_what_a_consumer_needs_to_split_them(is_response: bool) -> None:
    body = b'{"inputs":[]}\x00\x01'
    event = read(
        record(is_response=is_response, body=body, size=15, content_type=b"application/octet-stream", json_length=b"13")
    )
    assert (event.get_data(), event.get_datacontenttype()) == (body, "application/octet-stream")
    assert event.get_extension("inferenceheaderlen") == 13


def test_json_alone_with_its_length_stays_json() -> None:
    one = writer()
    encoded(record(body=b"[1]", size=3), one)
    event: Any = JSONFormat().read(None, encoded(record(body=b"[1]", size=3, json_length=b"3"), one))
    assert (event.get_data(), event.get_extension("inferenceheaderlen")) == ([1], 3)


@pytest.mark.parametrize("length", [b"", b"x", b"-1", b"9" * 10, b"9" * 5000, b"\xb2"])
def test_a_length_that_is_none_is_left_out(length: bytes) -> None:
    assert read(record(body=b"[1]", size=3, json_length=length)).get_extension("inferenceheaderlen") is None


def test_a_compressed_body_says_its_coding() -> None:
    event = read(record(body=b"\x1f\x8b", size=2, coding=b"gzip"))
    assert (event.get_data(), event.get_extension("contentencoding")) == (b"\x1f\x8b", "gzip")


def test_json_over_several_lines_becomes_one_line() -> None:
    one = writer()
    for body in (b"[1]", b"[1,\r\n2]"):
        event = encoded(record(body=body, size=len(body)), one)
        assert len(event.splitlines()) == 1
    assert json.loads(event)["data"] == [1, 2]


def test_a_body_of_another_kind_on_a_known_path_is_not_taken_for_json() -> None:
    one = writer()
    encoded(record(body=b"[1]", size=3), one)
    assert json.loads(encoded(record(body=b"\xff", size=1), one))["data_base64"] == "/w=="


def test_an_event_for_the_function_is_a_call_of_its_own_model() -> None:
    one = writer(model="flowers")
    event = JSONFormat().read(None, encoded(record(b"/"), one))
    assert (event.get_subject(), event.get_extension("endpoint")) == ("flowers", "/")


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        (b"/", {b"ce-specversion": b"1.0"}, True),
        (b"//", {b"ce-specversion": b"1.0"}, True),
        (b"/?a=b", {b"content-type": b"application/cloudevents+json; charset=utf-8"}, True),
        (b"/", {b"content-type": b"Application/CloudEvents-batch+json"}, True),
        (b"/", {b"content-type": b"application/json"}, False),
        (b"/v2", {b"ce-specversion": b"1.0"}, False),
    ],
)
def test_an_event_is_known_by_its_fields_and_the_root_path(target: bytes, headers: dict[bytes, bytes], expected: bool) -> None:
    assert is_event(target, headers) is expected
