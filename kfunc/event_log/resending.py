"""Sends events to a sink again, through the logger's own sinks: with their ids, so that they are known as the same."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby, islice

from msgspec import Struct

from kfunc.config.logger import Logger, SinkSettings, sinks_of
from kfunc.config.sink_addresses import SinkFault, parse_sink
from kfunc.errors import KfuncError, StartupError
from kfunc.event_log.stored import RESPONSE, Stored
from kfunc.logger_sidecar.contract import Outcome, Refused, Retry, SinkContext
from kfunc.logger_sidecar.event import Attributes
from kfunc.logger_sidecar.opened import OpenedSink
from kfunc.logger_sidecar.sinks import open_sink, without_secrets

log = logging.getLogger("kfunc.events")

PAUSE_S = 0.5
SILENT_S = 2.0
MOST_REASONS = 5
MOST_SINKS = 16  # at a time: connections and their tasks


Say = Callable[[str], None]
"""Told once of a sink that takes nothing now, and of one that is slow."""


class Counts(Struct):
    """What became of the events."""

    delivered: int = 0
    refused: int = 0
    reasons: list[str] = []


class Resent:
    """A stored event as sinks take it."""

    def __init__(self, stored: Stored) -> None:
        self.id, self.data, self.key = stored.id, stored.data, stored.correlation.encode()
        self.is_response = stored.kind == RESPONSE
        self._stored = stored

    def structured(self) -> bytes:
        """The event as it was written."""
        return self._stored.text

    def attributes(self) -> Attributes:
        """All its attributes."""
        return dict(self._stored.attributes)


class Sinks:
    """The sinks at one address: one for each function, since partitions and folders are chosen by it."""

    def __init__(self, settings: SinkSettings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self._environ = environ
        self._sinks: dict[tuple[str, str], OpenedSink] = {}

    async def of(self, source: str) -> OpenedSink:
        """The sink for the events of a source."""
        writer = _writer(source)
        sink = self._sinks.pop(writer, None)
        if sink is None:
            context = SinkContext(function=writer[1], namespace=writer[0], environ=self._environ)
            sink = OpenedSink(open_sink(self._settings, context))
        while len(self._sinks) >= MOST_SINKS:
            await self._sinks.pop(next(iter(self._sinks))).close()
        self._sinks[writer] = sink
        return sink

    async def close(self) -> None:
        """Close them all."""
        for sink in self._sinks.values():
            await sink.close()


async def resend(
    events: Iterator[Stored], target: str, rate: float, environ: Mapping[str, str], *, patience_s: float, say: Say
) -> Counts:
    """Deliver all. Raises StartupError for a wrong address, KfuncError where the sink takes nothing for `patience_s`."""
    try:
        parse_sink(target)
    except SinkFault as fault:
        raise StartupError(f"--to: {fault}") from None
    (settings,) = sinks_of(Logger(sinks=[SinkSettings(to=target, order="strict")]))
    sinks, counts, patience = Sinks(settings, environ), Counts(), Patience(without_secrets(target), patience_s, say)
    began, taken = time.monotonic(), 0
    try:
        await sinks.of("")  # an address that can never work is said before anything is read
        for source, same in groupby(events, lambda event: event.source):
            sink = await sinks.of(source)
            most = min(sink.sink.max_events, max(1, int(rate))) if rate else sink.sink.max_events
            while batch := [Resent(each) for each in islice(same, most)]:
                await _deliver(sink, batch, counts, patience)
                taken += len(batch)
                if rate and (left_s := began + taken / rate - time.monotonic()) > 0:
                    await asyncio.sleep(left_s)
    finally:
        await sinks.close()
    return counts


def _writer(source: str) -> tuple[str, str]:
    """Namespace and function of `/namespaces/NS/functions/NAME`: by them sinks choose partitions and folders."""
    parts = source.split("/")
    known = len(parts) == 5 and parts[1::2] == ["namespaces", "functions"] and not {parts[2], parts[4]} & {"", ".", ".."}
    return (parts[2], parts[4]) if known else ("default", "replay")


class Patience:
    """How long a sink may take nothing, and what is said of it meanwhile."""

    def __init__(self, name: str, seconds: float, say: Say) -> None:
        self._name = name
        self._seconds = seconds
        self._say = say
        self._is_failing = self._was_slow = False
        self._ends_at = 0.0

    def renew(self) -> None:
        """It takes events."""
        self._is_failing = False
        self._ends_at = time.monotonic() + self._seconds

    async def pause(self, failure: Retry, delivered: int) -> None:
        """Wait for another try. Raises KfuncError where it would be too late."""
        pause_s = failure.after_s or PAUSE_S
        if time.monotonic() + pause_s > self._ends_at:
            raise KfuncError(f"the sink takes no events: {failure.reason}; {delivered} were delivered before")
        if not self._is_failing:
            self._say(f"{self._name} takes no events: {failure.reason}; trying on for {self._seconds:g} s (--timeout)")
        self._is_failing = True
        await asyncio.sleep(pause_s)

    async def wait(self, task: "asyncio.Task[list[Outcome]]") -> list[Outcome]:
        """The outcomes of a delivery, however long it takes: sinks have bounds of their own."""
        if not (await asyncio.wait({task}, timeout=SILENT_S))[0] and not self._was_slow:
            self._was_slow = True
            self._say(f"{self._name} has not answered for {SILENT_S:g} s; waiting")
        return await task


async def _deliver(sink: OpenedSink, events: list[Resent], counts: Counts, patience: Patience) -> None:
    patience.renew()
    while events:
        outcomes = await patience.wait(asyncio.create_task(sink.deliver(events, True)))
        left: list[Resent] = []
        failure = None
        for event, outcome in zip(events, outcomes, strict=False):
            if isinstance(outcome, Retry):
                failure = outcome
                left.append(event)
            elif isinstance(outcome, Refused):
                counts.refused += 1
                if len(counts.reasons) < MOST_REASONS:
                    counts.reasons.append(f"{event.id}: {outcome.reason}")
            else:
                counts.delivered += 1
        if len(left) < len(outcomes):
            patience.renew()
        events = left + events[len(outcomes) :]
        if failure is not None:
            await patience.pause(failure, counts.delivered)
