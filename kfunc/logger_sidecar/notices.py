"""What is said once a minute and counted each time: events dropped, disks and sinks that fail."""

import logging
from collections.abc import Callable
from time import monotonic

log = logging.getLogger("kfunc.logger")

SAY_EVERY_S = 60.0
REASONS = {
    "full": "the spool is full: events are dropped (logger.spool_max_bytes, on_full); a sink is slow or down",
    "stalled": "the disk of the spool does not take events in time, and memory is full: they are dropped",
    "too large": "a call is larger than the spool: its events are dropped (logger.max_body_bytes, spool_max_bytes)",
    "failed": "the events of a call could not be written: they are dropped",
    "damaged": "a part of the spool is damaged: the events in it are lost",
}


class Notices:
    """Says things, each kind at most once a minute. `count` is called with the reason and number of dropped calls."""

    def __init__(self, count: Callable[[str, int], None]) -> None:
        self._count = count
        self._said: dict[str, float] = {}
        self._dropped: dict[str, int] = {}  # calls
        self._told: dict[str, int] = {}

    def drop(self, reason: str, calls: int = 1) -> None:
        """Calls are lost."""
        self._count(reason, calls)
        self._dropped[reason] = self._dropped.get(reason, 0) + calls
        if self._is_due(reason):
            self._tell(reason)

    def end(self) -> None:
        """The process ends: say how many calls were lost that have not been told of."""
        for reason, calls in self._dropped.items():
            if calls > self._told.get(reason, 0):
                self._tell(reason)

    def _tell(self, reason: str) -> None:
        calls = self._told[reason] = self._dropped[reason]
        log.warning("%s (calls lost so far: %d)", REASONS[reason], calls)

    def say(self, kind: str, message: str, *values: object) -> None:
        """Log a warning, unless one of the kind was logged in the last minute."""
        if self._is_due(kind):
            log.warning(message, *values)

    def _is_due(self, kind: str) -> bool:
        now = monotonic()
        is_due = now - self._said.get(kind, -SAY_EVERY_S) >= SAY_EVERY_S
        if is_due:
            self._said[kind] = now
        return is_due
