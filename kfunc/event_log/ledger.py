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
        """There is something, nothing is missing and everything could be read; what came twice is known as the same."""
        return self.events > 0 and not (self.unreadable or self.gaps or self.unpaired)


class Ledger:
    """Takes events in any order."""

    def __init__(self) -> None:
        self.unreadable = 0
        self._events = 0
        # Of each run of a logger the calls: by number which halves are there, and the number of the next call.
        self._runs: dict[tuple[str, str], dict[int, int]] = {}
        self._next: dict[tuple[str, str], dict[int, int]] = {}
        # What others wrote has no numbers.
        self._foreign: dict[tuple[str, str], int] = {}
        self._seen: set[tuple[str, str, str]] = set()
        self._counts: dict[str, Counter[str]] = {"kinds": Counter(), "statuses": Counter(), "models": Counter()}
        self._times = ["", ""]
        self._marks: Counter[str] = Counter()

    def add(self, event: Stored) -> None:
        """Enter an event; one that is there already is counted as a duplicate only."""
        self._events += 1
        if not self._enter(event):
            self._marks["duplicates"] += 1
            return
        self._counts["kinds"][event.kind] += 1
        if event.kind == RESPONSE:
            self._counts["statuses"][str(event.status)] += 1
        if event.model:
            self._counts["models"][event.model] += 1
        for mark in ("truncated", "redacted"):
            self._marks[mark] += bool(event.attributes.get(mark))
        if event.time:
            self._times = [min(self._times[0] or event.time, event.time), max(self._times[1], event.time)]

    def _enter(self, event: Stored) -> bool:
        """Note the half of a call; False if it is there already."""
        half, numbered = HALVES.get(event.kind, 0), event.call_number
        if numbered is not None and half:
            run, number = (event.source, numbered[0]), numbered[1]
            calls = self._runs.setdefault(run, {})
            there = calls.get(number, 0)
            calls[number] = there | half
            if event.next_number >= 0:
                self._next.setdefault(run, {})[number] = event.next_number
            return not there & half
        if event.identity in self._seen:
            return False
        self._seen.add(event.identity)
        call = (event.source, event.correlation)
        self._foreign[call] = self._foreign.get(call, 0) | half
        return True

    def report(self) -> Report:
        """What there is up to now."""
        whole = len(HALVES.keys() & self._counts["kinds"].keys()) == len(HALVES)
        unpaired = [
            *(
                f"{run[1]}-{2 * number}"
                for run, calls in self._runs.items()
                for number, there in calls.items()
                if there != BOTH
            ),
            *(call[1] for call, there in self._foreign.items() if there != BOTH),
        ]
        unpaired = unpaired if whole else []
        gaps = [gap for run, calls in self._runs.items() for gap in _gaps(run[1], sorted(calls), self._next.get(run, {}))]
        counts: dict[str, Any] = {name: dict(sorted(counter.items())) for name, counter in self._counts.items()}
        return Report(
            events=self._events,
            calls=len(self._foreign) + sum(map(len, self._runs.values())),
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


def _gaps(run: str, numbers: list[int], following: dict[int, int]) -> list[Gap]:
    """Where the next call that an event tells of is not the next one that is here."""
    return [
        Gap(f"{run}-{2 * following[this]}", f"{run}-{2 * this}", f"{run}-{2 * that}")
        for this, that in pairwise(numbers)
        if following.get(this, that) != that
    ]
