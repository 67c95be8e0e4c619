"""An HTTP/2 client on the library `h2`: many requests at once on a connection; it honours GOAWAY and windows."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes

from kfunc.http.h2 import frames
from kfunc.http.h2.settings import DEFAULT_FRAME

Fields = Iterable[tuple[str, str]]
WINDOW = 2**24


class Unsent(Exception):
    """The server has not looked at the request: it may be sent again (RFC 9113, 8.7)."""


class Broken(Exception):
    """The request may have run, and there is no answer."""


@dataclass
class Answer:
    """What came on a stream. `interim` are the statuses before the answer's; with the first the body is `invited`."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    trailers: dict[str, str] = field(default_factory=dict)
    interim: list[int] = field(default_factory=list)
    invited: asyncio.Event = field(default_factory=asyncio.Event)


def texts(fields: Iterable[tuple[Any, Any]] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in fields or ()}


class H2Client(asyncio.Protocol):
    """One connection; `leaving` once the server has said that it ends."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        config = h2.config.H2Configuration(
            header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.core = h2.connection.H2Connection(config)
        self.leaving = False
        self._answers: dict[int, tuple[Answer, asyncio.Future[Answer]]] = {}
        self._short_of_room: list[asyncio.Future[None]] = []
        self.ended: int | None = None  # the code of GOAWAY
        self._reader = frames.FrameReader(WINDOW)

    @classmethod
    async def connect(cls, port: int) -> "H2Client":
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    # ---- requests

    def begin(self, method: str, path: str, fields: Fields = (), *, end: bool = True) -> int:
        """Send the head of a request; the number of its stream."""
        pseudo = [(":method", method), (":scheme", "http"), (":authority", "iris.example"), (":path", path)]
        return self.open([*pseudo, *fields], end=end)

    def open(self, fields: Fields, *, end: bool = True) -> int:
        """Begin a stream. Raises Unsent where the connection takes no more."""
        if self.leaving or self.transport.is_closing():
            raise Unsent
        stream_id = self.core.get_next_available_stream_id()
        self._answers[stream_id] = Answer(), asyncio.get_running_loop().create_future()
        self.core.send_headers(stream_id, list(fields), end_stream=end)
        self._flush()
        return stream_id

    async def invited(self, stream_id: int) -> None:
        """Wait for an interim answer."""
        await self._answers[stream_id][0].invited.wait()

    async def send(self, stream_id: int, body: bytes, *, end: bool = True, trailers: Fields = ()) -> None:
        """Send body and trailers as far as the windows go, and wait for them to open; stops where the answer is there."""
        _, future = self._answers[stream_id]
        while not future.done():
            size = min(self.core.local_flow_control_window(stream_id), self.core.max_outbound_frame_size, len(body))
            last = size == len(body)
            if size or not body:
                self.core.send_data(stream_id, body[:size], end_stream=end and last and not trailers)
                body = body[size:]
                self._flush()
            if last:
                if trailers:
                    self.core.send_headers(stream_id, list(trailers), end_stream=True)
                    self._flush()
                return
            if not size:
                await self._wait_for_room(future)

    async def _wait_for_room(self, answer: "asyncio.Future[Answer]") -> None:
        room = asyncio.get_running_loop().create_future()
        self._short_of_room.append(room)
        await asyncio.wait([answer, room], return_when=asyncio.FIRST_COMPLETED)

    async def answer(self, stream_id: int) -> Answer:
        """Raises Unsent or Broken where there is none."""
        try:
            return await self._answers[stream_id][1]
        finally:
            del self._answers[stream_id]

    async def ask(self, method: str, path: str, body: bytes = b"", fields: Fields = (), trailers: Fields = ()) -> Answer:
        stream_id = self.begin(method, path, fields, end=not body and not trailers)
        if body or trailers:
            await self.send(stream_id, body, trailers=trailers)
        return await self.answer(stream_id)

    def cancel(self, stream_id: int) -> None:
        """RST_STREAM."""
        self.core.reset_stream(stream_id, ErrorCodes.CANCEL)
        self._answers.pop(stream_id)
        self._flush()

    def close(self) -> None:
        self.transport.close()

    # ---- connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.core.initiate_connection()
        self.core.increment_flow_control_window(WINDOW)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.leaving = True
        for stream_id in list(self._answers):
            self._fail(stream_id, Broken("the connection is gone"))

    def data_received(self, data: bytes) -> None:
        for kind, flags, stream_id, payload in self._reader.read(data):
            if kind == frames.GOAWAY:  # the library would take nothing that comes behind it
                self._leave(frames.word(payload), frames.code_of(payload, 4))
                continue
            for at in range(0, max(len(payload), 1), DEFAULT_FRAME):  # the reader joins what belongs together
                for event in self.core.receive_data(frames.frame(kind, flags, stream_id, payload[at : at + DEFAULT_FRAME])):
                    self._take(event)
        self._flush()

    def _leave(self, last_stream_id: int, code: int) -> None:
        self.leaving, self.ended = True, code
        for stream_id in list(self._answers):
            if stream_id > last_stream_id:
                self._fail(stream_id, Unsent("behind the last stream"))

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            waiting, self._short_of_room = self._short_of_room, []
            for room in waiting:
                room.set_result(None)
        else:
            stream_id = getattr(event, "stream_id", 0)
            if stream_id in self._answers:
                self._take_of_stream(event, stream_id, *self._answers[stream_id])

    def _take_of_stream(self, event: h2.events.Event, stream_id: int, answer: Answer, future: "asyncio.Future[Answer]") -> None:
        match event:
            case h2.events.InformationalResponseReceived():
                answer.interim.append(int(texts(event.headers)[":status"]))
                answer.invited.set()
            case h2.events.ResponseReceived():
                fields = texts(event.headers)
                answer.status, answer.headers = int(fields.pop(":status")), fields
            case h2.events.DataReceived():
                answer.body += event.data or b""
                self.core.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
            case h2.events.TrailersReceived():
                answer.trailers = texts(event.headers)
            case h2.events.StreamEnded() if not future.done():
                future.set_result(answer)
            case h2.events.StreamReset() if not future.done():
                refused = event.error_code == ErrorCodes.REFUSED_STREAM
                self._fail(stream_id, Unsent("refused") if refused else Broken(f"reset with {event.error_code}"))

    def _fail(self, stream_id: int, error: Exception) -> None:
        future = self._answers[stream_id][1]
        if not future.done():
            future.set_exception(error)

    def _flush(self) -> None:
        if (data := self.core.data_to_send()) and not self.transport.is_closing():
            self.transport.write(data)
