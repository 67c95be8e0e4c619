"""What the batcher tells of its work: metrics, and all that a span of a request or of a batch is made of.

Each request that was collected is a `Member` and each batch a number; `RequestRecorder` gets the member as the note of
its exchange. A tracer needs nothing more: `sent_at` and `batches` of the member, and its exchange.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kfunc.telemetry.metrics import LATENCY_BUCKETS, SIZE_BUCKETS, Metrics

if TYPE_CHECKING:
    from kfunc.batcher_sidecar.calls import Member
    from kfunc.batcher_sidecar.queues import Batch

FILL_BUCKETS = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class Records:
    """Counters and distributions."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.histogram("kfunc_batch_size", "Requests in a call of the upstream.", SIZE_BUCKETS)
        self._rows = metrics.histogram("kfunc_batch_rows", "Rows in a call of requests that were collected.", SIZE_BUCKETS)
        self._fill = metrics.histogram("kfunc_batch_fill_ratio", "Rows of such a call, of the most it takes.", FILL_BUCKETS)
        self._queue = metrics.histogram("kfunc_batch_queue_seconds", "From a request's arrival to its batch.", LATENCY_BUCKETS)
        self.splits = metrics.counter("kfunc_batch_splits_total", "Requests that were cut because they had too many rows.")
        self.retries = metrics.counter("kfunc_batch_retries_total", "Requests sent again alone after their batch failed.")
        self.expired = metrics.counter("kfunc_batch_expired_total", "Requests whose timeout passed before they could run.")
        self.rejected = metrics.counter("kfunc_batch_rejected_total", "Requests that found the queue full.")
        self.cancelled = metrics.counter("kfunc_batch_cancelled_total", "Requests whose client went away before their batch.")
        self._batches = 0

    def watch(self, metrics: Metrics, **gauges: Callable[[], float]) -> None:
        """Values that are read when they are asked for."""
        texts = {
            "queue_length": "Requests that wait for a batch.",
            "queue_bytes": "Bytes of requests that wait for a batch.",
            "in_flight": "Calls of the upstream in flight.",
            "max_rows": "Rows at which a batch is full, for the model that was called last; with auto what was chosen.",
        }
        for name, read in gauges.items():
            metrics.gauge(f"kfunc_batch_{name}", texts[name], read)

    def sent(self, batch: "Batch[Member]", max_rows: int, now: float) -> None:
        """A batch goes out; `now` is in seconds of perf_counter."""
        self._batches = number = self._batches + 1
        self.requests.observe(len(batch.parts))
        self._rows.observe(batch.rows)
        self._fill.observe(batch.rows / max_rows)
        queue, numbers = self._queue, (number,)
        for part in batch.parts:
            member = part.ticket.item
            member.batches = member.batches + numbers if member.batches else numbers
            if not part.start:
                exchange = member.exchange
                member.sent_at = now
                exchange.batch_s = waited_s = now - exchange.started_at
                queue.observe(waited_s)
