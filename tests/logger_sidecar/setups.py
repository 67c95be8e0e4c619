"""What the tests of the logger share: calls, a spool in a folder, and a pipeline to sinks."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from kfunc.config.logger import SHARED_MEMORY, Logger, sinks_of
from kfunc.logger_sidecar.contract import SinkContext
from kfunc.logger_sidecar.event import CallEvent, EventWriter, event_maker
from kfunc.logger_sidecar.feed import Feed, Item
from kfunc.logger_sidecar.intake import FOLDER_BYTES_AT, HEAD_BYTES
from kfunc.logger_sidecar.log import Cursor
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.pipeline import Pipeline
from kfunc.logger_sidecar.record import HAS_REQUEST, CallRecord, Origin, Payload, encode_record
from kfunc.logger_sidecar.recovery import open_spool
from kfunc.logger_sidecar.sink_metrics import LoggerMetrics
from kfunc.telemetry.metrics import Metrics

CONTEXT = SinkContext("f", "n", {})
opened: list["Setup"] = []
"""Those of the running test: what is left open of them is closed behind it."""


def call(number: int, body: bytes = b"", flags: int = HAS_REQUEST) -> CallRecord:
    """A call whose request is its number, and `body` if that is given."""
    body = body or b"%d" % number
    request = Payload(body, len(body))
    return CallRecord(b"/v2/models/m/infer", b"%d" % number, 1_795_219_200_500_000, 10, 200, request, Payload(), flags=flags)


def events(*numbers: int, body: bytes = b"") -> list[CallEvent]:
    """The requests of calls."""
    writer = EventWriter(Origin("r", "f", "n"))
    calls = [call(number, body) for number in numbers]
    for each, number in zip(calls, numbers, strict=True):
        each.number = number
    return [CallEvent(writer, each, False) for each in calls]


class Setup:
    """A spool in a folder and the delivery to sinks."""

    def __init__(self, folder: Path, run: str = "", context: SinkContext = CONTEXT, **settings: Any) -> None:
        self.settings = msgspec.convert({"spool": str(folder / "spool"), "mode": "request", **settings}, Logger)
        self.metrics = Metrics("logger")
        figures = LoggerMetrics(self.metrics, 1)
        notices = Notices(figures.dropped)
        self.spool = open_spool(self.settings, Origin(run or os.urandom(4).hex(), "f", "n", model="iris", version="1"), notices)
        self.pipeline = Pipeline(
            *(self.settings, sinks_of(self.settings), context, self.spool),
            metrics=self.metrics,
            figures=figures,
            notices=notices,
        )

        opened.append(self)

    def add(self, *numbers: int, body: bytes = b"") -> list[bool]:
        """Append calls; whether each could go on at once."""
        return [self.spool.append(encode_record(call(number, body)), lambda: None) for number in numbers]

    def cursor(self, name: str) -> Cursor:
        """Where the sink is that metrics call so."""
        (key,) = [key for key, each in self.pipeline._names.items() if each == name]
        return self.spool.cursor(key)

    def count(self, name: str) -> int:
        """The sum of a figure over its labels."""
        lines = [line for line in self.metrics.exposition().splitlines() if line.startswith(f"kfunc_events_{name}")]
        return sum(int(float(line.split()[-1])) for line in lines)

    async def reaches(self, name: str, count: int, timeout_s: float = 30) -> None:
        """Wait until a figure is `count`."""
        async with asyncio.timeout(timeout_s):
            while self.count(name) < count:  # noqa: ASYNC110 (a counter tells nobody)
                await asyncio.sleep(0.005)

    async def crash(self) -> None:
        """What a SIGKILL leaves: nothing is brought to the disk any more, nothing is taken down."""
        for task in (*self.pipeline._tasks, *self.pipeline._others, *self.pipeline._watching):
            task.cancel()
        await asyncio.sleep(0)
        self.spool.tail.stop()  # else it would write over what the next one finds
        self.spool._drain.is_busy = True
        self.spool.intake.unlock()
        if self.spool.lane is not None:
            self.spool.lane.release()

    async def let_go(self) -> None:
        """What the end of a process does; nothing where `flush` has been."""
        if self.spool.lane is not None:
            self.spool.lane.release()
        if self.spool._drain.writer is not None:
            self.spool._drain.writer.finish()
        self.spool._drain.disk.end()
        self.spool.intake.close(remove=False)
        for route in self.pipeline._routes:
            with suppress(RuntimeError):  # a connection of a loop that has ended
                await route.delivery.close()
            await route.dead.close()


@asynccontextmanager
async def running(folder: Path, grace_s: float = 5.0, **settings: Any) -> AsyncIterator[Setup]:
    """A pipeline at work, that is flushed at the end."""
    setup = Setup(folder, **settings)
    setup.pipeline.start()
    try:
        yield setup
    finally:
        await setup.pipeline.flush(grace_s)
        forget_intake(folder)


def forget_intake(folder: Path) -> None:
    """Delete what is left in shared memory of a test's spools."""
    for path in Path(SHARED_MEMORY).glob(f"kfunc-{os.geteuid()}-*"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if os.fsencode(folder) in file.read(HEAD_BYTES)[FOLDER_BYTES_AT:]:
                path.unlink()


async def items_of(one: Setup) -> list[Item]:
    """What the sink `file-null` is still to get."""
    feed = Feed(one.spool, one.cursor("file-null"), event_maker("none"), one.pipeline._notices)
    found: list[Item] = []
    while items := await feed.take(100, 1 << 20):
        found += items
    return found


async def drained(one: Setup) -> None:
    """Until the disk has everything."""
    async with asyncio.timeout(10):
        while one.spool.intake.drained < one.spool.intake.written:
            one.spool.drain()
            await asyncio.sleep(0.002)


async def is_so(condition: Callable[[], bool]) -> None:
    """Wait for what nobody tells."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.005)
