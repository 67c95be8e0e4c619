"""Random outages of several sinks at once: nothing that was accepted is missing uncounted, and nothing waits for ever."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from kfunc.logger_sidecar.backoff import Backoff
from kfunc.logger_sidecar.contract import Event, Outcome, Retry
from kfunc.logger_sidecar.feed import Item
from kfunc.logger_sidecar.record import HAS_REQUEST, HAS_RESPONSE, encode_record
from tests.logger_sidecar.setups import Setup, call, forget_intake

pytestmark = pytest.mark.integration

STATES = ["up", "up", "raises", "is away", "answers 503", "answers 500 to some"]
CALLS = 40

Name = tuple[int, bool]


def name(event: Event) -> Name:
    return int(event.key), event.is_response


class Fickle:
    """A sink in one of some states, whose library cannot send the events of some calls."""

    linger_s = 0.0

    def __init__(self, random: Random, poisons: set[int]) -> None:
        self._random = random
        self._poisons = poisons
        self.max_events = random.choice([1, 2, 3, 16, 256])
        self.max_bytes = random.choice([50, 500, 1 << 20])
        self.state = "up"
        self.taken: set[Name] = set()
        self.buried: set[Name] = set()

    async def open(self) -> None:
        pass

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        if self.state == "hangs":
            await asyncio.sleep(60)
        if self.state == "is away":
            raise ConnectionError("gone")
        if self.state == "raises" or any(name(event)[0] in self._poisons for event in events):
            raise RuntimeError("not this one")
        outcomes: list[Outcome] = []
        for event in events:
            fails = self.state == "answers 503" or (self.state != "up" and self._random.random() < 0.5)
            outcomes.append(Retry("HTTP 500") if fails else None)
            if not fails:
                self.taken.add(name(event))
            elif in_order:
                break
        return outcomes

    async def close(self) -> None:
        pass

    async def bury(self, item: Item, reason: str, code: int) -> bool:
        self.buried.add(name(item.event))
        return True


class Impatient(Backoff):
    """Nearly no pauses."""

    def failure(self, asked_s: float, random: float) -> float:
        self.failures += 1
        return 0.0005


class Walk:
    """Calls come while sinks go away and come back."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random = Random(seed)
        self.both = random.random() < 0.5
        order = random.choice(["strict", "kept", "any"])
        sinks = [{"to": "file:/dev/null", "name": f"s{number}", "order": order} for number in range(random.choice([1, 2, 3]))]
        self.body = b"x" * random.choice([0, 40_000])  # of the larger ones some are dropped
        bounds: dict[str, Any] = {"spool_max_bytes": 1 << 20, "spool_segment_bytes": 65536, "max_body_bytes": 40_000}
        settings: dict[str, Any] = {"mode": "all" if self.both else "request", "overflow": "file:/dev/null"}
        self.one = Setup(folder, sinks=sinks, **settings, **bounds)
        first = random.randrange(CALLS - 8)
        poisons = {*random.sample(range(CALLS), 2), *range(first, first + random.randrange(6))}
        self.sinks = [Fickle(random, poisons if random.random() < 0.7 else set()) for _ in sinks]
        for route, sink in zip(self.one.pipeline._routes, self.sinks, strict=True):
            delivery = route.delivery
            delivery._sink = delivery._opened.sink = sink
            delivery.backoff, delivery._bury = Impatient(), sink.bury
        self.overflow = Fickle(random, set())
        assert self.one.pipeline._overflow is not None
        self.one.pipeline._overflow._sink.sink = self.overflow
        self.count = 0

    def come(self) -> None:
        """One more call."""
        flags = HAS_REQUEST | HAS_RESPONSE if self.both else HAS_REQUEST
        self.one.spool.append(encode_record(call(self.count, self.body, flags)), lambda: None)
        self.count += 1

    def change(self, *more: str) -> None:
        for sink in self.sinks:
            if self.random.random() < 0.4:
                sink.state = self.random.choice([*STATES, *more])

    async def calls(self) -> None:
        self.one.pipeline.start()
        while self.count < CALLS:
            for _ in range(self.random.randrange(1, 8)):
                self.come()
            self.change()
            await asyncio.sleep(self.random.choice([0, 0.002, 0.01]))

    def missing(self, number: int) -> set[Name]:
        """What a sink has not got, nor any that stands in for it."""
        sink = self.sinks[number]
        kinds = [False, True] if self.both else [False]
        every = {(call_number, kind) for call_number in range(self.count) for kind in kinds}
        return every - sink.taken - sink.buried - self.overflow.taken


@pytest.mark.parametrize("seed", range(12))
def test_when_all_are_back_none_waits_for_ever_and_nothing_is_missing(tmp_path: Path, seed: int) -> None:
    async def main() -> None:
        walk = Walk(tmp_path, seed)
        await walk.calls()
        for sink in walk.sinks:
            sink.state = "up"
        async with asyncio.timeout(10):
            while walk.one.spool.lagging():
                if walk.count < 4 * CALLS:
                    walk.come()  # what a library cannot send waits for others that it can
                await asyncio.sleep(0.005)
        for number in range(len(walk.sinks)):
            assert len({call_number for call_number, _ in walk.missing(number)}) <= walk.one.count("dropped")
        await walk.one.pipeline.flush(1.1)
        forget_intake(tmp_path)

    asyncio.run(main())


@pytest.mark.parametrize("seed", range(100, 106))
def test_at_the_end_of_the_pod_all_is_delivered_overflowed_or_counted(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kfunc.logger_sidecar.overflow.LOOK_S", 0.002)

    async def main() -> None:
        walk = Walk(tmp_path, seed)
        await walk.calls()
        walk.change("hangs")
        walk.one.pipeline.hurry()
        for _ in range(8):
            walk.change("hangs")
            await asyncio.sleep(0.003)
        lagging = walk.one.spool.lagging
        await walk.one.pipeline.flush(1.8)
        keys = {cursor.name for cursor in lagging()}
        for number, route in enumerate(walk.one.pipeline._routes):
            missing = {call_number for call_number, _ in walk.missing(number)}
            assert route.key in keys or len(missing) <= walk.one.count("dropped")
        forget_intake(tmp_path)

    asyncio.run(main())
