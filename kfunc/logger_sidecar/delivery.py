"""The queue between requests and the sink: bounded, drained by one task, counted.

Calls are turned into events a few milliseconds later and many at once: in between the code of a whole request
would run, and the processor starts again from cold memory.
"""

import asyncio
import logging
from collections import deque
from os import urandom
from time import monotonic, perf_counter, time
from typing import Protocol

from kfunc.config.logger import Logger
from kfunc.logger_sidecar.events import CallRecord, EventWriter
from kfunc.logger_sidecar.sinks import Sink
from kfunc.telemetry.metrics import Metrics

log = logging.getLogger("kfunc.logger")

COLLECT_S = 0.02
MAX_COLLECTED = 256  # calls: about a millisecond of the loop's time
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
SAY_EVERY_S = 60.0
MAX_BATCH_BYTES = 1024 * 1024  # what a sink refuses for now is held beside the queue


class EndedCall(Protocol):
    """A call that has been answered."""

    def record(self, clock_s: float) -> CallRecord:
        """What is logged of it; `clock_s` is the time since the epoch when `perf_counter` was 0."""


class Delivery:
    """Takes calls without waiting, and delivers their events. Past its bounds the newest are dropped."""

    def __init__(self, settings: Logger, sink: Sink, writer: EventWriter, metrics: Metrics) -> None:
        self._settings = settings
        self._sink = sink
        self._writer = writer
        self._per_call = writer.events_per_call
        self._max_waiting = max(0, settings.max_queue - self._per_call)
        self._calls: list[EndedCall] = []
        self._collecting: asyncio.TimerHandle | None = None
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._unsent: list[bytes] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._said_at = -SAY_EVERY_S
        self._task: asyncio.Task[None] | None = None
        self._accepted = metrics.counter("kfunc_events_accepted_total", "Events taken up for delivery.")
        self._delivered = metrics.counter("kfunc_events_delivered_total", "Events that the sink has taken.")
        self._dropped = metrics.counter("kfunc_events_dropped_total", "Events lost: queue full, or refused by the sink.")
        metrics.gauge("kfunc_events_waiting", "Events that wait for the sink.", self._waiting)

    def _waiting(self) -> int:
        return len(self._calls) * self._per_call + len(self._queue) + len(self._unsent)

    def add(self, call: EndedCall) -> None:
        """Take up a call; never waits, never raises."""
        calls = self._calls
        calls.append(call)
        if self._collecting is None:
            self._collecting = asyncio.get_running_loop().call_later(COLLECT_S, self._collect)
        elif len(calls) >= MAX_COLLECTED:
            self._collect()

    def _collect(self) -> None:
        """Encode the events of the calls so far, of each call all or none."""
        if self._collecting is not None:
            self._collecting.cancel()
            self._collecting = None
        calls, self._calls = self._calls, []
        queue, encode, clock_s = self._queue, self._writer.encode, time() - perf_counter()
        max_bytes, before = self._settings.max_queue_bytes, len(queue)
        for call in calls:
            if len(queue) > self._max_waiting or self._bytes >= max_bytes:
                self._drop(self._per_call)
                continue
            try:
                events = encode(call.record(clock_s))
            except Exception:  # one call that cannot be written must not stop all that follow
                log.exception("the events of a call could not be encoded")
                self._dropped.add(0, self._per_call)
                continue
            for event in events:
                self._bytes += len(event)
                queue.append(event)
        self._accepted.add(0, len(queue) - before)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        else:
            self._wake.set()

    def _drop(self, count: int) -> None:
        self._dropped.add(0, count)
        now = monotonic()
        if now - self._said_at >= SAY_EVERY_S:
            self._said_at = now
            log.warning("the queue of events is full: events are dropped (logger.max_queue); the sink is slow or down")

    async def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            if not self._queue and not self._unsent:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()
            count = await self._deliver_some()
            if count:
                pause_s = FIRST_PAUSE_S
            if self._unsent:
                # Not all of those who wait for the sink come back to it at the same time.
                await self._pause(pause_s * (0.75 + urandom(1)[0] / 512))
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                await asyncio.sleep(0)  # a sink that never waits must not keep requests waiting

    async def _deliver_some(self) -> int:
        """Deliver up to a batch; how many went out."""
        batch, queue = self._unsent, self._queue
        most, filled = 0 if batch else self._sink.batch_size, 0
        while queue and len(batch) < most and filled <= MAX_BATCH_BYTES:
            event = queue.popleft()
            filled += len(event)
            batch.append(event)
        self._bytes -= filled
        refused = self._sink.refused
        try:
            self._unsent = await self._sink.deliver(batch)
        except Exception:  # a sink's library may raise anything; the events are kept
            log.exception("the sink failed")
            self._unsent = batch
        count = len(batch) - len(self._unsent)
        refused = self._sink.refused - refused
        self._delivered.add(0, count - refused)
        self._dropped.add(0, refused)
        return count

    async def _pause(self, pause_s: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(pause_s):
                while not self._closing:
                    await self._wake.wait()
                    self._wake.clear()
                await asyncio.sleep(FIRST_PAUSE_S)
        except TimeoutError:
            pass

    async def flush(self, grace_s: float) -> None:
        """Deliver what waits, for at most `grace_s`; say what remains."""
        self._closing = True
        if self._calls:
            self._collect()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=grace_s)
            self._task.cancel()
        left = self._waiting()
        if left:
            self._dropped.add(0, left)
            log.warning("%d events could not be delivered before the end: the sink did not take them", left)
        self._sink.close()
