"""A cluster that exists only as numbers: revisions with a health, time that passes when somebody waits."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from kfunc.config.analysis import Analysis
from kfunc.rollout.driver import Conflict, Drive
from kfunc.rollout.layout import layout
from kfunc.rollout.record import Driver, Objects, Record
from kfunc.rollout.state import Layout, Pod, Rollout, Seen, Settings, Share
from kfunc.rollout.statistics import Sample

BOUNDS = [0.01, 0.1, 1.0]


class Killed(BaseException):
    """SIGKILL: nothing after it runs."""


class Health:
    """What a revision does with requests."""

    def __init__(
        self, ready_after_s: float = 2.0, error_rate: float = 0.0, seconds: float = 0.005, crashes_at: float = 1e12
    ) -> None:
        self.ready_after_s, self.error_rate, self.seconds, self.crashes_at = ready_after_s, error_rate, seconds, crashes_at


class FakeStore:
    """The record with versions, as the cluster's API keeps them."""

    def __init__(self, record: Record | None = None) -> None:
        self.record, self.version, self.writes = record, 1, 0
        self.before_write: Callable[[], None] = lambda: None
        if record is not None:
            self.record = replace(record, version="1")

    def read(self) -> Record | None:
        return self.record

    def write(self, record: Record) -> Record:
        self.before_write()
        if self.record is not None and record.version != self.record.version:
            raise Conflict("changed meanwhile")
        self.version += 1
        self.writes += 1
        self.record = replace(record, version=str(self.version))
        return self.record


class FakeWorld:
    """Revisions that answer requests in proportion to their weights."""

    def __init__(self, stable: Health, candidate: Health, per_second: float = 50.0) -> None:
        self.now = 1000.0
        self.began = self.now
        self.health = {"stable": stable, "candidate": candidate}
        self.per_second = per_second
        self.layout = Layout({"stable": 100, "candidate": 0}, "stable", False, False, 0)
        self.counts = {tag: [0.0, 0.0] for tag in self.health}
        self.weights_seen: list[int] = []
        self.loaded = False
        self.before_arrange: Callable[[], None] = lambda: None
        self.after_arrange: Callable[[], None] = lambda: None

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes, and requests with it."""
        self.now += seconds
        for tag, health in self.health.items():
            share = self.layout.weights.get(tag, 0) / 100 if self.layout.is_split else float(tag == self.layout.plain)
            requests = seconds * (self.per_second * share + (5.0 if self.loaded else 0.0))
            self.counts[tag][0] += requests
            self.counts[tag][1] += requests * health.error_rate

    def look(self, record: Record, now: float) -> Seen:
        wanted = layout(record.rollout)
        tags = [share.tag for share in record.rollout.shares]
        ready = {tag: self.now - self.began >= self.health[tag].ready_after_s for tag in tags}
        return Seen(
            settled=self.layout == wanted,
            why="the pod is pending",
            ready=ready,
            pods={tag: [self._pod(tag)] for tag in tags if ready[tag]},
        )

    def _pod(self, tag: str) -> Pod:
        health, (requests, errors) = self.health[tag], self.counts[tag]
        buckets = [0.0] * (len(BOUNDS) + 1)
        buckets[sum(bound < health.seconds for bound in BOUNDS)] = requests
        counters = Sample(requests, errors, BOUNDS, buckets, requests * health.seconds)
        crashed = self.now - self.began >= health.crashes_at
        return Pod(f"{tag}-pod", self.began + health.ready_after_s, counters, int(crashed), "OOMKilled" if crashed else "")

    def arrange(self, record: Record) -> None:
        self.before_arrange()
        self.layout = layout(record.rollout)
        share = self.layout.weights["candidate"] if self.layout.is_split else 100 * (self.layout.plain == "candidate")
        if not self.weights_seen or self.weights_seen[-1] != share:
            self.weights_seen.append(share)
        self.after_arrange()

    def load(self, record: Record, wanted: bool) -> None:
        self.loaded = wanted


def settings(**fields: Any) -> Settings:
    """Settings whose analysis is given beside its own fields."""
    own = {name: fields.pop(name) for name in list(fields) if name in Analysis.__struct_fields__}
    defaults: dict[str, Any] = {"steps": [5, 25, 50, 100], "interval_s": 60.0, "metrics_port": 9095, "component": "logger"}
    return Settings(**(defaults | fields), analysis=Analysis(**own))


def rollout(strategy: Any = "canary", **fields: Any) -> Rollout:
    """A rollout that begins at second 1000."""
    given = {name: fields.pop(name) for name in list(fields) if name in Rollout.__struct_fields__}
    defaults: dict[str, Any] = {
        "shares": [Share("stable", "iris-a"), Share("candidate", "iris-b")],
        "rendered": "iris-b",
        "since": 1000.0,
        "began_at": 1000.0,
        "settings": settings(**fields),
    }
    return Rollout(id="1", function="iris", namespace="default", strategy=strategy, **(defaults | given))


def record(one: Rollout) -> Record:
    return Record(one, Objects(), Driver())


def drive(world: FakeWorld, store: FakeStore, holder: str = "me") -> Rollout:
    """Drive to the end, or to where somebody has to say something."""
    return Drive(store, world, holder, world.clock, world.sleep).run(lambda rollout, seen: None)
