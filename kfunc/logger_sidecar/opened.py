"""A sink as those use it who deliver: open when it is needed, closed after whatever it raised, and asked for less then."""

import logging
from collections.abc import Sequence

from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, Sink

log = logging.getLogger("kfunc.logger")

N_ALONE = 5  # tries of an event that raises by itself


class _NotOpened(OSError):
    """The sink cannot be opened, for whatever reason: no event is at fault."""


class OpenedSink:
    """Never raises. A connection that was lost between two calls is opened again at once.

    After an error that is no OSError events go one by one, then twice as many each time: so the one that the sink's
    library cannot send is found. Its tries count (`max_retries`), and after a few of them it is refused.
    """

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self._open = False
        self._most = sink.max_events
        self._tries: dict[tuple[str, bool], int] = {}  # of events that raised by themselves

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """The outcomes of the first events; those behind them were not tried."""
        tried, was_open = events[: self._most], self._open
        try:
            try:
                outcomes = await self._deliver(tried, in_order)
            except ConnectionError:
                if not was_open:
                    raise
                await self.close()
                outcomes = await self._deliver(tried, in_order)
        except OSError as error:
            return await self._failed(error, len(tried))
        except Exception as error:  # a sink's library may raise anything
            return await self._raised(error, tried)
        self._most = min(2 * self._most, self.sink.max_events)
        if self._tries:
            for event in tried[: len(outcomes)]:
                self._tries.pop((event.id, event.is_response), None)
        return outcomes

    async def _deliver(self, tried: Sequence[Event], in_order: bool) -> list[Outcome]:
        if not self._open:
            try:
                await self.sink.open()
            except Exception as error:
                raise _NotOpened(_words(error)) from error
            self._open = True
        return await self.sink.deliver(tried, in_order)

    async def _raised(self, error: Exception, tried: Sequence[Event]) -> list[Outcome]:
        """One of the events cannot be sent: which one is seen when each goes alone."""
        self._most = 1
        if len(tried) > 1:
            return await self._failed(error, len(tried))
        known = (tried[0].id, tried[0].is_response)
        tries = self._tries.pop(known, 0) + 1
        if tries >= N_ALONE:
            await self.close()
            return [Refused(f"it cannot be sent: {_words(error)}")]
        self._tries[known] = tries
        return await self._failed(error, 1, answered=True)

    async def _failed(self, error: Exception, count: int, *, answered: bool = False) -> list[Outcome]:
        await self.close()
        return [Retry(_words(error), answered=answered)] * count

    async def close(self) -> None:
        """Let go; it is opened again when it is needed."""
        self._open = False
        try:
            await self.sink.close()
        except Exception:  # it is broken already
            log.debug("a sink could not be closed", exc_info=True)


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, _NotOpened) else f"{type(error).__name__}: {error}"
