"""Lanes that other processes left: on a shared volume the events of a pod that is gone are delivered by another."""

import asyncio
from collections.abc import Callable

from kfunc.logger_sidecar.disk import quietly
from kfunc.logger_sidecar.intake import cursor_key
from kfunc.logger_sidecar.lanes import Lane, keyed, orphans
from kfunc.logger_sidecar.log import Chunk, Cursor, LogReader
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.rescue import bring_from_lane, find_segments, rescue

Submit = Callable[[Callable[[], None]], None]


class LeftBehind:
    """A log that nobody writes to any more. It is deleted when all sinks have it. Raises OSError."""

    def __init__(self, lane: Lane, names: list[str], notices: Notices, submit: Submit) -> None:
        self.path = lane.path
        self._lane = lane
        self._submit = submit
        bring_from_lane(lane, notices)
        self._segments = find_segments(lane.path, notices)
        self.end = self._segments[-1].end if self._segments else 0
        self.calls = sum(segment.calls for segment in self._segments)
        kept = lane.cursors()
        self._cursors = {}
        for name in names:
            key = cursor_key(name)
            self._cursors[name] = Cursor(name, key, max(kept.get(name, 0), kept.get(keyed(key), 0)))

    def cursor(self, name: str) -> Cursor:
        """Where the sink of this name is."""
        return self._cursors[name]

    def position(self) -> int:
        """The end of the log."""
        return self.end

    async def read(self, reader: LogReader, position: int, most: int) -> Chunk | None:
        """The block at `position`."""
        return await asyncio.get_running_loop().run_in_executor(None, reader.read, self._segments, position)

    def advance(self, cursor: Cursor, position: int, calls: int) -> None:
        """The sink has everything before `position`."""
        cursor.calls += calls
        cursor.position = max(position, cursor.position)
        if self.done:
            self._submit(self._lane.remove)
        else:
            positions = {name: each.position for name, each in self._cursors.items()}
            self._submit(lambda: quietly(lambda: self._lane.save_cursors(positions)))

    @property
    def done(self) -> bool:
        """Whether all sinks have it."""
        return all(cursor.position >= self.end for cursor in self._cursors.values())

    def release(self) -> None:
        """Leave what remains to another process."""
        if not self.done:
            self._lane.release()


def find_left_behind(root: str, own: Lane, names: list[str], notices: Notices, submit: Submit) -> list[LeftBehind]:
    """What lies in a spool besides our own lane, and belongs to nobody. It reads the disk; `submit` runs jobs there."""
    rescue(root, own, notices)
    try:
        lanes = orphans(root, own.path)
    except OSError:
        return []
    found = []
    for lane in lanes:
        try:
            log = LeftBehind(lane, names, notices, submit)
        except Exception as error:  # nobody else could have the lane
            notices.say(f"read {lane.path}", "what another process left in %s cannot be read: %s", lane.path, error)
            lane.release()
            continue
        if log.done:
            log.advance(log.cursor(names[0]), log.end, 0)
        else:
            found.append(log)
    return found
