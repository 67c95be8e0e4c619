"""Content codings: what is inflated and refused, how much memory it takes, and which coding an answer gets."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kfunc.errors import InvalidRequest, KfuncError, PayloadTooLarge, UnsupportedMediaType
from kfunc.http.coding import CODINGS, MAX_MEMBERS, choose, deflate, inflate, is_plain_refused

LIMIT = 1 << 20
TEXT = b'{"inputs": []}' * 100
MEBIBYTE = 1 << 20


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def zstd_without_size(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=False).compress(data)


def zstd_skippable(data: bytes) -> bytes:
    return b"\x50\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


SENDERS = [
    (b"gzip", gzip.compress),
    (b"deflate", zlib.compress),
    (b"deflate", raw_deflate),
    (b"zstd", zstd),
    (b"zstd", zstd_without_size),
]
NAMES = ["gzip", "zlib", "raw deflate", "zstd", "zstd of unknown size"]
senders = pytest.mark.parametrize(("coding", "compress"), SENDERS, ids=NAMES)
Compress = Callable[[bytes], bytes]


@given(st.binary(max_size=300_000) | st.builds(bytes.__mul__, st.binary(max_size=9), st.integers(0, 30_000)))
@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_deflated_inflates_to_the_same(coding: bytes, data: bytes) -> None:
    assert inflate(deflate(data, coding), coding, LIMIT) == data


@given(st.binary(max_size=200_000))
@senders
def test_every_form_that_senders_use_is_read(coding: bytes, compress: Compress, data: bytes) -> None:
    assert inflate(compress(data), coding, LIMIT) == data


def outcome(body: bytes, coding: bytes) -> int:
    """200, or the status of the refusal."""
    try:
        return 200 if len(inflate(body, coding, LIMIT)) <= LIMIT else 0
    except KfuncError as error:
        return error.status


@given(st.binary(max_size=2000))
@pytest.mark.parametrize("coding", CODINGS)
def test_any_bytes_give_a_body_or_a_client_s_error(coding: bytes, data: bytes) -> None:
    assert outcome(data, coding) in (200, 400, 413)


@given(st.data())
@senders
def test_a_flipped_byte_gives_a_body_or_a_client_s_error(coding: bytes, compress: Compress, data: st.DataObject) -> None:
    broken = bytearray(compress(TEXT))
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    assert outcome(bytes(broken), coding) in (200, 400, 413)


@senders
def test_data_that_is_cut_off_anywhere_is_refused(coding: bytes, compress: Compress) -> None:
    whole = compress(TEXT)
    for length in range(1, len(whole)):
        with pytest.raises(InvalidRequest, match=r"cut off|not valid"):
            inflate(whole[:length], coding, LIMIT)


@pytest.mark.parametrize("more", [b"x", b"\0", b"garbage", b"\0" * 64, b'{"a":1}'])
@senders
def test_what_follows_the_data_is_refused(coding: bytes, compress: Compress, more: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"goes on after the end|not valid|cut off"):
        inflate(compress(TEXT) + more, coding, LIMIT)


@pytest.mark.parametrize("coding", CODINGS)
def test_data_of_another_kind_is_refused_by_the_coding_s_name(coding: bytes) -> None:
    with pytest.raises(InvalidRequest, match=f"not valid {coding.decode()} data"):
        inflate(b'{"inputs": []}', coding, LIMIT)


@pytest.mark.parametrize("coding", CODINGS)
def test_an_empty_body_is_no_data(coding: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no body"):
        inflate(b"", coding, LIMIT)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")),
        (b"zstd", zstd(b"one ") + zstd(b"") + zstd_without_size(b"two")),
        (b"zstd", zstd_skippable(b"note") + zstd(b"one two") + zstd_skippable(b"")),
    ],
    ids=["gzip", "zstd", "zstd skippable"],
)
def test_members_that_follow_one_another_are_one_body(coding: bytes, body: bytes) -> None:
    assert inflate(body, coding, LIMIT) == b"one two"


@pytest.mark.parametrize(("coding", "compress"), [(b"gzip", gzip.compress), (b"zstd", zstd)], ids=["gzip", "zstd"])
def test_members_larger_than_a_slice_follow_one_another(coding: bytes, compress: Compress) -> None:
    parts = [bytes(range(256)) * 400, zlib.compress(TEXT) * 700, b"z"]
    assert inflate(b"".join(map(compress, parts)), coding, LIMIT) == b"".join(parts)


@pytest.mark.parametrize(("coding", "compress"), [(b"gzip", gzip.compress), (b"zstd", zstd)], ids=["gzip", "zstd"])
def test_a_flood_of_empty_members_is_refused(coding: bytes, compress: Compress) -> None:
    with pytest.raises(InvalidRequest, match=f"more than {MAX_MEMBERS} compressed parts"):
        inflate(compress(b"") * (MAX_MEMBERS + 1), coding, LIMIT)


@pytest.mark.parametrize("stated", [b"gzip, zstd", b"GZIP,ZSTD", b" x-gzip ,, identity, zstd"])
def test_several_codings_are_undone_in_reverse(stated: bytes) -> None:
    assert inflate(zstd(gzip.compress(TEXT)), stated, LIMIT) == TEXT


@pytest.mark.parametrize("stated", [b"", b"identity", b"Identity, identity", b","])
def test_no_coding_leaves_the_body_as_it_is(stated: bytes) -> None:
    assert inflate(TEXT, stated, LIMIT) is TEXT


@pytest.mark.parametrize("stated", [b"br", b"gzip, br", b"compress", b"gzip;q=1", b"\xff\xfe", b"x" * 5000])
def test_an_unknown_coding_is_415_and_names_those_that_are_read(stated: bytes) -> None:
    with pytest.raises(UnsupportedMediaType, match="gzip, deflate and zstd") as caught:
        inflate(TEXT, stated, LIMIT)
    assert len(caught.value.message) < 200


def test_more_than_three_codings_are_refused() -> None:
    with pytest.raises(UnsupportedMediaType, match="at most 3"):
        inflate(TEXT, b"gzip, gzip, gzip, gzip", LIMIT)


# ---- bounds


@senders
def test_a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not(coding: bytes, compress: Compress) -> None:
    data = bytes(range(256)) * 4096
    assert inflate(compress(data), coding, len(data)) == data
    with pytest.raises(PayloadTooLarge, match=r"1048575 bytes .*limits\.max_body_bytes") as caught:
        inflate(compress(data), coding, len(data) - 1)
    assert not caught.value.close


@pytest.mark.parametrize("codings", [1, 2])
@senders
def test_a_bomb_takes_no_more_memory_than_the_limit(coding: bytes, compress: Compress, codings: int) -> None:
    bomb = compress(bytes(64 * MEBIBYTE))
    stated = coding
    if codings == 2:
        bomb, stated = gzip.compress(bomb), coding + b", gzip"
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge):
            inflate(bomb, stated, 4 * MEBIBYTE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * MEBIBYTE


def test_the_limit_holds_between_two_codings() -> None:
    with pytest.raises(PayloadTooLarge):
        inflate(gzip.compress(zstd(bytes(zlib.compress(TEXT) * 1000))), b"zstd, gzip", 20)


def test_a_body_within_the_limit_is_not_in_memory_twice() -> None:
    body = gzip.compress(bytes(32 * MEBIBYTE))
    tracemalloc.start()
    try:
        inflate(body, b"gzip", 64 * MEBIBYTE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40 * MEBIBYTE


def test_a_frame_that_claims_more_than_the_limit_is_refused_before_memory_is_taken() -> None:
    claims = bytearray(zstandard.ZstdCompressor().compress(bytes(8 * MEBIBYTE)))
    with pytest.raises(PayloadTooLarge):
        inflate(bytes(claims), b"zstd", MEBIBYTE)


def test_a_zstd_window_above_8_mib_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    body = compressor.compress(bytes(1000)) + compressor.flush()
    with pytest.raises(InvalidRequest, match="not valid zstd data"):
        inflate(body, b"zstd", LIMIT)


# ---- Accept-Encoding


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (b"", None),
        (b"identity", None),
        (b"gzip", b"gzip"),
        (b"x-gzip", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"deflate", b"deflate"),
        (b"zstd", b"zstd"),
        (b"br", None),
        (b"gzip, deflate", b"gzip"),
        (b"gzip, deflate, br, zstd", b"zstd"),
        (b"gzip;q=1.0, zstd;q=0.5", b"gzip"),
        (b"deflate;q=0.8 , gzip ; q = 0.3", b"deflate"),
        (b"gzip;q=0", None),
        (b"gzip;q=0.000, deflate", b"deflate"),
        (b"*", b"zstd"),
        (b"*;q=0", None),
        (b"*;q=0.1, gzip;q=0.2", b"gzip"),
        (b"zstd;q=0, *", b"gzip"),
        (b"identity;q=1, gzip;q=0.5", None),
        (b"identity, gzip", b"gzip"),
        (b"identity;q=0.5, gzip;q=0.5", b"gzip"),
        (b"identity;q=0, gzip;q=0.1", b"gzip"),
        (b"identity;q=0", None),
        (b"gzip;q=abc", None),
        (b"gzip;q=2", None),
        (b"gzip;q=-1", None),
        (b"gzip;q=nan", None),
        (b"gzip;q=1e0", None),
        (b"gzip;level=9", b"gzip"),
        (b",,;q=1, gzip", b"gzip"),
        (b"\xff, gzip", b"gzip"),
    ],
)
def test_the_coding_of_an_answer_is_what_the_caller_likes_best(accepted: bytes, chosen: bytes | None) -> None:
    assert choose(accepted) == chosen


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        (b"gzip", False),
        (b"gzip, identity;q=0", True),
        (b"gzip, *;q=0", True),
        (b"gzip, *;q=0, identity;q=0.1", False),
        (b"identity;q=0", False),
        (b"br, identity;q=0", False),
    ],
)
def test_a_plain_answer_is_refused_only_by_who_accepts_another(accepted: bytes, refused: bool) -> None:
    assert is_plain_refused(accepted) is refused


@given(st.binary(max_size=100) | st.text("gzipdeflatstq=0.1;, *", max_size=60).map(str.encode))
def test_any_accept_encoding_gives_a_coding_or_none(accepted: bytes) -> None:
    assert choose(accepted) in (None, *CODINGS)
