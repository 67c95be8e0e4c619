"""The queue between requests and the sink: bounded, drained by one task, counted."""

import asyncio
import logging
from collections import deque
from time import monotonic

from kfunc.config.inference import Logger
from kfunc.logger_sidecar.events import CallRecord, EventWriter
from kfunc.logger_sidecar.sinks import Sink
from kfunc.telemetry.metrics import Metrics

log = logging.getLogger("kfunc.logger")

COLLECT_S = 0.02
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
SAY_EVERY_S = 60.0
MAX_BATCH_BYTES = 1024 * 1024  # of bodies: the loop is not held up by more, nor memory by what a sink refuses


class Delivery:
    """Takes records without waiting, and delivers their events. Past its bounds the newest are dropped."""

    def __init__(self, settings: Logger, sink: Sink, writer: EventWriter, metrics: Metrics) -> None:
        self._settings = settings
        self._sink = sink
        self._writer = writer
        self._queue: deque[CallRecord] = deque()
        self._bytes = 0
        self._unsent: list[bytes] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._said_at = -SAY_EVERY_S
        self._task: asyncio.Task[None] | None = None
        self._accepted = metrics.counter("kfunc_events_accepted_total", "Events taken up for delivery.")
        self._delivered = metrics.counter("kfunc_events_delivered_total", "Events that the sink has taken.")
        self._dropped = metrics.counter("kfunc_events_dropped_total", "Events lost: queue full, or refused by the sink.")
        metrics.gauge("kfunc_events_waiting", "Events that wait for the sink.", lambda: len(self._queue) + len(self._unsent))

    def add(self, record: CallRecord) -> None:
        """Take up a record; never waits, never raises."""
        size = len(record.body)
        if len(self._queue) >= self._settings.max_queue or self._bytes + size > self._settings.max_queue_bytes:
            self._drop(1)
            return
        self._accepted.add()
        self._bytes += size
        self._queue.append(record)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif len(self._queue) == 1:
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
            if len(self._queue) < self._sink.batch_size and not self._unsent and not self._closing:
                await asyncio.sleep(COLLECT_S)  # what arrives together is written together
            count = await self._deliver_some()
            if count:
                pause_s = FIRST_PAUSE_S
                await asyncio.sleep(0)  # a sink that never waits must not keep requests waiting
            else:
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def _deliver_some(self) -> int:
        """Deliver up to a batch; how many went out."""
        batch, queue, encode = self._unsent, self._queue, self._writer.encode
        filled = 0
        for _ in range(0 if batch else min(len(queue), self._sink.batch_size)):
            record = queue.popleft()
            self._bytes -= len(record.body)
            try:
                batch.append(encode(record))
            except Exception:  # one event that cannot be written must not stop all that follow
                log.exception("an event could not be encoded")
                self._dropped.add()
            filled += len(record.body)
            if filled > MAX_BATCH_BYTES:
                break
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
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=grace_s)
            self._task.cancel()
        left = len(self._queue) + len(self._unsent)
        if left:
            self._dropped.add(0, left)
            log.warning("%d events could not be delivered before the end: the sink did not take them", left)
        self._sink.close()
