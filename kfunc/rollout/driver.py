"""Drives a rollout: looks at the cluster, decides, keeps the decision, then makes the cluster so.

The decision is kept before anything is done, and what is done follows from it alone: a driver that is killed
anywhere is followed by another that does the same.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from msgspec.structs import replace

from kfunc.errors import ClusterError, KfuncError
from kfunc.rollout.commands import RolloutRefused
from kfunc.rollout.deciding import decide, taken_up
from kfunc.rollout.history import advanced
from kfunc.rollout.record import LEASE_S, Driver, Record
from kfunc.rollout.state import Decision, Rollout, Seen

KEEP_S = 10.0
COUNTS = ("window", "checks", "passed_at", "unready_since", "kept_pods", "why")
"""A state that differs from the kept one only in these is kept so often."""
RETRY_S = 1.0
MOST_FAILURES_S = 600.0
"""A cluster that does not answer for so long ends the driver; the rollout stays as it is."""


class Conflict(KfuncError):
    """The record was changed by somebody else since it was read."""

    status = 409


class Store(Protocol):
    """Where the record is."""

    def read(self) -> Record | None:
        """The record, or None where there is none."""

    def write(self, record: Record) -> Record:
        """The record with its new version. Raises Conflict."""


class World(Protocol):
    """What is rolled out on."""

    def look(self, record: Record, now: float) -> Seen:
        """What there is now, compared with what the record's layout wants."""

    def arrange(self, record: Record) -> None:
        """Change what differs from the layout, as far as it is known to be as `look` saw it. Doing it again changes nothing."""

    def load(self, record: Record, wanted: bool) -> None:
        """Send requests from now on, or no more."""


class Taken(KfuncError):
    """Somebody else drives this rollout."""

    status = 409


class Stuck(KfuncError):
    """The cluster does not take up what the end of a rollout needs: somebody has to mend that first."""


Told = Callable[[Rollout, Seen], None]
Tidy = Callable[[Record], None]


def _nothing(record: Record) -> None:
    """Where there is nothing to tidy."""


class Drive:
    """One driver; `clock` is seconds since 1970, the same for all drivers.

    `stay`: wait for people as well, and leave only when the rollout has ended. `tidy` is called with the record that ends it,
    before that is kept: until then no other command changes the function, and a driver that dies has a follower that tidies.
    """

    def __init__(
        self,
        store: Store,
        world: World,
        holder: str,
        clock: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
        stay: bool = False,
        tidy: Tidy = _nothing,
    ) -> None:
        self._store, self._world, self._holder, self._stay, self._tidy = store, world, holder, stay, tidy
        self._clock, self._sleep = clock, sleep
        self._kept_at = 0.0
        self._refused = ""
        self._known: Rollout | None = None

    def run(self, told: Told, known: Rollout | None = None) -> Rollout:
        """Drive until the rollout has ended, or rests until somebody says something; `known`: what it was before.

        `told` is called after each look, and where the cluster does not answer with what was seen last.

        Raises Taken where somebody else drives, Stuck, ClusterError where the cluster cannot be reached for long.
        """
        failing_since, self._known = 0.0, known
        while True:
            try:
                decision = self.tick(told)
            except Conflict:
                continue
            except ClusterError as error:
                failing_since = failing_since or self._clock()
                if self._clock() - failing_since > MOST_FAILURES_S or error.is_locked_out:
                    raise
                if self._known is not None:
                    told(self._known, Seen(why=error.message))
                self._sleep(RETRY_S)
                continue
            failing_since = 0.0
            if decision.stuck:
                self.leave()
                name = decision.rollout.function
                raise Stuck(f"{decision.stuck}; when that is mended, kfunc rollout resume {name} goes on")
            if decision.rollout.has_ended or (decision.rests and not self._stay):
                self.leave()
                return decision.rollout
            self._sleep(decision.wait_s)

    def tick(self, told: Told) -> Decision:
        """One look and what comes of it. Raises Conflict where the record was changed meanwhile."""
        record = self._mine()
        now = self._clock()
        if record.driver.holder != self._holder:
            record = replace(record, rollout=taken_up(record.rollout, now))
        seen = self._world.look(record, now)
        if self._refused and not seen.settled:
            seen = replace(seen, why=self._refused)
        decision = decide(record.rollout, seen, now)
        waiting = "" if decision.rollout.has_ended else seen.why
        decision = replace(decision, rollout=replace(decision.rollout, why=waiting, rests=decision.rests))
        if self._is_worth_keeping(record, decision.rollout, now):
            kept = advanced(record, decision.rollout)
            if kept.rollout.has_ended and not record.rollout.has_ended:
                self._tidy(kept)
            driver = Driver(self._holder, self._clock() + LEASE_S)  # a look takes its time
            record = self._store.write(replace(kept, driver=driver))
            self._kept_at = now
        self._known = decision.rollout
        told(decision.rollout, seen)
        if not decision.rollout.has_ended:  # others may change the function from now on
            self._arrange(replace(record, rollout=decision.rollout))
        self._world.load(record, decision.load)
        return decision

    def _arrange(self, record: Record) -> None:
        """Make the changes; what the cluster refuses is tried again, and is what is waited for."""
        try:
            self._world.arrange(record)
            self._refused = ""
        except ClusterError as error:
            if error.may_pass or error.is_locked_out:
                raise
            self._refused = error.message

    def _mine(self) -> Record:
        record = self._store.read()
        if record is None:
            raise RolloutRefused("there is no rollout; `kfunc rollout start` begins one")
        driver = record.driver
        if driver.holder != self._holder and driver.is_there(self._clock()):
            raise Taken(f"{driver.holder} drives this rollout; `kfunc rollout watch` shows it")
        return record

    def _is_worth_keeping(self, record: Record, rollout: Rollout, now: float) -> bool:
        if record.driver.holder != self._holder or now - self._kept_at >= KEEP_S:
            return True
        before = record.rollout
        if before.window.last.keys() != rollout.window.last.keys():
            return True
        return replace(before, **{name: getattr(rollout, name) for name in COUNTS}) != rollout

    def leave(self) -> None:
        """Let the next driver begin at once; it waits until our time is over where the cluster cannot be told."""
        with suppress(ClusterError):
            self._release()

    def _release(self) -> None:
        for _ in range(3):
            record = self._store.read()
            if record is None or record.driver.holder != self._holder:
                return
            self._world.load(record, False)
            try:
                self._store.write(replace(record, driver=Driver()))
                return
            except Conflict:
                continue
