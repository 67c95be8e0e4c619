"""Spans that wait for their collector, and the task that sends them: in the background, bounded, and never in the way."""

import asyncio
import logging
from collections import deque
from itertools import islice
from os import urandom
from time import perf_counter, time_ns
from typing import Protocol

from kfunc.telemetry.metrics import Counter, Metrics
from kfunc.telemetry.otel_settings import OtelSettings
from kfunc.telemetry.otlp import Span, encode_span, trace_request
from kfunc.telemetry.otlp_http import Outcome

log = logging.getLogger("kfunc.telemetry")

SLICE = 64  # spans that are encoded in one turn of the loop: about 0.2 ms
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
MOST_TRIES = 8
QUIET_S = 60.0


class Transport(Protocol):
    """How a request reaches its collector."""

    def start(self) -> None:
        """Begin; within the loop."""

    async def send(self, body: bytes) -> Outcome:
        """Send; never raises for what the collector does."""

    def close(self) -> None:
        """Let go of connections."""


class SpanExport:
    """`add` takes a span, and drops and counts it where too many wait."""

    def __init__(self, settings: OtelSettings, transport: Transport, resource: bytes, metrics: Metrics) -> None:
        self._transport = transport
        self._resource = resource
        self._most, self._batch, self._delay_s = settings.max_queue, settings.max_batch, settings.delay_s
        self._waiting: deque[Span] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._said_at = -QUIET_S
        self._sent = metrics.counter("kfunc_spans_exported_total", "Spans that the collector has taken.")
        text = "Spans lost: too many waited, the collector refused them, failed too often, or was away at the end."
        self._dropped: dict[str, Counter] = {
            reason: metrics.counter("kfunc_spans_dropped_total", text, {"reason": reason})
            for reason in ("full", "refused", "failed", "lost")
        }

    def add(self, span: Span) -> None:
        """Take a span that has ended."""
        waiting = self._waiting
        if len(waiting) >= self._most:
            self._dropped["full"].add()
            return
        waiting.append(span)
        if len(waiting) == self._batch:
            self._wake.set()

    def start(self) -> None:
        """Begin to send; within the loop."""
        self._transport.start()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self, grace_s: float) -> None:
        """Send what waits, for at most `grace_s`, and count the rest as lost."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=grace_s)
            self._task.cancel()
        self._drop("lost", len(self._waiting))
        self._waiting.clear()
        self._transport.close()

    async def _run(self) -> None:
        while True:
            while self._waiting:
                if not await self._send_one():
                    return
                if len(self._waiting) < self._batch and not self._closing:
                    break
            if self._closing:
                return
            await self._pause(self._delay_s)

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than a batch needs to fill, or the end to come."""
        self._wake.clear()
        if len(self._waiting) < self._batch and not self._closing:
            try:
                async with asyncio.timeout(seconds):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _send_one(self) -> bool:
        """Send a batch until it is taken, refused or given up; False where the collector is away at the end."""
        count = min(len(self._waiting), self._batch)
        body = await self._encode(count)
        pause_s, outcome = FIRST_PAUSE_S, Outcome(False)
        for _ in range(MOST_TRIES):
            outcome = await self._transport.send(body)
            if not outcome.again or self._closing:
                break
            self._say(f"{outcome.reason}; it is tried again")
            await self._rest(max(outcome.after_s, pause_s * (0.5 + urandom(1)[0] / 512)))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        if outcome.again and self._closing:
            return False  # they are counted with all that is lost
        for _ in range(count):
            self._waiting.popleft()
        if outcome.taken:
            self._sent.add(0, count - outcome.rejected)
            self._drop("refused", outcome.rejected)
        else:
            self._drop("failed" if outcome.again else "refused", count)
            self._say(f"{outcome.reason}; {count} spans are lost")
        return True

    async def _rest(self, seconds: float) -> None:
        """Wait for the next try; the end of the process is not kept waiting."""
        ends_at = perf_counter() + seconds
        while not self._closing and (left_s := ends_at - perf_counter()) > 0:
            self._wake.clear()
            try:
                async with asyncio.timeout(left_s):
                    await self._wake.wait()
            except TimeoutError:
                return

    async def _encode(self, count: int) -> bytes:
        """The first spans as a request; requests of the function have their turns in between."""
        epoch_ns = time_ns() - int(perf_counter() * 1e9)
        encoded: list[bytes] = []
        for start in range(0, count, SLICE):
            encoded += [encode_span(span, epoch_ns) for span in islice(self._waiting, start, min(start + SLICE, count))]
            await asyncio.sleep(0)
        return trace_request(self._resource, encoded)

    def _drop(self, reason: str, count: int) -> None:
        if count:
            self._dropped[reason].add(0, count)

    def _say(self, what: str) -> None:
        """Now and then: a collector that is away is no news every second."""
        if perf_counter() - self._said_at > QUIET_S:
            self._said_at = perf_counter()
            log.warning("the collector takes no spans: %s", what)
