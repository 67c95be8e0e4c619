"""Opening a spool: what an earlier process left is found, a torn tail is cut, and the log goes on behind it."""

import os

from msgspec import UNSET, Struct

from kfunc.config.logger import MEMORY, MEMORY_PATH, MEMORY_SHARE, SPOOL_PATH, VOLUME_SHARE, Logger, intake_bytes
from kfunc.logger_sidecar.disk import SegmentInfo
from kfunc.logger_sidecar.intake import Intake, intake_path
from kfunc.logger_sidecar.lanes import Lane, claim_lane
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import Origin
from kfunc.logger_sidecar.rescue import bring_to_disk, find_segments, rescue
from kfunc.logger_sidecar.spool import Spool

LEAST_BOUND = 1024 * 1024


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
    lane = _claim(settings, origin, notices)
    opened = _open(lane, intake_bytes(settings), notices)
    intake, segments = opened.intake, opened.segments
    position = max(intake.written, segments[-1].end if segments else 0)
    if lane is not None:
        position = max([position, *lane.cursors().values()])
    if intake.drained == intake.written or not intake.kept:
        intake.start_at(position, origin)
    else:  # what is in it could not be brought to the disk: the run that wrote it goes on
        origin = intake.origin() or origin
    return Spool(
        *(intake, lane, segments, origin),
        max_bytes=_bound(settings, lane, intake.size),
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
        message = "the spool %s cannot be used: %s; events wait in memory, and are lost if they are many"
        notices.say("disk", message, folder, error.strerror)
        return None


def _bound(settings: Logger, lane: Lane | None, intake_size: int) -> int:
    """What the spool may take: past four fifths of its volume the pod would be evicted; of memory the handler has its share."""
    if lane is None:
        return settings.spool_max_bytes
    volume = os.statvfs(lane.path)
    size = volume.f_blocks * volume.f_frsize
    room = size * MEMORY_SHARE - intake_size if settings.spool == MEMORY else size * VOLUME_SHARE
    return max(LEAST_BOUND, min(settings.spool_max_bytes, int(room)))


def _open(lane: Lane | None, size: int, notices: Notices) -> Opened:
    if lane is not None:
        rescue(os.path.dirname(lane.path), lane, notices)
    segments = find_segments(lane.path, quickly=True) if lane is not None else []
    intake = _open_intake(lane, size, notices)
    if lane is not None and intake.kept and intake.written > intake.drained:
        segments += bring_to_disk(lane, intake, segments, notices)
    if lane is not None and intake.size < size and intake.drained == intake.written:
        position = intake.written
        intake.close(remove=True)
        intake = _open_intake(lane, size, notices)
        intake.set_drained(position)
        intake.written = position
    return Opened(lane, intake, segments)


def _open_intake(lane: Lane | None, size: int, notices: Notices) -> Intake:
    """In shared memory, or beside the segments, or else in memory of this process."""
    places = [intake_path(lane.path), os.path.join(lane.path, "intake")] if lane is not None else [_nameless()]
    for path in places:
        try:
            intake = Intake(path, size, lane.key if lane is not None else 0)
        except (OSError, ValueError) as error:
            message = "the logger's %d bytes of shared memory cannot be had at %s: %s; see /dev/shm's size and max_body_bytes"
            notices.say("disk", message, size, path, error)
            continue
        if lane is None:
            os.unlink(path)
        elif path == places[0]:
            intake.name_folder(lane.path)
        return intake
    return Intake("", size, 0)


def _nameless() -> str:
    return f"{intake_path('/')}-{os.getpid()}-{os.urandom(4).hex()}"
