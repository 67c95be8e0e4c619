"""What a sink will never take: put into another sink with the reason, as Knative's brokers do."""

import msgspec

from kfunc.logger_sidecar.contract import Event, Retry, Sink
from kfunc.logger_sidecar.event import Attributes
from kfunc.logger_sidecar.feed import Item
from kfunc.logger_sidecar.notices import Notices
from kfunc.logger_sidecar.opened import OpenedSink
from kfunc.logger_sidecar.set_aside import SetAside
from kfunc.logger_sidecar.sink_metrics import SinkMetrics


class DeadLetter:
    """An event with the attributes that say where it could not go, and why (Knative, knativeerror…)."""

    def __init__(self, event: Event, destination: str, code: int, reason: str) -> None:
        self.id, self.key, self.data, self.is_response = event.id, event.key, event.data, event.is_response
        self._event = event
        self._more: Attributes = {"knativeerrordest": destination, "knativeerrorcode": code, "knativeerrordata": reason}

    def structured(self) -> bytes:
        """The event as JSON."""
        return b"{%b,%b" % (msgspec.json.encode(self._more)[1:-1], self._event.structured()[1:])

    def attributes(self) -> Attributes:
        """All attributes."""
        return {**self._event.attributes(), **self._more}


class DeadLetters:
    """The dead letters of one sink; without a place for them they are counted, said and dropped."""

    def __init__(
        self,
        name: str,
        destination: str,
        place: Sink | None,
        aside: SetAside | None,
        metrics: SinkMetrics,
        notices: Notices,
    ) -> None:
        self._name = name
        self._destination = destination
        self._place = OpenedSink(place) if place is not None else None
        self._aside = OpenedSink(aside) if aside is not None else None
        self._aside_path = aside.path if aside is not None else ""
        self._metrics = metrics
        self._notices = notices

    async def bury(self, item: Item, reason: str, code: int) -> bool:
        """Put an event away; false if its place does not take it now. One that is refused there, too, is lost."""
        if self._place is None:
            self._metrics.refused()
            self._notices.say(
                f"refused {self._name}",
                "the sink %s refuses events: %s; they are dropped: set logger.dead_letter to keep them",
                *(self._name, reason),
            )
            return True
        (outcome,) = await self._place.deliver([DeadLetter(item.event, self._destination, code, reason)], True)
        if isinstance(outcome, Retry):
            self._notices.say(f"dead {self._name}", "the dead letters of %s are not taken: %s", self._name, outcome.reason)
            return False
        if outcome is None:
            self._metrics.dead()
            message, why = "the sink %s refuses events: %s; they are dead letters", reason
        else:
            self._metrics.refused()
            message, why = "the place for the dead letters of %s refuses them, too: %s; they are lost", outcome.reason
        self._notices.say(f"refused {self._name}", message, self._name, why)
        return True

    async def set_aside(self, item: Item, reason: str, code: int) -> bool:
        """Put an event away that is in the way of others: with the dead letters, or else in the spool's file; as `bury`."""
        if self._place is not None or self._aside is None:
            return await self.bury(item, reason, code)
        (outcome,) = await self._aside.deliver([DeadLetter(item.event, self._destination, code, reason)], True)
        if outcome is not None:
            message = "an event that the sink %s does not take holds up others, and cannot be set aside: %s"
            self._notices.say(f"aside {self._name}", message, self._name, outcome.reason)
            return False
        self._metrics.dead()
        message = "the sink %s takes others, and not this event: %s; it is set aside: kfunc events replay %s --to SINK sends it"
        self._notices.say(f"refused {self._name}", message, self._name, reason, self._aside_path)
        return True

    async def close(self) -> None:
        """Let go of their places."""
        for place in (self._place, self._aside):
            if place is not None:
                await place.close()
