"""The requests that wait: tickets in groups, groups in flows. Sans-IO.

A group holds requests that may be merged with each other, a flow all groups of one model. Within a group
the level decides, then the order of arrival.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from msgspec import Struct

from kfunc.batcher_sidecar.holding import Holding

T = TypeVar("T")
NEVER = float("inf")


class Ticket(Struct, Generic[T], eq=False):
    """A request of `rows` rows and `size` bytes, `taken` of whose rows have been given out."""

    item: T
    group: "Group[T]"
    rows: int
    size: int
    level: int
    added_at: float
    expires_at: float
    taken: int = 0
    waits: bool = True


class Part(Struct, Generic[T], eq=False):
    """Rows of one request that travel in one batch: all of them, unless it was too large."""

    ticket: Ticket[T]
    start: int
    rows: int


class Batch(Struct, Generic[T], eq=False):
    """Parts that go out together; `charged_s` is what its flow has been charged so far."""

    group: "Group[T]"
    parts: list[Part[T]]
    rows: int
    sent_at: float
    charged_s: float


class Flow(Generic[T]):
    """A model's groups. `used_s` is the time that its batches have held the upstream, the measure of fairness."""

    __slots__ = ("groups", "hold_until", "in_flight", "max_rows", "mean_s", "period", "queued", "ready", "used_s")

    def __init__(self, max_rows: int) -> None:
        self.max_rows = max_rows
        self.groups: dict[Hashable, Group[T]] = {}
        self.ready: deque[Group[T]] = deque()  # due, and waiting for one of the batches in flight to end
        self.queued = 0
        self.in_flight = 0
        self.used_s = 0.0
        self.period = 0
        self.mean_s = 0.0
        self.hold_until = 0.0

    def next_ready(self) -> "Group[T]":
        """The group whose turn it is: of the best level, the first."""
        best = min(self.ready, key=lambda group: group.best_level)
        self.ready.remove(best)
        best.is_ready = False
        return best


class Group(Generic[T]):
    """Requests that may be merged with each other."""

    __slots__ = (
        "armed_at",
        "bytes",
        "count",
        "flow",
        "hold_rows",
        "hold_until",
        "holding",
        "in_flight",
        "is_ready",
        "is_touched",
        "key",
        "levels",
        "rows",
    )

    def __init__(self, key: Hashable, flow: Flow[T]) -> None:
        self.key = key
        self.flow = flow
        self.levels: dict[int, deque[Ticket[T]]] = {}  # none of them empty
        self.count = 0
        self.rows = 0
        self.bytes = 0
        self.in_flight = 0
        self.holding = Holding()
        self.hold_until = 0.0
        self.hold_rows = 0
        self.armed_at = NEVER
        self.is_ready = False
        self.is_touched = False

    @property
    def best_level(self) -> int:
        """The level that is served next."""
        return min(self.levels, default=0)

    @property
    def oldest_at(self) -> float:
        """When the request that has waited longest came."""
        if len(self.levels) == 1:
            for waiting in self.levels.values():
                return waiting[0].added_at
        return min(waiting[0].added_at for waiting in self.levels.values())

    def remove(self, ticket: Ticket[T]) -> None:
        """Drop a request, or what is left of it."""
        waiting = self.levels[ticket.level]
        if waiting[0] is ticket:
            waiting.popleft()
        else:
            waiting.remove(ticket)
        if not waiting:
            del self.levels[ticket.level]
        ticket.waits = False
        self.count -= 1
        self.rows -= ticket.rows - ticket.taken
        self.bytes -= ticket.size

    def next_parts(self, rows: int, limit: int, max_bytes: int) -> tuple[list[Part[T]], int]:
        """At most `rows` rows from the front, and how many they are; a request of more than `limit` rows may be cut.

        The first request is given whole if it has at most `limit` rows, however many `rows` and bytes it has.
        """
        parts: list[Part[T]] = []
        total = size = 0
        while self.levels:
            level = min(self.levels)
            waiting = self.levels[level]
            while waiting:
                ticket = waiting[0]
                left, space = ticket.rows - ticket.taken, rows - total
                size += ticket.size
                if parts and (space <= 0 or size > max_bytes or (left > space and ticket.rows <= limit)):
                    break
                start = ticket.taken
                if left > space and ticket.rows > limit:
                    left = space
                else:
                    waiting.popleft()
                    ticket.waits = False
                    self.count -= 1
                    self.bytes -= ticket.size
                ticket.taken += left
                total += left
                parts.append(Part(ticket, start, left))
            if waiting:
                break
            del self.levels[level]
        self.rows -= total
        return parts, total
