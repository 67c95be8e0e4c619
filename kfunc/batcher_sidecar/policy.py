"""When which requests are sent together. Sans-IO: `now` comes in as seconds, batches go out.

Adaptive: a group with nothing in flight is sent at once; while a batch of it is in flight, what
arrives is collected until that batch is answered, the next one is full or its oldest request has
waited for the longest time that is allowed.
"""

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

from kfunc.errors import Unavailable

T = TypeVar("T")

MAX_IDLE_GROUPS = 16


class Batch(Generic[T]):
    """Requests of one group that go out together."""

    __slots__ = ("items", "key", "rows")

    def __init__(self, key: Hashable, items: list[T], rows: int) -> None:
        self.key = key
        self.items = items
        self.rows = rows


class _Waiting(Generic[T]):
    """A request that waits."""

    __slots__ = ("added_at", "item", "rows")

    def __init__(self, item: T, rows: int, added_at: float) -> None:
        self.item = item
        self.rows = rows
        self.added_at = added_at


class _Group(Generic[T]):
    """The requests that may be merged with each other."""

    __slots__ = ("in_flight", "rows", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting[T]] = deque()
        self.rows = 0
        self.in_flight = 0


class Policy(Generic[T]):
    """Collects requests into batches of at most `max_batch_size` rows.

    A request of more rows than that goes out alone. At most `max_queue` requests wait.
    """

    def __init__(self, max_batch_size: int, max_latency_s: float, max_queue: int) -> None:
        self._max_rows = max_batch_size
        self._max_latency_s = max_latency_s
        self._max_queue = max_queue
        self._groups: dict[Hashable, _Group[T]] = {}
        self.queued = 0

    def add(self, key: Hashable, item: T, rows: int, now: float) -> None:
        """Take up a request of `rows` rows. Raises Unavailable when too many wait."""
        if self.queued >= self._max_queue:
            raise Unavailable("too many requests wait for a batch (batcher.max_queue); try again later")
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        group.waiting.append(_Waiting(item, rows, now))
        group.rows += rows
        self.queued += 1

    def adopt(self, key: Hashable, item: T, rows: int) -> Batch[T]:
        """A batch of one request that is in flight already: its group waits for it too."""
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        group.in_flight += 1
        return Batch(key, [item], rows)

    def take(self, key: Hashable, now: float) -> list[Batch[T]]:
        """The batches of one group that are to be sent now."""
        batches: list[Batch[T]] = []
        group = self._groups.get(key)
        while group is not None and group.waiting and self._is_due(group, now):
            batches.append(self._next(key, group))
        return batches

    def take_due(self, now: float) -> list[Batch[T]]:
        """The batches of all groups that are to be sent now."""
        return [batch for key in list(self._groups) for batch in self.take(key, now)]

    def _is_due(self, group: _Group[T], now: float) -> bool:
        if group.in_flight == 0 or group.rows >= self._max_rows:
            return True
        return self._max_latency_s > 0 and now >= group.waiting[0].added_at + self._max_latency_s

    def _next(self, key: Hashable, group: _Group[T]) -> Batch[T]:
        items: list[T] = []
        rows = 0
        waiting = group.waiting
        while waiting and (not items or rows + waiting[0].rows <= self._max_rows):
            first = waiting.popleft()
            items.append(first.item)
            rows += first.rows
        group.rows -= rows
        group.in_flight += 1
        self.queued -= len(items)
        return Batch(key, items, rows)

    def due_at(self) -> float | None:
        """When `take_due` next has something that no answer or request brings; None for not at all."""
        if self._max_latency_s == 0 or not self.queued:
            return None
        oldest = [group.waiting[0].added_at for group in self._groups.values() if group.waiting]
        return min(oldest) + self._max_latency_s

    def complete(self, batch: Batch[T]) -> None:
        """A batch has been answered, or has failed."""
        group = self._groups[batch.key]
        group.in_flight -= 1
        self._drop_if_idle(batch.key, group)

    def _drop_if_idle(self, key: Hashable, group: _Group[T]) -> None:
        """Forget a group that holds nothing; a few are kept, since the next request is likely to be of theirs."""
        if len(self._groups) > MAX_IDLE_GROUPS and not group.in_flight and not group.waiting:
            del self._groups[key]

    def cancel(self, key: Hashable, item: T) -> bool:
        """Drop a request that still waits; false if it does not wait any more."""
        group = self._groups.get(key)
        for waiting in group.waiting if group is not None else ():
            if waiting.item is item:
                group.waiting.remove(waiting)  # type: ignore[union-attr]
                group.rows -= waiting.rows  # type: ignore[union-attr]
                self.queued -= 1
                self._drop_if_idle(key, group)  # type: ignore[arg-type]
                return True
        return False
