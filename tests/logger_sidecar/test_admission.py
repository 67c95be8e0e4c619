"""What comes into the log, and when answers go out: tables of steps, without a loop, a disk or a clock."""

from collections.abc import Callable
from typing import Any

import pytest

from kfunc.logger_sidecar.admission import ROOM_AFTER_STALL, STALL_S, Admission
from kfunc.logger_sidecar.intake import Intake
from kfunc.logger_sidecar.notices import Notices

SIZE = 4 * ROOM_AFTER_STALL
RECORD = b"r" * 1000


class Gate:
    """An admission, whose disk, clock and sinks are told what to do."""

    def __init__(self, on_full: str = "drop_newest", *, sync: bool = False, max_bytes: int = 2000) -> None:
        self.intake = Intake("", SIZE, 0)
        self.max_bytes = max_bytes
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.dropped: list[str] = []
        self.answered: list[int] = []
        self.drains = 0
        self.first = 0
        self.can_make_room = False
        self.gate = Admission(
            self.intake,
            max_bytes=max_bytes,
            on_full=on_full,
            sync=sync,
            notices=Notices(lambda reason, calls: self.dropped.append(reason)),
            make_room=self._make_room,
            drain=self._drain,
            later=lambda seconds, call: self.timers.append((self.now + seconds, call)),
            clock=lambda: self.now,
        )
        self.taken(0)

    def _drain(self) -> None:
        self.drains += 1

    def _make_room(self) -> bool:
        if self.can_make_room:
            self.taken(self.first + 1000)
        return self.can_make_room

    def taken(self, first: int) -> None:
        """The log begins at `first` now."""
        self.first = first
        bound = first + self.max_bytes
        self.gate.room(min(first + SIZE, bound), bound)

    def add(self, *numbers: int, record: bytes = RECORD) -> None:
        for number in numbers:
            if self.gate.admit(record, lambda number=number: self.answered.append(number)):  # type: ignore[misc]
                self.answered.append(number)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due, self.timers = [call for at, call in self.timers if at <= self.now], []
        for call in due:
            call()


@pytest.mark.parametrize("on_full", ["block", "drop_newest", "drop_oldest"])
def test_a_record_that_can_never_find_room_is_dropped_and_nothing_is_given_up_or_held_for_it(on_full: str) -> None:
    one = Gate(on_full)
    one.can_make_room = True
    one.add(1)
    one.add(2, record=b"r" * 2001)
    one.add(3)
    assert (one.answered, one.dropped, one.first) == ([1, 2, 3], ["too large"], 0)


def test_with_block_what_waits_comes_in_when_a_sink_has_taken_something_in_order() -> None:
    one = Gate("block")
    one.add(1, 2, 3, 4)
    assert one.answered == [1, 2]
    one.taken(1000)
    assert one.answered == [1, 2, 3]
    one.taken(2000)
    assert (one.answered, one.dropped) == ([1, 2, 3, 4], [])


def test_with_block_and_sync_what_waited_for_room_is_brought_to_the_disk_and_answered_then() -> None:
    one = Gate("block", sync=True)
    one.add(1, 2, 3)
    one.gate.safe(2000)
    assert one.answered == [1, 2]
    drains = one.drains
    one.taken(2000)
    assert one.drains > drains
    one.gate.safe(3000)
    assert one.answered == [1, 2, 3]


@pytest.mark.parametrize("how", ["at once", "held"])
def test_each_record_that_comes_in_is_told_of(how: str) -> None:
    one, told = Gate("block"), []
    if how == "held":
        one.add(1, 2, 3)
    one.intake.quiet, one.intake.on_new = True, lambda: told.append(one.intake.written)
    if how == "held":
        one.taken(1000)
    else:
        one.add(1)
    assert told == [one.intake.written]


def test_what_finds_no_memory_waits_for_a_moment_and_those_behind_it_do_not_wait_at_all() -> None:
    one = Gate(max_bytes=2 * SIZE)
    one.add(1, record=b"r" * SIZE)
    one.add(2)
    assert one.answered == [1]
    one.pass_time(STALL_S)
    one.add(3)
    assert (one.answered, one.dropped) == ([1, 2, 3], ["stalled", "stalled"])
    one.taken(SIZE)
    one.add(4)
    assert (one.answered, one.dropped) == ([1, 2, 3, 4], ["stalled", "stalled"])


@pytest.mark.parametrize(
    ("on_full", "can_make_room", "dropped", "first"),
    [("drop_newest", True, ["full"], 0), ("drop_oldest", True, [], 1000), ("drop_oldest", False, ["full"], 0)],
)
def test_past_the_bound_the_newest_goes_or_the_oldest(
    on_full: str, can_make_room: bool, dropped: list[Any], first: int
) -> None:
    one = Gate(on_full)
    one.can_make_room = can_make_room
    one.add(1, 2, 3)
    assert (one.answered, one.dropped, one.first) == ([1, 2, 3], dropped, first)


def test_with_block_no_more_are_to_come_when_more_waits_than_the_intake_holds() -> None:
    one, clogged = Gate("block", max_bytes=SIZE), []
    for number in range(9):
        one.add(number, record=b"r" * ROOM_AFTER_STALL)
        clogged.append(one.gate.clogged)
    one.taken(4 * ROOM_AFTER_STALL)
    assert [*clogged, one.gate.clogged] == [*[False] * 8, True, False]
