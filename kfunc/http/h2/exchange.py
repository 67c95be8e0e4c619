"""One request of HTTP/2 as an application sees it, and the bound on bodies that wait in memory for their ends."""

from kfunc.errors import KfuncError
from kfunc.http.exchange import Application, Exchange, Transmitter
from kfunc.http.h2.heads import RequestHead
from kfunc.http.h2.streams import Stream
from kfunc.http.wire import Headers


class H2Exchange(Exchange):
    """An Exchange on a stream, for `application`. `received_trailers` came behind the body."""

    version = "2"
    admitted = False  # the application has it
    pressed = False  # it was told to pause
    counted = False  # its body is in the backlog
    received_trailers: Headers = []

    def __init__(self, transmitter: Transmitter, stream: Stream, head: RequestHead, application: Application) -> None:
        super().__init__(transmitter, head.method, head.target, head.header_list, head.headers, True)
        self.stream = stream
        self.memo = head.memo
        self.grpc = head.grpc
        self.application = application

    def fail(self, error: KfuncError) -> None:
        """As for any exchange; a call of gRPC that has no answer yet ends with the error's status."""
        if not self.grpc or self.status or self.cancelled:
            super().fail(error)
            return
        from kfunc.protocol.grpc.status import OPENING, failure

        self.error = error
        self.respond(200, b"", b"", [*OPENING, *failure(error)])


class Backlog:
    """Bodies that are handed over whole and are not whole yet, of all streams of a connection.

    Together they may hold `most` bytes; past that only the oldest goes on, which so comes to its end.
    """

    __slots__ = ("_most", "held", "waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0
        self.waiting: dict[H2Exchange, int] = {}

    def add(self, exchange: H2Exchange, size: int) -> bool:
        """Count `size` bytes more; false if the client is to wait with the rest."""
        exchange.counted = True
        self.waiting[exchange] = self.waiting.get(exchange, 0) + size
        self.held += size
        return self.held <= self._most or next(iter(self.waiting)) is exchange

    def remove(self, exchange: H2Exchange) -> list[H2Exchange]:
        """The body is whole, or given up; returns those that may go on."""
        exchange.counted = False
        crowded = self.held > self._most
        self.held -= self.waiting.pop(exchange)
        if not crowded or not self.waiting:
            return []
        return [next(iter(self.waiting))] if self.held > self._most else list(self.waiting)
