"""Heads that are known: the same object or the same memo for what means the same, and nothing of another request in it."""

import hpack
import pytest

from kfunc.config.inference import Limits
from kfunc.http.h2.faults import StreamFault
from kfunc.http.h2.fields import encode_fields
from kfunc.http.h2.heads import RequestHead, read_head
from kfunc.http.h2.reading import MAX_KEPT_BYTES, MAX_KNOWN_BLOCKS, MAX_KNOWN_HEADS, HeadReader, KnownHeads
from kfunc.http.wire import Headers

LIMITS = Limits(max_headers=8)
PSEUDO = [(b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/x")]
INDEXED, SAME = b"\x82\x86\x84\x41\x01a", b"\x82\x86\x84\xbe"  # the first enters the authority into the table


def reader(known: KnownHeads | None = None) -> HeadReader:
    return HeadReader(LIMITS, {} if known is None else known)


def block(*fields: tuple[bytes, bytes]) -> bytes:
    return encode_fields([*PSEUDO, *fields])


def facts(head: RequestHead) -> tuple[object, ...]:
    return head.method, head.target, sorted(head.header_list), head.headers, head.length, head.expects, str(head.refusal)


def test_the_same_bytes_are_one_head() -> None:
    read = reader().read
    assert read(block()) is read(block())


def test_the_same_bytes_are_read_anew_when_the_table_has_changed() -> None:
    read = reader().read
    heads = [read(each) for each in (INDEXED, SAME, b"\x41\x01b\x82\x86\x84", SAME)]
    assert [head.headers[b"host"] for head in heads] == [b"a", b"a", b"b", b"b"]


def test_heads_that_mean_the_same_share_a_memo_on_all_connections() -> None:
    known: KnownHeads = {}
    memos = [reader(known).read(each).memo for each in (INDEXED, b"\x82\x86\x84\x01\x01a")]
    assert memos[0] is memos[1] is not None


@pytest.mark.parametrize("name", [b"x-request-id", b"traceparent", b"tracestate", b"grpc-timeout"])
def test_what_each_request_has_of_its_own_does_not_part_the_memo(name: bytes) -> None:
    read = reader().read
    heads = [read(block((b"x-a", b"b"), (name, value), (b"x-c", b"d"))) for value in (b"1", b"2")]
    assert heads[0].memo is heads[1].memo is not None
    assert [head.headers[name] for head in heads] == [b"1", b"2"]
    assert [(name, value) in head.header_list for head, value in zip(heads, (b"1", b"2"), strict=True)] == [True, True]


@pytest.mark.parametrize(
    "fields",
    [
        [(b"content-length", b"3"), (b"x-request-id", b"7")],
        [(b"expect", b"100-continue"), (b"traceparent", b"0")],
        [(b"expect", b"else"), (b"traceparent", b"0")],
        [(b"tracestate", b"a"), (b"tracestate", b"b")],
        [(b"x-request-id", b"7"), *[(b"x-%d" % number, b"") for number in range(6)]],
        [(b"x-request-id", b"7"), *[(b"x-%d" % number, b"") for number in range(7)]],
        [(b"x-request-id", b""), (b"cookie", b"a"), (b"cookie", b"b")],
    ],
)
def test_a_known_head_says_what_a_new_one_does(fields: Headers) -> None:
    reading = reader()
    expected = facts(read_head([*PSEUDO, *fields], True, LIMITS))
    assert facts(reading.read(block(*fields))) == expected
    reading.decode(b"\x3f\xe1\x1f")  # a change of the table's size: from here on it is the fields that are known
    assert facts(reading.read(block(*fields))) == expected


@pytest.mark.parametrize("value", [b"a\nb", b" a", b"a\0"])
def test_a_value_that_is_wrong_is_refused_beside_a_known_head(value: bytes) -> None:
    read = reader().read
    read(block((b"x-request-id", b"7")))
    with pytest.raises(StreamFault):
        read(block((b"x-request-id", value)))


def test_what_is_kept_is_bounded() -> None:
    known: KnownHeads = {}
    kept = reader(known)
    for number in range(MAX_KNOWN_HEADS + 10):
        kept.read(block((b"x-a", b"%d" % number)))
    assert (len(known) <= MAX_KNOWN_HEADS, len(kept._blocks) <= MAX_KNOWN_BLOCKS) == (True, True)


def test_a_large_head_is_not_kept() -> None:
    known: KnownHeads = {}
    kept = reader(known)
    assert kept.read(block((b"x-a", b"y" * MAX_KEPT_BYTES))).memo is None
    assert (known, kept._blocks) == ({}, {})


def test_a_library_that_enters_each_id_into_the_table_is_understood() -> None:
    encoder, read = hpack.Encoder(), reader().read
    heads = [read(encoder.encode([*PSEUDO, (b"x-request-id", b"id-%d" % number)])) for number in range(300)]
    assert [head.headers[b"x-request-id"] for head in heads] == [b"id-%d" % number for number in range(300)]
