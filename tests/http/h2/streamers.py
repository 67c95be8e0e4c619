"""An application that takes bodies as they come."""

from kfunc.http.exchange import Exchange
from tests.http.fakes import Keeper


class Sink:
    """A receiver that keeps what it gets."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.ended = False

    def on_chunk(self, chunk: bytes) -> None:
        self.chunks.append(chunk)

    def on_end(self) -> None:
        self.ended = True

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)


class Streamer(Keeper):
    """Takes bodies as they come; answers nothing by itself."""

    stream_above = 1000

    def __init__(self) -> None:
        super().__init__(waits=True)
        self.sinks: list[Sink] = []
        self.pressure: list[bool] = []
        self.cancelled = 0

    def handle(self, exchange: Exchange) -> None:
        super().handle(exchange)
        exchange.on_pressure = self.pressure.append
        exchange.on_cancel = self.on_cancel
        if not exchange.complete:
            self.sinks.append(Sink())
            exchange.receive(self.sinks[-1])

    def on_cancel(self) -> None:
        self.cancelled += 1
