"""What goes to the client: frames in order, and DATA as far as both windows allow, stream by stream in turns. Sans-IO."""

from collections import deque
from collections.abc import Callable

from kfunc.http.h2.frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, frame, frame_head
from kfunc.http.h2.limits import FRAMES_PER_BYTE, FRAMES_PER_CHUNK
from kfunc.http.h2.settings import DEFAULT_FRAME, DEFAULT_WINDOW
from kfunc.http.h2.streams import Stream

MOST_AT_ONCE = 256 * 1024
ROOM = 64 * 1024  # of a stream's answer may wait; a producer that is told to pause goes on below
SHRINK_TABLE = b"\x20"  # we do not use the dynamic table (RFC 7541, 4.2)


class Outbox:
    """Frames that wait to be sent. `window` and `initial_window` are the client's (RFC 9113, 5.2).

    `on_sent` hears of each stream whose answer is sent to its end, `on_room` of one that can take more.
    """

    __slots__ = ("_bytes", "_on_room", "_on_sent", "_parts", "_waiting") + (
        "earned",
        "frame_size",
        "initial_window",
        "now",
        "paused",
        "shrink_table",
        "window",
    )

    def __init__(self, on_sent: Callable[[Stream], None], on_room: Callable[[Stream], None]) -> None:
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.frame_size = DEFAULT_FRAME
        self.shrink_table = False
        self.paused = False  # the transport takes no more
        self.now = 0.0
        self._on_sent = on_sent
        self._on_room = on_room
        self.earned = 0.0  # frames without a request that the client may send for what it took
        self._parts: list[bytes | memoryview] = []
        self._bytes = 0  # of DATA in the parts
        self._waiting: dict[Stream, None] = {}

    def take(self) -> bytes:
        """What can be sent now."""
        parts = self._parts
        if not parts:
            return b""
        self._parts, self._bytes = [], 0
        return b"".join(parts)

    def write(self, control: bytes) -> None:
        """A frame that no window holds back."""
        self._parts.append(control)

    def headers(self, stream: Stream, block: bytes, end: bool = False) -> None:
        """A header block: of an answer, an interim one, or with `end` its trailers or the whole of it."""
        if self.shrink_table:
            self.shrink_table = False
            block = SHRINK_TABLE + block
        flags = END_STREAM if end else 0
        size = self.frame_size
        if len(block) <= size:
            self._parts += (frame_head(len(block), HEADERS, flags | END_HEADERS, stream.id), block)
        else:
            self._parts.append(frame(HEADERS, flags, stream.id, block[:size]))
            for at in range(size, len(block), size):
                last = END_HEADERS if at + size >= len(block) else 0
                self._parts.append(frame(CONTINUATION, last, stream.id, block[at : at + size]))
        if end:
            self._on_sent(stream)

    def whole(self, stream: Stream, block: bytes, body: bytes, trailers: bytes) -> bool:
        """A whole answer, where nothing holds it back; false if something does."""
        size, most = len(body), self.frame_size
        if not 0 < size <= most or size > stream.send_window or size > self.window:
            return False
        if len(block) > most or len(trailers) > most or self.paused or self.shrink_table:
            return False
        self.window -= size
        self._bytes += size
        number = stream.id
        head = frame_head(len(block), HEADERS, END_HEADERS, number)
        self._parts += (head, block, frame_head(size, DATA, 0 if trailers else END_STREAM, number), body)
        if trailers:
            self._parts += (frame_head(len(trailers), HEADERS, END_HEADERS | END_STREAM, number), trailers)
        self._on_sent(stream)
        return True

    def data(self, stream: Stream, chunk: bytes, end: bool, trailers: bytes = b"") -> None:
        """The next bytes of an answer, and with `end` its last ones, `trailers` behind them."""
        size = len(chunk)
        stream.answered = end
        stream.trailers = trailers
        self.earned += FRAMES_PER_CHUNK
        most = 0 if self.paused else min(stream.send_window, self.window, self.frame_size)
        if stream.pending_bytes or size > max(most, 0):
            if size:
                self._keep(stream, chunk)
            self.pump(stream)
            return
        if size:
            self._frame(stream, chunk, end and not trailers)
        if end:
            self._end(stream, flagged=size > 0)

    def _keep(self, stream: Stream, chunk: bytes) -> None:
        if stream.pending is None:
            stream.pending = deque()
        if not stream.pending_bytes:
            stream.moved_at = self.now
            self._waiting[stream] = None
        stream.pending.append(chunk)
        stream.pending_bytes += len(chunk)

    def _frame(self, stream: Stream, chunk: bytes | memoryview, end: bool) -> None:
        size = len(chunk)
        stream.send_window -= size
        self.window -= size
        self._bytes += size
        self.earned += size * FRAMES_PER_BYTE
        self._parts += (frame_head(size, DATA, END_STREAM if end else 0, stream.id), chunk)

    def _end(self, stream: Stream, flagged: bool) -> None:
        """The last byte of an answer is on its way."""
        if stream.trailers:
            self.headers(stream, stream.trailers, end=True)
            return
        if not flagged:
            self._parts.append(frame(DATA, END_STREAM, stream.id))
        self._on_sent(stream)

    def pump(self, only: Stream | None = None) -> None:
        """Send what waits and may be sent, of all streams or of one."""
        waiting = self._waiting
        moved = True
        while moved and waiting and not self.paused and self._bytes < MOST_AT_ONCE and self.window > 0:
            moved = False
            for stream in list(waiting) if only is None else (only,):
                moved |= self._send_some(stream)

    def _send_some(self, stream: Stream) -> bool:
        """One frame of what waits; false if no window allows it."""
        size = min(stream.send_window, self.window, self.frame_size)
        pending = stream.pending
        if size <= 0 or not pending:
            return False
        chunk = pending[0]
        if len(chunk) <= size:
            pending.popleft()
        else:
            view = memoryview(chunk)
            chunk, pending[0] = view[:size], view[size:]
        stream.pending_bytes -= len(chunk)
        stream.moved_at = self.now
        done = not stream.pending_bytes
        if done:
            del self._waiting[stream]
        self._frame(stream, chunk, done and stream.answered and not stream.trailers)
        if done and stream.answered:
            self._end(stream, flagged=True)
        elif stream.pending_bytes < ROOM:
            self._on_room(stream)
        return True

    def forget(self, stream: Stream) -> None:
        """The stream is closed: nothing more of it is sent."""
        if stream.pending_bytes:
            self._waiting.pop(stream, None)
            stream.pending_bytes = 0
        stream.pending = None

    @property
    def more(self) -> bool:
        """Whether `pump` would find something to do after `take`."""
        return bool(self._waiting) and self.window > 0 and not self.paused
