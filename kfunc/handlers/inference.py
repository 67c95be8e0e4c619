"""Inference over REST: exchange → codec → Model → codec → answer.

A plain JSON request whose model does not wait is answered in `answer` alone; content codings, binary
tensors and events take the longer way behind it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from kfunc.handlers.forms import OCTETS, PICTURE, Form, form_of
from kfunc.handlers.slots import Loaded, Slot
from kfunc.http.exchange import Exchange
from kfunc.http.tasks import AnswerTasks
from kfunc.http.wire import JSON, Headers
from kfunc.protocol import v1, v2
from kfunc.protocol.json_length import JSON_LENGTH
from kfunc.protocol.messages import InferRequest, InferResponse

if TYPE_CHECKING:
    from kfunc.handlers.events import Events

log = logging.getLogger("kfunc.handlers")

LARGE_JSON = 64 * 1024  # bytes: from here on it pays to read numbers without a list of them
LARGE = 256 * 1024  # bytes: what is larger, without its coding, is coded and decoded in a thread

Decode = Callable[[bytes, str, str], InferRequest]
Encoded = tuple[bytes, int]
"""A body, and the length of its JSON part where binary tensors follow, else 0."""
Encode = Callable[[InferRequest, InferResponse], Encoded]


class Codec:
    """A protocol's two directions for one verb; `encode` comes with numpy, when the models are loaded.

    `decode_large` is for bodies of LARGE_JSON and more. `binary` says that binary tensors may follow its JSON.
    """

    __slots__ = ("binary", "decode", "decode_large", "encode", "explains")

    encode: Encode

    def __init__(self, decode: Decode, *, explains: bool = False, binary: bool = False) -> None:
        self.decode = self.decode_large = decode
        self.explains = explains
        self.binary = binary

    def encoded(self, exchange: Exchange, request: InferRequest, response: InferResponse) -> Encoded:
        """An answer, or a part of one; its trace, if it has one, is told how long that took."""
        trace = exchange.trace
        if trace is None:
            return self.encode(request, response)
        trace.note_encoding()
        try:
            return self.encode(request, response)
        finally:
            trace.note_encoded()


class Endpoint:
    """A path that was resolved once: what answers it, with which methods, and for which model."""

    __slots__ = ("allow", "answer", "codec", "methods", "slot")

    def __init__(self, answer: "Answer", methods: tuple[bytes, ...], slot: Slot, codec: Codec) -> None:
        self.answer = answer
        self.methods = methods
        self.allow = b", ".join(methods).decode()
        self.slot = slot
        self.codec = codec


Answer = Callable[[Exchange, Endpoint], None]


class Inference:
    """Answers `infer`, `:predict` and `:explain`."""

    def __init__(self, config: PodConfig) -> None:
        self.v1 = Codec(v1.decode_request)
        self.v1_explain = Codec(v1.decode_request, explains=True)
        self.v2_explain = Codec(v2.decode_request, explains=True, binary=True)
        self.invocations = Codec(self._decode_invocations)
        self.v2 = Codec(v2.decode_request, binary=True)
        self.v2.decode_large = self._decode_large
        # An event says its protocol only by its data.
        self.either = Codec(self._decode_either, binary="v2" in config.protocols)
        self._config = config
        self._events: Events | None = None
        self.limit = config.limits.max_body_bytes
        self.spawn = AnswerTasks(log).spawn

    def load_encoders(self) -> None:
        """Import what needs numpy: with the models, not before liveness."""
        from kfunc.handlers.encoding import encode_explanations, encode_predictions, encode_v1, encode_v2

        def encode_either(request: InferRequest, response: InferResponse) -> Encoded:
            return (encode_v1 if type(request) is v1.V1Request else encode_v2)(request, response)

        self.v1.encode, self.v1_explain.encode, self.v2.encode = encode_v1, encode_explanations, encode_v2
        self.either.encode = encode_either
        self.v2_explain.encode = encode_v2
        self.invocations.encode = encode_predictions

    def _decode_large(self, body: bytes, model_name: str, model_version: str) -> InferRequest:
        """The first large request: import what reads the others too."""
        try:
            from kfunc.handlers.large_json import decode_request
        except ImportError:  # there are no wheels of pysimdjson for this Python
            decode_request = v2.decode_request
        self.v2.decode_large = decode_request
        return decode_request(body, model_name, model_version)

    def _decode_invocations(self, body: bytes, model_name: str, model_version: str) -> InferRequest:
        """The first one: import what reads the others too."""
        from kfunc.protocol.invocations import decode_request

        self.invocations.decode = self.invocations.decode_large = decode_request
        return decode_request(body, model_name, model_version)

    def _decode_either(self, body: bytes, model_name: str, model_version: str) -> InferRequest:
        from kfunc.protocol.either import decode_request

        return decode_request(body, self._config.protocols, model_name, model_version)

    def answer(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Decode, ask the model, encode; a task is made only for what waits."""
        exchange.note = endpoint
        memo, body, codec = exchange.memo, exchange.body, endpoint.codec
        form: Form = (memo and memo.get("form")) or form_of(exchange)
        if form.unusual or not body:
            self._answer_unusual(exchange, endpoint, form)
            return
        slot = endpoint.slot
        model = slot.model or slot.taken()
        decode = codec.decode if len(body) < LARGE_JSON else codec.decode_large
        request = decode(body, slot.name, slot.version)
        trace = exchange.trace
        if trace is not None:
            trace.note_decoded()
        answer = model.infer(request, exchange)
        if type(answer) is not InferResponse:
            self.spawn(exchange, self._reply_later(exchange, form, _encode_later(exchange, codec, request, answer)))  # type: ignore[arg-type]
            return
        body, json_length = codec.encode(request, answer) if trace is None else codec.encoded(exchange, request, answer)
        if json_length or len(body) >= form.least:
            self._reply(exchange, form, body, json_length)
        else:
            exchange.respond(200, body)

    def explain(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """The same for explanations, which never come at once."""
        exchange.note = endpoint
        self._answer_unusual(exchange, endpoint, form_of(exchange))

    def stream(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Decode, ask the model, send its answer in parts."""
        from kfunc.handlers.streaming import answer

        exchange.note = endpoint
        self.spawn(exchange, answer(self, exchange, endpoint))

    # ---- requests in another form

    def _answer_unusual(self, exchange: Exchange, endpoint: Endpoint, form: Form) -> None:
        endpoint.slot.taken()
        body = exchange.body
        if not body and not form.event:
            raise InvalidRequest("the request has no body")
        if form.coding:
            from kfunc.http.coding import inflate

            try:
                body = inflate(body, form.coding, min(self.limit, LARGE))
            except PayloadTooLarge:
                if self.limit <= LARGE:
                    raise
                self.spawn(exchange, self._inflate_later(exchange, endpoint, form))
                return
        self._read(exchange, endpoint, form, body)

    async def _inflate_later(self, exchange: Exchange, endpoint: Endpoint, form: Form) -> None:
        from kfunc.http.coding import inflate

        body = await asyncio.get_running_loop().run_in_executor(None, inflate, exchange.body, form.coding, self.limit)
        self._read(exchange, endpoint, form, body)

    def _read(self, exchange: Exchange, endpoint: Endpoint, form: Form, body: bytes) -> None:
        """Go on with a body that is without its content coding."""
        if form.event:
            if self._events is None:
                from kfunc.handlers.events import Events

                self._events = Events(self._config, self)
            self._events.answer(exchange, endpoint, form, body)
            return
        if form.kind:
            coming = endpoint.slot.taken().coming()  # what the body means depends on the model
            if coming is not None:
                self.spawn(exchange, self._read_later(exchange, endpoint, form, body, coming))
                return
            request = (self._picture if form.kind == PICTURE else self._table)(endpoint, body)
        else:
            request = self.decode(endpoint, body, form.json_length)
        answer = self.ask(exchange, endpoint, request)
        if isinstance(answer, tuple):
            self._reply(exchange, form, *answer)
        else:
            self.spawn(exchange, self._reply_later(exchange, form, answer))

    async def _read_later(
        self, exchange: Exchange, endpoint: Endpoint, form: Form, body: bytes, coming: Awaitable[Loaded]
    ) -> None:
        await coming
        self._read(exchange, endpoint, form, body)

    def _picture(self, endpoint: Endpoint, body: bytes) -> InferRequest:
        """A body that is a picture. Raises UnsupportedMediaType where the model takes none."""
        model = endpoint.slot.taken()
        if not model.takes_images:
            raise UnsupportedMediaType("this model takes no image/… bodies; inference.images in func.yaml says how it would")
        from kfunc.handlers.pictures import picture_request

        return picture_request(body, model.metadata, is_v1=endpoint.codec.decode is v1.decode_request)

    def _table(self, endpoint: Endpoint, body: bytes) -> InferRequest:
        """A body that is CSV. Raises UnsupportedMediaType at any path but MLflow's."""
        if endpoint.codec is not self.invocations:
            raise UnsupportedMediaType("CSV is taken at /invocations, MLflow's path; this one takes JSON")
        from kfunc.protocol.invocations import decode_csv

        slot = endpoint.slot
        return decode_csv(body, slot.taken().metadata.inputs, slot.name, slot.version)

    def decode(self, endpoint: Endpoint, body: bytes, json_length: int | None) -> InferRequest:
        """A request, of which `json_length` bytes are JSON before binary tensors (None: all)."""
        slot, codec = endpoint.slot, endpoint.codec
        if json_length is None:
            return (codec.decode if len(body) < LARGE_JSON else codec.decode_large)(body, slot.name, slot.version)
        if not codec.binary:
            raise UnsupportedMediaType("binary tensors are the V2 protocol's: POST them to /v2/models/NAME/infer")
        from kfunc.protocol.v2_binary import decode_request

        return decode_request(body, json_length, slot.name, slot.version)

    def ask(self, exchange: Exchange, endpoint: Endpoint, request: InferRequest) -> Encoded | Awaitable[Encoded]:
        """The model's answer, encoded; an awaitable where the model waits."""
        codec, model = endpoint.codec, endpoint.slot.taken()
        if exchange.trace is not None:
            exchange.trace.note_decoded()
        answer = model.explain(request, exchange) if codec.explains else model.infer(request, exchange)
        if isinstance(answer, InferResponse):
            return codec.encoded(exchange, request, answer)
        return _encode_later(exchange, codec, request, answer)

    # ---- answers

    async def _reply_later(self, exchange: Exchange, form: Form, answer: Awaitable[Encoded]) -> None:
        self._reply(exchange, form, *await answer)

    def _reply(self, exchange: Exchange, form: Form, body: bytes, json_length: int) -> None:
        if json_length:
            self.send(exchange, form, body, OCTETS, [(JSON_LENGTH, b"%d" % json_length)])
        else:
            self.send(exchange, form, body, JSON, [])

    def send(self, exchange: Exchange, form: Form, body: bytes, kind: bytes, fields: Headers) -> None:
        """Answer with a body of the content type `kind`, in the content coding that the caller takes."""
        coding = form.answer_coding
        if coding is None or len(body) < form.least:
            exchange.respond(200, body, kind, fields)
        elif len(body) <= LARGE:
            from kfunc.http.coding import deflate

            exchange.respond(200, deflate(body, coding), kind, [*fields, *_coding_fields(coding)])
        else:
            self.spawn(exchange, self._deflate_later(exchange, coding, body, kind, fields))

    async def _deflate_later(self, exchange: Exchange, coding: bytes, body: bytes, kind: bytes, fields: Headers) -> None:
        from kfunc.http.coding import deflate

        body = await asyncio.get_running_loop().run_in_executor(None, deflate, body, coding)
        exchange.respond(200, body, kind, [*fields, *_coding_fields(coding)])


def _coding_fields(coding: bytes) -> Headers:
    return [(b"content-encoding", coding), (b"vary", b"accept-encoding")]


async def _encode_later(exchange: Exchange, codec: Codec, request: InferRequest, answer: Awaitable[InferResponse]) -> Encoded:
    return codec.encoded(exchange, request, await answer)
