"""A sink as those use it who deliver: open when it is needed, closed after whatever it raised, and asked for less then."""

import logging
from collections.abc import Sequence

from msgspec import Struct

from kfunc.logger_sidecar.contract import Event, Outcome, Refused, Retry, Sink

log = logging.getLogger("kfunc.logger")

N_ALONE = 5  # tries of an event that raises by itself
MOST_RAISED = 10_000  # that are known; one that goes another way is not told of


class _NotOpened(OSError):
    """The sink cannot be opened, for whatever reason: no event is at fault."""


class _Raised(Struct):
    """Of an event that raises by itself: its tries as the first, and how many events the sink had taken at the first.

    `unsure`: tries of others that were neither taken nor raised.
    """

    taken: int
    tries: int = 0
    unsure: int = 0


class OpenedSink:
    """Never raises. A connection that was lost between two calls is opened again at once.

    After an error that is no OSError events go one by one, then twice as many each time: so the one that the sink's
    library cannot send is found. Where it still raises when the sink has taken another one, it is at fault: its tries
    count (`max_retries`), and after a few of them it is refused. Else the sink is, and all wait; `lacks_witness` says that
    all that there are have been tried, so that more are needed to tell. Without `is_patient` no others come while these
    wait: the first is taken for at fault when all of them have raised.
    """

    def __init__(self, sink: Sink, *, is_patient: bool = False) -> None:
        self.sink = sink
        self.lacks_witness = False
        self._is_patient = is_patient
        self._open = False
        self._most = sink.max_events
        self._taken = 0  # events
        self._raised: dict[tuple[str, bool], _Raised] = {}  # by events that raised by themselves

    async def deliver(self, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """The outcomes of the first events; those behind them were not tried.

        Also in order one behind is tried where the first raises again and again: what stands between them is to be tried
        again, too.
        """
        tried, was_open = events[: self._most], self._open
        self.lacks_witness = False
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
            self._most = 1
            if len(tried) > 1:
                return await self._failed(error, len(tried))
            return await self._failed_alone(error, events, in_order)
        self._most = min(2 * self._most, self.sink.max_events)
        self._taken += outcomes.count(None)
        if self._raised:
            for event in tried[: len(outcomes)]:
                self._raised.pop(_name(event), None)
        return outcomes

    async def _deliver(self, tried: Sequence[Event], in_order: bool) -> list[Outcome]:
        if not self._open:
            try:
                await self.sink.open()
            except Exception as error:
                raise _NotOpened(_words(error)) from error
            self._open = True
        return await self.sink.deliver(tried, in_order)

    async def _failed_alone(self, error: Exception, events: Sequence[Event], in_order: bool) -> list[Outcome]:
        """It is the event, or the sink: that is seen by whether it still raises when the sink has taken another one."""
        await self.close()
        known = self._known(events[0])
        if not known.tries:
            known.taken = self._taken
        known.tries += 1
        others = range(1, len(events))
        unknown = [number for number in others if _name(events[number]) not in self._raised]
        if self._taken > known.taken or not (unknown or self._is_patient):
            if known.tries < N_ALONE:
                return [Retry(_words(error))]
            del self._raised[_name(events[0])]
            return [Refused(f"it cannot be sent: {_words(error)}")]
        outcomes: list[Outcome] = [Retry(_words(error), answered=False)]
        if others and (known.tries >= N_ALONE or not in_order):
            number = unknown[known.unsure % len(unknown)] if unknown else others[known.tries % len(others)]
            if await self._takes(events[number], in_order):
                return [*outcomes * number, None]
            known.unsure += _name(events[number]) not in self._raised
        self.lacks_witness = not unknown or known.unsure >= len(unknown)
        return outcomes

    async def _takes(self, event: Event, in_order: bool) -> bool:
        try:
            is_taken = await self._deliver([event], in_order) == [None]
        except Exception as error:
            await self.close()
            if not isinstance(error, OSError):
                self._known(event)
            return False
        if is_taken:
            self._taken += 1
            self._raised.pop(_name(event), None)
        return is_taken

    def _known(self, event: Event) -> _Raised:
        """What is known of one that has just raised by itself."""
        known = self._raised.get(_name(event))
        if known is None:
            while len(self._raised) >= MOST_RAISED:
                del self._raised[next(iter(self._raised))]
            known = self._raised[_name(event)] = _Raised(self._taken)
        return known

    async def _failed(self, error: Exception, count: int) -> list[Outcome]:
        await self.close()
        return [Retry(_words(error), answered=False)] * count

    async def close(self) -> None:
        """Let go; it is opened again when it is needed."""
        self._open = False
        try:
            await self.sink.close()
        except Exception:  # it is broken already
            log.debug("a sink could not be closed", exc_info=True)


def _name(event: Event) -> tuple[str, bool]:
    return event.id, event.is_response


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, _NotOpened) else f"{type(error).__name__}: {error}"
