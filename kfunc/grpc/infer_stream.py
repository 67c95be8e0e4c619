"""ModelStreamInfer: each request is REST's `infer_stream`, whose parts are sent as they come; errors are answers too."""

from kfunc.errors import BadGateway, KfuncError
from kfunc.grpc.asked import Asked, error_of, field_of, head_of
from kfunc.grpc.call import LARGE
from kfunc.grpc.reading import read_later
from kfunc.grpc.stream import StreamCall
from kfunc.http.exchange import Exchange
from kfunc.protocol.grpc import schema
from kfunc.protocol.grpc.answer import response_opening
from kfunc.protocol.grpc.methods import named
from kfunc.protocol.grpc.request import decode_request
from kfunc.protocol.grpc.rest import answer_parts, model_path, request_head, with_raw_data
from kfunc.protocol.grpc.services import STREAM_ANSWER
from kfunc.protocol.grpc.status import CANCELLED, code_of
from kfunc.protocol.json_length import JSON_LENGTH, number_of
from kfunc.protocol.messages import InferRequest, InferResponse
from kfunc.protocol.parts import CONTENT_TYPE, PartReader

STREAM, ONCE = "/infer_stream", "/infer"
ERROR = b'{"error":'
# Triton's: an answer without outputs ends those to one request.
WANTS_FINAL, FINAL = "triton_enable_empty_final_response", "triton_final_response"


class InferStream(StreamCall):
    """The call; at most one of its requests is being answered."""

    asked: Asked | None = None
    _wants_final = False

    def take(self, message: bytes) -> None:
        """Ask for one request's answers."""
        self._request = InferRequest([])
        if len(message) > LARGE:
            self.front.spawn(self._take_later(message))
            return
        try:
            self._go_on(*decode_request(message, most=self.front.limits.max_body_bytes))
        except KfuncError as error:
            self._unread(error)

    async def _take_later(self, message: bytes) -> None:
        try:
            found = await read_later(message, 0, self.front.limits.max_body_bytes)
            if self.outer.on_cancel is not None:
                self._go_on(*found)
        except KfuncError as error:
            self._unread(error)
        except Exception:
            self._refuse(self.front.broken(self.outer))

    def _unread(self, error: KfuncError) -> None:
        """Nothing could be asked for this message; the next may be better."""
        self.front.refuse(self.outer, error)
        self._failed(error)

    def _go_on(self, request: InferRequest, raw: bool) -> None:
        self._request, self._raw = request, raw
        self._wants_final = request.parameters is not None and bool(request.parameters.pop(WANTS_FINAL, False))
        self._ask(STREAM)

    def _ask(self, end: str) -> None:
        request = self._request
        target = model_path(named(request.model_name), request.model_version, end)
        text = request_head(with_raw_data(request))
        head = head_of(self.outer, target, len(text), accept=CONTENT_TYPE)
        self.asked = asked = Asked(self.outer, PartsTaker(self), b"POST", target, head)
        asked.body = b"".join([text, *[tensor.data for tensor in request.inputs]])
        self.front.ask(asked)

    # ---- answers

    def on_part(self, body: bytes, json_length: int) -> None:
        """One answer of the request's. Raises BadGateway."""
        if body.startswith(ERROR):
            self._send_error(error_of(b"", 500, body))
            return
        message = b"".join(answer_parts(body, json_length, raw=self._raw))
        self.write(schema.encode(STREAM_ANSWER, {"infer_response": message}))

    def on_whole(self, status: int, lines: bytes, body: bytes) -> None:
        """An answer that is not of parts: an error, or that of a server which does not stream."""
        asked = self.asked
        self._ended(status)
        if status in (404, 405) and asked is not None and asked.target.endswith(STREAM.encode()):
            self._ask(ONCE)
            return
        try:
            if status != 200:
                raise error_of(lines, status, body)
            length = number_of(field_of(lines, JSON_LENGTH))
            self.on_part(body, len(body) if length is None else length)
        except KfuncError as error:
            self._failed(error)
        else:
            self._finished()

    def on_parts_end(self, status: int) -> None:
        """All parts are here."""
        self._ended(status)
        self._finished()

    def on_failure(self, error: KfuncError) -> None:
        """No more parts will come."""
        if self.asked is not None:
            self.asked.cancel()
        self._ended(error.status)
        self._failed(error)

    def _ended(self, status: int) -> None:
        asked, self.asked = self.asked, None
        if asked is not None:
            asked.status, asked.grpc_status, asked.cancelled = status, code_of(status) if status else CANCELLED, True
            self.front.application.observe(asked)

    def _failed(self, error: KfuncError) -> None:
        self._send_error(error)
        self._finished()

    def _send_error(self, error: KfuncError) -> None:
        answer = response_opening(InferResponse("", [], id=self._request.id))
        self.write(schema.encode(STREAM_ANSWER, {"error_message": error.message, "infer_response": answer}))

    def _finished(self) -> None:
        if self._wants_final:
            request = self._request
            opening = InferResponse(request.model_name, [], request.model_version, request.id, {FINAL: True})
            self.write(schema.encode(STREAM_ANSWER, {"infer_response": response_opening(opening)}))
        self.done()

    # ---- ends

    def on_pressure(self, paused: bool) -> None:
        """Pass it on to where the parts come from."""
        super().on_pressure(paused)
        if self.asked is not None and self.asked.on_pressure is not None:
            self.asked.on_pressure(paused)

    def stop(self) -> None:
        """Nobody needs the parts any more."""
        if self.asked is not None:
            self.asked.cancel()
            self._ended(0)


class PartsTaker:
    """A Transmitter that hears parts."""

    __slots__ = ("_call", "_lines", "_reader", "_whole")

    def __init__(self, call: InferStream) -> None:
        self._call = call
        self._reader: PartReader | None = None
        self._lines = b""
        self._whole: list[bytes] = []

    def send_response(self, exchange: Exchange, lines: bytes, body: bytes) -> None:
        """A whole answer."""
        self.send_head(exchange, lines, len(body))
        self.send_chunk(exchange, body)
        if not exchange.cancelled:
            self.send_end(exchange)

    def send_head(self, exchange: Exchange, lines: bytes, length: int | None) -> None:
        """The answer begins."""
        self._lines = lines
        if exchange.status == 200 and field_of(lines, b"content-type") == CONTENT_TYPE:
            self._reader = PartReader()
            if self._call.paused and exchange.on_pressure is not None:
                exchange.on_pressure(True)

    def send_chunk(self, exchange: Exchange, chunk: bytes) -> None:
        """More of it."""
        exchange.sent_length += len(chunk)
        if self._reader is None:
            self._whole.append(chunk)
            return
        try:
            for body, json_length in self._reader.feed(chunk):
                self._call.on_part(body, json_length)
        except KfuncError as error:
            self._call.on_failure(error)

    def send_end(self, exchange: Exchange) -> None:
        """All of it."""
        if self._reader is None:
            self._call.on_whole(exchange.status, self._lines, b"".join(self._whole))
        elif not self._reader.between:
            self.reset(exchange)
        else:
            self._call.on_parts_end(exchange.status)

    def reset(self, exchange: Exchange) -> None:
        """It broke off."""
        self._call.on_failure(BadGateway("the upstream broke off its answer"))

    def hold(self, exchange: Exchange, paused: bool) -> None:
        """The request's body is here already."""
