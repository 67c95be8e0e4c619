"""When groups are to be looked at again, and requests given up. Sans-IO.

Heaps in which what is no longer so is passed over, and swept out when it is more than what is.
"""

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

from kfunc.batcher_sidecar.queues import NEVER, Group, Ticket

T = TypeVar("T")

MAX_DEAD = 64
"""Entries of a heap that are kept though nobody waits for them, beside as many as wait."""


class Alarms(Generic[T]):
    """Those of one policy. `timers` hold for the groups whose `armed_at` says the same."""

    __slots__ = ("_numbers", "deadlines", "timers")

    def __init__(self) -> None:
        self.timers: list[tuple[float, int, Group[T]]] = []
        self.deadlines: list[tuple[float, int, Ticket[T]]] = []
        self._numbers = count()  # heaps compare them where times are equal

    def arm(self, group: Group[T], at: float, waiting: int) -> None:
        """Look at a group at a time that is before its last one; so many requests wait in all."""
        group.armed_at = at
        if len(self.timers) > 2 * waiting + MAX_DEAD:
            self._sweep_timers()
        heappush(self.timers, (at, next(self._numbers), group))

    def give_up(self, ticket: Ticket[T], at: float, waiting: int) -> None:
        """Give a request up at a time, if it has not run by then."""
        if len(self.deadlines) > 2 * waiting + MAX_DEAD:
            self.deadlines = [entry for entry in self.deadlines if entry[2].waits]
            heapify(self.deadlines)
        heappush(self.deadlines, (at, next(self._numbers), ticket))

    def due(self, now: float) -> Iterator[Group[T]]:
        """The groups whose time has come, each once."""
        timers = self.timers
        while timers and timers[0][0] <= now:
            at, _, group = heappop(timers)
            if at == group.armed_at:
                group.armed_at = NEVER
                yield group

    def expired(self, now: float) -> Iterator[Ticket[T]]:
        """The requests whose time is over, and of which nothing has been given out."""
        deadlines = self.deadlines
        while deadlines and deadlines[0][0] <= now:
            ticket = heappop(deadlines)[2]
            if ticket.waits and not ticket.taken:
                yield ticket

    def next_at(self) -> float | None:
        """When the next of them comes; None for never."""
        timers, deadlines = self.timers, self.deadlines
        while timers and (timers[0][0] != timers[0][2].armed_at or not timers[0][2].count):
            at, _, group = heappop(timers)
            if at == group.armed_at:
                group.armed_at = NEVER
        while deadlines and not deadlines[0][2].waits:
            heappop(deadlines)
        first = timers[0][0] if timers else NEVER
        if deadlines:
            first = min(first, deadlines[0][0])
        return None if first == NEVER else first

    def _sweep_timers(self) -> None:
        """Drop the timers of groups in which nobody waits, and those that others have replaced."""
        live = [entry for entry in self.timers if entry[0] == entry[2].armed_at]
        for _, _, group in live:
            if not group.count:
                group.armed_at = NEVER
        self.timers = [entry for entry in live if entry[2].count]
        heapify(self.timers)
