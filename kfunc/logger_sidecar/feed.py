"""What one sink gets next: the calls of a log from the sink's position on, decoded."""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from kfunc.logger_sidecar.event import CallEvent
from kfunc.logger_sidecar.log import Cursor, Log, LogReader
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.record import CallRecord, Origin, decode_records

READ_BYTES = 256 * 1024

MakeEvents = Callable[[Origin, CallRecord], list[CallEvent]]


class Passed(Struct, gc=False):
    """A call of which `open` events are still to be delivered; the sink is past it at `end`. A damaged part is no call."""

    end: int
    open: int
    calls: int = 1


class Item(Struct, gc=False):
    """An event on its way to a sink."""

    event: CallEvent
    passed: Passed
    feed: "Feed"
    tries: int = 0


class Feed:
    """Reads one log for one sink, and keeps its cursor: behind all calls that are done without a gap."""

    def __init__(self, log: Log, cursor: Cursor, make: MakeEvents, notices: Notices) -> None:
        self.log = log
        self.cursor = cursor
        self._make = make
        self._notices = notices
        self._reader = LogReader()
        self._read_to = cursor.position
        self._calls: deque[CallRecord] = deque()
        self._origin = Origin("")
        self._under_way: deque[Passed] = deque()
        self.rests_until = 0.0  # monotonic: it could not be read

    async def take(self, max_events: int, max_bytes: int) -> list[Item]:
        """The next events, both of a call or none; one call in any case. Raises OSError."""
        items: list[Item] = []
        size = 0
        while len(items) < max_events and size < max_bytes:
            if not self._calls:
                try:
                    if not await self._fill():
                        break
                except Exception:
                    if items:  # they are delivered first; the next call raises
                        break
                    raise
                continue
            call = self._calls.popleft()
            if call.end <= self.cursor.position:  # dropped, or gone another way
                continue
            events = self._make(self._origin, call)
            if items and len(items) + len(events) > max_events:
                self._calls.appendleft(call)
                break
            passed = Passed(call.end, len(events))
            self._under_way.append(passed)
            items += [Item(event, passed, self) for event in events]
            size += len(call.request.body) + len(call.response.body)
        return items

    async def _fill(self) -> bool:
        """Read the next part of the log; false if there is none."""
        position = max(self._read_to, self.cursor.position)
        chunk = await self.log.read(self._reader, position, READ_BYTES)
        if chunk is None:
            self._reader.close()
            return False
        if chunk.damaged and chunk.end > self.cursor.position:  # else it was deleted to make room
            self._notices.drop("damaged", chunk.lost)
        self._read_to = chunk.end
        if chunk.origin is not None:
            self._origin = chunk.origin
            self._calls.extend(decode_records(chunk.records, chunk.position))
            if self._calls:
                self._read_to = self._calls[-1].end
        else:
            self._under_way.append(Passed(chunk.end, 0, 0))
            self.settle()
        return self._read_to > position

    def settle(self) -> None:
        """Move the cursor behind the calls whose events need no further try."""
        calls, end = 0, 0
        while self._under_way and self._under_way[0].open <= 0:
            passed = self._under_way.popleft()
            end = passed.end
            calls += passed.calls if end > self.cursor.position else 0  # else it was dropped meanwhile, and counted so
        if end > self.cursor.position:
            self.log.advance(self.cursor, end, calls)

    def behind(self, item: Item) -> int:
        """Bytes of the log that have been taken behind an item, which is under way."""
        return self._under_way[-1].end - item.passed.end if self._under_way else 0

    @property
    def ended(self) -> bool:
        """Whether the sink has all of the log."""
        return self.cursor.position >= self.log.position()

    def close(self) -> None:
        """Let go of files."""
        self._reader.close()
