"""The frames that carry no request: settings, windows, pings, priorities, resets and GOAWAY (RFC 9113, 6). Sans-IO."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kfunc.http.h2 import frames
from kfunc.http.h2.faults import FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, ConnectionFault, StreamFault
from kfunc.http.h2.settings import DEFAULT_TABLE, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, check_settings

if TYPE_CHECKING:
    from kfunc.http.h2.core import H2Core

PRIORITY_BYTES = 5
SETTINGS_BYTES = 60  # what a client says is hardly more; what is counts as so many frames more
DEPENDS_ON_ITSELF = 0x100  # beside the flags of a HEADERS frame
DRAIN_PING = b"kfunc/go"


def on_priority(core: "H2Core", flags: int, stream_id: int, payload: bytes) -> None:
    """Check a priority; there is no schedule that it could change (RFC 9113, 5.3.2)."""
    core.spend_control()
    if len(payload) != PRIORITY_BYTES:
        raise StreamFault(FRAME_SIZE_ERROR, "a PRIORITY frame has 5 bytes")
    if frames.word(payload) == stream_id:
        raise StreamFault(PROTOCOL_ERROR, "a stream cannot depend on itself")


def on_rst_stream(core: "H2Core", flags: int, stream_id: int, payload: bytes) -> None:
    """The client has no use for an answer; the same stream may be over already."""
    stream = core.streams.get(stream_id)
    core.spend_reset()
    if core.judge(stream, stream_id, frames.RST_STREAM) and stream is not None:
        core.reset_by_client(stream)


def on_settings(core: "H2Core", flags: int, stream_id: int, payload: bytes) -> None:
    """Take up the client's settings, or that it has ours."""
    if flags & frames.ACK:
        if payload:
            raise ConnectionFault(FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS is empty")
        core.acknowledged = True
        return
    core.spend_control(1.0 + len(payload) // SETTINGS_BYTES)
    values = frames.read_settings(payload)
    check_settings(values)
    out = core.out
    if values.get(HEADER_TABLE_SIZE, DEFAULT_TABLE) < DEFAULT_TABLE:
        out.shrink_table = True
    out.frame_size = values.get(MAX_FRAME_SIZE, out.frame_size)
    if INITIAL_WINDOW_SIZE in values:
        more = values[INITIAL_WINDOW_SIZE] - out.initial_window
        out.initial_window += more
        for stream in core.streams.values():
            stream.send_window += more
            if stream.send_window > frames.MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR, "the new initial window makes a stream's window too large")
    out.write(frames.frame(frames.SETTINGS, frames.ACK, 0))
    out.pump()


def on_ping(core: "H2Core", flags: int, stream_id: int, payload: bytes) -> None:
    """Answer a ping. The answer to our own: what the client had sent when it learnt of the drain is here."""
    if not flags & frames.ACK:
        core.spend_control()
        core.out.write(frames.frame(frames.PING, frames.ACK, 0, payload))
    elif payload == DRAIN_PING and core.drain_sent_at is not None:
        core.refuse_more()
    else:
        core.spend_control()


def on_goaway(core: "H2Core", flags: int, stream_id: int, payload: bytes) -> None:
    """The client opens no more streams."""
    core.spend_control()
    core.client_leaves()


def on_window_update(core: "H2Core", flags: int, stream_id: int, payload: bytes) -> None:
    """The client takes more of all answers, or of one."""
    core.spend_control()
    more = frames.word(payload)
    out = core.out
    if not stream_id:
        if not more:
            raise ConnectionFault(PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
        out.window += more
        if out.window > frames.MAX_WINDOW:
            raise ConnectionFault(FLOW_CONTROL_ERROR, "the connection's window is too large")
        out.pump()
        return
    stream = core.streams.get(stream_id)
    if stream is None:
        core.judge(None, stream_id, frames.WINDOW_UPDATE)
        return
    if not more:
        raise StreamFault(PROTOCOL_ERROR, "a WINDOW_UPDATE of 0")
    stream.send_window += more
    if stream.send_window > frames.MAX_WINDOW:
        raise StreamFault(FLOW_CONTROL_ERROR, "the stream's window is too large")
    out.pump(stream)


Handler = Callable[["H2Core", int, int, bytes], None]

HANDLERS: dict[int, Handler] = {
    frames.PRIORITY: on_priority,
    frames.RST_STREAM: on_rst_stream,
    frames.SETTINGS: on_settings,
    frames.PING: on_ping,
    frames.GOAWAY: on_goaway,
    frames.WINDOW_UPDATE: on_window_update,
}
