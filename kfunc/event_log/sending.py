"""Sends logged requests to a function again, several at a time, no faster than asked."""

import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from kfunc.client.connections import Connections
from kfunc.client.errors import ClientError, InvalidCall
from kfunc.client.wire import Request, parse_url
from kfunc.errors import StartupError
from kfunc.event_log.pairing import Exchange
from kfunc.event_log.replaying import FAILED, SKIPPED, Outcome, Skipped, judge, request_of

Judge = Callable[[Outcome], None]


class Pace:
    """So many a second; 0: as fast as they go."""

    def __init__(self, per_second: float) -> None:
        self._pause_s = 1 / per_second if per_second > 0 else 0.0
        self._next_at = time.monotonic()

    def wait(self) -> None:
        """Until the next one is due."""
        if self._pause_s:
            now = time.monotonic()
            if self._next_at > now:
                time.sleep(self._next_at - now)
            self._next_at = max(self._next_at, now - 1.0) + self._pause_s


class Replay:
    """One run against the function at `url`. Raises StartupError for what is no URL."""

    def __init__(self, url: str, *, connections: int, rate: float, timeout_s: float, endpoint: str, tolerance: float) -> None:
        try:
            self._connections = Connections(parse_url(url))
        except InvalidCall as error:
            raise StartupError(f"--to: {error.message}") from None
        self._width = connections
        self._pace = Pace(rate)
        self._timeout_s = timeout_s
        self._endpoint = endpoint
        self._tolerance = tolerance

    def run(self, exchanges: Iterable[Exchange], tell: Judge) -> None:
        """Send each, and tell each outcome, as they come; in order over one connection."""
        under_way: set[Future[Outcome]] = set()
        with ThreadPoolExecutor(self._width) as pool:
            for exchange in exchanges:
                try:
                    request = request_of(exchange.request, self._timeout_s, self._endpoint)
                except Skipped as why:
                    tell(Outcome(exchange.request.correlation, exchange.request.endpoint, SKIPPED, str(why)))
                    continue
                self._pace.wait()
                under_way.add(pool.submit(self._send, exchange, request))
                if len(under_way) >= self._width:
                    done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                    for each in done:
                        tell(each.result())
            for each in wait(under_way).done:
                tell(each.result())
        self._connections.close()

    def _send(self, exchange: Exchange, request: Request) -> Outcome:
        began = time.perf_counter()
        try:
            answer = self._connections.send(request)
        except ClientError as error:
            return Outcome(exchange.request.correlation, request.path, FAILED, error.message)
        outcome = judge(exchange, answer, time.perf_counter() - began, tolerance=self._tolerance)
        outcome.endpoint = request.path
        return outcome
