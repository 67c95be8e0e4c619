"""Any health, any commands, a driver killed anywhere: a rollout ends stable or promoted, as if nobody had been killed."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from kfunc.rollout.commands import RolloutRefused, aborted, pause, promoted, resume
from kfunc.rollout.driver import Drive, Taken
from kfunc.rollout.record import LEASE_S
from kfunc.rollout.state import Rollout
from tests.rollout.worlds import FakeStore, FakeWorld, Health, Killed, record, rollout

HEALTH = st.builds(
    Health,
    ready_after_s=st.sampled_from([0.0, 2.0, 40.0, 1e9]),
    error_rate=st.sampled_from([0.0, 0.0, 0.005, 0.3]),
    seconds=st.sampled_from([0.005, 0.005, 0.5]),
    crashes_at=st.sampled_from([1e12, 1e12, 100.0]),
)
COMMANDS: dict[str, Callable[[Rollout, float], Rollout]] = {
    "pause": pause,
    "resume": resume,
    "promote": lambda one, now: promoted(one, "", now),
    "abort": lambda one, now: aborted(one, "asked for", now),
}


def nothing(rollout: Rollout, seen: object) -> None:
    """Told, and not interested."""


class Rollouts(RuleBasedStateMachine):
    """Two people with a driver each, who start, command and kill as they like."""

    @initialize(health=HEALTH, strategy=st.sampled_from(["canary", "blue-green", "undo"]))
    def begin(self, health: Health, strategy: str) -> None:
        self.world = FakeWorld(Health(), health)
        self.store = FakeStore(record(rollout(strategy, p99_ms=100, promotion="auto", interval_s=10, keep_s=20)))
        self.drivers = {name: self._driver(name) for name in ("ann", "bob")}
        self.rolled_back_at = -1

    def _driver(self, name: str) -> Drive:
        return Drive(self.store, self.world, name, self.world.clock, self.world.sleep)

    @property
    def state(self) -> Rollout:
        assert self.store.record is not None
        return self.store.record.rollout

    @rule(name=st.sampled_from(["ann", "bob"]), times=st.integers(1, 40), pause_s=st.sampled_from([0.5, 1.0, 5.0]))
    def drives(self, name: str, times: int, pause_s: float) -> None:
        for _ in range(times):
            other = self.store.record is not None and self.store.record.driver
            try:
                self.drivers[name].tick(nothing)
            except Taken:
                assert other
                assert other.holder != name
                assert other.until > self.world.now
                return
            self.world.sleep(pause_s)

    @rule(name=st.sampled_from(["ann", "bob"]), before_the_write=st.booleans())
    def is_killed(self, name: str, before_the_write: bool) -> None:
        def kill() -> None:
            raise Killed

        if before_the_write:
            self.store.before_write = kill
        else:
            self.world.before_arrange = kill
        try:
            self.drivers[name].tick(nothing)
        except (Killed, Taken):
            pass
        self.store.before_write = self.world.before_arrange = lambda: None
        self.drivers[name] = self._driver(f"{name}'")
        self.drivers[name] = self._driver(name)

    @rule(command=st.sampled_from(sorted(COMMANDS)))
    def is_told(self, command: str) -> None:
        assert self.store.record is not None
        try:
            told = COMMANDS[command](self.state, self.world.now)
        except RolloutRefused:
            return
        self.store.write(replace(self.store.record, rollout=told))

    @rule(seconds=st.sampled_from([1.0, LEASE_S, 100.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @invariant()
    def weights_grow_until_it_is_rolled_back(self) -> None:
        if not hasattr(self, "world"):
            return
        grown = self.world.weights_seen
        falls = [(a, b) for a, b in pairwise(grown) if b < a]
        assert len(falls) <= (self.state.phase in ("rolling-back", "rolled-back"))
        assert all(b == 0 for _, b in falls)

    @invariant()
    def what_has_ended_is_stable_or_promoted(self) -> None:
        if not hasattr(self, "world") or not self.state.has_ended:
            return
        assert self.state.winner == ("candidate" if self.state.phase == "promoted" else "stable")

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.sleep(LEASE_S + 1)
        driver = self._driver("cid")
        for _ in range(3000):
            decision = driver.tick(nothing)
            if decision.rollout.has_ended:
                break
            if decision.rollout.paused:
                self.is_told("resume")
            self.world.sleep(max(decision.wait_s, 1.0))
        assert self.state.phase in ("promoted", "rolled-back")
        wanted = "candidate" if self.state.phase == "promoted" else "stable"
        driver.tick(nothing)
        assert (self.world.layout.plain, self.world.layout.is_split, self.world.layout.tagged) == (wanted, False, False)


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def finish(world: FakeWorld, store: FakeStore, holder: str) -> Rollout:
    driver = Drive(store, world, holder, world.clock, world.sleep)
    return driver.run(nothing)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    health=HEALTH,
    strategy=st.sampled_from(["canary", "blue-green", "undo"]),
    ticks=st.integers(0, 120),
    where=st.sampled_from(["before the write", "before the change", "after the change"]),
)
def test_a_rollout_whose_driver_was_killed_anywhere_ends_as_without_that(
    health: Health, strategy: str, ticks: int, where: str
) -> None:
    ends = []
    for killed in (False, True):
        world = FakeWorld(Health(), Health(health.ready_after_s, health.error_rate, health.seconds))
        store = FakeStore(record(rollout(strategy, p99_ms=100, promotion="auto", interval_s=10, keep_s=20)))
        driver = Drive(store, world, "first", world.clock, world.sleep)

        def kill() -> None:
            raise Killed

        try:
            for number in range(ticks + 1):
                if killed and number == ticks:
                    store.before_write = kill if where == "before the write" else store.before_write
                    world.before_arrange = kill if where == "before the change" else world.before_arrange
                    world.after_arrange = kill if where == "after the change" else world.after_arrange
                if driver.tick(nothing).rollout.has_ended:
                    break
                world.sleep(1.0)
        except Killed:
            pass
        store.before_write = world.before_arrange = world.after_arrange = lambda: None
        world.sleep(LEASE_S + 1 if killed else 1.0)
        ended = finish(world, store, "next" if killed else "first")
        ends.append((ended.phase, ended.winner, world.layout))
    assert ends[0] == ends[1]
