"""Events as bytes, held against the cloudevents SDK and the json module."""

import base64
import json
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given
from hypothesis import strategies as st

from kfunc.protocol.cloudevents import CONTENT_TYPE, encode_data, is_json, open_event

ATTRIBUTES: dict[str, str | int | bool] = {"id": "1", "source": "/s", "type": "t", "time": "2026-11-21T00:00:00.000001Z"}

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


def encode_event(attributes: dict[str, str | int | bool], body: bytes, content_type: str) -> bytes:
    """A structured event (JSON Event Format, 3)."""
    kind, data = encode_data(body, content_type)
    return open_event({**attributes, "datacontenttype": kind}) + data + b"}"


def event(body: bytes, content_type: str = "application/json", **more: str | int | bool) -> Any:
    """What the SDK reads from an event that came over HTTP."""
    encoded = encode_event({**ATTRIBUTES, **more}, body, content_type)
    assert b"\n" not in encoded
    assert b"\r" not in encoded
    return from_http_event(HTTPMessage({"content-type": CONTENT_TYPE.decode()}, encoded))


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"a":[1,2.50,null]}', {"a": [1, 2.5, None]}),
        (b'{\r\n  "a": "\\n",\n\t"b": [\n]\n}\n', {"a": "\n", "b": []}),
        (b"[]", []),
        (b"12", 12),
        (b'"\xc3\xa4\\u00e4"', "ää"),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_a_json_body_is_the_data(body: bytes, data: object) -> None:
    read = event(body)
    assert read.get_data() == data
    assert read.get_datacontenttype() == "application/json"


@pytest.mark.parametrize(
    "body", [b"not json", b'{"a":', b"{} {}", b'"\xff"', b"\x00\x01", b"NaN", b'"a\nb"', b"[" * 100_000, b"\xef\xbb\xbf{}"]
)
def test_any_other_body_is_base64_and_keeps_its_type(body: bytes) -> None:
    for content_type in ("application/json", "text/plain", "application/x-thing"):
        read = event(body, content_type)
        assert read.get_data() == body
        assert read.get_datacontenttype() == content_type


def test_an_empty_body_is_no_data() -> None:
    assert json.loads(encode_event(ATTRIBUTES, b"", "application/json")).keys().isdisjoint({"data", "data_base64"})
    assert event(b"").get_data() is None


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"{}", "application/json; charset=utf-8", "application/json; charset=utf-8"),
        (b"{}", "Application/JSON", "Application/JSON"),
        (b"{}", "application/problem+json", "application/problem+json"),
        (b"{}", "application/x-www-form-urlencoded", "application/json"),
        (b"{}", "", "application/json"),
        (b"x", "", "application/octet-stream"),
        (b"", "", "application/octet-stream"),
        (b"x", 'a/b; "\\\x7f\x01ä', 'a/b; "\\\x7f\x01ä'),
    ],
)
def test_the_type_of_the_data_is_what_they_are(body: bytes, content_type: str, expected: str) -> None:
    assert event(body, content_type).get_datacontenttype() == expected


def test_octets_are_base64_even_if_they_look_like_json() -> None:
    assert event(b"123", "application/octet-stream").get_data() == b"123"


def test_attributes_come_back_with_their_types() -> None:
    read = event(b"{}", subject='"\\\n\x00ä😀', status=200, truncated=True)
    assert (read.get_subject(), read.get_extension("status"), read.get_extension("truncated")) == ('"\\\n\x00ä😀', 200, True)
    assert read.get_specversion() == "1.0"


@given(JSON_VALUES, st.sampled_from([None, 2]), st.booleans())
def test_any_json_value_survives(value: object, indent: int | None, ascii_only: bool) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    encoded = encode_event(ATTRIBUTES, body, "application/json")
    assert json.loads(encoded)["data"] == value


@given(st.binary(), st.text(max_size=30))
def test_any_body_of_any_type_gives_an_event_that_the_sdk_reads(body: bytes, content_type: str) -> None:
    content_type = content_type.encode("latin-1", "replace").decode("latin-1")
    document = json.loads(encode_event(ATTRIBUTES, body, content_type))
    if "data" in document:
        assert document["data"] == json.loads(body)
    else:
        assert base64.b64decode(document.get("data_base64", ""), validate=True) == body
    assert event(body, content_type).get_id() == "1"


@given(st.text(alphabet='{}[]",:0123456789.eE+-\\ utrfalsn\n\r\t', max_size=12))
def test_what_is_taken_for_json_is_json(text: str) -> None:
    if is_json(text.encode()):
        json.loads(text)
