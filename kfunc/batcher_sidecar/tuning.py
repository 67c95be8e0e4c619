"""`max_batch_size: auto`: the most rows with which 99 % of answers take no longer than they may. Sans-IO.

A request waits for at most one call before its own, so that two of them must fit into the time. Calls are looked at
that ran alone: what a call takes while others are in flight says how full the upstream is, and smaller batches
would make that worse.
"""

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
"""Of the largest batch, with each that is smaller."""


class Tuner:
    """For one model: `rows` is the size that it chose last."""

    __slots__ = ("_largest", "_target_s", "rows", "tail", "times")

    def __init__(self, target_s: float) -> None:
        self._target_s = target_s
        self.times = ServiceTimes()
        self.tail = 1.2  # the slowest in a hundred calls, as a multiple of what is predicted
        self._largest = 0.0
        self.rows = FIRST_ROWS

    def observe(self, rows: int, seconds: float) -> int:
        """Take up a call that ran alone; the size to use from now on."""
        if self.times.known and (predicted := self.times.predict(rows)) > 0:
            step = STEP * self.tail
            self.tail += step * QUANTILE if seconds > self.tail * predicted else -step * (1.0 - QUANTILE)
            self.tail = max(1.0, self.tail)
        self.times.observe(rows, seconds)
        self._largest = max(float(rows), self._largest * FADE)
        room_s = self._target_s / (CALLS * self.tail) - self.times.fixed_s
        most = min(MOST_ROWS, max(FIRST_ROWS, int(GROWTH * self._largest)))
        if self.times.row_s > 0:
            most = min(most, max(1, int(room_s / self.times.row_s)))
        elif room_s <= 0:
            most = 1
        self.rows = most
        return most
