"""What is redacted is in no form of a body any more, and the rest of it is what it was."""

import gzip
import json
import struct
from base64 import b64encode
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.logger_sidecar.redaction import Redacted, Redactor

SECRET = "078-05-1120"  # noqa: S105 (nobody's)
JSON = b"application/json"


def hashed(value: Any) -> str:
    return "sha256:" + sha256(json.dumps(value).encode()).hexdigest()


STREAM = b"text/event-stream"
MOST = 64 * 1024


def redact(body: bytes, *, hash_it: bool = True, kind: bytes = JSON, coding: bytes = b"", length: bytes = b"") -> Redacted:
    redactor = Redactor(["ssn", "café"], hashed=hash_it, most=MOST)
    return redactor.redact(body, kind, coding, length, is_answer=kind != JSON)


H = hashed(SECRET)


@pytest.mark.parametrize(
    ("given_body", "with_hash", "dropped"),
    [
        ({"instances": [{"ssn": SECRET, "age": 3}]}, {"instances": [{"ssn": H, "age": 3}]}, {"instances": [{"age": 3}]}),
        ({"inputs": {"ssn": [SECRET, SECRET]}}, {"inputs": {"ssn": [H, H]}}, {"inputs": {}}),
        ({"a": [{"b": {"ssn": [[SECRET], 5]}}]}, {"a": [{"b": {"ssn": [[H], hashed(5)]}}]}, {"a": [{"b": {}}]}),
        ({"café": SECRET}, {"café": H}, {}),
        (
            {"inputs": [{"name": "ssn", "datatype": "BYTES", "shape": [1], "data": [SECRET]}]},
            {"inputs": [{"name": "ssn", "datatype": "BYTES", "shape": [1], "data": [H]}]},
            {"inputs": [{"name": "ssn", "datatype": "BYTES", "shape": [1]}]},
        ),
        ({"name": "ssn", "value": 1}, {"name": "ssn", "value": 1}, {"name": "ssn", "value": 1}),
        (
            {"specversion": "1.0", "id": "1", "data_base64": b64encode(SECRET.encode()).decode()},
            {"specversion": "1.0", "id": "1"},
            {"specversion": "1.0", "id": "1"},
        ),
        ([{"name": ["ssn"], "datatype": 1, "ssn": None}], [{"name": ["ssn"], "datatype": 1, "ssn": hashed(None)}],
         [{"name": ["ssn"], "datatype": 1}]),
    ],
)  # fmt: skip
def test_fields_and_tensors_are_found_by_their_names_wherever_they_are(given_body: Any, with_hash: Any, dropped: Any) -> None:
    for ascii_only in (True, False):
        body = json.dumps(given_body, ensure_ascii=ascii_only).encode()
        assert json.loads(redact(body).body) == with_hash
        assert json.loads(redact(body, hash_it=False).body) == dropped


def test_a_name_that_is_written_with_escapes_is_found() -> None:
    assert SECRET.encode() not in redact(b'{"\\u0073sn": "%b"}' % SECRET.encode()).body


def test_a_body_without_these_names_stays_byte_for_byte() -> None:
    body = b'{"inputs" : [1.50, 1e3]}'
    assert redact(body) == Redacted(body, False)


@pytest.mark.parametrize("body", [b"\xff\x00", b"plain text", b'{"a": ', b"a,b\nssn,1\n"])
def test_what_cannot_be_looked_into_is_left_out(body: bytes) -> None:
    assert redact(body) == Redacted(b"", True)


def test_a_compressed_body_is_looked_into_and_kept_without_its_coding() -> None:
    body = json.dumps({"ssn": SECRET}).encode()
    assert redact(gzip.compress(body), coding=b"gzip") == redact(body)
    assert redact(b"no gzip", coding=b"gzip") == Redacted(b"", True)


def test_of_server_sent_events_each_is_looked_into() -> None:
    body = b'data: {"ssn": "%b"}\n\ndata: {"token": "a"}\n\ndata: [DONE]\n\n' % SECRET.encode()
    redacted = redact(body, kind=b"text/event-stream; charset=utf-8")
    assert redacted.body == b'data: {"ssn":"%b"}\n\ndata: {"token": "a"}\n\ndata: [DONE]\n\n' % H.encode()


def binary(*tensors: tuple[str, bytes]) -> tuple[bytes, bytes]:
    described = [
        {"name": name, "datatype": "FP32", "shape": [len(data) // 4], "parameters": {"binary_data_size": len(data)}}
        for name, data in tensors
    ]
    text = json.dumps({"inputs": described}).encode()
    return text + b"".join(data for _, data in tensors), b"%d" % len(text)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("hash_it", [True, False])
def test_a_binary_tensor_is_cut_out_of_the_bytes_behind_the_json(place: int, hash_it: bool) -> None:
    tensors = [("a", struct.pack("<2f", 1, 2)), ("b", struct.pack("<1f", 3))]
    secret = struct.pack("<3f", 7, 8, 9)
    body, length = binary(*tensors[:place], ("ssn", secret), *tensors[place:])
    redacted = redact(body, kind=b"application/octet-stream", length=length, hash_it=hash_it)
    text, rest = redacted.body[: int(redacted.json_length)], redacted.body[int(redacted.json_length) :]
    assert rest == b"".join(data for _, data in tensors)
    parameters = json.loads(text)["inputs"][place].get("parameters", {})
    assert parameters == ({"redacted": "sha256:" + sha256(secret).hexdigest()} if hash_it else {})


def test_a_binary_size_below_nothing_moves_no_other_tensor() -> None:
    described = [
        {"name": name, "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": size}}
        for name, size in (("a", 15), ("b", -15), ("ssn", 15))
    ]
    text = json.dumps({"inputs": described}).encode()
    assert redact(text + b"\x0b\0\0\0" + SECRET.encode(), length=b"%d" % len(text)) == Redacted(b"", True)


@pytest.mark.parametrize(
    "more",
    [
        {"shape": [1], "data": [SECRET]},
        {"datatype": "BYTES", "contents": {"bytes_contents": [SECRET]}},
        {"datatype": "BYTES", "shape": [1], "parameters": {"redacted": SECRET}, "value": SECRET},
        {"datatype": [SECRET], "shape": [SECRET]},
    ],
)
def test_of_a_tensor_only_what_describes_it_stays_however_it_is_written(more: dict[str, Any]) -> None:
    body = json.dumps({"inputs": [{"name": "ssn", **more}]}).encode()
    for length in (b"", b"%d" % len(body)):
        for hash_it in (True, False):
            redacted = redact(body, length=length, hash_it=hash_it)
            assert SECRET.encode() not in redacted.body
            assert redacted.changed
            assert json.loads(redacted.body)["inputs"][0]["name"] == "ssn"


def test_a_request_that_calls_itself_a_stream_is_read_as_json() -> None:
    redactor = Redactor(["ssn"], hashed=False, most=MOST)
    for body in (b'{"ssn":"%b"}' % SECRET.encode(), b'data: {"ssn":"%b"}\n\n' % SECRET.encode()):
        assert SECRET.encode() not in redactor.redact(body, STREAM, b"", b"", is_answer=False).body


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"ssn":"%b"}', b""),
        (b'data: {"ssn":\ndata: "%b"}\n\n', b"data: {}\n\n"),
        (b'event: x\rdata:{"ssn":"%b"}\r\r', b"event: x\ndata: {}\n\n"),
        (b'\xef\xbb\xbfdata: {"ssn":"%b"}\r\n\r\n', b"data: {}\n\n"),
        (b"data: %b, and no JSON\n\n", b"data: \n\n"),
        (b": %b\ndata: [DONE]\n\n", b"data: [DONE]\n\n"),
        (b'data: {"a": 1}\n\ndata: {"ssn": "%b', b'data: {"a": 1}\n\ndata: \n'),
        (b'data: {"a": 1}\n\ndata: {"ssn": "%b"}', b'data: {"a": 1}\n\ndata: {}\n'),
    ],
)
def test_events_are_read_by_their_grammar(body: bytes, kept: bytes) -> None:
    redacted = redact(body % SECRET.encode(), kind=STREAM, hash_it=False)
    assert (redacted.body, redacted.changed) == (kept, True)


def test_a_stream_without_these_names_stays_byte_for_byte() -> None:
    body = b': \r\nid: 1\r\nevent: token\r\ndata: {"a":  1}\r\n\r\ndata: [DONE]\r\n\r\n'
    assert redact(body, kind=STREAM) == Redacted(body, False)


def test_what_is_longer_than_the_bound_is_neither_inflated_nor_kept() -> None:
    for filling in (b"[" + b"[]," * MOST + b"[]]", b'["' + b"a" * MOST + b'"]'):
        assert redact(gzip.compress(filling), coding=b"gzip") == Redacted(b"", True)
    assert redact(b'{"ssn":[' + b"1," * (MOST // 4) + b"1]}") == Redacted(b"", True)  # hashes


@given(st.binary(max_size=100), st.sampled_from([b"", b"gzip", b"zstd"]), st.sampled_from([b"", b"5", b"-1", b"x"]))
def test_no_body_makes_it_raise(body: bytes, coding: bytes, length: bytes) -> None:
    for kind in (JSON, b"text/event-stream"):
        redact(body, kind=kind, coding=coding, length=length)
        redact(b'{"inputs":[{"name":"ssn","datatype":"x","parameters":' + body, kind=kind, length=length)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "ssn", "name", "data"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON_VALUES)
def test_no_value_below_the_name_is_left(value: Any) -> None:
    def holds(inner: Any) -> bool:
        if isinstance(inner, dict):
            return any(key == "ssn" or holds(each) for key, each in inner.items())
        return isinstance(inner, list) and any(map(holds, inner))

    assert not holds(json.loads(redact(json.dumps(value).encode(), hash_it=False).body or b"null"))
