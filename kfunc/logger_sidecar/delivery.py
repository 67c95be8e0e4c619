"""The delivery to one sink: batches, retries, dead letters, progress. Each sink has a task of its own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from os import urandom
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from kfunc.config.logger import SinkSettings
from kfunc.logger_sidecar.backoff import Backoff
from kfunc.logger_sidecar.contract import Outcome, Refused, Retry, Sink
from kfunc.logger_sidecar.feed import Feed, Item
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.opened import OpenedSink
from kfunc.logger_sidecar.sink_metrics import SinkMetrics

if TYPE_CHECKING:
    from kfunc.logger_sidecar.tracing import DeliveryTracer

log = logging.getLogger("kfunc.logger")

BURY_PAUSE_S = 1.0
N_IN_THE_WAY = 10  # answers after which an event may be set aside
N_BEYOND = 32  # events beyond the bounds of one call, where all within them raise
EVENT_ROOM = 1024  # about what a record has besides a body
READ_AGAIN_S = 60.0

Bury = Callable[[Item, str, int], Awaitable[bool]]
"""Puts a dead letter away: event, reason, code; false if that has to be tried again."""


class SinkDelivery:
    """Delivers what its feeds hold, the oldest log first, until `finish`. `relax` says when order costs too much."""

    def __init__(
        self,
        name: str,
        settings: SinkSettings,
        sink: Sink,
        feeds: list[Feed],
        *,
        relax: Callable[[], bool],
        metrics: SinkMetrics,
        bury: Bury,
        set_aside: Bury,
        way_bytes: float,
        notices: Notices,
    ) -> None:
        self.name = name
        self.feeds = feeds
        self.backoff = Backoff()
        self._settings = settings
        self._sink = sink
        self._opened = OpenedSink(sink, is_patient=True)
        self._relax = relax
        self._metrics = metrics
        self._bury = bury
        self._set_aside = set_aside
        self._way_bytes = way_bytes  # of the log: an event behind which so much has been delivered is in the way
        self._open_bytes = 0  # about what is under way of it
        self._notices = notices
        self._pending: list[Item] = []
        self._wake = asyncio.Event()
        self._closing = False
        self.tracer: DeliveryTracer | None = None  # where traces are sent

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def finish(self) -> None:
        """End when everything is delivered."""
        self._closing = True
        self._wake.set()

    async def run(self) -> None:
        """Deliver for ever, or after `finish` until nothing is left."""
        while True:
            self._wake.clear()
            in_order = self._in_order()
            self._forget_gone()
            try:
                items = self._pending
                if not items:
                    items = await self._next(self._sink.max_events, self._sink.max_bytes)
                elif not in_order or self._opened.lacks_witness:
                    items = items + await self._more(items)
            except OSError as error:
                self._notices.say(f"read {self.name}", "the spool cannot be read: %s", error)
                await self._pause(BURY_PAUSE_S)
                continue
            if items:
                self._pending = items
                await self._deliver(items, in_order)
                await asyncio.sleep(0)  # a sink that never waits must not keep requests waiting
            elif self._closing:
                return
            else:
                await self._until_more()

    async def _until_more(self) -> None:
        """Until there may be something new, or what another process left is to be looked at again."""
        now = monotonic()
        rests = [feed.rests_until - now for feed in self.feeds[:-1] if feed.rests_until > now]
        if rests:
            await self._wait(min(rests))
        else:
            await self._wake.wait()

    def _in_order(self) -> bool:
        order = self._settings.order
        return order == "strict" or (order != "any" and not self._relax())

    async def _more(self, items: list[Item]) -> list[Item]:
        """What goes with those that are tried again, within the bounds of one call: an outage is not to fill the memory."""
        sizes = [len(item.event.data) for item in items]
        count, size = self._sink.max_events - len(items), self._sink.max_bytes - sum(sizes)
        if count > 0 and size > 0:
            return await self._next(count, size, lingers=False)
        if self._opened.lacks_witness and count > -N_BEYOND and size > -N_BEYOND * max(sizes):
            return await self._next(1, 1, lingers=False)
        return []

    def _forget_gone(self) -> None:
        """Those that were dropped to make room, or shipped to the overflow, are not tried again: they hold up what comes."""
        gone = [item for item in self._pending if item.passed.end <= item.feed.cursor.position]
        if gone:
            self._pending = [item for item in self._pending if item.passed.end > item.feed.cursor.position]
            for item in gone:
                item.passed.open -= 1
            for feed in self.feeds:
                feed.settle()

    async def _next(self, most: int, size: int, *, lingers: bool = True) -> list[Item]:
        """A batch of the first log that has something; where the sink wants them full, after a while."""
        for feed in list(self.feeds):
            is_own = feed is self.feeds[-1]
            if not is_own and feed.rests_until > monotonic():
                continue
            try:
                items = await feed.take(most, size)
            except Exception as error:
                if is_own:
                    raise
                self._notices.say(f"read {self.name}", "what another process left cannot be read: %r", error)
                feed.rests_until = monotonic() + READ_AGAIN_S
                continue
            if items:
                if self._sink.linger_s and lingers and not self._closing:
                    await self._linger(feed, items, most, size)
                return items
            if not is_own and feed.ended:  # what another process left is delivered
                self.feeds.remove(feed)
                feed.close()
        return []

    async def _linger(self, feed: Feed, items: list[Item], most: int, most_bytes: int) -> None:
        ends_at = monotonic() + self._sink.linger_s
        size = sum(len(item.event.data) for item in items)
        while len(items) < most and size < most_bytes and not self._closing:
            self._wake.clear()
            try:
                more = await feed.take(most - len(items), most_bytes - size)
            except Exception:
                return  # what is here is delivered first; the error comes again
            items += more
            size += sum(len(item.event.data) for item in more)
            if not more:
                left_s = ends_at - monotonic()
                if left_s <= 0:
                    return
                await self._wait(left_s)

    async def _deliver(self, items: list[Item], in_order: bool) -> None:
        began_at = perf_counter()
        events = [item.event for item in items]
        outcomes = await self._opened.deliver(events, in_order)
        await self._take_up(items, outcomes, began_at, in_order)

    async def _take_up(self, items: list[Item], outcomes: list[Outcome], began_at: float, in_order: bool) -> None:
        """Count, bury and keep for another try, as the sink has said."""
        if outcomes.count(None) == len(items):
            self._pending = []
            self._metrics.delivered(len(items))
            self._trace(items, outcomes, began_at)
            self._settle(items)
            return
        self._open_bytes = sum(len(item.event.data) + EVENT_ROOM for item in items)
        done: list[Item] = []
        ends: list[Outcome] = []
        left: list[Item] = []
        failure: Retry | None = None
        is_answered = False
        asked_s = 0.0
        delivered = 0
        for number, outcome in enumerate(outcomes):
            item = items[number]
            delivered += outcome is None
            if outcome is None or await self._give_up(item, outcome):
                done.append(item)
                ends.append(outcome)
            else:
                left.append(item)
                failure = outcome if isinstance(outcome, Retry) else Retry("the dead letters are not taken", BURY_PAUSE_S)
                is_answered |= failure.answered
                asked_s = max(asked_s, failure.after_s)
        untried = items[len(outcomes) :]
        if failure is not None:
            self._metrics.retried(len(left))
        # Without order one that its sink or library does not take holds up no other.
        left = untried + left if is_answered and not in_order else left + untried
        self._metrics.delivered(delivered)
        self._pending = left
        if done:
            self._trace(done, ends, began_at)
            self._settle(done)
        if failure is not None:
            self._notices.say(
                f"sink {self.name}", "the sink %s takes no events: %s; they wait in the spool", self.name, failure.reason
            )
            await self._pause(self.backoff.failure(asked_s, urandom(1)[0] / 255))

    def _trace(self, done: list[Item], ends: list[Outcome], began_at: float) -> None:
        """A span for each event that is not tried again: a sink that is away makes none with each try."""
        if self.tracer is not None:
            self.tracer.delivered([item.event for item in done], ends, began_at)

    def _settle(self, done: list[Item]) -> None:
        for item in done:
            item.passed.open -= 1
        for feed in self.feeds:
            feed.settle()
        self.backoff.success()

    async def _give_up(self, item: Item, outcome: Refused | Retry) -> bool:
        """Bury what the sink will never take, or has not taken too often, and what is in the way of all that it takes."""
        if isinstance(outcome, Refused):
            return await self._bury(item, outcome.reason, outcome.code)
        item.tries += outcome.answered
        most = self._settings.max_retries
        if isinstance(most, int) and 0 < most < item.tries:
            return await self._bury(item, f"{outcome.reason}, {item.tries} times", outcome.code)
        if item.tries >= N_IN_THE_WAY and item.feed.behind(item) - self._open_bytes > self._way_bytes:
            return await self._set_aside(item, f"{outcome.reason}, {item.tries} times", outcome.code)
        return False

    async def _pause(self, pause_s: float) -> None:
        """Wait; at the end of the pod only for a moment."""
        ends_at = monotonic() + pause_s
        while not self._closing and (left_s := ends_at - monotonic()) > 0:
            self._wake.clear()
            await self._wait(left_s)
        if self._closing:
            await asyncio.sleep(min(pause_s, 0.1))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        """Let go of the sink and of files."""
        for feed in self.feeds:
            feed.close()
        await self._opened.close()
