"""What every process records of its requests: counts by status, durations, and the access line."""

from bisect import bisect_left
from time import perf_counter, time

from kfunc.http.exchange import Exchange
from kfunc.telemetry import log_lines
from kfunc.telemetry.access_log import AccessLog
from kfunc.telemetry.metrics import REQUEST_BUCKETS, Metrics
from kfunc.telemetry.recent import RecentRequests
from kfunc.telemetry.samples import Exemplar

CLIENT_GONE = 499


def is_probe(exchange: Exchange) -> bool:
    """Whether someone only asks how this process is: a kubelet, a proxy, `kfunc run` (Health APIs)."""
    if exchange.method not in (b"GET", b"HEAD"):
        return False
    target = exchange.target
    return target.startswith(b"/v2/health/") or (target.endswith(b"/ready") and target.startswith(b"/v2/models/"))


def access_line(exchange: Exchange, status: int, duration_s: float) -> str:
    """What is said of a request, with a line end; no header and no body is in it."""
    target = exchange.target.decode("latin-1") or "-"
    method = exchange.method.decode("latin-1") or "-"
    if not log_lines.is_json():
        return f"{method} {target} {status} {duration_s * 1e3:.2f} ms {exchange.sent_length} B\n"
    fields = {
        "level": "info",
        "logger": "kfunc.access",
        "method": method,
        "path": target,
        "status": status,
        "duration_ms": round(duration_s * 1e3, 3),
        "bytes": exchange.sent_length,
        **log_lines.ids(exchange),
    }
    return log_lines.line(time(), fields) + "\n"


class RequestRecorder:
    """Records ended exchanges. Durations are those of inference requests, not of probes."""

    def __init__(self, metrics: Metrics, *, access_log: float, keep: int = 0) -> None:
        """`access_log`: the share of requests that get a line. `keep`: how many of the last inference requests are kept."""
        self._metrics = metrics
        self.recent = RecentRequests(keep, metrics.component) if keep else None
        codes = metrics.codes("kfunc_requests_total", "Requests by status, health probes apart; 499: the client went away.")
        durations = metrics.histogram(
            "kfunc_request_duration_seconds", "From a request's arrival to its answer, inference only.", REQUEST_BUCKETS
        )
        self._code, self._bucket, self._sum = codes.index, durations.index, durations.sum_index
        self._exemplars = durations.exemplars
        self._access_log = AccessLog(metrics) if access_log else None
        self._share = float(access_log)
        self._due = 1.0 - self._share  # at 1 the next line is: the first request has one
        self._watched = self._access_log is not None or self.recent is not None

    def record(self, exchange: Exchange, inference: bool) -> None:
        """Take up an exchange that has ended. Probes are no requests: while a model loads, each of them is a 503."""
        if not inference and is_probe(exchange):
            return
        status = exchange.status or CLIENT_GONE
        values = self._metrics.values
        values[self._code + (status if 100 <= status < 600 else 599)] += 1.0
        duration_s = perf_counter() - exchange.started_at
        if inference:
            values[self._bucket + bisect_left(REQUEST_BUCKETS, duration_s)] += 1.0
            values[self._sum] += duration_s
        if self._watched:
            self._show(exchange, status, duration_s, inference)

    def _show(self, exchange: Exchange, status: int, duration_s: float, inference: bool) -> None:
        if inference and self.recent is not None:  # metadata and lists would push out what is looked for
            self.recent.add(exchange, status, duration_s)
        if self._access_log is not None:
            self._due += self._share
            if self._due >= 1.0 or status >= 500:  # a failure of ours always has its line
                self._due %= 1.0
                self._access_log.add(access_line(exchange, status, duration_s))

    def exemplar(self, exemplar: Exemplar) -> None:
        """A request that was traced: the example of its bucket of durations."""
        self._exemplars[bisect_left(REQUEST_BUCKETS, exemplar.value)] = exemplar

    def flush(self) -> None:
        """Write the access lines that wait, as far as they can be written now."""
        if self._access_log is not None:
            self._access_log.flush()
