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


def redact(body: bytes, *, hash_it: bool = True, kind: bytes = JSON, coding: bytes = b"", length: bytes = b"") -> Redacted:
    return Redactor(["ssn", "café"], hashed=hash_it).redact(body, kind, coding, length)


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
    parameters = json.loads(text)["inputs"][place]["parameters"]
    assert parameters == ({"redacted": "sha256:" + sha256(secret).hexdigest()} if hash_it else {})


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
