"""How far a model is on its way: what readiness answers and the log says."""

from collections.abc import Callable
from threading import Lock
from time import monotonic

EVERY_S = 5.0
EVERY_PERCENT = 10
UNITS = ((10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def nothing(line: str) -> None:
    """For who does not listen."""


class Progress:
    """Phase and bytes of one model. Threads add; the event loop reads."""

    def __init__(self, say: Callable[[str], None] = nothing, warn: Callable[[str], None] = nothing) -> None:
        self._say = say
        self._warn = warn
        self._mutex = Lock()
        self.phase = "loading"
        self.done = self.total = 0
        self.hindrance = ""
        self._said_at, self._said_percent = -EVERY_S, -EVERY_PERCENT
        self._warned: set[str] = set()
        self._warned_at = -EVERY_S

    def enter(self, phase: str, total: int = 0, done: int = 0) -> None:
        """The next phase begins; `total` bytes are to be moved in it, 0: that is not known."""
        self.phase, self.total, self.done, self.hindrance = phase, total, done, ""
        self._said_at, self._said_percent = -EVERY_S, -EVERY_PERCENT

    def add(self, count: int) -> None:
        """So many more bytes; said now and then. Negative: they have to be moved again."""
        with self._mutex:
            self.done += count
        if count > 0:
            self.hindrance = ""
        percent, now = self.percent, monotonic()
        if percent >= self._said_percent + EVERY_PERCENT or now >= self._said_at + EVERY_S:
            self._said_percent, self._said_at = percent, now
            self._tell()

    def hinder(self, what: str) -> None:
        """This keeps it from going on for now: said at once, though not by each of many threads, and told until it goes on."""
        now = monotonic()
        with self._mutex:
            self.hindrance = what
            if now >= self._warned_at + EVERY_S:
                self._warned.clear()
                self._warned_at = now
            new = what not in self._warned
            self._warned.add(what)
        if new:
            self._warn(f"{self.phase}: {what}")

    def finish(self) -> None:
        """All bytes of this phase are moved."""
        if (self.total and self._said_percent < 100) or (self.done and not self.total):
            self._tell()

    def _tell(self) -> None:
        self._say(f"{self.phase} {self.described()}".rstrip())

    @property
    def percent(self) -> int:
        """Of the bytes of this phase; 0 where their number is not known."""
        return min(100, self.done * 100 // self.total) if self.total else 0

    def described(self) -> str:
        """`42 % (1.2 of 2.9 GB)`; `1.2 GB so far` where the whole is not known; empty before the first byte of it."""
        if not self.total:
            return f"{size_text(self.done)} so far" if self.done else ""
        unit, name = unit_of(self.total)
        digits = 1 if unit > 1 else 0
        return f"{self.percent} % ({self.done / unit:.{digits}f} of {self.total / unit:.{digits}f} {name})"

    def told(self) -> dict[str, int | str]:
        """For the answer of readiness: phase, where bytes are moved `done` and `total`, and what hinders it."""
        moved = {"done": self.done, "total": self.total} if self.total or self.done else {}
        return {"phase": self.phase} | moved | ({"hindrance": self.hindrance} if self.hindrance else {})


def unit_of(size: int) -> tuple[int, str]:
    """The unit in which a size reads well."""
    return next(((unit, name) for unit, name in UNITS if size >= unit), (1, "bytes"))


def size_text(size: int) -> str:
    """`2.9 GB`."""
    unit, name = unit_of(size)
    return f"{size / unit:.1f} {name}" if unit > 1 else f"{size} {name}"
