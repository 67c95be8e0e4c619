"""As much of HTTP/2 as a client of one call at a time needs (RFC 9113): frames to bytes and back, and both windows. Sans-IO."""

from collections.abc import Iterator
from struct import Struct as Layout

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 4, 5
LARGEST_WINDOW = 2**31 - 1
FIRST_WINDOW = 65_535
FRAME_BYTES = 16_384
SETTING = Layout(">HI")
NUMBER = Layout(">I")

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + NUMBER.pack(stream) + payload


def opening() -> bytes:
    """What a client says first: no table of header fields, so that equal fields are equal bytes; windows as large as can be."""
    settings = SETTING.pack(HEADER_TABLE_SIZE, 0) + SETTING.pack(INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
    return PREFACE + frame(SETTINGS, 0, 0, settings) + window_update(0, LARGEST_WINDOW - FIRST_WINDOW)


def window_update(stream: int, size: int) -> bytes:
    """The other side may send that much more."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(size))


def read_settings(payload: bytes) -> dict[int, int]:
    """Settings by their numbers."""
    return dict(SETTING.iter_unpack(payload[: len(payload) // 6 * 6]))


class FrameReader:
    """Bytes → frames."""

    def __init__(self) -> None:
        self._buffer = b""

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now."""
        data = self._buffer + data if self._buffer else data
        at, end = 0, len(data)
        while end - at >= 9:
            size = int.from_bytes(data[at : at + 3])
            if end - at < 9 + size:
                break
            stream = NUMBER.unpack_from(data, at + 5)[0] & LARGEST_WINDOW
            yield data[at + 3], data[at + 4], stream, data[at + 9 : at + 9 + size]
            at += 9 + size
        self._buffer = data[at:]
