"""Whether an idle upstream is left idle for a moment more, for callers who are about to come back. Sans-IO.

Callers that were answered together come back together. The first of them, sent at once, would make the
others wait for a whole call. How many come back, and how soon, is measured whether they are waited for or not.
"""

from kfunc.batcher_sidecar.service_times import ServiceTimes

LEARN = 0.3
"""Weight of the newest measurement."""
MARGIN = 2.0
"""Of the time that they took before, for the slowest of them; the others end the wait when all are there."""
ALL = 0.9
"""A share from which on all are expected."""
MOST_OF_A_CALL = 0.5
"""The longest wait, of the time that the next call takes."""


class Holding:
    """For one group: who was answered, who came back since, and the decision that follows."""

    __slots__ = ("_answered_at", "_expected", "_last_at", "_returned", "share", "times", "watch_until", "within_s")

    def __init__(self) -> None:
        self.times = ServiceTimes()
        self.share = 0.0  # of those answered, who come back within the time looked at
        self.within_s = 0.0  # until the last of them is there
        self._expected = 0
        self._returned = 0
        self._answered_at = 0.0
        self._last_at = 0.0
        self.watch_until = 0.0

    def arrived(self, now: float) -> None:
        """A request of the group is there, not later than `watch_until`."""
        self._returned += 1
        self._last_at = now

    def answered(self, requests: int, rows: int, sent_at: float, now: float) -> None:
        """A batch has been answered; nothing else is in flight."""
        self.times.observe(rows, now - sent_at)
        if self._expected:
            share = min(1.0, self._returned / self._expected)
            self.share += LEARN * (share - self.share)
            if self._returned:
                self.within_s += LEARN * (self._last_at - self._answered_at - self.within_s)
        self._expected, self._returned = requests, 0
        self._answered_at = self._last_at = now
        self.watch_until = now + MOST_OF_A_CALL * self.times.predict(rows)

    def wait_for(self, waiting: int) -> tuple[int, float]:
        """How many requests more to wait for, and the most seconds; (0, 0.0): send what there is.

        Those who wait lose the time that is waited. Those who are waited for win a call less that time; and if they
        had to be served in a call of their own, that would keep all who come back from the one after it.
        """
        expected = self._expected if self.share > ALL else int(self._expected * self.share)
        others = expected if waiting else expected - 1
        if others < 1:
            return 0, 0.0
        waiting = max(1, waiting)
        call_s = self.times.predict(waiting)
        most_s = MOST_OF_A_CALL * call_s
        wait_s = min(self.within_s, most_s)
        if others * (call_s - wait_s) + self.share * waiting * self.times.fixed_s <= waiting * wait_s:
            return 0, 0.0
        return expected, min(MARGIN * wait_s, most_s)
