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

    def drop(self, reason: str, calls: int = 1) -> None:
        """Calls are lost."""
        self._count(reason, calls)
        self.say(reason, REASONS[reason])

    def say(self, kind: str, message: str, *values: object) -> None:
        """Log a warning, unless one of the kind was logged in the last minute."""
        now = monotonic()
        if now - self._said.get(kind, -SAY_EVERY_S) >= SAY_EVERY_S:
            self._said[kind] = now
            log.warning(message, *values)
