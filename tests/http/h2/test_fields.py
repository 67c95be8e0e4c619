"""Header blocks against the library hpack, in both directions, and the blocks that RFC 7541 refuses."""

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.http.h2.faults import COMPRESSION_ERROR, ConnectionFault
from kfunc.http.h2.fields import FieldDecoder, encode_fields, encode_lines, integer, read_huffman, read_integer
from kfunc.http.wire import Headers

NAMES = st.sampled_from((b":path", b":method", b"accept", b"content-type", b"x-a", b"x-b", b"")) | st.binary(max_size=20)
VALUES = st.sampled_from((b"", b"GET", b"application/json", b"a" * 200)) | st.binary(max_size=300)
LISTS = st.lists(st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=12), max_size=8)


@given(LISTS, st.booleans(), st.lists(st.sampled_from((0, 100, 4096)), max_size=3))
def test_blocks_of_the_library_are_decoded_in_order(
    lists: list[list[tuple[bytes, bytes, bool]]], huffman: bool, sizes: list[int]
) -> None:
    encoder, decoder = hpack.Encoder(), FieldDecoder(1 << 20)
    for number, fields in enumerate(lists):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        block = encoder.encode(fields, huffman=huffman)
        assert decoder.decode(block)[0] == [field[:2] for field in fields]


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_mean_what_they_mean_to_the_library(blocks: list[bytes]) -> None:
    theirs, ours = hpack.Decoder(1 << 20), FieldDecoder(1 << 20)
    for block in blocks:
        try:
            expected = [(bytes(name), bytes(value)) for name, value in theirs.decode(block, raw=True)]
        except (hpack.HPACKError, IndexError):
            with pytest.raises(ConnectionFault) as caught:
                ours.decode(block)
            assert caught.value.code == COMPRESSION_ERROR
            return
        assert ours.decode(block)[0] == expected


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
def test_our_blocks_are_decoded_by_the_library_and_enter_no_table(fields: Headers) -> None:
    decoder = hpack.Decoder()
    assert [tuple(map(bytes, field)) for field in decoder.decode(encode_fields(fields), raw=True)] == fields
    assert len(decoder.header_table.dynamic_entries) == 0


def test_lines_of_http_1_become_fields() -> None:
    block = encode_lines(b"Content-Type: text/plain\r\nx-a:  b c \r\nx-empty:\r\n")
    assert hpack.Decoder().decode(block, raw=True) == [(b"content-type", b"text/plain"), (b"x-a", b"b c"), (b"x-empty", b"")]


@given(st.integers(0, 2**28), st.integers(1, 8))
def test_integers_are_read_as_they_are_written(value: int, prefix: int) -> None:
    written = integer(value, prefix)
    most = (1 << prefix) - 1
    assert (written[0], len(written)) == (value, 1) if value < most else read_integer(written, 1, most) == (value, len(written))


@pytest.mark.parametrize(
    ("block", "what"),
    [
        (b"\x80", "index 0"),
        (b"\xbe", "an index behind an empty table"),
        (b"\xff\x80\x80\x80\x80\x80\x01", "an integer that is too long"),
        (b"\x7f\xff\xff\xff\xff\x0f\x00", "an index beyond all tables"),
        (b"\x82\x20", "a change of the table's size behind a field"),
        (b"\x3f\xe2\x1f", "a table that is larger than ours"),
        (b"\x40", "a literal without a name"),
        (b"\x40\x01", "a name that is cut off"),
        (b"\x40\x01a\x05abc", "a value that is cut off"),
        (b"\x00\x82\xff\xff\x00", "padding of more than seven bits"),
        (b"\x00\x81\x00\x00", "padding that is not ones"),
        (b"\x00\x84\xff\xff\xff\xff\x00", "the symbol EOS"),
    ],
)
def test_a_broken_block_is_an_error_of_compression(block: bytes, what: str) -> None:
    with pytest.raises(ConnectionFault) as caught:
        FieldDecoder(1 << 20).decode(block)
    assert caught.value.code == COMPRESSION_ERROR


def test_fields_past_the_bound_are_dropped_and_still_enter_the_table() -> None:
    encoder, decoder = hpack.Encoder(), FieldDecoder(200)
    fields = [(b"a", b"x" * 100), (b"b", b"y" * 100), (b"c", b"z" * 100)]
    assert decoder.decode(encoder.encode(fields)) == (fields[:1], 399)
    assert decoder.decode(encoder.encode(fields[2:])) == (fields[2:], 133)


def test_the_version_changes_only_with_the_table() -> None:
    encoder, decoder = hpack.Encoder(), FieldDecoder(1000)
    versions = []
    for _ in range(3):
        decoder.decode(encoder.encode([(b"x-a", b"b")]))
        versions.append(decoder.version)
    assert versions == [1, 1, 1]


def test_the_empty_string_is_in_huffman_code_too() -> None:
    assert read_huffman(b"") == b""
