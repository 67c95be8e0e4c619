"""One request and its answer within a connection: the states of a stream (RFC 9113, 5.1), what waits to be sent. Sans-IO."""

from collections import OrderedDict, deque
from typing import Any

from kfunc.http.h2.faults import PROTOCOL_ERROR, STREAM_CLOSED
from kfunc.http.h2.frames import CONTINUATION, DATA, HEADERS, PRIORITY, PUSH_PROMISE, RST_STREAM, WINDOW_UPDATE

# A stream that the server has ended first is reset at once: there is no half-closed (local).
IDLE, OPEN, HALF_CLOSED, ENDED, RESET_BY_CLIENT, RESET_BY_US, FORGOTTEN = range(7)

# What becomes of a frame: it is taken, dropped, an error of its stream, or one of the connection.
TAKE, DROP, STREAM_ERROR, CONNECTION_ERROR = range(4)

Fate = tuple[int, int]
_taken, _dropped = (TAKE, 0), (DROP, 0)
_closed_stream, _closed_connection = (STREAM_ERROR, STREAM_CLOSED), (CONNECTION_ERROR, STREAM_CLOSED)
_never = (CONNECTION_ERROR, PROTOCOL_ERROR)

# State, frame -> what to do with it. A client may send on for a while on a stream that we have reset.
TRANSITIONS: dict[tuple[int, int], Fate] = {
    (IDLE, HEADERS): _taken,
    (IDLE, PRIORITY): _dropped,
    (IDLE, DATA): _never,
    (IDLE, RST_STREAM): _never,
    (IDLE, WINDOW_UPDATE): _never,
    (OPEN, HEADERS): _taken,
    (OPEN, DATA): _taken,
    (OPEN, PRIORITY): _dropped,
    (OPEN, RST_STREAM): _taken,
    (OPEN, WINDOW_UPDATE): _taken,
    (HALF_CLOSED, HEADERS): _closed_stream,
    (HALF_CLOSED, DATA): _closed_stream,
    (HALF_CLOSED, PRIORITY): _dropped,
    (HALF_CLOSED, RST_STREAM): _taken,
    (HALF_CLOSED, WINDOW_UPDATE): _taken,
    (ENDED, HEADERS): _closed_connection,
    (ENDED, DATA): _closed_stream,
    (ENDED, PRIORITY): _dropped,
    (ENDED, RST_STREAM): _dropped,
    (ENDED, WINDOW_UPDATE): _dropped,
    (RESET_BY_CLIENT, HEADERS): _closed_stream,
    (RESET_BY_CLIENT, DATA): _closed_stream,
    (RESET_BY_CLIENT, PRIORITY): _dropped,
    (RESET_BY_CLIENT, RST_STREAM): _dropped,
    (RESET_BY_CLIENT, WINDOW_UPDATE): _dropped,
    (RESET_BY_US, HEADERS): _dropped,
    (RESET_BY_US, DATA): _dropped,
    (RESET_BY_US, PRIORITY): _dropped,
    (RESET_BY_US, RST_STREAM): _dropped,
    (RESET_BY_US, WINDOW_UPDATE): _dropped,
    (FORGOTTEN, HEADERS): _never,
    (FORGOTTEN, DATA): _closed_stream,
    (FORGOTTEN, PRIORITY): _dropped,
    (FORGOTTEN, RST_STREAM): _dropped,
    (FORGOTTEN, WINDOW_UPDATE): _dropped,
}
# Never right, whatever the stream: a client cannot push, and a CONTINUATION that fits is taken before it comes here.
TRANSITIONS |= {(state, kind): _never for state in range(7) for kind in (PUSH_PROMISE, CONTINUATION)}

MAX_REMEMBERED = 512


class Stream:
    """An open stream. `owner` belongs to whoever drives the core."""

    __slots__ = ("answered", "crowded", "early", "expected", "held", "id", "moved_at", "owner", "patient") + (
        "pending",
        "pending_bytes",
        "received",
        "receive_window",
        "send_window",
        "state",
        "trailers",
    )

    def __init__(
        self, stream_id: int, state: int, receive_window: int, send_window: int, expected: int | None, now: float
    ) -> None:
        self.id = stream_id
        self.state = state
        self.receive_window = receive_window  # bytes that the client may send
        self.send_window = send_window  # bytes that we may send; below 0 after a change of the settings
        self.expected = expected  # Content-Length
        self.received = 0
        self.held = False  # no more window is given for now
        self.crowded = False  # because of the others' bodies
        self.early = False  # one too many, from a client that does not know it: its body must be small
        self.patient = False  # the client may be silent for long: its messages are answered as they come
        self.pending: deque[bytes | memoryview] | None = None
        self.pending_bytes = 0
        self.answered = False  # all of the answer is here, if not sent
        self.trailers = b""
        self.moved_at = now
        self.owner: Any = None


class ClosedStreams:
    """How the streams that were closed last came to their end. Older ones are forgotten, as are numbers left out."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: OrderedDict[int, int] = OrderedDict()

    def remember(self, stream_id: int, state: int) -> None:
        """A stream is closed."""
        states = self._states
        states[stream_id] = state
        if len(states) > MAX_REMEMBERED:
            states.popitem(last=False)

    def state(self, stream_id: int, last_id: int) -> int:
        """The state of a stream that is not open, where `last_id` was the last one to be opened."""
        if stream_id > last_id or not stream_id & 1:
            return IDLE
        return self._states.get(stream_id, FORGOTTEN)
