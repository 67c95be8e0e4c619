"""Clients that ask one request after the other, sometimes leave before the answer, and check each answer."""

import asyncio
import random
from collections import Counter
from typing import Any

from tests.batcher_sidecar.soak.requests import Asked, ask

LENGTH = b"inference-header-content-length: "
CONTENT_LENGTH = b"content-length: "
LEAVES = 0.01
FAILURES = (500, 502, 503, 504)


class Tally:
    """What became of the requests; `wrong` are answers that were another's, or none that there may be."""

    def __init__(self) -> None:
        self.left = 0
        self.ended = 0
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[tuple[int, bytes, bytes]] = []


class Client(asyncio.Protocol):
    """One connection at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int, chance: random.Random, tally: Tally) -> None:
        self._loop = loop
        self._port = port
        self._chance = chance
        self._tally = tally
        self._transport: Any = None
        self._asked: Asked | None = None
        self._data = b""

    def connect(self) -> None:
        """Open a connection, and ask over it."""
        self._task = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        await self._loop.create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._data = b""
        self._next()

    def _next(self) -> None:
        if self._tally.left <= 0:
            self._transport.close()
            return
        self._tally.left -= 1
        self._asked = ask(self._chance)
        self._transport.write(self._asked.data)
        if self._chance.random() < LEAVES:
            self._loop.call_later(self._chance.random() * 0.01, self._leave, self._asked)

    def _leave(self, asked: Asked) -> None:
        if self._asked is asked:
            self._end("left")
            self._transport.abort()

    def _end(self, outcome: str) -> None:
        self._asked = None
        self._tally.ended += 1
        self._tally.outcomes[outcome] += 1

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n") + 4
        if end < 4 or self._asked is None:
            return
        head = self._data[:end]
        length = _number(head, CONTENT_LENGTH)
        if len(self._data) - end < length:
            return
        body, asked = self._data[end:], self._asked
        self._data = b""
        status = int(head[9:12])
        if not self._is_right(asked, status, head, body):
            self._tally.wrong.append((status, asked.data, body))
        self._end(str(status))
        if b"connection: close" in head:
            self._transport.close()
        else:
            self._next()

    @staticmethod
    def _is_right(asked: Asked, status: int, head: bytes, body: bytes) -> bool:
        if status == 200:
            return not asked.poison and asked.is_right(body, _number(head, LENGTH) if LENGTH in head else len(body))
        return asked.poison if status == 400 else status in FAILURES

    def connection_lost(self, exc: Exception | None) -> None:
        if self._asked is not None:
            self._tally.wrong.append((0, self._asked.data, b"the batcher closed the connection"))
            self._end("lost")
        if self._tally.left > 0:
            self.connect()


def _number(head: bytes, field: bytes) -> int:
    start = head.index(field) + len(field)
    return int(head[start : head.index(b"\r\n", start)])
