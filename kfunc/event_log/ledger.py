"""The ledger of a log: whether every call has both its events, once, and no number is missing. Sans-IO."""

from collections import Counter
from itertools import pairwise
from typing import Any

from msgspec import Struct

from kfunc.event_log.stored import REQUEST, RESPONSE, Stored

MOST_LISTED = 20
BOTH = 3
HALVES = {REQUEST: 1, RESPONSE: 2}


class Gap(Struct, frozen=True):
    """Calls that a run of a logger has numbered, and of which no event is here."""

    run: str
    first: int
    last: int

    def __str__(self) -> str:
        span = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        return f"run {self.run}: {span}"


class Report(Struct):
    """What a ledger comes to. `ok`: each call has what calls here have, and none is missing."""

    events: int
    calls: int
    first_time: str
    last_time: str
    kinds: dict[str, int]
    statuses: dict[str, int]
    models: dict[str, int]
    duplicates: int
    truncated: int
    redacted: int
    unreadable: int
    missing_calls: int
    gaps: list[Gap]
    unpaired: int
    unpaired_listed: list[str]

    @property
    def ok(self) -> bool:
        """Nothing is missing and everything could be read; what came twice is known as the same."""
        return not (self.unreadable or self.missing_calls or self.unpaired)


class Ledger:
    """Takes events in any order."""

    def __init__(self) -> None:
        self.unreadable = 0
        self._events = 0
        self._seen: set[tuple[str, str, str]] = set()
        self._halves: dict[tuple[str, str], int] = {}
        self._numbers: dict[str, set[int]] = {}
        self._counts: dict[str, Counter[str]] = {"kinds": Counter(), "statuses": Counter(), "models": Counter()}
        self._times = ["", ""]
        self._marks: Counter[str] = Counter()

    def add(self, event: Stored) -> None:
        """Enter an event; one that is there already is counted as a duplicate only."""
        self._events += 1
        if event.identity in self._seen:
            self._marks["duplicates"] += 1
            return
        self._seen.add(event.identity)
        # Two calls can have one correlation id, that of their clients: the call's number tells them apart.
        numbered = event.call_number
        call = (event.source, f"{numbered[0]}-{numbered[1]}" if numbered else event.correlation)
        self._halves[call] = self._halves.get(call, 0) | HALVES.get(event.kind, 0)
        if numbered:
            self._numbers.setdefault(numbered[0], set()).add(numbered[1])
        self._counts["kinds"][event.kind] += 1
        if event.kind == RESPONSE:
            self._counts["statuses"][str(event.status)] += 1
        if event.model:
            self._counts["models"][event.model] += 1
        for mark in ("truncated", "redacted"):
            self._marks[mark] += bool(event.attributes.get(mark))
        if event.time:
            self._times = [min(self._times[0] or event.time, event.time), max(self._times[1], event.time)]

    def report(self) -> Report:
        """What there is up to now."""
        whole = BOTH if len(HALVES.keys() & self._counts["kinds"].keys()) == 2 else 0
        unpaired = [call[1] for call, halves in self._halves.items() if whole and halves != whole]
        gaps = [gap for run, numbers in self._numbers.items() for gap in _gaps(run, sorted(numbers))]
        counts: dict[str, Any] = {name: dict(sorted(counter.items())) for name, counter in self._counts.items()}
        return Report(
            events=self._events,
            calls=len(self._halves),
            first_time=self._times[0],
            last_time=self._times[1],
            duplicates=self._marks["duplicates"],
            truncated=self._marks["truncated"],
            redacted=self._marks["redacted"],
            unreadable=self.unreadable,
            missing_calls=sum(gap.last - gap.first + 1 for gap in gaps),
            gaps=gaps[:MOST_LISTED],
            unpaired=len(unpaired),
            unpaired_listed=unpaired[:MOST_LISTED],
            **counts,
        )


def _gaps(run: str, numbers: list[int]) -> list[Gap]:
    """What is missing between the first and the last number."""
    return [Gap(run, low + 1, high - 1) for low, high in pairwise(numbers) if high - low > 1]
