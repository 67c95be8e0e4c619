"""How far a model is on its way: what readiness answers and the log says."""

from collections.abc import Callable
from threading import Lock
from time import monotonic

EVERY_S = 5.0
EVERY_PERCENT = 10
UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


class Progress:
    """Phase and bytes of one model. Threads add; the event loop reads."""

    def __init__(self, say: Callable[[str], None] = lambda line: None) -> None:
        self._say = say
        self._mutex = Lock()
        self.phase = "loading"
        self.done = self.total = 0
        self._said_at, self._said_percent = -EVERY_S, -EVERY_PERCENT

    def enter(self, phase: str, total: int = 0, done: int = 0) -> None:
        """The next phase begins; `total` bytes are to be moved in it, 0: that is not known."""
        self.phase, self.total, self.done = phase, total, done
        self._said_at, self._said_percent = -EVERY_S, -EVERY_PERCENT

    def add(self, count: int) -> None:
        """So many more bytes; said now and then. Negative: they have to be moved again."""
        with self._mutex:
            self.done += count
        percent, now = self.percent, monotonic()
        if percent >= self._said_percent + EVERY_PERCENT or now >= self._said_at + EVERY_S:
            self._said_percent, self._said_at = percent, now
            self._say(f"{self.phase} {self.described()}")

    def finish(self) -> None:
        """All bytes of this phase are moved."""
        if self.total and self._said_percent < 100:
            self._say(f"{self.phase} {self.described()}")

    @property
    def percent(self) -> int:
        """Of the bytes of this phase; 0 where their number is not known."""
        return min(100, self.done * 100 // self.total) if self.total else 0

    def described(self) -> str:
        """`42 % (1.2 of 2.9 GB)`."""
        if not self.total:
            return size_text(self.done)
        unit, name = unit_of(self.total)
        digits = 1 if unit > 1 else 0
        return f"{self.percent} % ({self.done / unit:.{digits}f} of {self.total / unit:.{digits}f} {name})"

    def told(self) -> dict[str, int | str]:
        """For the answer of readiness: phase, and where bytes are moved `done` and `total`."""
        return {"phase": self.phase} | ({"done": self.done, "total": self.total} if self.total or self.done else {})


def unit_of(size: int) -> tuple[int, str]:
    """The unit in which a size reads well."""
    return next(((unit, name) for unit, name in UNITS if size >= unit), (1, "bytes"))


def size_text(size: int) -> str:
    """`2.9 GB`."""
    unit, name = unit_of(size)
    return f"{size / unit:.1f} {name}" if unit > 1 else f"{size} {name}"
