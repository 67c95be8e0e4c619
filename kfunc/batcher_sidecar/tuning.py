"""`max_batch_size: auto`: the most rows with which 99 % of answers take no longer than they may. Sans-IO.

A request waits for at most one call before its own, so that two of them must fit into the time. Where more arrives
than batches of that size can take, the queue would grow without end: then they grow until they can.
"""

from typing import Any

from kfunc.batcher_sidecar.queues import Batch
from kfunc.batcher_sidecar.service_times import ServiceTimes

FIRST_ROWS = 4
MOST_ROWS = 1024
CALLS = 2
"""That must fit into the time: the one in flight and the request's own."""
QUANTILE = 0.99
STEP = 0.02
"""By how much of itself the tail moves with a call."""
GROWTH = 2
"""No further than this times the largest batch that was measured."""
FADE = 0.99
"""Of the largest batch, with each that is smaller, and of the size that a queue asks for, with each call without one."""
PRESSURE = 1.1
"""By how much the size grows with a call after which more than a batch waits."""


class Tuner:
    """For one model: `rows` is the size that it chose last."""

    __slots__ = ("_floor", "_largest", "_target_s", "rows", "tail", "times")

    def __init__(self, target_s: float) -> None:
        self._target_s = target_s
        self.times = ServiceTimes()
        self.tail = 1.2  # the slowest in a hundred calls, as a multiple of what is predicted
        self._largest = 0.0
        self._floor = 0.0
        self.rows = FIRST_ROWS

    def answered(self, batch: Batch[Any], now: float, *, good: bool = True) -> None:
        """Set the size of the batches to come of a model, by one that has been answered.

        Its time is the one that its callers saw: where several are in flight and the upstream makes one call at a time,
        they wait for one another there, which counts. Where it is not `good` the model may not have run at all: that
        tells something only if it took too long, and longer than a good one.
        """
        rows, seconds = batch.rows, now - batch.sent_at
        if not good and seconds <= max(self._target_s / CALLS, self.times.predict(rows)):
            return
        flow = batch.group.flow
        waiting = max([group.rows for group in flow.groups.values()], default=0)  # those of two groups are never one call
        flow.max_rows = self.observe(rows, seconds, waiting)

    def observe(self, rows: int, seconds: float, waiting: int = 0) -> int:
        """Take up a call that took `seconds`, after which `waiting` rows wait; the size to use from now on."""
        if self.times.known and (predicted := self.times.predict(rows)) > 0:
            step = STEP * self.tail
            self.tail += step * QUANTILE if seconds > self.tail * predicted else -step * (1.0 - QUANTILE)
            self.tail = max(1.0, self.tail)
        self.times.observe(rows, seconds)
        pressed = min(float(MOST_ROWS), PRESSURE * max(self._floor, self.rows))
        self._floor = pressed if waiting > self.rows else FADE * self._floor
        self._largest = max(float(rows), self._largest * FADE)
        self.rows = min(MOST_ROWS, max(self._fitting(), int(self._floor)))
        return self.rows

    def _fitting(self) -> int:
        """Rows of which two calls fit into the time."""
        room_s = self._target_s / (CALLS * self.tail) - self.times.fixed_s
        most = max(FIRST_ROWS, int(GROWTH * self._largest))
        if self.times.row_s > 0:
            return min(most, max(1, int(room_s / self.times.row_s)))
        return most if room_s > 0 else 1
