"""What a run needs of a connection, whatever it speaks."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import cast

Done = Callable[["Connection", str, int], None]
"""Called with the connection, why the request failed (empty: it was answered well), and the bytes of the answer."""


class Connection(asyncio.Protocol):
    """One request at a time. `due_at` and `sent_at` are the times of the one that is under way,
    `words` how the body of an answer that is an error begins."""

    def __init__(self, request: bytes, done: Done, lost: Callable[["Connection"], None]) -> None:
        self.request = request
        self.done = done
        self.lost = lost
        self.busy = False
        self.due_at = self.sent_at = 0.0
        self.received = 0
        self.words = b""
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self.busy:
            self.finish("connection lost")
        self.lost(self)

    def send(self, due_at: float) -> None:
        """Send the request, which was due at that time."""
        self.busy = True
        self.due_at = due_at
        self.received = 0
        self.words = b""
        self.sent_at = perf_counter()
        self.write()

    @abstractmethod
    def write(self) -> None:
        """Write the request."""

    def finish(self, reason: str) -> None:
        """The request that was under way has ended."""
        self.busy = False
        self.done(self, reason, self.received)

    def give_up(self, reason: str) -> None:
        """Nobody waits for the answer any more; it would be taken for that of the next request, so there is none here."""
        self.transport.abort()
        if self.busy:
            self.finish(reason)
