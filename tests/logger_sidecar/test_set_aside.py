"""An event that a sink does not take while it takes all others: it stops no logging, and is not lost."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kfunc.logger_sidecar.backoff import Backoff
from kfunc.logger_sidecar.contract import Event, Outcome, Retry
from kfunc.logger_sidecar.set_aside import SHARE, SetAside
from tests.logger_sidecar.setups import CONTEXT, Setup, events, is_so

BODY = b"x" * 1000


class Picky:
    """A sink that answers 500 to some events; all others it takes, unless it is down."""

    max_events = 256
    max_bytes = 1 << 20
    linger_s = 0.0

    def __init__(self, *poisons: int) -> None:
        self.poisons = {b"%d" % number for number in poisons}
        self.down = False
        self.taken: set[int] = set()
        self.calls = 0

    async def open(self) -> None:
        pass

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        self.calls += 1
        outcomes: list[Outcome] = []
        for event in events:
            is_taken = not self.down and event.key not in self.poisons
            outcomes.append(None if is_taken else Retry("HTTP 500"))
            if is_taken:
                self.taken.add(int(event.key))
            elif in_order:
                break
        return outcomes

    async def close(self) -> None:
        pass


class Impatient(Backoff):
    """Nearly no pauses."""

    def failure(self, asked_s: float, random: float) -> float:
        return 0.0005


def setup(folder: Path, sink: Picky, **settings: Any) -> Setup:
    """Delivery to `sink` from a spool of 1 MiB."""
    one = Setup(folder, sink="file:/dev/null", spool_max_bytes=1 << 20, **settings)
    delivery = one.pipeline._routes[0].delivery
    delivery._sink = delivery._opened.sink = sink
    delivery.backoff = Impatient()
    one.pipeline.start()
    return one


async def call_often(one: Setup, sink: Picky) -> None:
    """Two MiB of calls, some at a time."""
    for number in range(1600):
        one.add(number, body=BODY)
        if number % 20 == 19:
            await is_so(lambda number=number: one.spool.used < 0.8 or len(sink.taken) >= number - 5)  # type: ignore[misc]
            await asyncio.sleep(0.005)


def aside(folder: Path, name: str = "spool/n.f/file-null.jsonl") -> list[str]:
    """The calls that were set aside."""
    path = folder / name
    lines = path.read_bytes().splitlines() if path.exists() else []
    return [msgspec.json.decode(line)["correlationid"] for line in lines]


@pytest.mark.parametrize("order", ["kept", "any"])
def test_one_that_is_never_taken_stops_no_logging_and_is_kept_in_the_spool(tmp_path: Path, order: str) -> None:
    sink = Picky(0, 7)

    async def main() -> None:
        one = setup(tmp_path, sink, order=order)
        await call_often(one, sink)
        await is_so(lambda: len(sink.taken) == 1598)
        await is_so(lambda: len(aside(tmp_path)) == 2)
        assert (one.count("dropped"), one.count("refused"), one.count("dead_lettered")) == (0, 0, 2)
        await is_so(lambda: one.spool.used < 0.2)

    asyncio.run(main())
    assert sorted(aside(tmp_path)) == ["0", "7"]


def test_where_dead_letters_have_a_place_it_goes_there(tmp_path: Path) -> None:
    sink = Picky(3)

    async def main() -> None:
        one = setup(tmp_path, sink, dead_letter=f"file:{tmp_path}/dead.jsonl")
        await call_often(one, sink)
        await is_so(lambda: aside(tmp_path, "dead.jsonl") == ["3"])
        assert one.count("dropped") == 0

    asyncio.run(main())
    assert aside(tmp_path) == []


def test_an_outage_that_answers_sets_nothing_aside(tmp_path: Path) -> None:
    sink = Picky()
    sink.down = True

    async def main() -> None:
        one = setup(tmp_path, sink, order="any")
        for number in range(900):
            one.add(number, body=BODY)
        calls = sink.calls
        await is_so(lambda: sink.calls > calls + 50)
        sink.down = False
        await is_so(lambda: len(sink.taken) == 900)

    asyncio.run(main())
    assert aside(tmp_path) == []


def test_what_finds_no_room_there_waits(tmp_path: Path) -> None:
    async def main() -> list[list[Outcome]]:
        most_bytes = len(events(1)[0].structured()) * 3 // 2
        place = SetAside(str(tmp_path / "a%20b.jsonl"), most_bytes, CONTEXT)
        await place.open()
        told = [await place.deliver(events(number), True) for number in (1, 2)]
        await place.close()
        return told

    first, (second,) = asyncio.run(main())
    assert first == [None]
    assert isinstance(second, Retry)
    assert aside(tmp_path, "a%20b.jsonl") == ["1"]


def test_what_is_set_aside_takes_no_more_room_for_many_sinks(tmp_path: Path) -> None:
    one = Setup(tmp_path, sinks=[{"to": "file:/dev/null", "name": f"s{number}"} for number in range(8)])
    asides = [route.dead._aside for route in one.pipeline._routes]
    places = [aside.sink for aside in asides if aside is not None]
    most = sum(place._most_bytes for place in places if isinstance(place, SetAside))
    assert 0 < most <= one.spool.max_bytes * SHARE
