"""A sink as those use it who deliver: open when it is needed, closed after whatever it raised, and asked for less then."""

import logging

from kfunc.logger_sidecar.contract import Outcome, Retry, Sink
from kfunc.logger_sidecar.event import Event

log = logging.getLogger("kfunc.logger")


class OpenedSink:
    """Never raises. After an error that is no lost connection events go one by one, then twice as many each time: so the
    one that the sink's library cannot send holds up no other, and its tries count (`max_retries`).
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._open = False
        self._most = sink.max_events

    async def deliver(self, events: list[Event], in_order: bool) -> list[Outcome]:
        """The outcomes of the first events; those behind them were not tried."""
        tried = events[: self._most]
        try:
            if not self._open:
                await self.sink.open()
                self._open = True
        except Exception as error:
            return await self._failed(error, len(tried))
        try:
            outcomes = await self.sink.deliver(tried, in_order)
        except Exception as error:  # a sink's library may raise anything; the events are kept
            alone = len(tried) == 1 and not isinstance(error, OSError)
            if not isinstance(error, OSError):
                self._most = 1
            return await self._failed(error, len(tried), answered=alone)
        self._most = min(2 * self._most, self.sink.max_events)
        return outcomes

    async def _failed(self, error: Exception, count: int, *, answered: bool = False) -> list[Outcome]:
        await self.close()
        return [Retry(f"{type(error).__name__}: {error}", answered=answered)] * count

    async def close(self) -> None:
        """Let go; it is opened again when it is needed."""
        self._open = False
        try:
            await self.sink.close()
        except Exception:  # it is broken already
            log.debug("a sink could not be closed", exc_info=True)
