"""What every process records of its requests: counts by status, durations, and the access line."""

import asyncio
import sys
from bisect import bisect_left
from time import perf_counter

from kfunc.http.exchange import Exchange
from kfunc.telemetry.metrics import LATENCY_BUCKETS, Metrics

FLUSH_S = 0.05
CLIENT_GONE = 499


class RequestRecorder:
    """Records ended exchanges. Durations are those of inference requests, not of probes."""

    def __init__(self, metrics: Metrics, *, access_log: bool) -> None:
        self._metrics = metrics
        self._codes = metrics.codes("kfunc_requests_total", "Requests by status; 499: the client went away.")
        self._durations = metrics.histogram(
            "kfunc_request_duration_seconds", "From a request's arrival to its answer, inference only.", LATENCY_BUCKETS
        )
        self._access_log = access_log
        self._lines: list[str] = []

    def record(self, exchange: Exchange, inference: bool) -> None:
        """Take up an exchange that has ended."""
        status = exchange.status or CLIENT_GONE
        values = self._metrics.values
        values[self._codes.index + (status if 100 <= status < 600 else 599)] += 1.0
        if not inference and not self._access_log:
            return
        duration_s = perf_counter() - exchange.started_at
        if inference:
            values[self._durations.index + bisect_left(LATENCY_BUCKETS, duration_s)] += 1.0
            values[self._durations.sum_index] += duration_s
        if self._access_log and not exchange.target.startswith(b"/v2/health/"):
            if not self._lines:
                asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
            target = exchange.target.decode("latin-1") or "-"
            method = exchange.method.decode("latin-1") or "-"
            self._lines.append(f"{method} {target} {status} {duration_s * 1e3:.2f} ms {exchange.sent_length} B\n")

    def flush(self) -> None:
        """Write the access lines that wait; one that cannot be written is no reason to stop."""
        lines, self._lines = self._lines, []
        try:
            sys.stdout.write("".join(lines))
            sys.stdout.flush()
        except OSError:
            self._access_log = False
