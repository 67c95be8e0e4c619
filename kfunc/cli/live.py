"""The live line of `kfunc run`: the outermost process's metrics, asked for each second; only connecting may block (50 ms)."""

import socket
from collections.abc import Callable
from selectors import EVENT_READ, BaseSelector

from kfunc.telemetry.exposition import metrics_target
from kfunc.telemetry.figures import NAMES, Figures, Snapshot, between, read

INTERVAL_S = 1.0
PATIENCE_S = 3.0
CONNECT_S = 0.05
REQUEST = f"GET {metrics_target(NAMES)} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode()


class Live:
    """Asks `address` for metrics; `show` gets the line. `due` is the next time to call `step`."""

    def __init__(
        self, selector: BaseSelector, address: tuple[str, int], show: Callable[[str], None], has: frozenset[str]
    ) -> None:
        self.due: float | None = 0.0
        self._selector = selector
        self._address = address
        self._show = show
        self._has = has
        self._before: Snapshot | None = None
        self._connection: socket.socket | None = None
        self._received = b""

    def step(self, now: float) -> None:
        """Go on as far as possible."""
        if self._connection is not None and self._read(self._connection):
            self._take(self._received, now)
            self._close(now + INTERVAL_S)
        elif self.due is not None and now >= self.due:
            if self._connection is not None:  # no answer in time
                self._close(now + INTERVAL_S)
                self._miss()
            elif self._ask():
                self.due = now + PATIENCE_S
            else:
                self.due = now + INTERVAL_S
                self._miss()

    def close(self) -> None:
        """Stop asking, and show nothing."""
        self._close(None)
        self._show("")

    def _close(self, due: float | None) -> None:
        self.due = due
        if self._connection is not None:
            self._selector.unregister(self._connection)
            self._connection.close()
            self._connection = None

    def _ask(self) -> bool:
        try:
            connection = socket.create_connection(self._address, CONNECT_S)
            connection.send(REQUEST)
        except OSError:
            return False
        connection.setblocking(False)
        self._selector.register(connection, EVENT_READ)
        self._connection, self._received = connection, b""
        return True

    def _read(self, connection: socket.socket) -> bool:
        """Whether the answer is complete: HTTP/1.0 ends it with the connection."""
        while True:
            try:
                chunk = connection.recv(65536)
            except BlockingIOError:
                return False
            except OSError:
                return True
            if not chunk:
                return True
            self._received += chunk

    def _take(self, answer: bytes, now: float) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            self._miss()
            return
        snapshot = read(body.decode("utf-8", "replace"), now)
        if self._before is not None:
            figures = between(self._before, snapshot)
            total = snapshot.total("kfunc_request_duration_seconds_count", component=snapshot.outermost)
            self._show(live_line(figures, int(total), self._has))
        self._before = snapshot

    def _miss(self) -> None:
        """No figures: those that are shown are no longer true."""
        if self._before is not None:
            host, port = self._address
            self._show(f"no figures: http://{host}:{port}/metrics does not answer")
            self._before = None


def live_line(figures: Figures, total: int, has: frozenset[str]) -> str:
    """`12/s · p50 1.2 ms · p99 3.4 ms · …`; `has` names the processes that there are, `total` counts inferences."""
    rate = figures.inferences_per_s
    parts = [f"{_rate(rate)}/s" if rate else f"idle, {total} request{'' if total == 1 else 's'} so far"]
    if figures.p50_s:
        parts += [f"p50 {_time(figures.p50_s)}", f"p99 {_time(figures.p99_s)}"]
    if figures.errors_per_s:
        parts.append(f"{_rate(figures.errors_per_s)} errors/s")
    if "batcher" in has and figures.batch_size:
        fill = f", {figures.batch_fill:.0%} full" if figures.batch_fill else ""
        parts.append(f"batch {figures.batch_size:.1f}{fill}")
    if "logger" in has:
        lost = f", {figures.events_dropped:.0f} lost" if figures.events_dropped else ""
        parts.append(f"events {_rate(figures.events_per_s)}/s, {figures.events_waiting:.0f} waiting{lost}")
    return " · ".join(parts)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _time(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
