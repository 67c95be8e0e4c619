"""Events as they come over HTTP, held against the cloudevents SDK; and every wrong one, which names its attribute."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest, KfuncError, UnsupportedMediaType
from kfunc.protocol.cloudevents import CONTENT_TYPE, close_event, header_fields
from kfunc.protocol.incoming_events import (
    BATCHED,
    MAX_ATTRIBUTES,
    MAX_BATCH,
    MAX_VALUE,
    STRUCTURED,
    Event,
    decode_binary,
    decode_structured,
    integer,
    media_type,
    split_batch,
    trace,
)

LEAST = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RESERVED = {"specversion", "id", "source", "type", "subject", "time", "data", "datacontenttype", "dataschema"}

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=50)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=20).filter(lambda name: name not in RESERVED)
JSON_OBJECTS = st.dictionaries(
    st.text(), st.none() | st.integers() | st.text() | st.lists(st.floats(allow_nan=False, allow_infinity=False))
)


def structured(**members: Any) -> bytes:
    return json.dumps({**LEAST, **members}).encode()


def binary(**headers: str | None) -> tuple[dict[bytes, bytes], bytes]:
    fields = {f"ce-{name}": value for name, value in LEAST.items()} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    return {name.encode(): value.encode() for name, value in fields.items() if value is not None}, b"{}"


def sent(message: HTTPMessage) -> tuple[dict[bytes, bytes], bytes]:
    return {name.lower().encode(): value.encode() for name, value in message.headers.items()}, message.body


# ---- the SDK writes, we read


@given(TEXTS, TEXTS, TEXTS, st.none() | TEXTS, st.dictionaries(NAMES, TEXTS, max_size=5), JSON_OBJECTS)
def test_what_the_sdk_writes_is_read(
    identifier: str, source: str, kind: str, subject: str | None, extensions: dict[str, str], data: dict[str, Any]
) -> None:
    expected = {"id": identifier, "source": source, "type": kind, **extensions, "datacontenttype": "application/json"}
    if subject is not None:
        expected["subject"] = subject
    event = CloudEvent({**expected, "time": datetime(2026, 11, 21, tzinfo=UTC)}, data)
    for read in (decode_structured(to_structured_event(event).body), decode_binary(*sent(to_binary_event(event)))):
        assert read.attributes.pop("time") == "2026-11-21T00:00:00Z"
        assert read.attributes == expected
        assert json.loads(read.data) == data


@given(st.binary(max_size=200))
def test_bytes_that_the_sdk_writes_are_read(data: bytes) -> None:
    event = CloudEvent({"source": "/s", "type": "t", "datacontenttype": "application/octet-stream"}, data)
    for read in (decode_structured(to_structured_event(event).body), decode_binary(*sent(to_binary_event(event)))):
        assert (read.data, read.content_type) == (data, "application/octet-stream")


# ---- we write, the SDK reads


@given(TEXTS, TEXTS, st.dictionaries(NAMES, TEXTS, max_size=5), JSON_OBJECTS)
def test_what_is_written_is_read_by_the_sdk_and_by_us(
    source: str, subject: str, extensions: dict[str, str], data: dict[str, Any]
) -> None:
    attributes: dict[str, str | int | bool] = {"id": "1", "source": source, "type": "t", "subject": subject, **extensions}
    attributes |= {"time": "2026-11-21T00:00:00.000001Z", "datacontenttype": "application/json"}
    body = json.dumps(data).encode()
    document = close_event(attributes, body)
    fields = [*header_fields(attributes), (b"content-type", b"application/json")]
    messages = [
        HTTPMessage({"content-type": CONTENT_TYPE.decode()}, document),
        HTTPMessage({name.decode(): value.decode() for name, value in fields}, body),
    ]
    for message in messages:
        read = from_http_event(message)
        assert read.get_attributes() == {
            **attributes,
            "specversion": "1.0",
            "time": datetime(2026, 11, 21, microsecond=1, tzinfo=UTC),
        }
        assert (read.get_data() or {}) == data
    assert decode_structured(document).attributes == attributes
    assert decode_binary(dict(fields), body).attributes == attributes


def test_what_is_written_as_fields_has_no_line_ends_whatever_the_value() -> None:
    fields = dict(header_fields({"subject": 'a\r\nset-cookie: x "%', "truncated": True, "count": 3}))
    assert fields == {
        b"ce-specversion": b"1.0",
        b"ce-subject": b"a%0D%0Aset-cookie:%20x%20%22%25",
        b"ce-truncated": b"true",
        b"ce-count": b"3",
    }


def test_data_that_are_not_json_are_written_in_base64() -> None:
    document = json.loads(close_event({**LEAST, "datacontenttype": "application/octet-stream"}, b"\x00\xff"))
    assert base64.b64decode(document["data_base64"]) == b"\x00\xff"


# ---- what is read


@pytest.mark.parametrize(
    ("members", "data"),
    [
        ({}, b""),
        ({"data": {"a": 1}}, b'{"a": 1}'),
        ({"data": "text"}, b'"text"'),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": "ä\n", "datacontenttype": "text/csv"}, "ä\n".encode()),
        ({"data": [1], "datacontenttype": "text/csv"}, b"[1]"),
        ({"data": "x", "datacontenttype": "application/problem+json; charset=utf-8"}, b'"x"'),
        ({"data": "x", "datacontenttype": "text/json"}, b'"x"'),
        ({"data_base64": "AP8="}, b"\x00\xff"),
        ({"data_base64": ""}, b""),
        ({"data_base64": None, "data": 1}, b"1"),
        ({"subject": None, "data": 1}, b"1"),
    ],
)
def test_the_data_of_a_structured_event_are_the_bytes_of_its_type(members: dict[str, Any], data: bytes) -> None:
    assert decode_structured(structured(**members)).data == data


def test_base64_with_escaped_slashes_is_read() -> None:
    document = structured(data_base64="//8=").replace(b"//", rb"\/\/")
    assert decode_structured(document).data == b"\xff\xff"


def test_of_members_that_are_there_twice_the_last_one_counts() -> None:
    assert decode_structured(structured(data=1)[:-1] + b',"id":"2","data":2}') == Event(
        {"id": "2", "source": "/s", "type": "t"}, b"2"
    )


def test_numbers_and_booleans_keep_their_type_in_json() -> None:
    event = decode_structured(structured(sampledrate=3, urgent=True, low=-(2**31)))
    assert (event.attributes["sampledrate"], event.attributes["urgent"], event.attributes["low"]) == (3, True, -(2**31))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("plain", "plain"),
        ("z%C3%BCrich", "zürich"),
        ("zürich", "zürich"),
        ("100%25", "100%"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("%2525", "%25"),
        ('"quoted"', "quoted"),
        (r'"with \"marks\" and \\"', 'with "marks" and \\'),
        ('"', '"'),
        ("%22", '"'),
        ("a%20b c", "a b c"),
    ],
)
def test_a_field_is_taken_out_of_its_marks_and_percent_signs(field: str, value: str) -> None:
    assert decode_binary(*binary(ce_subject=field)).attributes["subject"] == value


def test_the_content_type_of_a_binary_event_is_its_data_s() -> None:
    assert decode_binary(*binary(content_type="text/csv")).content_type == "text/csv"
    assert decode_binary(*binary()).content_type == "application/json"


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        (b"application/cloudevents+json", STRUCTURED),
        (b"Application/CloudEvents+JSON ; charset=UTF-8", STRUCTURED),
        (b"application/cloudevents-batch+json;charset=utf-8", BATCHED),
        (b"application/json", b""),
        (b"", b""),
    ],
)
def test_the_mode_is_told_by_the_content_type(content_type: bytes, expected: bytes) -> None:
    assert media_type(content_type) == expected


@pytest.mark.parametrize(
    "content_type", [b"application/cloudevents", b"application/cloudevents+xml", b"application/cloudevents-batch+avro"]
)
def test_other_formats_of_events_are_415(content_type: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match=r"application/cloudevents\+json"):
        media_type(content_type)


# ---- what is refused

WRONG_TIMES = [
    "",
    "yesterday",
    "2026-11-21",
    "2026-11-21T08:30:00",
    "2026-13-01T00:00:00Z",
    "2026-11-21T24:00:00Z",
    "٢026-11-21T00:00:00Z",
]

WRONG: list[tuple[str, Any, str]] = [
    ("specversion", None, "specversion is missing"),
    ("specversion", "0.3", "specversion is '0.3'; CloudEvents 1.0"),
    ("specversion", "1", "specversion is '1'; CloudEvents 1.0"),
    ("id", None, "attribute id is missing"),
    ("source", None, "attribute source is missing"),
    ("type", None, "attribute type is missing"),
    ("id", "", "attribute id is empty"),
    ("subject", "", "attribute subject is empty"),
    ("source", "a\r\nb", "attribute source has a control character"),
    ("id", "a\x00", "attribute id has a control character"),
    ("subject", "\x7f", "attribute subject has a control character"),
    ("myextension", "\x85", "attribute myextension has a control character"),
    ("myextension", "\ufffe", "attribute myextension has a control character"),
    ("id", "x" * (MAX_VALUE + 1), f"attribute id is longer than {MAX_VALUE}"),
    *(("time", value, "attribute time ") for value in WRONG_TIMES),
]


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_attribute_of_a_structured_event_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_structured(structured(**{name: value}))
    assert message in caught.value.message


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_attribute_of_a_binary_event_is_named(name: str, value: Any, message: str) -> None:
    field = None if value is None else "".join(f"%{byte:02x}" for byte in value.encode())
    with pytest.raises(InvalidRequest) as caught:
        decode_binary(*binary(**{f"ce_{name}": field}))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"id": 5}, "attribute id must be a string"),
        ({"type": True}, "attribute type must be a string"),
        ({"specversion": 1.0}, "attribute 'specversion' must be a string, a boolean or an integer"),
        ({"subject": ["a"]}, "attribute 'subject' must be a string, a boolean or an integer"),
        ({"myextension": {"a": 1}}, "attribute 'myextension' must be a string, a boolean or an integer"),
        ({"rate": 0.5}, "attribute 'rate' must be a string, a boolean or an integer"),
        ({"rate": 2**31}, "attribute rate must be an integer of 32 bits"),
        ({"rate": 10**30}, "attribute"),
        ({"myExtension": "a"}, "attribute name 'myExtension' must be lower-case"),
        ({"my-extension": "a"}, "attribute name 'my-extension' must be lower-case"),
        ({"": "a"}, "attribute name '' must be lower-case"),
        ({"ä": "a"}, r"attribute name '\xe4' must be lower-case"),
        ({"x" * 65: "a"}, "must be lower-case letters and digits, at most 64"),
        ({"data": 1, "data_base64": "AA=="}, "both data and data_base64"),
        ({"data_base64": 5}, "data_base64 "),
        ({"data_base64": ["AA=="]}, "data_base64 "),
        ({"data_base64": "A"}, "data_base64 is not base64"),
        ({"data_base64": "AA==AA=="}, "data_base64 is not base64"),
        ({"data_base64": "A-_="}, "data_base64 is not base64"),
        ({"data_base64": "AA==\n"}, "data_base64 is not base64"),
        ({"data_base64": "ä"}, "data_base64 is not base64"),
        ({f"a{number}": "x" for number in range(MAX_ATTRIBUTES)}, "attributes; at most 64"),
    ],
)
def test_a_wrong_structured_event_is_told_what_is_wrong(members: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_structured(structured(**members))
    assert message in caught.value.message
    assert caught.value.message.isascii()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'"x"',
        b'{"id": "\xff"}',
        b"{'id': 1}",
        b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000,
        b'{"id":"\\ud800"}',
    ],
)
def test_a_document_that_is_no_event_is_refused(document: bytes) -> None:
    with pytest.raises(InvalidRequest, match="event"):
        decode_structured(document)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ce_data", "x", "header ce-data is none of an event"),
        ("ce_datacontenttype", "text/csv", "header ce-datacontenttype is none of an event"),
        ("ce_my_extension", "x", "attribute name 'my-extension' must be lower-case"),
        ("ce_", "x", "attribute name '' must be lower-case"),
        ("ce_subject", "%ff", "attribute 'subject' is not UTF-8"),
        ("ce_subject", "%ed%a0%80", "attribute 'subject' is not UTF-8"),
        ("ce_id", "a%0d%0aset-cookie:x", "attribute id has a control character"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decode_binary(*binary(**{field: value}))
    assert message in caught.value.message


def test_a_flood_of_fields_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="at most 64"):
        decode_binary(*binary(**{f"ce_a{number}": "x" for number in range(MAX_ATTRIBUTES)}))


@given(st.binary(max_size=100), st.dictionaries(st.binary(max_size=10), st.binary(max_size=20), max_size=5))
def test_any_bytes_are_an_event_or_a_client_s_error(body: bytes, fields: dict[bytes, bytes]) -> None:
    headers = {b"ce-" + name.lower(): value for name, value in fields.items()}
    reads: list[Callable[[], Any]] = [lambda: decode_structured(body), lambda: decode_binary({**binary()[0], **headers}, body)]
    for read in reads:
        try:
            status = 200 if isinstance(read(), Event) else 0
        except KfuncError as error:
            status = error.status
        assert status in (200, 400)


@given(st.data())
def test_a_broken_event_is_an_event_or_a_client_s_error(data: st.DataObject) -> None:
    document = bytearray(structured(subject="zürich", data={"a": [1, "x"]}, time="2026-11-21T00:00:00Z"))
    for _ in range(data.draw(st.integers(1, 3))):
        document[data.draw(st.integers(0, len(document) - 1))] = data.draw(st.integers(0, 255))
    try:
        status = 200 if decode_structured(bytes(document)).attributes else 0
    except KfuncError as error:
        status = error.status
    assert status in (200, 400)


# ---- batches


def test_a_batch_is_split_into_its_events() -> None:
    batch = split_batch(b"[%b , %b]" % (structured(id="1"), structured(id="2")))
    assert [decode_structured(bytes(each)).id for each in batch] == ["1", "2"]
    assert split_batch(b" [] ") == []


@pytest.mark.parametrize("body", [b"{}", b"[", b"[1,]", b"", b"[" * 100_000])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="the batch is not a JSON array of events"):
        split_batch(body)


def test_a_batch_of_too_many_events_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=f"has {MAX_BATCH + 1} events; at most {MAX_BATCH}"):
        split_batch(b"[%b]" % b",".join([b"1"] * (MAX_BATCH + 1)))


# ---- attributes of extensions


@pytest.mark.parametrize(("value", "expected"), [(5, 5), ("5", 5), (None, None)])
def test_an_integer_is_read_in_either_mode(value: Any, expected: int | None) -> None:
    assert integer(Event({} if value is None else {"length": value}, b""), "length") == expected


@pytest.mark.parametrize("value", ["", "x", "-1", "1.0", "9" * 11, "٣", True])
def test_an_attribute_that_is_no_integer_is_named(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="attribute length must be an integer"):
        integer(Event({"length": value}, b""), "length")


@pytest.mark.parametrize(
    ("attributes", "headers", "expected"),
    [
        ({"traceparent": PARENT}, {}, {"traceparent": PARENT}),
        ({"traceparent": PARENT, "tracestate": "a=b"}, {}, {"traceparent": PARENT, "tracestate": "a=b"}),
        ({}, {b"traceparent": PARENT.encode()}, {"traceparent": PARENT}),
        ({}, {b"traceparent": PARENT.encode(), b"tracestate": b"a=b"}, {"traceparent": PARENT, "tracestate": "a=b"}),
        ({"traceparent": PARENT}, {b"traceparent": b"00-" + b"1" * 32, b"tracestate": b"a=b"}, {"traceparent": PARENT}),
        ({"traceparent": "wrong", "tracestate": "a=b"}, {}, {}),
        ({"traceparent": 5}, {}, {}),
        ({}, {b"traceparent": PARENT.encode(), b"tracestate": b"a\x80"}, {"traceparent": PARENT}),
        ({}, {}, {}),
    ],
)
def test_the_trace_is_the_event_s_or_else_the_message_s(attributes: Any, headers: Any, expected: Any) -> None:
    assert trace(Event(attributes, b""), headers) == expected
