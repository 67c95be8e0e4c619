"""What the core tells of its streams, and a header block while it arrives. Sans-IO."""

from typing import Protocol

from kfunc.http.h2.heads import RequestHead
from kfunc.http.h2.streams import Stream
from kfunc.http.wire import Headers


class Events(Protocol):
    """What the core tells of its streams; each call may answer, hold or reset the stream at once."""

    def on_request(self, stream: Stream, head: RequestHead, complete: bool) -> None:
        """A request begins; `complete` says that it has no body."""

    def on_body(self, stream: Stream, chunk: bytes) -> None:
        """Part of a request's body."""

    def on_end(self, stream: Stream, trailers: Headers) -> None:
        """The body is complete."""

    def on_cancelled(self, stream: Stream) -> None:
        """The stream is closed before its answer was sent."""

    def on_room(self, stream: Stream) -> None:
        """What waits of the stream's answer has become little."""

    def on_late(self, stream: Stream) -> None:
        """The rest of the body does not arrive."""

    def on_malformed(self) -> None:
        """A request was too wrong to be made known."""


class HeaderBlock:
    """A header block that is not whole: HEADERS, and the CONTINUATION frames so far."""

    __slots__ = ("flags", "parts", "since", "size", "stream_id")

    def __init__(self, stream_id: int, flags: int, part: bytes, now: float) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.parts = [part]
        self.size = len(part)
        self.since = now
