"""How far each sink is in the log of this process, and where that is kept between processes."""

from collections.abc import Callable

from kfunc.logger_sidecar.disk import SegmentInfo, quietly
from kfunc.logger_sidecar.intake import cursor_key
from kfunc.logger_sidecar.lanes import Lane
from kfunc.logger_sidecar.log import Cursor
from kfunc.logger_sidecar.tail import Tail


class Progress:
    """The cursors of all sinks: in the intake with each step, in the lane once in a while."""

    def __init__(self, tail: Tail, lane: Lane | None) -> None:
        self.cursors: dict[str, Cursor] = {}
        self._tail = tail
        self._lane = lane
        self._kept = lane.cursors() if lane is not None else {}
        self._saved: dict[str, int] = {}
        self._began: dict[str, int] = {}  # where sinks were at the start

    def subscribe(self, names: list[str], first: int, segments: list[SegmentInfo]) -> None:
        """Say which sinks there are: nothing is deleted before. A new one begins with the oldest that there is."""
        intake = self._tail.intake
        for name in names:
            key = cursor_key(name)
            position = min(max(intake.cursor(key), self._kept.get(name, 0), first), intake.written)
            passed = sum(segment.calls for segment in segments if segment.end <= position)
            self.cursors[name] = Cursor(name, key, position, passed)
            self._began[name] = position

    @property
    def lowest(self) -> int:
        """Before this all sinks have everything; without sinks, what is on the disk."""
        return min((cursor.position for cursor in self.cursors.values()), default=self._tail.intake.drained)

    def lagging(self) -> list[Cursor]:
        """The cursors of sinks that have not got everything."""
        written = self._tail.intake.written
        return [cursor for cursor in self.cursors.values() if cursor.position < written]

    def advance(self, cursor: Cursor, position: int, calls: int) -> bool:
        """A sink has everything before `position`; false if that is nothing new."""
        if position <= cursor.position:
            return False
        cursor.calls += calls
        self._move(cursor, position)
        return True

    def skip(self, position: int, passed: int) -> int:
        """No sink gets what stands before `position`, `passed` calls in all; how many of them one of the sinks lacks."""
        behind = [cursor for cursor in self.cursors.values() if cursor.position < position]
        lost = max([passed - cursor.calls for cursor in behind] + [1]) if behind else 0
        for cursor in behind:
            cursor.calls = passed
            self._move(cursor, position)
        return lost

    def _move(self, cursor: Cursor, position: int) -> None:
        cursor.position = position
        self.counted(cursor)
        self._tail.intake.set_cursor(cursor.key, position)

    def found(self, end: int, calls: int) -> None:
        """A segment of an earlier process that ends at `end` (0: it is gone meanwhile) is counted."""
        for name, cursor in self.cursors.items():
            cursor.calls += calls if 0 < end <= self._began[name] else 0
            self.counted(cursor)  # it may have been faster than the count

    def counted(self, cursor: Cursor) -> None:
        """One that has everything has passed all calls, however they were counted."""
        if cursor.position == self._tail.intake.written:
            cursor.calls = self._tail.calls

    def save(self, submit: Callable[[Callable[[], None]], None]) -> None:
        """Keep the positions in the lane, if they have changed."""
        now, lane = {name: cursor.position for name, cursor in self.cursors.items()}, self._lane
        if lane is not None and now != self._saved:
            self._saved = now
            submit(lambda: quietly(lambda: lane.save_cursors(now)))
