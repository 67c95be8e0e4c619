"""A connection that many requests are written to at once, and whose answers come back in order (RFC 9112, 9.3.2)."""

import asyncio
from typing import cast

import httptools
from msgspec import Struct

NO_BODY = (204, 304)


class Answer(Struct, frozen=True, gc=False):
    """What a request was answered with; `retry_after` is the field's value."""

    status: int
    retry_after: bytes = b""


class PostConnection(asyncio.Protocol):
    """One connection to a sink; `open` says whether it can be used again."""

    def __init__(self) -> None:
        self.open = False
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpResponseParser(self)
        self._wanted = 0
        self._answers: list[Answer] = []
        self._framed = False
        self._retry_after = b""
        self._done: asyncio.Future[None] | None = None

    async def post(self, requests: list[bytes], timeout_s: float) -> list[Answer]:
        """Write requests; the answers, fewer where the connection ends, or rests for `timeout_s`."""
        self._answers, self._wanted = [], len(requests)
        self._done = done = asyncio.get_running_loop().create_future()
        self._transport.write(b"".join(requests))
        count = 0
        try:
            while not done.done():
                await asyncio.wait((done,), timeout=timeout_s)
                if not done.done() and len(self._answers) == count:
                    self._break()
                count = len(self._answers)
        except asyncio.CancelledError:
            self._break()  # its answers would be taken for those to the next requests
            raise
        return self._answers[: self._wanted]

    def close(self) -> None:
        """Close."""
        self.open = False
        self._transport.close()

    def _break(self) -> None:
        """Nothing more can be learned from this connection."""
        self.open = False
        self._transport.abort()
        self._finish()

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    # ---- transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():  # an answer that nobody asked for
            self._break()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._break()
            return
        if len(self._answers) >= self._wanted:
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._finish()

    # ---- parser

    def on_message_begin(self) -> None:
        self._framed, self._retry_after = False, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in (b"content-length", b"transfer-encoding"):
            self._framed = True
        elif name == b"retry-after":
            self._retry_after = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and not self._framed and status not in NO_BODY:
            # Its body ends with the connection: it is answered, and nothing will come behind it.
            self._answers.append(Answer(status, self._retry_after))
            self._break()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or not self.open:
            return
        self._answers.append(Answer(status, self._retry_after))
        if not self._parser.should_keep_alive():
            self._break()
