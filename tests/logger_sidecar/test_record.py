"""The spool's format: what is written is read again, and damage anywhere ends what is read, never the reader."""

from hypothesis import given
from hypothesis import strategies as st

from kfunc.logger_sidecar.record import (
    CallRecord,
    Origin,
    Payload,
    decode_block,
    decode_records,
    decode_segment_head,
    encode_block_head,
    encode_record,
    encode_segment_head,
    whole_records,
)
from tests.logger_sidecar.setups import call

TEXTS = st.binary(max_size=20).map(lambda value: value.replace(b"\0", b""))
BODIES = st.binary(max_size=200)
PAYLOADS = st.builds(
    Payload, body=BODIES, size=st.integers(0, 2**40), content_type=TEXTS, coding=TEXTS, json_length=TEXTS, digest=TEXTS
)
CALLS = st.builds(
    CallRecord,
    target=TEXTS,
    correlation=TEXTS,
    time_us=st.integers(0, 2**63),
    duration_us=st.integers(0, 2**32 - 1),
    status=st.integers(0, 999),
    request=PAYLOADS,
    response=PAYLOADS,
    traceparent=TEXTS,
    tracestate=TEXTS,
    headers=TEXTS,
    grpc_status=st.integers(-1, 16),
    flags=st.integers(0, 31),
)


def segment(calls: list[CallRecord], per_block: int = 2) -> bytes:
    """A segment with blocks of some calls each."""
    data, position = encode_segment_head(Origin("run", "f")), 0
    for first in range(0, len(calls), per_block):
        records = b"".join(map(encode_record, calls[first : first + per_block]))
        data += encode_block_head(position, records) + records
        position += len(records)
    return data


def read(data: bytes) -> list[CallRecord]:
    """All calls of a segment, as far as it is whole."""
    head = decode_segment_head(data)
    calls: list[CallRecord] = []
    at = head[1] if head is not None else len(data)
    while (block := decode_block(data, at)) is not None:
        calls += decode_records(block.records, block.position)
        at = block.end
    return calls


def without_places(calls: list[CallRecord]) -> list[CallRecord]:
    for each in calls:
        each.number = each.end = 0
    return calls


@given(st.lists(CALLS, max_size=7))
def test_what_is_written_is_read_again(calls: list[CallRecord]) -> None:
    assert without_places(read(segment(calls))) == calls


@given(st.integers(0, 2000))
def test_of_a_segment_that_is_cut_anywhere_the_whole_blocks_before_are_read(cut: int) -> None:
    calls = [call(number) for number in range(8)]
    data = segment(calls)
    found = without_places(read(data[: min(cut, len(data))]))
    assert found == calls[: len(found)]
    assert len(found) == 8 or cut < len(data)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_byte_that_flips_anywhere_costs_what_is_behind_it_and_changes_nothing(at: int, flip: int) -> None:
    calls = [call(number) for number in range(8)]
    data = bytearray(segment(calls))
    data[at % len(data)] ^= flip
    found = without_places(read(bytes(data)))
    assert found == calls[: len(found)]


@given(st.binary(max_size=500))
def test_no_bytes_make_the_readers_raise(data: bytes) -> None:
    decode_segment_head(data)
    decode_block(data)
    list(decode_records(data, 0))
    assert whole_records(data, 100)[0] <= len(data)


def test_each_call_is_numbered_by_its_position() -> None:
    first, second = read(segment([call(1), call(2)]))
    assert (first.number, second.number) == (0, first.end)
    assert second.end == first.end + len(encode_record(call(2)))


def test_whole_records_end_within_the_bound_but_one_is_taken_in_any_case() -> None:
    records = [encode_record(call(number)) for number in range(3)]
    size, data = len(records[0]), b"".join(records)
    assert whole_records(data, 1) == (size, 1)
    assert whole_records(data, 2 * size) == (2 * size, 2)
    assert whole_records(data[:-1], 1000) == (2 * size, 2)
    assert whole_records(data, 1000, size) == (3 * size, 2)
