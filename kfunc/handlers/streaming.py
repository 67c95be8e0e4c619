"""Inference whose answer goes in parts (`…/infer_stream`): JSON lines, server-sent events, or `protocol/parts.py`."""

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from kfunc.errors import InvalidRequest, KfuncError, UnsupportedMediaType
from kfunc.handlers.forms import Form, form_of
from kfunc.http.exchange import Exchange
from kfunc.http.wire import error_body, header_lines
from kfunc.protocol import parts

if TYPE_CHECKING:
    from kfunc.handlers.inference import Endpoint, Inference

LINES, EVENTS = b"application/x-ndjson", b"text/event-stream"


def choose(accept: bytes) -> bytes:
    """The form that a caller takes."""
    for kind in (parts.CONTENT_TYPE, EVENTS):
        if kind in accept:
            return kind
    return LINES


def encode(kind: bytes, body: bytes, json_length: int) -> bytes:
    """One part. Raises InvalidRequest for binary tensors where the form is text."""
    if kind == parts.CONTENT_TYPE:
        return parts.encode(body, json_length)
    if json_length:
        raise InvalidRequest(f"binary tensors in parts need the header Accept: {parts.CONTENT_TYPE.decode()}")
    return b"data: %b\n\n" % body if kind == EVENTS else body + b"\n"


class StreamWriter:
    """Writes an answer's parts as fast as its client takes them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._kind = choose(exchange.headers.get(b"accept", b""))
        self._room = asyncio.Event()
        self._room.set()
        exchange.on_pressure = self._press

    def _press(self, paused: bool) -> None:
        if paused:
            self._room.clear()
        else:
            self._room.set()

    async def write(self, body: bytes, json_length: int) -> None:
        """Send a part."""
        await self._room.wait()
        part = encode(self._kind, body, json_length)
        self._begin()
        self._exchange.write(part)

    def end(self, error: KfuncError | None = None) -> None:
        """The last part was sent; an error that comes behind parts is one of them."""
        if error is not None:
            if not self._exchange.status:
                raise error
            self._exchange.write(encode(self._kind, error_body(error.message), 0))
        self._begin()
        self._exchange.finish()

    def _begin(self) -> None:
        if not self._exchange.status:
            self._exchange.start(200, header_lines([(b"content-type", self._kind), (b"cache-control", b"no-store")]))


async def answer(inference: "Inference", exchange: Exchange, endpoint: "Endpoint") -> None:
    """Ask the model, and send what it gives when it gives it. Raises KfuncError before the first part."""
    form = form_of(exchange)
    if form.event:
        raise UnsupportedMediaType("an event has one answer: POST it to / or to /v2/models/NAME/infer")
    writer = StreamWriter(exchange)
    request = inference.decode(endpoint, await _body(exchange, form, inference.limit), form.json_length)
    if exchange.trace is not None:
        exchange.trace.note_decoded()
    try:
        async with aclosing(endpoint.slot.taken().stream(request, exchange)) as stream:
            async for response in stream:
                await writer.write(*endpoint.codec.encoded(exchange, request, response))
    except KfuncError as error:
        writer.end(error)
    else:
        writer.end()


async def _body(exchange: Exchange, form: Form, limit: int) -> bytes:
    if not exchange.body:
        raise InvalidRequest("the request has no body")
    if not form.coding:
        return exchange.body
    from kfunc.http.coding import inflate

    return await asyncio.get_running_loop().run_in_executor(None, inflate, exchange.body, form.coding, limit)
