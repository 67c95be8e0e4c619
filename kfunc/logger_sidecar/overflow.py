"""The way out when a sink is down: events go to the overflow sink before the spool is full, and when the pod ends."""

import asyncio
import logging
from collections.abc import Callable
from os import urandom

from kfunc.logger_sidecar.backoff import Backoff
from kfunc.logger_sidecar.contract import Refused, Retry, Sink
from kfunc.logger_sidecar.feed import Feed, Item, MakeEvents
from kfunc.logger_sidecar.log import Cursor
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.opened import OpenedSink
from kfunc.logger_sidecar.sink_metrics import LoggerMetrics
from kfunc.logger_sidecar.spool import Spool

log = logging.getLogger("kfunc.logger")

BEGIN_AT, END_AT = 0.75, 0.5  # of the spool's bound
READ_AGAIN_S = 1.0
LOOK_S = 0.05
MOST_AT_END_S = 1.0


Lagging = Callable[[], list[Cursor]]
"""The sinks for whom events are shipped."""


class _Behind:
    """The spool as the overflow sees it: its cursor is that of the sink furthest behind, and moves all that are behind it.

    One that stands before the start of it all has not been shipped what it lacks: it is not moved, its turn comes next.
    """

    def __init__(self, spool: Spool, lagging: Lagging) -> None:
        self._spool = spool
        self._lagging = lagging
        self._ends: list[int] = []
        self._start = min((cursor.position for cursor in lagging()), default=spool.position())
        self.read = spool.read
        self.position = spool.position

    def cursor(self, name: str) -> Cursor:
        """From where events have to be taken away."""
        return Cursor(name, 0, self._start)

    def shipped(self, items: list[Item]) -> None:
        """The overflow sink has these events."""
        for item in items:
            item.passed.open -= 1
        self._ends = list(dict.fromkeys(item.passed.end for item in items))

    def advance(self, cursor: Cursor, position: int, calls: int) -> None:
        """All from the start to `position` is in the overflow sink: who lacks no more than that needs not get it."""
        cursor.position = position
        for behind in self._lagging():
            if self._start <= behind.position < position:
                self._spool.advance(behind, position, sum(behind.position < end <= position for end in self._ends))


class Overflow:
    """Ships the oldest events while the spool is nearly full, and at the end what is left."""

    def __init__(self, sink: Sink, spool: Spool, make: MakeEvents, metrics: LoggerMetrics, notices: Notices) -> None:
        self._sink = OpenedSink(sink)
        self._max_events, self._max_bytes = sink.max_events, sink.max_bytes
        self._spool = spool
        self._make = make
        self._metrics = metrics
        self._notices = notices
        self._backoff = Backoff()
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._failing: Lagging | None = None
        self._ending = asyncio.Event()
        self._shipped_at_end = 0  # events

    def wake(self) -> None:
        """There is something new in the spool."""
        self._wake.set()

    def hurry(self, failing: Lagging) -> None:
        """The pod is about to end: what sinks that fail lack is shipped from now on, while requests are still answered."""
        self._failing = failing
        self._wake.set()

    async def watch(self) -> None:
        """Ship whenever the spool is nearly full, and in a hurry."""
        while True:
            self._wake.clear()
            failing = self._failing
            if failing is None:
                await self._wake.wait()
            else:
                await asyncio.sleep(LOOK_S)  # a sink that begins to fail tells nobody
            if self._spool.used >= BEGIN_AT and self._spool.lagging():
                self._notices.say("overflow", "the spool is nearly full: its oldest events go to the overflow sink")
                if not await self._shipped(self._spool.lagging, lambda: self._spool.used < END_AT):
                    await asyncio.sleep(READ_AGAIN_S)
                    self._wake.set()
            elif failing is not None and failing():
                await self._shipped(failing)

    async def ship_rest(self, grace_s: float) -> bool:
        """Ship all that any sink has not got; whether that worked in time."""
        self._ending.set()
        try:
            async with asyncio.timeout(grace_s):
                while True:
                    if await self._shipped(self._spool.lagging):
                        return True
                    await asyncio.sleep(READ_AGAIN_S)
        except TimeoutError:
            return False

    async def _shipped(self, lagging: Lagging, enough: Callable[[], bool] | None = None) -> bool:
        """Ship until it is enough, or all; false where the spool cannot be read."""
        try:
            await self._ship(lagging, enough or (lambda: not lagging()))
        except OSError as error:
            self._notices.say("read overflow", "the spool cannot be read: %s", error)
            return False
        return True

    async def _ship(self, lagging: Lagging, enough: Callable[[], bool]) -> None:
        async with self._lock:
            behind = _Behind(self._spool, lagging)
            feed = Feed(behind, behind.cursor("overflow"), self._make, self._notices)
            try:
                while not enough():
                    items = await feed.take(self._max_events, self._max_bytes)
                    if not items:
                        return
                    await self._deliver(items)
                    behind.shipped(items)
                    feed.settle()
            finally:
                feed.close()

    async def _deliver(self, items: list[Item]) -> None:
        left = items
        while left:
            outcomes = await self._sink.deliver([item.event for item in left], True)
            refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
            if refused:
                self._metrics.refused(len(refused))
                self._notices.say("overflow refused", "the overflow sink refuses events, they are lost: %s", refused[0].reason)
            count = outcomes.count(None)
            self._metrics.overflowed(count)
            if self._failing is not None or self._ending.is_set():
                self._shipped_at_end += count
            number, retry = next(
                ((number, each) for number, each in enumerate(outcomes) if isinstance(each, Retry)), (len(outcomes), None)
            )
            left = left[number:]
            if retry is not None:
                self._notices.say("overflow sink", "the overflow sink takes no events now: %s", retry.reason)
                await self._pause(self._backoff.failure(retry.after_s, urandom(1)[0] / 255))
        self._backoff.success()

    async def _pause(self, pause_s: float) -> None:
        """Wait; at the end of the pod only for a moment."""
        if self._ending.is_set():
            await asyncio.sleep(min(pause_s, MOST_AT_END_S))
            return
        try:
            async with asyncio.timeout(pause_s):
                await self._ending.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Let go of the sink, and say what has become of the end."""
        if self._shipped_at_end:
            log.warning("%d events that sinks did not take before the end are in the overflow sink", self._shipped_at_end)
        await self._sink.close()
