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
    """One call or more that a run of a logger has accepted, and of which no event is here.

    They begin with the event `first`, which was to follow `after`, and end before `before`.
    """

    first: str
    after: str
    before: str

    def __str__(self) -> str:
        return f"{self.first} and what follows it before {self.before}"


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
    gaps: int
    gaps_listed: list[Gap]
    unpaired: int
    unpaired_listed: list[str]

    @property
    def ok(self) -> bool:
        """Nothing is missing and everything could be read; what came twice is known as the same."""
        return not (self.unreadable or self.gaps or self.unpaired)


class Ledger:
    """Takes events in any order."""

    def __init__(self) -> None:
        self.unreadable = 0
        self._events = 0
        self._seen: set[tuple[str, str, str]] = set()
        self._halves: dict[tuple[str, str], int] = {}
        self._next: dict[str, dict[int, int]] = {}  # run → number of a call → number of the next one
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
            self._next.setdefault(numbered[0], {})[numbered[1]] = event.next_number
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
        gaps = [gap for run, following in self._next.items() for gap in _gaps(run, following)]
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
            gaps=len(gaps),
            gaps_listed=gaps[:MOST_LISTED],
            unpaired=len(unpaired),
            unpaired_listed=unpaired[:MOST_LISTED],
            **counts,
        )


def _gaps(run: str, following: dict[int, int]) -> list[Gap]:
    """Where the next call that an event tells of is not the next one that is here."""
    return [
        Gap(f"{run}-{2 * following[this]}", f"{run}-{2 * this}", f"{run}-{2 * that}")
        for this, that in pairwise(sorted(following))
        if following[this] not in (-1, that)
    ]
