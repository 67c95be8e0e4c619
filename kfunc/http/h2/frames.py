"""Frames of HTTP/2: bytes to frames and back, with the rules on their sizes and streams (RFC 9113, 4 and 6). Sans-IO."""

import struct
from collections.abc import Iterator

from kfunc.http.h2.faults import FRAME_SIZE_ERROR, PROTOCOL_ERROR, ConnectionFault

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

ON_STREAM, ON_CONNECTION, ON_EITHER = range(3)
UNBOUNDED = 1 << 24
HEAD_BYTES = 9
NOTHING, CUT_HEAD = -1, 256  # beside the types of frames that are not whole
MAX_WINDOW = (1 << 31) - 1

# Type -> where it may be, fewest and most bytes of its payload. A PRIORITY of another size is an error of its stream only.
RULES = {
    DATA: (ON_STREAM, 0, UNBOUNDED),
    HEADERS: (ON_STREAM, 0, UNBOUNDED),
    PRIORITY: (ON_STREAM, 0, UNBOUNDED),
    RST_STREAM: (ON_STREAM, 4, 4),
    SETTINGS: (ON_CONNECTION, 0, UNBOUNDED),
    PUSH_PROMISE: (ON_STREAM, 4, UNBOUNDED),
    PING: (ON_CONNECTION, 8, 8),
    GOAWAY: (ON_CONNECTION, 8, UNBOUNDED),
    WINDOW_UPDATE: (ON_EITHER, 4, 4),
    CONTINUATION: (ON_STREAM, 0, UNBOUNDED),
}

Frame = tuple[int, int, int, bytes]
"""Type, flags, stream, payload."""

_HEAD = struct.Struct(">HBBBL")
_WORD = struct.Struct(">L")
_SETTING = struct.Struct(">HL")


class FrameReader:
    """Cuts a stream of bytes into frames of at most `max_size` bytes. `partial` is the type of one that is not whole.

    DATA frames with the same head, as those of a large body are, come as one frame if they are together.
    """

    __slots__ = ("_max_size", "_need", "_rest", "partial", "partial_stream")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._rest = bytearray()
        self._need = 0
        self.partial = NOTHING
        self.partial_stream = 0

    def read(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises ConnectionFault for one that no rule allows."""
        at, end = 0, len(data)
        if self._rest:
            missing = self._need - len(self._rest)
            if end < missing:
                self._rest += data
                return
            if self.partial == DATA:  # only what belongs to it is copied
                self._rest += memoryview(data)[:missing]
                whole = bytes(self._rest)
                self._rest.clear()
                self.partial = NOTHING
                payload, at = join_same(memoryview(whole), data, missing)
                yield DATA, whole[4], word(whole[5:HEAD_BYTES]), payload
            else:
                self._rest += data
                data = bytes(self._rest)
                self._rest.clear()
                end = len(data)
        self.partial = NOTHING
        while end - at >= HEAD_BYTES:
            high, low, kind, flags, stream_id = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            stream_id &= MAX_WINDOW
            if size > self._max_size:
                raise ConnectionFault(FRAME_SIZE_ERROR, f"a frame has at most {self._max_size} bytes")
            if kind != DATA:
                check_frame(kind, stream_id, size)
            stop = at + HEAD_BYTES + size
            if stop > end:
                self.partial, self.partial_stream = kind, stream_id
                self._need = stop - at
                break
            if kind == DATA and not flags and end - stop >= HEAD_BYTES:
                payload, at = join_same(memoryview(data)[at:stop], data, stop)
                yield DATA, 0, stream_id, payload
            else:
                yield kind, flags, stream_id, data[at + HEAD_BYTES : stop]
                at = stop
        else:
            self._need = HEAD_BYTES
        if at < end:
            self._rest += memoryview(data)[at:]
            if self.partial == NOTHING:
                self.partial, self.partial_stream = CUT_HEAD, 0


def join_same(first: memoryview, data: bytes, at: int) -> tuple[bytes, int]:
    """The payloads of a DATA frame and of those in `data[at:]` that have the same head, and where the next frame begins.

    Frames that are padded, empty or end a stream stay alone: each of them counts.
    """
    head, size = bytes(first[:HEAD_BYTES]), len(first)
    parts = [first[HEAD_BYTES:]]
    if size > HEAD_BYTES and not head[4]:
        view, last = memoryview(data), len(data) - size
        while at <= last and data.startswith(head, at):
            parts.append(view[at + HEAD_BYTES : at + size])
            at += size
    return b"".join(parts), at


def check_frame(kind: int, stream_id: int, size: int) -> None:
    """Refuse a frame on the wrong kind of stream or of the wrong size; types that are not known have no rules."""
    where, least, most = RULES.get(kind, (ON_EITHER, 0, UNBOUNDED))
    if (where == ON_STREAM and not stream_id) or (where == ON_CONNECTION and stream_id):
        raise ConnectionFault(PROTOCOL_ERROR, f"a frame of type {kind} on stream {stream_id}")
    if not least <= size <= most:
        raise ConnectionFault(FRAME_SIZE_ERROR, f"a frame of type {kind} with {size} bytes")


def unpad(payload: bytes) -> bytes:
    """What is left of the payload of a PADDED frame. Raises ConnectionFault if the padding is longer than the frame."""
    if not payload:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a PADDED frame without the length of its padding")
    if payload[0] >= len(payload):
        raise ConnectionFault(PROTOCOL_ERROR, "the padding is longer than its frame")
    return payload[1 : len(payload) - payload[0]]


def frame_head(size: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The nine bytes before a payload of `size` bytes."""
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return frame_head(len(payload), kind, flags, stream_id) + payload


def word(payload: bytes) -> int:
    """The first four bytes, as a number without the reserved bit."""
    number: int = _WORD.unpack_from(payload)[0]
    return number & MAX_WINDOW


def code_of(payload: bytes, at: int = 0) -> int:
    """Four bytes, as an error code."""
    code: int = _WORD.unpack_from(payload, at)[0]
    return code


def rst_stream(stream_id: int, code: int) -> bytes:
    """Ends one stream."""
    return frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def window_update(stream_id: int, increment: int) -> bytes:
    """Lets the peer send `increment` bytes more."""
    return frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(increment))


def goaway(last_stream_id: int, code: int, message: bytes = b"") -> bytes:
    """Ends the connection: streams after `last_stream_id` were not looked at."""
    return frame(GOAWAY, 0, 0, _WORD.pack(last_stream_id) + _WORD.pack(code) + message)


def settings(values: dict[int, int]) -> bytes:
    """Settings that are not the defaults."""
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(*item) for item in values.items()]))


def read_settings(payload: bytes) -> dict[int, int]:
    """The last value of each setting in the payload. Raises ConnectionFault for a size that is no multiple of six."""
    if len(payload) % 6:
        raise ConnectionFault(FRAME_SIZE_ERROR, "a SETTINGS frame is a list of entries of 6 bytes")
    return dict(_SETTING.iter_unpack(payload))
