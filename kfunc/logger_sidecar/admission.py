"""Which records come into the log, and when their answers go out. Sans-IO: the clock and timers are arguments.

Taking up never waits: it is a copy into shared memory. What finds no room is held back for a moment, dropped or
blocked, as the settings say.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from kfunc.logger_sidecar.intake import Intake
from kfunc.logger_sidecar.notices import Notices

STALL_S = 0.005
ROOM_AFTER_STALL = 1024 * 1024

GoOn = Callable[[], None]


class Waiter(Protocol):
    """Whose answer waits."""

    def refuse(self) -> None:
        """There will be no room: no answer goes out (`on_full: block`)."""


class Admission:
    """Takes up records as far as `limit`. `make_room` gives up the oldest, and says whether it could; `drain` has the disk
    write what is new.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        max_bytes: int,
        on_full: str,
        sync: bool,
        notices: Notices,
        make_room: Callable[[], bool],
        drain: Callable[[], None],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.intake = intake
        self.limit = 0  # of positions in the log, by memory and bound
        self.bound = 0  # by the bound alone
        self.clogged = False  # so much waits for room that no more requests are to come (`on_full: block`)
        self._most = min(intake.size, max_bytes)  # bytes of a record that may ever find room
        self._on_full = on_full
        self._sync = sync
        self._notices = notices
        self._make_room = make_room
        self._drain = drain
        self._later = later
        self._clock = clock
        self._waiting: deque[tuple[bytes, GoOn, float, Waiter | None]] = deque()
        self._waiting_bytes = 0
        self._unsynced: deque[tuple[int, GoOn]] = deque()
        self._stalled = False
        self._is_over = False

    def admit(self, record: bytes, go_on: GoOn, waiter: Waiter | None = None) -> bool:
        """Take up a record; False: `go_on` is called when that is decided, and the answer waits for it.

        With `on_full: block` the `waiter` is refused where the process ends before that.
        """
        intake = self.intake
        if intake.written + len(record) <= self.limit and not self._waiting:
            intake.append(record)
            return not self._sync or self._until_synced(go_on)
        return self._admit_later(record, go_on, waiter)

    def _until_synced(self, go_on: GoOn) -> bool:
        self._unsynced.append((self.intake.written, go_on))
        self._drain()
        return False

    def _admit_later(self, record: bytes, go_on: GoOn, waiter: Waiter | None) -> bool:
        """There is no room: wait a moment for the disk, or for the sinks, or drop."""
        intake = self.intake
        if len(record) > self._most:
            self._notices.drop("too large")
            return True
        is_over = intake.written + len(record) > self.bound
        if self._on_full == "block":
            if self._is_over:
                self._later(0.0, waiter.refuse if waiter is not None else go_on)
                return False
            self._hold(record, go_on, float("inf"), waiter)
            self.clogged = self._waiting_bytes > intake.size
            self._notices.say("full", "the spool is full: requests wait until a sink takes events (logger.on_full: block)")
        elif is_over and self._on_full == "drop_oldest" and self._make_room():
            if not self._waiting:
                return self.admit(record, go_on)
            self._hold_for_a_moment(record, go_on)
        elif is_over:
            self._notices.drop("full")
            return True
        elif self._stalled:
            self._notices.drop("stalled")
            return True
        else:
            self._hold_for_a_moment(record, go_on)
        self._drain()
        return False

    def _hold_for_a_moment(self, record: bytes, go_on: GoOn) -> None:
        self._hold(record, go_on, self._clock() + STALL_S)
        self._later(STALL_S, self._expire)

    def _hold(self, record: bytes, go_on: GoOn, until: float, waiter: Waiter | None = None) -> None:
        self._waiting.append((record, go_on, until, waiter))
        self._waiting_bytes += len(record)

    def _expire(self) -> None:
        """The disk did not make room in time: the answers go out, their events are dropped."""
        now = self._clock() + 0.0005
        while self._waiting and self._waiting[0][2] <= now:
            record, go_on, *_ = self._waiting.popleft()
            self._waiting_bytes -= len(record)
            self._stalled = True
            self._notices.drop("stalled")
            go_on()

    def give_up(self) -> None:
        """The process is about to end: who waits for room without an end is refused, and so is who comes without room."""
        if self._on_full != "block":
            return
        self._is_over = self.clogged = True
        waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
        for _, go_on, _, waiter in waiting:
            (waiter.refuse if waiter is not None else go_on)()

    # ---- what has moved

    def safe(self, position: int) -> None:
        """What stands before `position` is on the disk, or all sinks have it: with `spool_sync` its answers go out."""
        while self._unsynced and self._unsynced[0][0] <= position:
            self._unsynced.popleft()[1]()
        if self._unsynced:
            self._drain()

    def room(self, limit: int, bound: int) -> None:
        """There is room as far as `limit`: what waits comes in."""
        self.limit, self.bound = limit, bound
        if self._waiting or self._stalled:
            self._serve_waiting()

    def _serve_waiting(self) -> None:
        waiting = self._waiting
        while waiting and self.intake.written + len(waiting[0][0]) <= self.limit:
            record, go_on, *_ = waiting.popleft()
            self._waiting_bytes -= len(record)
            self.clogged = self._waiting_bytes > self.intake.size
            self.intake.append(record)
            if self._sync:
                self._unsynced.append((self.intake.written, go_on))
            else:
                go_on()
        if self._unsynced:
            self._drain()
        if not waiting and self.intake.written + ROOM_AFTER_STALL <= self.limit:
            self._stalled = False
