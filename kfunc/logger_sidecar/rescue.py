"""What processes that are gone left: segments on the disk, and records that were still in their intakes.

A lane may be taken over by another pod, which cannot see its intake, or go on with another intake where its own cannot
be had: then the records are put into a lane of their own, which is delivered as any that was left behind.
"""

import os
from collections.abc import Callable

from kfunc.config.logger import SHARED_MEMORY
from kfunc.logger_sidecar.disk import SegmentInfo, SegmentWriter, quietly
from kfunc.logger_sidecar.intake import Intake, intake_in, left_intake, left_intakes
from kfunc.logger_sidecar.lanes import Lane, keyed, take
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import decode_records, whole_records
from kfunc.logger_sidecar.segments import SegmentReader, delete_segments, segment_name, segment_paths


def rescue(root: str, own: Lane, notices: Notices, shared_memory: str = SHARED_MEMORY) -> None:
    """Bring the records of dead processes to the spool at `root`, and remove intakes that nobody can want."""
    root, ours = os.path.realpath(root), os.path.realpath(own.path)

    def is_wanted(folder: str, key: int) -> bool:
        is_ours = folder == ours and key == own.key
        return bool(folder) and not is_ours and (os.path.dirname(folder) == root or not os.path.lexists(folder))

    for intake in left_intakes(shared_memory, is_wanted):
        _remove_if(intake, lambda left: _is_done(left, root, own, notices), notices)
    _save_stale(own, notices)


def _remove_if(intake: Intake, is_done: Callable[[Intake], bool], notices: Notices) -> None:
    is_removed = False
    try:
        is_removed = is_done(intake)
    except OSError as error:
        notices.say("rescue", "what a killed process left cannot be brought to the spool: %s", error)
    finally:
        intake.close(remove=is_removed)


def _save_stale(lane: Lane, notices: Notices) -> None:
    """Save what lies beside a lane's segments of a run before the one that wrote them."""
    intake = left_intake(intake_in(lane.path), lambda folder, key: key != lane.key)
    if intake is not None:
        folder = os.path.realpath(lane.path)
        _remove_if(intake, lambda left: left.drained == left.written or _save(left, folder, lane, notices), notices)


def _is_done(intake: Intake, root: str, own: Lane, notices: Notices) -> bool:
    """Whether nobody needs it any more; what is in it goes to the spool if it belongs there."""
    folder = intake.folder()
    if intake.kept and intake.drained < intake.written:
        there = os.path.dirname(folder)
        return _save(intake, folder, own, notices) if there == root else not os.path.lexists(there)
    return not os.path.lexists(folder)


def _save(intake: Intake, folder: str, own: Lane, notices: Notices) -> bool:
    """Write what is in it into its lane where that is free, else into a new one; whether it is there."""
    lane = None
    if folder != os.path.realpath(own.path) and os.path.isdir(folder):
        lane = take(folder, create=False)
    if lane is not None and lane.key != intake.lane_key:
        lane.release()
        lane = None
    if lane is None:
        folder = os.path.join(os.path.dirname(folder), f"rescued-{intake.lane_key:016x}-{intake.drained}")
        lane = take(folder, create=True)
    if lane is None:
        return False
    try:
        if os.path.realpath(lane.path) != folder:  # the volume knows no locks: nobody takes lanes over
            return False
        return _bring(lane, intake, notices)
    finally:
        lane.release()


def _bring(lane: Lane, intake: Intake, notices: Notices) -> bool:
    """Bring what is in an intake into its lane, and the sinks' positions; whether all is there."""
    bring_to_disk(lane, intake, find_segments(lane.path, notices, quickly=True, drained=intake.drained), notices)
    lane.save_cursors(lane.cursors() | {keyed(key): position for key, position in intake.cursors().items()})
    return intake.drained == intake.written


def bring_from_lane(lane: Lane, notices: Notices) -> None:
    """Bring to the disk what a killed process had in an intake beside its segments. Raises OSError where that fails."""
    _save_stale(lane, notices)
    path = intake_in(lane.path)
    if not os.path.exists(path):
        return
    try:
        intake = Intake(path, 0, lane.key)
    except ValueError as error:
        raise OSError(str(error)) from None
    is_done = not intake.kept
    try:
        if not is_done and not (is_done := _bring(lane, intake, notices)):
            raise OSError(f"{path} cannot be brought to the disk")
    finally:
        intake.close(remove=is_done)


def bring_to_disk(lane: Lane, intake: Intake, segments: list[SegmentInfo], notices: Notices) -> list[SegmentInfo]:
    """Write what a process that was killed had in its intake; the segments with it."""
    origin = intake.origin()
    start = max(intake.drained, segments[-1].end if segments else 0)
    records = intake.read(start, intake.written) if start < intake.written else b""
    end = max((call.end for call in decode_records(records, start)), default=start) - start if origin is not None else 0
    written: list[SegmentInfo] = []
    if origin is not None and end:
        writer = SegmentWriter(lane.path, end * 2, origin, sync=False)
        try:
            written = writer.write(start, records[:end])
            writer.finish()
        except OSError as error:
            notices.say("disk", "the spool cannot be written: %s", error)
            quietly(writer.finish)
            delete_segments([os.path.join(lane.path, segment_name(start))])  # all of it is in the intake
            return []
    if end < len(records):
        notices.drop("damaged")
    intake.set_drained(intake.written)
    return written


def find_segments(folder: str, notices: Notices, *, quickly: bool = False, drained: int | None = None) -> list[SegmentInfo]:
    """The segments of a folder, oldest first. Each ends where the next begins: what cannot be read before is damaged.

    The last one may be torn, which is no loss where the intake has what was in it: `drained` says so. `quickly`: only
    the last one is read, the calls in the others are counted later.
    """
    found = []
    paths = segment_paths(folder)
    for number, (start, path) in enumerate(paths):
        info = SegmentInfo(path, start, start, os.stat(path).st_size, 0)
        is_last = number == len(paths) - 1
        if not quickly or is_last:
            is_whole = _read(info)
            if is_last and drained is None and not is_whole:
                notices.drop("damaged")
        else:
            info.is_counted = False
        info.end = max(info.end, drained or 0) if is_last else paths[number + 1][0]
        if info.end > start:
            found.append(info)
    return found


def _read(info: SegmentInfo) -> bool:
    """Find where a segment ends, and how many calls are in it; whether all of it can be read."""
    reader = SegmentReader(info.path)
    try:
        while (block := reader.next_block()) is not None:
            info.end = block.position + len(block.records)
            info.calls += whole_records(block.records, len(block.records))[1]
        return reader.at >= info.bytes
    finally:
        reader.close()
