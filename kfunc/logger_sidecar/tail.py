"""What is new at the end of the log: counted, and told of a moment later, so that one look serves many requests."""

import asyncio
from collections.abc import Callable

from kfunc.logger_sidecar.intake import Intake

DRAIN_S = 0.02


class Tail:
    """The intake while this process writes to it: each record that is appended is told of, by whatever way it came in.

    `tell` is called first, then what is in `wake`.
    """

    def __init__(self, intake: Intake, calls: int, tell: Callable[[], None]) -> None:
        self.intake = intake
        self.wake: list[Callable[[], None]] = []
        self._tell = tell
        self._known = calls  # of the segments that are counted
        self._due: asyncio.TimerHandle | None = None
        intake.on_new, intake.quiet = self._arm, True

    @property
    def calls(self) -> int:
        """All calls of the log, as far as they are counted."""
        return self._known + self.intake.appended

    def find(self, calls: int) -> None:
        """An earlier process's segment is counted."""
        self._known += calls

    def _arm(self) -> None:
        self._due = asyncio.get_running_loop().call_later(DRAIN_S, self._on_due)

    def _on_due(self) -> None:
        self.intake.quiet = True
        self._tell()
        for wake in self.wake:
            wake()

    def stop(self) -> None:
        """Tell of nothing more."""
        self.intake.quiet = False
        if self._due is not None:
            self._due.cancel()
