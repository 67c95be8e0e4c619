"""The cluster's clock, as the dates of its answers tell it: what machines promise one another is told by one clock. Pure."""

from email.utils import parsedate_to_datetime

TICK_S = 1.0
"""A date is without its fraction of a second."""


class ServerClock:
    """How far the own clock is off: the least correction that explains all answers so far. Threads may share it."""

    def __init__(self) -> None:
        self._bounds = (float("-inf"), float("inf"))

    @property
    def is_set(self) -> bool:
        """Whether an answer has told the time."""
        return self._bounds[0] > float("-inf")

    @property
    def correction(self) -> float:
        """What has to be added to the own clock, in seconds."""
        least, most = self._bounds
        return min(max(0.0, least), most)

    def heard(self, date: str, sent: float, received: float) -> None:
        """An answer has this field Date; `sent`, `received`: when it was asked for and came, by the own clock."""
        try:
            told = parsedate_to_datetime(date).timestamp()
        except ValueError:
            return
        least, most = told - received, told + TICK_S - sent
        before_least, before_most = self._bounds
        if max(least, before_least) > min(most, before_most):  # one of the clocks was set
            self._bounds = (least, most)
        else:
            self._bounds = (max(least, before_least), min(most, before_most))
