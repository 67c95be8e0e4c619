"""When requests are due. Sans-IO: times in seconds, monotonic."""


class Arrivals:
    """A constant rate: request number n is due at `begins_at + n / rate`, whatever became of those before."""

    def __init__(self, rate: float, begins_at: float, ends_at: float) -> None:
        self._rate = rate
        self._begins_at = begins_at
        self._ends_at = ends_at
        self._taken = 0

    @property
    def next_at(self) -> float | None:
        """When the next one is due; None after the end."""
        at = self._begins_at + self._taken / self._rate
        return at if at < self._ends_at else None

    def take(self, now: float) -> list[float]:
        """The times of those that are due, each once."""
        due = []
        while (at := self.next_at) is not None and at <= now:
            due.append(at)
            self._taken += 1
        return due
