"""Frames against hyperframe, and the rules on their sizes and streams (RFC 9113, 4 and 6)."""

import hyperframe.frame as hyper
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import FRAME_SIZE_ERROR, PROTOCOL_ERROR, ConnectionFault

MAX = 16_384
FRAMES = st.lists(
    st.tuples(st.sampled_from((0, 1, 2, 9, 77)), st.integers(0, 255), st.integers(1, 2**31 - 1), st.binary(max_size=40))
)


def read(data: bytes) -> list[frames.Frame]:
    return list(frames.FrameReader(MAX).read(data))


def joined(found: list[frames.Frame]) -> list[frames.Frame]:
    """With DATA of one stream behind each other as one, where they have neither flags nor an end."""
    together: list[frames.Frame] = []
    for kind, flags, stream_id, payload in found:
        before = together[-1] if together else (-1, 0, 0, b"")
        if (
            payload
            and before is not None
            and before[:3] == (kind, flags, stream_id) == (frames.DATA, 0, stream_id)
            and before[3]
        ):
            together[-1] = (kind, flags, stream_id, before[3] + payload)
        else:
            together.append((kind, flags, stream_id, payload))
    return together


@given(FRAMES)
def test_what_is_written_is_read(written: list[frames.Frame]) -> None:
    assert joined(read(b"".join(frames.frame(*each) for each in written))) == joined(written)


@given(FRAMES, st.data())
def test_frames_may_be_cut_anywhere(written: list[frames.Frame], choices: st.DataObject) -> None:
    reader, found = frames.FrameReader(MAX), []
    data = b"".join(frames.frame(*each) for each in written)
    while data:
        size = choices.draw(st.integers(1, len(data)))
        found += list(reader.read(data[:size]))
        data = data[size:]
    assert (joined(found), reader.partial) == (joined(written), frames.NOTHING)


def test_data_of_one_size_and_stream_that_come_together_are_one_frame() -> None:
    written = [frames.frame(frames.DATA, 0, 1, each * 100) for each in (b"a", b"b", b"c")]
    last = frames.frame(frames.DATA, frames.END_STREAM, 1, b"d" * 100)
    whole = (frames.DATA, 0, 1, b"a" * 100 + b"b" * 100 + b"c" * 100)
    assert read(b"".join([*written, last])) == [whole, (frames.DATA, frames.END_STREAM, 1, b"d" * 100)]
    reader = frames.FrameReader(MAX)
    cut = b"".join(written)
    assert list(reader.read(cut[:50])) == []
    assert list(reader.read(cut[50:-50])) == [(frames.DATA, 0, 1, b"a" * 100 + b"b" * 100)]
    assert (reader.partial, reader.partial_stream) == (frames.DATA, 1)


@pytest.mark.parametrize(("flags", "size"), [(0, 0), (frames.END_STREAM, 9), (frames.PADDED, 9)])
def test_data_that_count_one_by_one_stay_alone(flags: int, size: int) -> None:
    assert len(read(frames.frame(frames.DATA, flags, 1, bytes(size)) * 3)) == 3


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (frames.rst_stream(3, 8), hyper.RstStreamFrame(3, error_code=8)),
        (frames.window_update(0, 77), hyper.WindowUpdateFrame(0, window_increment=77)),
        (frames.goaway(5, 11, b"why"), hyper.GoAwayFrame(0, last_stream_id=5, error_code=11, additional_data=b"why")),
        (frames.settings({4: 9, 5: 20_000}), hyper.SettingsFrame(0, settings={4: 9, 5: 20_000})),
        (frames.frame(frames.SETTINGS, frames.ACK, 0), hyper.SettingsFrame(0, flags=["ACK"])),
        (frames.frame(frames.PING, 0, 0, b"12345678"), hyper.PingFrame(0, opaque_data=b"12345678")),
        (frames.frame(frames.DATA, 1, 1, b"abc"), hyper.DataFrame(1, b"abc", flags=["END_STREAM"])),
    ],
)
def test_frames_are_those_of_hyperframe(written: bytes, expected: hyper.Frame) -> None:
    assert written == expected.serialize()


@pytest.mark.parametrize(
    ("kind", "stream_id", "size", "code"),
    [
        (frames.HEADERS, 0, 5, PROTOCOL_ERROR),
        (frames.PRIORITY, 0, 5, PROTOCOL_ERROR),
        (frames.RST_STREAM, 0, 4, PROTOCOL_ERROR),
        (frames.RST_STREAM, 1, 3, FRAME_SIZE_ERROR),
        (frames.SETTINGS, 1, 6, PROTOCOL_ERROR),
        (frames.PING, 1, 8, PROTOCOL_ERROR),
        (frames.PING, 0, 7, FRAME_SIZE_ERROR),
        (frames.GOAWAY, 1, 8, PROTOCOL_ERROR),
        (frames.GOAWAY, 0, 7, FRAME_SIZE_ERROR),
        (frames.WINDOW_UPDATE, 0, 3, FRAME_SIZE_ERROR),
        (frames.WINDOW_UPDATE, 1, 5, FRAME_SIZE_ERROR),
        (frames.CONTINUATION, 0, 1, PROTOCOL_ERROR),
        (frames.DATA, 1, MAX + 1, FRAME_SIZE_ERROR),
        (frames.HEADERS, 1, MAX + 1, FRAME_SIZE_ERROR),
        (200, 1, MAX + 1, FRAME_SIZE_ERROR),
    ],
)
def test_a_frame_against_the_rules_is_an_error_of_the_connection(kind: int, stream_id: int, size: int, code: int) -> None:
    with pytest.raises(ConnectionFault) as caught:
        read(frames.frame(kind, 0, stream_id, bytes(size)))
    assert caught.value.code == code


def test_a_frame_that_is_too_large_is_refused_before_it_is_here() -> None:
    with pytest.raises(ConnectionFault):
        read(frames.frame_head(MAX + 1, frames.DATA, 0, 1))


def test_the_reserved_bit_of_a_stream_number_is_ignored() -> None:
    assert read(frames.frame_head(0, frames.DATA, 0, 2**31 | 1)) == [(0, 0, 1, b"")]


@pytest.mark.parametrize(("payload", "rest"), [(b"\0abc", b"abc"), (b"\2abc\0\0", b"abc"), (b"\3\0\0\0", b""), (b"\0", b"")])
def test_padding_is_taken_off(payload: bytes, rest: bytes) -> None:
    assert frames.unpad(payload) == rest


@pytest.mark.parametrize("payload", [b"", b"\1", b"\4abc", b"\xff" * 3])
def test_padding_that_is_longer_than_its_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(ConnectionFault):
        frames.unpad(payload)


def test_the_last_value_of_a_setting_holds() -> None:
    assert frames.read_settings(b"\0\4\0\0\0\1\0\4\0\0\0\2\xff\xff\0\0\0\3") == {4: 2, 0xFFFF: 3}


def test_settings_that_are_cut_off_are_refused() -> None:
    with pytest.raises(ConnectionFault):
        frames.read_settings(b"\0\4\0\0\0")
