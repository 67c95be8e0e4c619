"""The server's side of one HTTP/2 connection (RFC 9113): bytes and `now` in, calls of `Events` and bytes out. Sans-IO."""

from kfunc.config.inference import Limits
from kfunc.http.h2 import control, frames
from kfunc.http.h2.events import Events, HeaderBlock
from kfunc.http.h2.faults import (
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    ConnectionFault,
    StreamFault,
)
from kfunc.http.h2.heads import check_trailers, malformed
from kfunc.http.h2.limits import (
    CONTROL_FRAMES,
    CONTROL_FRAMES_PER_S,
    EARNED_FRAMES,
    EARNED_RESETS,
    MAX_BLOCK_FRAMES,
    RESETS,
    RESETS_PER_S,
    Allowance,
)
from kfunc.http.h2.outbox import Outbox
from kfunc.http.h2.reading import HeadReader, KnownHeads
from kfunc.http.h2.settings import (
    ALL_OUR_WINDOWS,
    DEFAULT_WINDOW,
    EARLY_STREAMS,
    EARLY_WINDOW,
    MOST_OUR_WINDOW,
    OUR_CONNECTION_WINDOW,
    OUR_FRAME,
    OUR_STREAMS,
    OUR_WINDOW,
    our_settings,
)
from kfunc.http.h2.streams import (
    CONNECTION_ERROR,
    ENDED,
    HALF_CLOSED,
    OPEN,
    RESET_BY_CLIENT,
    RESET_BY_US,
    STREAM_ERROR,
    TAKE,
    TRANSITIONS,
    ClosedStreams,
    Stream,
)
from kfunc.http.wire import Headers


class H2Core:
    """One connection. After each call of `receive`, `check` or a sender, `out.take()` is to be sent.

    `over`: nothing more is read, and the connection is to be closed after the last bytes.
    """

    def __init__(self, events: Events, limits: Limits, now: float, known: KnownHeads | None = None) -> None:
        self.events = events
        self.limits = limits
        self.now = now
        self.streams: dict[int, Stream] = {}
        self.out = Outbox(self._sent, events.on_room)
        self.last_id = 0
        self.over = False
        self.acknowledged = False  # the client has our settings
        self.leaving = False  # one side has sent GOAWAY
        self.drain_at: float | None = None  # since when the connection is to end
        self.drain_sent_at: float | None = None  # since when the client knows
        self.final = False  # GOAWAY with the last stream is sent
        self.began_at = self.idle_since = self.heard_at = self.body_at = now
        self.partial_since = now
        self.reader = frames.FrameReader(OUR_FRAME)
        self.block: HeaderBlock | None = None
        self._preface = frames.PREFACE
        self.greeted = False
        self._heads = HeadReader(limits, {} if known is None else known)
        self._closed = ClosedStreams()
        self._receive_window = OUR_CONNECTION_WINDOW
        self._resets = Allowance(RESETS, RESETS_PER_S, now)
        self._control = Allowance(CONTROL_FRAMES, CONTROL_FRAMES_PER_S, now)
        self.out.write(frames.settings(our_settings(limits.max_header_bytes)))
        self.out.write(frames.window_update(0, OUR_CONNECTION_WINDOW - DEFAULT_WINDOW))

    # ---- bytes

    def receive(self, data: bytes, now: float) -> None:
        """Take bytes of the client."""
        over = self.over  # mypy takes the attribute to stay as it is
        if over:
            return
        self.now = self.out.now = self.heard_at = now
        kind, between = frames.NOTHING, self.reader.partial == frames.NOTHING
        try:
            for kind, flags, stream_id, payload in self.reader.read(self._after_preface(data) if self._preface else data):
                try:
                    if kind == frames.DATA and self.greeted and self.block is None:
                        self._on_data(flags, stream_id, payload)
                    else:
                        self._on_frame(kind, flags, stream_id, payload)
                except StreamFault as fault:
                    self._blame(stream_id, fault)
                if self.over:
                    return
        except ConnectionFault as fault:
            self.fail(fault)
        if between or kind != frames.NOTHING:
            self.partial_since = now

    def _after_preface(self, data: bytes) -> bytes:
        expected = self._preface
        size = min(len(expected), len(data))
        if data[:size] != expected[:size]:
            raise ConnectionFault(PROTOCOL_ERROR, "this is not the preface of HTTP/2")
        self._preface = expected[size:]
        return data[size:]

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.greeted:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise ConnectionFault(PROTOCOL_ERROR, "the first frame must be SETTINGS")
            self.greeted = True
        if self.block is not None:
            self._on_continuation(self.block, kind, flags, stream_id, payload)
        elif kind == frames.HEADERS:
            self._on_headers(flags, stream_id, payload)
        elif kind in control.HANDLERS:
            control.HANDLERS[kind](self, flags, stream_id, payload)
        elif kind in (frames.PUSH_PROMISE, frames.CONTINUATION):
            raise ConnectionFault(PROTOCOL_ERROR, "a client sends no PUSH_PROMISE, and CONTINUATION only after HEADERS")
        else:
            self.spend_control()

    # ---- requests

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        if flags & frames.PADDED:
            payload = frames.unpad(payload)
        if flags & frames.WITH_PRIORITY:
            if len(payload) < control.PRIORITY_BYTES:
                raise ConnectionFault(FRAME_SIZE_ERROR, "the priority is longer than its frame")
            if frames.word(payload) == stream_id:  # the block is decoded all the same: its fields enter the table
                flags |= control.DEPENDS_ON_ITSELF
            payload = payload[control.PRIORITY_BYTES :]
        if flags & frames.END_HEADERS:
            self._on_block(flags, stream_id, payload)
        else:
            self.block = HeaderBlock(stream_id, flags, payload, self.now)

    def _on_continuation(self, block: HeaderBlock, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind != frames.CONTINUATION or stream_id != block.stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "between HEADERS and the end of its block only CONTINUATION may come")
        block.parts.append(payload)
        block.size += len(payload)
        if block.size > self.limits.max_header_bytes + OUR_FRAME or len(block.parts) > MAX_BLOCK_FRAMES:
            raise ConnectionFault(ENHANCE_YOUR_CALM, "the header block is too long, or has too many frames")
        if flags & frames.END_HEADERS:
            self.block = None
            self._on_block(block.flags, stream_id, b"".join(block.parts))

    def _on_block(self, flags: int, stream_id: int, block: bytes) -> None:
        if not stream_id & 1:
            raise ConnectionFault(PROTOCOL_ERROR, "a client's streams have odd numbers")
        stream = self.streams.get(stream_id)
        if stream is None and stream_id > self.last_id:
            self._open(flags, stream_id, block)
            return
        fields, size = self._heads.decode(block)
        if not self.judge(stream, stream_id, frames.HEADERS) or stream is None:
            return
        if not flags & frames.END_STREAM:
            raise malformed("HEADERS behind the body must end the stream")
        if size > self.limits.max_header_bytes:
            raise StreamFault(ENHANCE_YOUR_CALM, "the trailers are too long")
        self._end_body(stream, check_trailers(fields))

    def _open(self, flags: int, stream_id: int, block: bytes) -> None:
        self.last_id = stream_id
        head = self._heads.read(block)
        if flags & control.DEPENDS_ON_ITSELF:
            raise malformed("a stream cannot depend on itself")
        complete = flags & frames.END_STREAM != 0
        early = len(self.streams) >= OUR_STREAMS
        if self.final or (early and self._refuses_early(complete, head.length)):
            raise StreamFault(REFUSED_STREAM, "too many streams at once, or the connection ends")
        if complete and head.length:
            raise malformed("the body is shorter than its content-length")
        state = HALF_CLOSED if complete else OPEN
        stream = Stream(stream_id, state, OUR_WINDOW, self.out.initial_window, head.length, self.now)
        if early:
            stream.early = stream.held = True
            stream.receive_window = EARLY_WINDOW
        self.streams[stream_id] = stream
        self.events.on_request(stream, head, complete)

    def _refuses_early(self, complete: bool, length: int | None) -> bool:
        """Whether a stream beyond OUR_STREAMS is refused: a client that has not had our settings may open it in good faith."""
        return self.acknowledged or len(self.streams) >= EARLY_STREAMS or (not complete and (length or 0) > EARLY_WINDOW)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise ConnectionFault(PROTOCOL_ERROR, "DATA on stream 0")
        size = len(payload)
        self._receive_window -= size
        if self._receive_window < OUR_CONNECTION_WINDOW // 2:
            if self._receive_window < 0:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "more DATA than the connection's window allows")
            # Given back at once: the streams' windows hold a client back, so that none of its streams waits for another.
            self.out.write(frames.window_update(0, OUR_CONNECTION_WINDOW - self._receive_window))
            self._receive_window = OUR_CONNECTION_WINDOW
        stream = self.streams.get(stream_id)
        if stream is None or stream.state != OPEN:
            self.judge(stream, stream_id, frames.DATA)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            code = REFUSED_STREAM if stream.early else FLOW_CONTROL_ERROR  # nobody has looked at it: it may be sent again
            raise StreamFault(code, "more DATA than the stream's window allows")
        if flags & frames.PADDED:
            payload = frames.unpad(payload)
        stream.received += len(payload)
        stream.moved_at = self.body_at = self.now
        if stream.expected is not None and stream.received > stream.expected:
            raise malformed("the body is longer than its content-length")
        if payload:
            self.events.on_body(stream, payload)
        elif not flags & frames.END_STREAM:
            self.spend_control()
        if stream.state != OPEN:
            return  # it was answered, and so reset
        if flags & frames.END_STREAM:
            self._end_body(stream, [])
        elif stream.receive_window < OUR_WINDOW and not stream.held:
            self._refill(stream)

    def _end_body(self, stream: Stream, trailers: Headers) -> None:
        if stream.expected is not None and stream.received != stream.expected:
            raise malformed("the body is shorter than its content-length")
        stream.state = HALF_CLOSED
        self.events.on_end(stream, trailers)

    def _refill(self, stream: Stream) -> None:
        """Let the client send more, in larger steps the more it has sent and the fewer streams it has."""
        target = max(OUR_WINDOW, min(MOST_OUR_WINDOW, ALL_OUR_WINDOWS // len(self.streams), 4 * stream.received))
        window = stream.receive_window
        if window > target // 2 or (stream.expected is not None and stream.expected - stream.received <= window):
            return
        stream.receive_window = target
        self.out.write(frames.window_update(stream.id, target - window))

    def hold(self, stream: Stream, paused: bool) -> None:
        """Stop or go on letting the client send the stream's body; what it may send already still comes."""
        stream.held = paused or stream.early
        if not stream.held and stream.state == OPEN:
            stream.moved_at = self.now
            self._refill(stream)

    # ---- ends of streams

    def judge(self, stream: Stream | None, stream_id: int, kind: int) -> bool:
        """Whether a frame may be taken in its stream's state; raises the fault that it is, if it is one."""
        state = self._closed.state(stream_id, self.last_id) if stream is None else stream.state
        fate, code = TRANSITIONS[state, kind]
        if fate == CONNECTION_ERROR:
            raise ConnectionFault(code, f"a frame of type {kind} on stream {stream_id}, which is closed or was never open")
        if fate == STREAM_ERROR:
            raise StreamFault(code, "the stream is closed")
        if fate != TAKE:
            self.spend_control()
        return fate == TAKE

    def _blame(self, stream_id: int, fault: StreamFault) -> None:
        """Reset a stream for the client's fault; what it makes us reset counts as if it had (CVE-2025-8671)."""
        stream = self.streams.get(stream_id)
        self.spend_reset()
        if stream is not None:
            self._drop(stream, RESET_BY_US)
        else:
            self._closed.remember(stream_id, RESET_BY_US)
            if stream_id == self.last_id and fault.code != REFUSED_STREAM:
                self.events.on_malformed()
        self.out.write(frames.rst_stream(stream_id, fault.code))

    def reset(self, stream: Stream, code: int) -> None:
        """Break off."""
        if stream.id in self.streams:
            self.out.write(frames.rst_stream(stream.id, code))
            self._drop(stream, RESET_BY_US)

    def reset_by_client(self, stream: Stream) -> None:
        """The client broke off."""
        self._drop(stream, RESET_BY_CLIENT)

    def _drop(self, stream: Stream, state: int) -> None:
        self._close(stream, state)
        self.events.on_cancelled(stream)
        stream.owner = None  # it knows its stream: without this both would wait for the garbage collector

    def _sent(self, stream: Stream) -> None:
        """The answer is sent; a client that is still sending may stop (RFC 9113, 8.1)."""
        self._resets.earn(EARNED_RESETS)
        self._control.earn(EARNED_FRAMES)
        if stream.state == OPEN:
            self.out.write(frames.rst_stream(stream.id, NO_ERROR))
            self._close(stream, RESET_BY_US)
        else:
            self._close(stream, ENDED)
        stream.owner = None

    def _close(self, stream: Stream, state: int) -> None:
        stream.state = state
        self.out.forget(stream)
        del self.streams[stream.id]
        self._closed.remember(stream.id, state)
        if not self.streams:
            self.idle_since = self.now
            if self.leaving:
                self._leave()
            elif self.drain_at is not None:
                self.announce_drain()

    def spend_reset(self) -> None:
        """Count a stream that was opened in vain. Raises ConnectionFault when there are too many."""
        if not self._resets.spend(self.now):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many streams are reset")

    def spend_control(self, count: float = 1.0) -> None:
        """Count frames that move nothing forward. Raises ConnectionFault when there are too many for what was sent."""
        self._control.earn(self.out.earned)
        self.out.earned = 0.0
        if not self._control.spend(self.now, count):
            raise ConnectionFault(ENHANCE_YOUR_CALM, "too many frames that carry no request")

    # ---- the end of the connection

    def drain(self, now: float) -> None:
        """End the connection soon: when nothing is being answered, since some clients read nothing behind a GOAWAY."""
        if self.drain_at is None:
            self.now = self.drain_at = now
            if not self.streams:
                self.announce_drain()

    def announce_drain(self) -> None:
        """Say that this connection ends; requests that are on their way still get answers (RFC 9113, 6.8)."""
        if self.drain_sent_at is None and not self.over:
            self.drain_sent_at = self.now
            self.out.write(frames.frame(frames.PING, 0, 0, control.DRAIN_PING))
            self.out.write(frames.goaway(frames.MAX_WINDOW, NO_ERROR))

    def refuse_more(self) -> None:
        """From now on only what is open is answered; then the connection is over."""
        if not self.final and not self.over:
            self.final = self.leaving = True
            self.out.write(frames.goaway(self.last_id, NO_ERROR))
            if not self.streams:
                self.over = True

    def client_leaves(self) -> None:
        """The client opens no more streams."""
        self.leaving = True
        if not self.streams:
            self._leave()

    def _leave(self) -> None:
        if not self.final:
            self.final = True
            self.out.write(frames.goaway(self.last_id, NO_ERROR))
        self.over = True

    def fail(self, fault: ConnectionFault) -> None:
        """Nothing after this can be read: every stream ends."""
        if self.over:
            return
        self.over = True
        self.out.write(frames.goaway(self.last_id, fault.code, fault.message.encode()))
        self.abandon()

    def abandon(self) -> None:
        """The client is gone, or nothing reaches it any more."""
        self.over = True
        self.leaving = False
        for stream in list(self.streams.values()):
            self._drop(stream, RESET_BY_US)
