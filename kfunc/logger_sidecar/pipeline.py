"""Spool and sinks together: what is started, what happens once in a while, and the end."""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct

from kfunc.config.logger import Logger, SinkSettings
from kfunc.logger_sidecar.contract import SinkContext
from kfunc.logger_sidecar.dead_letters import DeadLetters
from kfunc.logger_sidecar.delivery import SinkDelivery
from kfunc.logger_sidecar.event import event_maker
from kfunc.logger_sidecar.feed import Feed, MakeEvents
from kfunc.logger_sidecar.left_behind import LeftBehind, find_left_behind
from kfunc.logger_sidecar.log import Cursor
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.overflow import Overflow
from kfunc.logger_sidecar.set_aside import SHARE, SetAside
from kfunc.logger_sidecar.sink_binding import overrides
from kfunc.logger_sidecar.sink_metrics import LoggerMetrics, SinkMetrics
from kfunc.logger_sidecar.sinks import open_sink, progress_names, sink_names, without_secrets
from kfunc.logger_sidecar.spool import HALF, Spool
from kfunc.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from kfunc.telemetry.request_trace import SpanSink

log = logging.getLogger("kfunc.logger")

LOOK_FOR_LEFT_BEHIND_S = 60.0
LOOK_S = 0.05
CLOSE_S = 1.0
SHARE_BEFORE_OVERFLOW = 0.5  # of the grace
AGAIN_S = 1.0
IN_THE_WAY = 0.25  # of the spool's bound: so much is delivered behind an event that is set aside then


class Route(Struct):
    """One sink with its delivery; `key` is the name that its progress is kept by."""

    key: str
    delivery: SinkDelivery
    dead: DeadLetters
    make: MakeEvents


class Pipeline:
    """Delivers what is in the spool to all sinks. Raises StartupError for a sink that can never work."""

    def __init__(
        self,
        settings: Logger,
        sinks: list[SinkSettings],
        context: SinkContext,
        spool: Spool,
        *,
        metrics: Metrics,
        figures: LoggerMetrics,
        notices: Notices,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._notices = notices
        self._figures = figures
        names = sink_names(sinks)
        self._names = dict(zip(progress_names(sinks), names, strict=True))  # by what the sinks' progress is kept
        self._counted = 0
        self._tasks: dict[asyncio.Task[None], Route] = {}
        self._others: set[asyncio.Task[None]] = set()
        self._watching: set[asyncio.Task[None]] = set()
        self._left_behind: list[LeftBehind] = []
        self._kinds = [sink.to.partition(":")[0] for sink in sinks]
        spool.subscribe(list(self._names))
        self._routes = [self._route(key, sink, context, metrics) for key, sink in zip(self._names, sinks, strict=True)]
        self._overflow: Overflow | None = None
        if settings.overflow is not UNSET:
            make = event_maker(settings.compat, overrides(context.environ))
            target = SinkSettings(to=settings.overflow, content_mode="structured", connections=1)
            self._overflow = Overflow(open_sink(target, context), spool, make, metrics=figures, notices=notices)
        figures.show(lambda: spool.used_bytes, spool.max_bytes)
        for key, name in self._names.items():
            figures.show_waiting(name, lambda cursor: spool.calls - cursor.calls, spool.cursor(key))

    def _route(self, key: str, sink: SinkSettings, context: SinkContext, metrics: Metrics) -> Route:
        name = self._names[key]
        figures = SinkMetrics(metrics, name)
        spool, make = self._spool, event_maker(str(sink.compat), overrides(context.environ))
        place = None
        if sink.dead_letter is not UNSET:
            place = open_sink(SinkSettings(to=sink.dead_letter, content_mode="structured", connections=1), context)
        aside = None
        if spool.lane is not None:
            path = os.path.join(os.path.dirname(spool.lane.path), f"{name}.jsonl")
            aside = SetAside(path, int(spool.max_bytes * SHARE / len(self._names)), context)
        dead = DeadLetters(name, without_secrets(sink.to), place, aside, figures, self._notices)
        delivery = SinkDelivery(
            *(name, sink, open_sink(sink, context), [Feed(spool, spool.cursor(key), make, self._notices)]),
            relax=lambda: spool.used > HALF,
            metrics=figures,
            bury=dead.bury,
            set_aside=dead.set_aside,
            way_bytes=spool.max_bytes * IN_THE_WAY,
            notices=self._notices,
        )
        return Route(key, delivery, dead, make)

    def trace(self, spans: "SpanSink") -> None:
        """From now on deliveries have spans."""
        from kfunc.logger_sidecar.tracing import DeliveryTracer

        for route, kind in zip(self._routes, self._kinds, strict=True):
            route.delivery.tracer = DeliveryTracer(spans, route.delivery.name, kind)

    def start(self) -> None:
        """Begin to deliver; within the loop."""
        loop = asyncio.get_running_loop()
        for route in self._routes:
            self._spool.wake.append(route.delivery.wake)
            self._tasks[loop.create_task(_kept_running(route.delivery.run))] = route
        self._spool.wake.append(self._count)
        self._spool.start()
        self._others.add(loop.create_task(_kept_running(self._look_for_left_behind)))
        if self._overflow is not None:
            self._spool.wake.append(self._overflow.wake)
            self._watching.add(loop.create_task(_kept_running(self._overflow.watch)))

    def _count(self) -> None:
        calls = self._spool.intake.appended
        self._figures.accepted(calls - self._counted)
        self._counted = calls

    async def _look_for_left_behind(self) -> None:
        """Take over what other processes left in the spool."""
        lane = self._spool.lane
        while lane is not None:
            root, submit = os.path.dirname(lane.path), self._spool.submit
            found = await asyncio.to_thread(find_left_behind, root, lane, list(self._names), self._notices, submit)
            self._left_behind = [*(each for each in self._left_behind if not each.done), *found]
            for log_left in found:
                log.warning("what another process left in %s is delivered now (calls: %d)", log_left.path, log_left.calls)
                for route in self._routes:
                    cursor = log_left.cursor(route.key)
                    route.delivery.feeds.insert(0, Feed(log_left, cursor, route.make, self._notices))
                    route.delivery.wake()
            await asyncio.sleep(LOOK_FOR_LEFT_BEHIND_S)

    # ---- the end

    def hurry(self) -> None:
        """The pod is about to end, when requests in flight are answered: what need not wait for that is saved now."""
        if self._overflow is not None and not self._stays():
            self._overflow.hurry(self._failing)

    def _failing(self) -> list[Cursor]:
        """The sinks that do not take what they lack."""
        keys = {route.key for route in self._routes if route.delivery.backoff.failures > 1}
        return [cursor for cursor in self._spool.lagging() if cursor.name in keys]

    async def flush(self, grace_s: float) -> None:
        """Deliver what waits, for at most `grace_s`; what remains stays in the spool, and is said."""
        ends_at = monotonic() + max(0.0, grace_s - CLOSE_S)
        for task in self._others:
            task.cancel()
        for route in self._routes:
            route.delivery.finish()
        if self._overflow is None or self._stays():
            await self._wait(ends_at, until_failing=False)
        else:
            await self._wait(monotonic() + (ends_at - monotonic()) * SHARE_BEFORE_OVERFLOW, until_failing=True)
            if self._spool.lagging():
                await self._overflow.ship_rest(ends_at - monotonic())
        tasks = [*self._tasks, *self._watching]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._count()
        await self._close(CLOSE_S)

    def _stays(self) -> bool:
        """Whether the spool outlives the pod."""
        return isinstance(self._settings.spool, str) and self._settings.spool.startswith("pvc://")

    async def _wait(self, ends_at: float, *, until_failing: bool) -> None:
        """Until all is delivered, or the time is over, or the sinks that are left do not take anything."""
        while monotonic() < ends_at:
            left = [route for task, route in self._tasks.items() if not task.done()]
            if not left or (until_failing and all(route.delivery.backoff.failures > 1 for route in left)):
                return
            await asyncio.wait(self._tasks, timeout=min(LOOK_S, max(0.0, ends_at - monotonic())))
            # One that is done must not end the wait for the others at once.
            if any(task.done() for task in self._tasks):
                await asyncio.sleep(0.001)

    async def _close(self, timeout_s: float) -> None:
        waiting = {self._names[cursor.name]: self._spool.calls - cursor.calls for cursor in self._spool.lagging()}
        safe = await self._spool.close(timeout_s)
        where = self._spool.lane.path if self._spool.lane is not None and safe else ""
        for name, calls in waiting.items():
            events = calls * self._figures.per_call
            if where:
                log.warning("%d events for the sink %s remain in %s, for the next logger there", events, name, where)
            else:
                log.warning("%d events for the sink %s could not be delivered before the end, and are lost", events, name)
                self._figures.dropped("lost", calls)
        self._notices.end()
        for left in self._left_behind:
            left.release()
        for route in self._routes:
            await route.delivery.close()
            await route.dead.close()
        if self._overflow is not None:
            await self._overflow.close()


async def _kept_running(work: Callable[[], Awaitable[None]]) -> None:
    """Run something to its end; where it fails that is said, and it begins again."""
    while True:
        try:
            return await work()
        except Exception:
            log.exception("a part of the delivery failed; it begins again")
            await asyncio.sleep(AGAIN_S)
