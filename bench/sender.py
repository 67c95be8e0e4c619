"""A client that keeps account: which requests were answered, when, and how fast; connections may break at any time."""

import asyncio
from collections.abc import Callable
from time import perf_counter

import msgspec

from bench.load import PATH


class Answered(msgspec.Struct):
    """A request that was answered 200: its number, when it was sent (perf_counter) and for how long."""

    number: int
    sent_at: float
    seconds: float


class Sender:
    """Sends requests over `connections` at `rate` per second in all, or, at 0, as fast as they are answered."""

    def __init__(self, port: int, body: bytes, connections: int, rate: float, prefix: str = "s") -> None:
        self.answered: list[Answered] = []
        self.broken = 0
        self.refused = 0
        self._port = port
        self._connections = connections
        self._pause_s = connections / rate if rate else 0.0
        self._number = 0
        lines = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self._request = f"POST {PATH} HTTP/1.1\r\n{lines}X-Request-Id: {prefix}-%d\r\n\r\n".encode() + body.replace(b"%", b"%%")

    async def run(self, enough: Callable[[], bool]) -> None:
        """Send until there is enough."""
        await asyncio.gather(*[self._over_one(enough, each) for each in range(self._connections)])

    async def _over_one(self, enough: Callable[[], bool], slot: int) -> None:
        due_at = perf_counter() + self._pause_s * slot / self._connections
        reader: asyncio.StreamReader | None = None
        writer: asyncio.StreamWriter | None = None
        while not enough():
            if self._pause_s:
                await asyncio.sleep(max(0.0, due_at - perf_counter()))
                due_at = max(due_at + self._pause_s, perf_counter() - 1.0)
            try:
                if reader is None or writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                await self._one(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                self.broken += 1
                if writer is not None:
                    writer.close()
                reader = writer = None
                await asyncio.sleep(0.02)
        if writer is not None:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._number = number = self._number + 1
        sent_at = perf_counter()
        writer.write(self._request % number)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length:")[2].partition(b"\r")[0]))
        if head.startswith(b"HTTP/1.1 200"):
            self.answered.append(Answered(number, sent_at, perf_counter() - sent_at))
        else:
            self.refused += 1


def p99_ms(answered: list[Answered]) -> float:
    """The 99th percentile of what they took."""
    times = sorted(each.seconds for each in answered)
    return times[int(len(times) * 0.99)] * 1e3 if times else float("nan")
