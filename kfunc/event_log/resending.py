"""Sends events to a sink again, through the logger's own sinks: with their ids, so that they are known as the same."""

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from msgspec import Struct

from kfunc.config.logger import Logger, SinkSettings, sinks_of
from kfunc.config.sink_addresses import SinkFault, parse_sink
from kfunc.errors import KfuncError, StartupError
from kfunc.event_log.stored import RESPONSE, Stored
from kfunc.logger_sidecar.contract import Outcome, Refused, Retry, Sink, SinkContext
from kfunc.logger_sidecar.event import Attributes, Event
from kfunc.logger_sidecar.sinks import open_sink

log = logging.getLogger("kfunc.events")

PAUSE_S = 0.5
PATIENCE_S = 30.0
"""A sink that takes nothing for so long ends the command."""
MOST_REASONS = 5


class Counts(Struct):
    """What became of the events."""

    delivered: int = 0
    refused: int = 0
    reasons: list[str] = []


class Resent(Event):
    """A stored event as sinks take it."""

    __slots__ = ("_stored",)

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self.is_response = stored.kind == RESPONSE

    @property
    def id(self) -> str:
        return self._stored.id

    @property
    def data(self) -> bytes:
        return self._stored.data

    @property
    def key(self) -> bytes:
        return self._stored.correlation.encode()

    def structured(self) -> bytes:
        return self._stored.text

    def attributes(self) -> Attributes:
        return dict(self._stored.attributes)


async def resend(events: Iterator[Stored], target: str, rate: float, environ: Mapping[str, str]) -> Counts:
    """Deliver all. Raises StartupError for a wrong address, KfuncError where the sink takes nothing for long."""
    try:
        parse_sink(target)
    except SinkFault as fault:
        raise StartupError(f"--to: {fault}") from None
    (settings,) = sinks_of(Logger(sinks=[SinkSettings(to=target, order="strict")]))
    first = next(events, None)
    namespace, function = _writer(first.source) if first is not None else ("default", "replay")
    events = chain([first] if first is not None else [], events)
    sink = open_sink(settings, SinkContext(function=function, namespace=namespace, environ=environ))
    counts = Counts()
    most = min(sink.max_events, max(1, int(rate))) if rate else sink.max_events
    began, taken = time.monotonic(), 0
    try:
        while batch := [Resent(each) for each in islice(events, most)]:
            await _deliver(sink, batch, counts)
            taken += len(batch)
            if rate and (left_s := began + taken / rate - time.monotonic()) > 0:
                await asyncio.sleep(left_s)
    finally:
        await sink.close()
    return counts


def _writer(source: str) -> tuple[str, str]:
    """Namespace and function of `/namespaces/NS/functions/NAME`: by them sinks choose partitions and folders."""
    parts = source.split("/")
    known = len(parts) == 5 and parts[1::2] == ["namespaces", "functions"] and not {parts[2], parts[4]} & {"", ".", ".."}
    return (parts[2], parts[4]) if known else ("default", "replay")


async def _deliver(sink: Sink, events: "list[Resent]", counts: Counts) -> None:
    patience_ends = time.monotonic() + PATIENCE_S
    while events:
        outcomes: list[Outcome]
        try:
            outcomes = await sink.deliver(list(events), True)
        except Exception as error:  # a sink's library may raise anything
            outcomes = [Retry(f"{type(error).__name__}: {error}", answered=False)]
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
            patience_ends = time.monotonic() + PATIENCE_S
        events = left + events[len(outcomes) :]
        if failure is not None:
            pause_s = failure.after_s or PAUSE_S
            if time.monotonic() + pause_s > patience_ends:
                raise KfuncError(f"the sink takes no events: {failure.reason}; {counts.delivered} were delivered before")
            await asyncio.sleep(pause_s)
