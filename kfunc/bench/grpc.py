"""Calls of gRPC over HTTP/2: one stream after another on a connection."""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from hpack import Decoder, Encoder

from kfunc.bench import h2_frames as h2
from kfunc.bench.connection import Connection, Done

REPLENISH = 1 << 24


def call_fields(authority: str, path: str) -> bytes:
    """The header block of a unary call. Nothing in it is to be remembered, so it is the same for every call."""
    encoder = Encoder()
    encoder.header_table_size = 0
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("user-agent", "kfunc-bench"),
    ]
    block: bytes = encoder.encode(fields)
    return block


@lru_cache(4096)
def read_fields(block: bytes) -> dict[str, str]:
    """A header block that leans on no table, as the settings ask for."""
    decoder = Decoder()
    decoder.header_table_size = 0
    return {str(name): str(value) for name, value in decoder.decode(block)}


class GrpcConnection(Connection):
    """The request is the message with its prefix; `fields` the header block."""

    def __init__(self, request: bytes, fields: bytes, done: Done, lost: Callable[[Connection], None]) -> None:
        super().__init__(request, done, lost)
        self._fields = fields
        self._frames = h2.FrameReader()
        self._stream = -1
        self._rest = b""
        self._window = self._stream_start = h2.FIRST_WINDOW
        self._stream_window = 0
        self._consumed = 0
        self._status = ""
        self._leaves = False  # the server takes no call after this one

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(h2.opening())

    def write(self) -> None:
        self._stream += 2
        self._stream_window = self._stream_start
        self._status = ""
        head = h2.frame(h2.HEADERS, h2.END_HEADERS, self._stream, self._fields)
        size = len(self.request)
        if size <= min(self._window, self._stream_window, h2.FRAME_BYTES):
            self._window -= size
            self.transport.write(head + h2.frame(h2.DATA, h2.END_STREAM, self._stream, self.request))
        else:
            self._rest = self.request
            self.transport.write(head)
            self._write_rest()

    def _write_rest(self) -> None:
        """As much as both windows allow."""
        parts = []
        while self._rest and (size := min(len(self._rest), self._window, self._stream_window, h2.FRAME_BYTES)) > 0:
            part, self._rest = self._rest[:size], self._rest[size:]
            self._window -= size
            self._stream_window -= size
            parts.append(h2.frame(h2.DATA, 0 if self._rest else h2.END_STREAM, self._stream, part))
        if parts:
            self.transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        for kind, flags, stream, payload in self._frames.read(data):
            if kind == h2.DATA:
                self._consumed += len(payload)
            if stream and stream == self._stream and self.busy:
                self._take(kind, flags, payload)
            elif not stream:
                self._take_settings(kind, flags, payload)
        if self._consumed >= REPLENISH:
            self.transport.write(h2.window_update(0, self._consumed))
            self._consumed = 0

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        """A frame of the call."""
        if kind == h2.HEADERS:
            fields = read_fields(payload)
            self._status = fields.get("grpc-status", self._status)
            if self._status != "0":
                self.words = unquote_to_bytes(fields.get("grpc-message", ""))
            if fields.get(":status", "200") != "200":
                self._status = f"HTTP {fields[':status']}"
        elif kind == h2.WINDOW_UPDATE:
            self._stream_window += h2.NUMBER.unpack(payload)[0]
            self._write_rest()
        elif kind == h2.RST_STREAM:
            self._status = "stream reset"
        if kind == h2.RST_STREAM or (flags & h2.END_STREAM and kind in (h2.DATA, h2.HEADERS)):
            self._rest = b""
            reason = "" if self._status == "0" else f"grpc-status {self._status or 'missing'}"
            if self._leaves or self._stream > h2.LARGEST_WINDOW - 4:
                self.transport.close()
            self.finish(reason)

    def _take_settings(self, kind: int, flags: int, payload: bytes) -> None:
        """A frame of the connection."""
        if kind == h2.SETTINGS and not flags & h2.ACK:
            start = h2.read_settings(payload).get(h2.INITIAL_WINDOW_SIZE, self._stream_start)
            self._stream_window += start - self._stream_start
            self._stream_start = start
            self.transport.write(h2.frame(h2.SETTINGS, h2.ACK, 0))
        elif kind == h2.PING and not flags & h2.ACK:
            self.transport.write(h2.frame(h2.PING, h2.ACK, 0, payload))
        elif kind == h2.WINDOW_UPDATE:
            self._window += h2.NUMBER.unpack(payload)[0]
        elif kind == h2.GOAWAY:
            self._leave(h2.NUMBER.unpack_from(payload)[0] & h2.LARGEST_WINDOW)
        if self._rest:
            self._write_rest()

    def _leave(self, last: int) -> None:
        """The server goes, and still answers the calls up to that stream (RFC 9113, 6.8)."""
        self._leaves = True
        if not self.busy:
            self.transport.close()
        elif self._stream > last:
            self.give_up("the server went away before the call")
