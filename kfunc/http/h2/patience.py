"""How long a client may keep a connection or a stream waiting. Sans-IO: `now` is an argument."""

from kfunc.http.h2 import frames
from kfunc.http.h2.core import H2Core
from kfunc.http.h2.faults import ENHANCE_YOUR_CALM, PROTOCOL_ERROR, SETTINGS_TIMEOUT, ConnectionFault
from kfunc.http.h2.limits import CHECK_S, DRAIN_PING_S, DRAIN_QUIET_S
from kfunc.http.h2.streams import OPEN


def check(core: H2Core, now: float) -> float:
    """End what took too long; returns when to look again."""
    core.now = core.out.now = now
    fault = late(core, now)
    if fault is not None:
        core.fail(fault)
    if core.over:
        return now + CHECK_S
    check_streams(core, now)
    limits = core.limits
    if core.drain_at is not None and now - core.drain_at > DRAIN_QUIET_S:
        core.announce_drain()
    if core.drain_sent_at is not None and now - core.drain_sent_at > DRAIN_PING_S:
        core.refuse_more()
    if busy(core):
        return now + CHECK_S
    if now - core.idle_since > limits.idle_timeout_s:
        core.refuse_more()
    return core.idle_since + limits.idle_timeout_s


def busy(core: H2Core) -> bool:
    """Whether anything but the idle connection has a deadline."""
    return bool(
        core.streams
        or core.block
        or core.reader.partial > 0
        or not core.acknowledged
        or (core.drain_sent_at and not core.final)
    )


def late(core: H2Core, now: float) -> ConnectionFault | None:
    """What the whole connection waits for in vain."""
    header_timeout_s = core.limits.header_timeout_s
    if not core.acknowledged and now - core.began_at > header_timeout_s:
        if not core.greeted:
            return ConnectionFault(PROTOCOL_ERROR, "the preface and the first SETTINGS did not arrive in time")
        return ConnectionFault(SETTINGS_TIMEOUT, "our SETTINGS were not acknowledged in time")
    if core.block is not None and now - core.block.since > header_timeout_s:
        return ConnectionFault(ENHANCE_YOUR_CALM, "the header block did not end in time")
    if core.reader.partial > 0 and now - core.partial_since > header_timeout_s:
        return ConnectionFault(ENHANCE_YOUR_CALM, "a frame did not arrive in time")
    return None


def check_streams(core: H2Core, now: float) -> None:
    """End streams whose bodies do not arrive, and those whose answers nobody takes."""
    timeout_s = core.limits.body_timeout_s
    nothing_comes = now - core.body_at > timeout_s
    for stream in list(core.streams.values()):
        moved_at = stream.moved_at
        if core.reader.partial == frames.DATA and core.reader.partial_stream == stream.id:
            moved_at = core.heard_at  # part of a frame counts: a link may be slow
        if now - moved_at <= timeout_s or stream.id not in core.streams:
            continue
        if stream.pending_bytes:
            core.reset(stream, ENHANCE_YOUR_CALM)
        elif stream.state == OPEN and not stream.patient and (not stream.held or (stream.crowded and nothing_comes)):
            core.events.on_late(stream)
