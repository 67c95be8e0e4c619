"""Opening a spool: what an earlier process left is found, a torn tail is cut, and the log goes on behind it."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from msgspec import UNSET, Struct

from kfunc.config.logger import (
    MEMORY,
    MEMORY_PATH,
    MEMORY_SHARE,
    SPOOL_PATH,
    TEXT_ROOM,
    VOLUME_SHARE,
    Logger,
    intake_bytes,
)
from kfunc.logger_sidecar.disk import SegmentInfo
from kfunc.logger_sidecar.intake import Intake, intake_in, intake_path
from kfunc.logger_sidecar.lanes import Lane, claim_lane
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import Origin
from kfunc.logger_sidecar.rescue import bring_to_disk, find_segments, rescue
from kfunc.logger_sidecar.spool import Spool

LEAST_BOUND = 1024 * 1024
LOOKS, LOOK_S = 10, 0.05
NO_SPOOL = "the spool %s cannot be used: %s; events wait in memory, and are lost if they are many"


class Opened(Struct):
    """A lane and its state; without a lane events are kept in memory only."""

    lane: Lane | None
    intake: Intake
    segments: list[SegmentInfo]


def spool_folder(settings: Logger) -> str:
    """The folder that `logger.spool` means; a volume claim is mounted where the pod's spool is."""
    spool = settings.spool if isinstance(settings.spool, str) else SPOOL_PATH
    if spool == MEMORY:
        return MEMORY_PATH
    return SPOOL_PATH if spool.startswith("pvc://") else spool


def open_spool(settings: Logger, origin: Origin, notices: Notices) -> Spool:
    """The log of this process, after what is left of earlier ones. A folder that cannot be used is said, not raised."""
    opened = _open(_claim(settings, origin, notices), intake_bytes(settings), notices)
    lane, intake, segments = opened.lane, opened.intake, opened.segments
    position = max(intake.written, segments[-1].end if segments else 0)
    if lane is not None:
        position = max([position, *lane.cursors().values()])
    if intake.drained == intake.written or not intake.kept:
        intake.start_at(position, origin)
    else:  # what is in it could not be brought to the disk: the run that wrote it goes on
        origin = intake.origin() or origin
    max_bytes = _bound(settings, lane, intake.size, notices)
    if max_bytes < 2 * settings.max_body_bytes + TEXT_ROOM:
        message = "the spool may hold %d bytes, less than a call with bodies of max_body_bytes (%d): such calls are dropped"
        notices.say("bound", f"{message}; give it a larger volume or spool_max_bytes", max_bytes, settings.max_body_bytes)
    return Spool(
        *(intake, lane, segments, origin),
        max_bytes=max_bytes,
        segment_bytes=settings.spool_segment_bytes,
        on_full=settings.on_full,
        sync=settings.spool_sync,
        notices=notices,
    )


def _claim(settings: Logger, origin: Origin, notices: Notices) -> Lane | None:
    """Our folder in the spool: functions that share a volume have their own, and so has each of their processes."""
    folder = spool_folder(settings)
    if settings.spool is UNSET and not os.path.isdir(folder):
        notices.say("disk", "there is no spool (logger.spool): events wait in memory, and are lost if they are many")
        return None
    try:
        return claim_lane(os.path.join(folder, f"{origin.namespace}.{origin.function}"))
    except OSError as error:
        notices.say("disk", NO_SPOOL, folder, error.strerror)
        return None


def _bound(settings: Logger, lane: Lane | None, intake_size: int, notices: Notices) -> int:
    """What the spool may take: past four fifths of its volume the pod would be evicted; of memory the handler has its share."""
    if lane is None:
        return settings.spool_max_bytes
    volume = os.statvfs(lane.path)
    size = volume.f_blocks * volume.f_frsize
    room = size * MEMORY_SHARE - intake_size if settings.spool == MEMORY else size * VOLUME_SHARE
    bound = max(LEAST_BOUND, min(settings.spool_max_bytes, int(room)))
    if bound < settings.spool_max_bytes and settings.spool != MEMORY:
        message = "the spool holds %d bytes, not spool_max_bytes (%d): the volume of %s has %d; give it a larger one"
        notices.say("volume", message, bound, settings.spool_max_bytes, lane.path, size)
    return bound


def _open(lane: Lane | None, size: int, notices: Notices) -> Opened:
    if lane is not None:
        try:
            return _open_lane(lane, size, notices)
        except OSError as error:
            notices.say("disk", NO_SPOOL, lane.path, error.strerror)
            lane.release()
    return Opened(None, _open_intake(None, size, notices), [])


def _open_lane(lane: Lane, size: int, notices: Notices) -> Opened:
    rescue(os.path.dirname(lane.path), lane, notices)
    intake = _open_intake(lane, size, notices)
    with _let_go_on_error(intake):
        drained = intake.drained if intake.kept else None
        segments = find_segments(lane.path, notices, quickly=True, drained=drained)
        segments += _brought(lane, intake, segments, notices)
    wanted = intake.size >= size and intake.path != intake_in(lane.path)
    if intake.kept and not wanted and intake.drained == intake.written:
        position, cursors = intake.written, intake.cursors()
        intake.close(remove=True)
        intake = _open_intake(lane, size, notices)
        with _let_go_on_error(intake):
            segments += _brought(lane, intake, segments, notices)
        intake.set_drained(max(position, intake.drained))
        intake.written = max(position, intake.written)
        for key, kept in cursors.items():
            intake.set_cursor(key, kept)
    return Opened(lane, intake, segments)


@contextmanager
def _let_go_on_error(intake: Intake) -> Iterator[None]:
    """What is in it stays for the next process."""
    try:
        yield
    except OSError:
        intake.close(remove=False)
        raise


def _brought(lane: Lane, intake: Intake, segments: list[SegmentInfo], notices: Notices) -> list[SegmentInfo]:
    """What a killed process had in its intake, on the disk."""
    return bring_to_disk(lane, intake, segments, notices) if intake.kept and intake.written > intake.drained else []


def _open_intake(lane: Lane | None, size: int, notices: Notices) -> Intake:
    """In shared memory, or beside the segments, or else in memory of this process. One that was left there goes first.

    One that does not go on where the segments end gives the lane a new key: so what is in any other is brought to a
    lane of its own.
    """
    places = [intake_path(lane.path), intake_in(lane.path)] if lane is not None else [_nameless()]
    if lane is not None and os.path.exists(places[1]):
        places.reverse()
    for path in places:
        try:
            intake = _patiently(path, size, lane.key if lane is not None else 0)
        except BlockingIOError:
            notices.say("taken", "another process has the logger's memory %s: it is made elsewhere", path)
            continue
        except (OSError, ValueError) as error:
            message = "the logger's %d bytes of memory cannot be had at %s: %s; see the room there and max_body_bytes"
            notices.say(f"no memory {path}", message, size, path, error)
            continue
        if lane is None:
            os.unlink(path)
        elif not intake.kept:
            intake.belong_to(lane.path, _renewed(lane, notices))
        return intake
    notices.say("unkept", "events are in this process's memory until the disk has them: what a kill takes with it is lost")
    if lane is not None:
        _renewed(lane, notices)
    return Intake("", size, 0)


def _renewed(lane: Lane, notices: Notices) -> int:
    try:
        return lane.renew()
    except OSError as error:
        notices.say("key", "%s cannot be begun anew: %s; what else is left of it may be lost", lane.path, error.strerror)
        return lane.key


def _patiently(path: str, size: int, key: int) -> Intake:
    """Another process may just be looking into what was left of ours."""
    for _ in range(LOOKS):
        try:
            return Intake(path, size, key)
        except BlockingIOError:
            time.sleep(LOOK_S)
    return Intake(path, size, key)


def _nameless() -> str:
    return f"{intake_path('/')}-{os.getpid()}-{os.urandom(4).hex()}"
