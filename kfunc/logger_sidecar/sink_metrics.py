"""The figures of the logger: of the whole, and of each sink under its name."""

from collections.abc import Callable

from kfunc.logger_sidecar.log import Cursor
from kfunc.telemetry.metrics import Metrics

REASONS = ("full", "stalled", "too large", "failed", "damaged", "lost", "refused")


class LoggerMetrics:
    """What requests do to the spool. `calls` are counted as the events that are made of them."""

    def __init__(self, metrics: Metrics, events_per_call: int) -> None:
        self.per_call = events_per_call
        self._metrics = metrics
        self._accepted = metrics.counter("kfunc_events_accepted_total", "Events that are in the spool, to be delivered.")
        self._dropped = {
            reason: metrics.counter(
                "kfunc_events_dropped_total",
                "Events lost: spool full, disk too slow, call too large, not written, disk damaged, overflow refused.",
                {"reason": reason.replace(" ", "_")},
            )
            for reason in REASONS
        }
        self._overflowed = metrics.counter("kfunc_events_overflowed_total", "Events that went to the overflow sink.")

    def accepted(self, calls: int) -> None:
        """Calls are in the spool."""
        self._accepted.add(0, calls * self.per_call)

    def dropped(self, reason: str, calls: int) -> None:
        """Calls are lost."""
        self._dropped[reason].add(0, calls * self.per_call)

    def refused(self, events: int) -> None:
        """The overflow sink will never take events that it was to save."""
        self._dropped["refused"].add(0, events)

    def overflowed(self, events: int) -> None:
        """Events went to the overflow sink."""
        self._overflowed.add(0, events)

    def show(self, used_bytes: Callable[[], int], most_bytes: int) -> None:
        """Show how much the spool holds, and may hold."""
        self._metrics.gauge("kfunc_spool_bytes", "Bytes in the spool.", used_bytes)
        self._metrics.gauge("kfunc_spool_max_bytes", "Bytes that the spool may hold.", lambda: most_bytes)

    def show_waiting(self, name: str, waiting: Callable[[Cursor], int], cursor: Cursor) -> None:
        """Show how many events wait for a sink."""
        text = "Events that wait for the sink."
        self._metrics.gauge("kfunc_events_waiting", text, lambda: waiting(cursor) * self.per_call, {"sink": name})


class SinkMetrics:
    """What became of the events for one sink."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        label = {"sink": name}
        self._delivered = metrics.counter("kfunc_events_delivered_total", "Events that the sink has taken.", label)
        self._retried = metrics.counter("kfunc_events_retried_total", "Tries after which an event had to wait.", label)
        self._dead = metrics.counter("kfunc_events_dead_lettered_total", "Events that went to the dead letters.", label)
        self._refused = metrics.counter("kfunc_events_refused_total", "Events refused by the sink, and lost.", label)

    def delivered(self, count: int) -> None:
        """The sink has taken events."""
        self._delivered.add(0, count)

    def retried(self, count: int) -> None:
        """Events wait for another try."""
        self._retried.add(0, count)

    def dead(self) -> None:
        """An event went to the dead letters."""
        self._dead.add()

    def refused(self) -> None:
        """An event is lost: there is no place for dead letters."""
        self._refused.add()
