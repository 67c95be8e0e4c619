"""Opening a spool: what an earlier process left is found, a torn tail is cut, and the log goes on behind it."""

import os

from msgspec import UNSET, Struct

from kfunc.config.logger import SPOOL_PATH, VOLUME_SHARE, Logger
from kfunc.logger_sidecar.disk import SegmentInfo, SegmentWriter
from kfunc.logger_sidecar.intake import Intake, intake_path, remove_abandoned
from kfunc.logger_sidecar.lanes import Lane, claim_lane
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import Origin, whole_records
from kfunc.logger_sidecar.segments import SegmentReader, segment_paths
from kfunc.logger_sidecar.spool import Spool

LEAST_INTAKE = 8 * 1024 * 1024
RECORDS_IN_INTAKE = 3
TEXT_ROOM = 64 * 1024


class Opened(Struct):
    """A lane and its state; without a lane events are kept in memory only."""

    lane: Lane | None
    intake: Intake
    segments: list[SegmentInfo]


def spool_folder(settings: Logger) -> str:
    """The folder that `logger.spool` means; a volume claim is mounted where the pod's spool is."""
    spool = settings.spool if isinstance(settings.spool, str) else SPOOL_PATH
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
        max_bytes=_bound(settings, lane),
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


def intake_bytes(settings: Logger) -> int:
    """Room in memory for a few calls with the longest bodies."""
    return max(LEAST_INTAKE, RECORDS_IN_INTAKE * (2 * settings.max_body_bytes + TEXT_ROOM))


def _bound(settings: Logger, lane: Lane | None) -> int:
    """What the spool may take: past four fifths of its volume the pod would be evicted."""
    if lane is None:
        return settings.spool_max_bytes
    volume = os.statvfs(lane.path)
    return min(settings.spool_max_bytes, int(volume.f_blocks * volume.f_frsize * VOLUME_SHARE))


def _open(lane: Lane | None, size: int, notices: Notices) -> Opened:
    segments = find_segments(lane.path, notices, quickly=True) if lane is not None else []
    intake = _open_intake(lane, size)
    if lane is not None and intake.kept and intake.written > intake.drained:
        segments += _bring_to_disk(lane, intake, segments, notices)
    if lane is not None and intake.size < size and intake.drained == intake.written:
        position = intake.written
        intake.close(remove=True)
        intake = _open_intake(lane, size)
        intake.set_drained(position)
        intake.written = position
    return Opened(lane, intake, segments)


def _open_intake(lane: Lane | None, size: int) -> Intake:
    """In shared memory, or beside the segments, or else in a file of nobody's."""
    if lane is None:
        path = f"{intake_path('/')}-{os.getpid()}-{os.urandom(4).hex()}"
        intake = Intake(path, size, 0)
        os.unlink(path)
        return intake
    try:
        remove_abandoned()
    except OSError:
        pass  # another process was faster, or it is not to be read
    try:
        intake = Intake(intake_path(lane.path), size, lane.key)
        intake.name_folder(lane.path)
        return intake
    except (OSError, ValueError):
        return Intake(os.path.join(lane.path, "intake"), size, lane.key)


def _bring_to_disk(lane: Lane, intake: Intake, segments: list[SegmentInfo], notices: Notices) -> list[SegmentInfo]:
    """Write what a process that was killed had in its intake; the segments with it."""
    origin = intake.origin()
    start = max(intake.drained, segments[-1].end if segments else 0)
    records = intake.read(start, intake.written) if start < intake.written else b""
    if origin is None or not records:
        intake.set_drained(intake.written)
        return []
    end, _ = whole_records(records, len(records))
    writer = SegmentWriter(lane.path, len(records) * 2, origin, sync=False)
    try:
        written = writer.write(start, records[:end])
        writer.finish()
    except OSError as error:
        notices.say("disk", "the spool cannot be written: %s", error)
        return []
    intake.set_drained(intake.written)
    return written


def find_segments(folder: str, notices: Notices, *, quickly: bool = False) -> list[SegmentInfo]:
    """The segments of a folder, oldest first, as far as each can be read.

    `quickly`: only the last one is read, which a crash may have torn; the calls in the others are counted later.
    """
    found = []
    paths = segment_paths(folder)
    for number, (start, path) in enumerate(paths):
        info = SegmentInfo(path, start, start, os.stat(path).st_size, 0)
        if quickly and number < len(paths) - 1:
            info.end, info.is_counted = paths[number + 1][0], False
        else:
            _read(info, notices)
        if info.end > start or number < len(paths) - 1:
            found.append(info)
    return found


def _read(info: SegmentInfo, notices: Notices) -> None:
    """Find where a segment ends, and how many calls are in it."""
    reader = SegmentReader(info.path)
    try:
        while (block := reader.next_block()) is not None:
            info.end = block.position + len(block.records)
            info.calls += whole_records(block.records, len(block.records))[1]
        if reader.at < info.bytes:
            notices.drop("damaged", 0)
    finally:
        reader.close()
