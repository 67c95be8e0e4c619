"""The layer in front of a sidecar's application: requests of the protocol that the server lacks are asked in the other one."""

import logging
import re
from collections.abc import Callable
from time import monotonic

import msgspec
import orjson

from kfunc.errors import BadGateway, InvalidRequest, KfuncError
from kfunc.grpc.asked import Asked, Taker, field_of, head_of
from kfunc.http.exchange import Application, Exchange
from kfunc.protocol import v1, v2, v2_binary
from kfunc.protocol.json_length import JSON_LENGTH, number_of
from kfunc.protocol.messages import InferRequest, ModelMetadata
from kfunc.translation import forms

METADATA_S = 60.0
"""After which a model is asked again what it takes: it may be another one."""
MAX_MODELS = 1000

MODEL = rb"(?:/models/([^/:?]+)(?:/versions/([^/:?]+))?)"
PREDICT = re.compile(rb"/v1" + MODEL + rb":predict")
STATUS = re.compile(rb"/v1" + MODEL)
INFER = re.compile(rb"/v2" + MODEL + rb"/infer")
READY = re.compile(rb"/v2" + MODEL + rb"/ready|/v2/health/ready")

log = logging.getLogger("kfunc.http")
Answered = Callable[[int, bytes, bytes], None]


class TranslatingApplication:
    """`speaks` is the server's only protocol, `model` the one that the server's readiness is asked of.

    What needs no translation goes to `inner` as it came. Bodies are read whole, at most `max_body_bytes` of them.
    """

    stream_above = 2**62

    def __init__(self, inner: Application, speaks: str, model: str, max_body_bytes: int) -> None:
        self.inner = inner
        self._max_body_bytes = max_body_bytes
        self._speaks = speaks
        self._model = model.encode()
        self._metadata: dict[bytes, tuple[float, ModelMetadata]] = {}

    def handle(self, exchange: Exchange) -> None:
        """Translate, or pass on."""
        target, post, reads = exchange.target, exchange.method == b"POST", exchange.method in (b"GET", b"HEAD")
        if not target.startswith(b"/v1" if self._speaks == "v2" else b"/v2"):
            self.inner.handle(exchange)
        elif post and self._speaks == "v2" and (found := PREDICT.fullmatch(target)):
            self._predict(exchange, found)
        elif post and self._speaks == "v1" and (found := INFER.fullmatch(target)):
            self._infer(exchange, found)
        elif reads and self._speaks == "v2" and (found := STATUS.fullmatch(target)):
            self._ready(exchange, found, b"/v2" + _path(found) + b"/ready")
        elif reads and self._speaks == "v1" and (found := READY.fullmatch(target)):
            self._ready(exchange, found, b"/v1" + (_path(found) if found[1] else b"/models/" + self._model))
        else:
            self.inner.handle(exchange)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended: so has what was asked in its place, which is what the inner application knows."""
        asked = exchange.note
        if type(asked) is not _Inner:
            self.inner.observe(exchange)
            return
        if exchange.error is not None or not exchange.status:  # its caller has not got the server's answer
            asked.status, asked.error = exchange.status, exchange.error
        self._end(exchange, asked)

    def _end(self, exchange: Exchange, asked: "_Inner") -> None:
        """Nothing more comes of what was asked. It and its exchange know of each other: they would wait for the collector."""
        exchange.note = exchange.on_cancel = None
        asked.cancelled = True
        self.inner.observe(asked)

    # ---- V1 for a server of V2

    def _predict(self, exchange: Exchange, found: "re.Match[bytes]") -> None:
        request = v1.decode_request(self._body(exchange))
        path = b"/v2" + _path(found)
        known = self._metadata.get(path)
        if known is not None and monotonic() - known[0] < METADATA_S:
            self._predict_as(exchange, request, path, known[1])
            return

        def learned(status: int, lines: bytes, body: bytes) -> None:
            if status != 200:
                exchange.relay(status, lines, body)
                return
            self._end(exchange, exchange.note)
            metadata = _metadata_of(body)
            if len(self._metadata) >= MAX_MODELS:
                self._metadata.clear()
            self._metadata[path] = monotonic(), metadata
            self._predict_as(exchange, request, path, metadata)

        self._ask(exchange, b"GET", path, b"", learned)

    def _predict_as(self, exchange: Exchange, request: v1.V1Request, path: bytes, metadata: ModelMetadata) -> None:
        columnar = request.columnar
        body = forms.v2_request(request, metadata)
        self._ask(
            exchange,
            b"POST",
            path + b"/infer",
            body,
            _answer(exchange, lambda given: forms.v1_answer(given, columnar=columnar)),
        )

    # ---- V2 for a server of V1

    def _infer(self, exchange: Exchange, found: "re.Match[bytes]") -> None:
        request = _decode(exchange, self._body(exchange))
        body = forms.v1_request(request)
        model, version = (each.decode("utf-8", "replace") if each else "" for each in found.groups())
        self._ask(
            exchange,
            b"POST",
            b"/v1" + _path(found) + b":predict",
            body,
            _answer(exchange, lambda given: forms.v2_answer(given, request, model, version)),
        )

    # ---- both

    def _body(self, exchange: Exchange) -> bytes:
        """Without its content codings. Raises UnsupportedMediaType, PayloadTooLarge, InvalidRequest."""
        coding = exchange.headers.get(b"content-encoding")
        if coding is None:
            return exchange.body
        from kfunc.http.coding import inflate  # start-up time

        return inflate(exchange.body, coding, self._max_body_bytes)

    def _ready(self, exchange: Exchange, found: "re.Match[bytes]", target: bytes) -> None:
        def answered(status: int, lines: bytes, body: bytes) -> None:
            if status != 200:
                exchange.relay(status, lines, body)
                return
            ready = _says_ready(body)
            named = {"name": found[1].decode("utf-8", "replace")} if found[1] else {}
            exchange.respond(200 if ready or self._speaks == "v2" else 503, orjson.dumps({**named, "ready": ready}))

        self._ask(exchange, b"GET", target, b"", answered)

    def _ask(self, exchange: Exchange, method: bytes, target: bytes, body: bytes, answered: Answered) -> None:
        """Ask the inner application in the exchange's place."""
        taker = Taker(_Asker(exchange, answered))
        exchange.note = asked = _Inner(exchange, taker, method, target, head_of(exchange, target, None))
        asked.body, asked.trace = body, exchange.trace
        exchange.on_cancel = asked.cancel
        try:
            self.inner.handle(asked)
        except KfuncError as error:
            exchange.fail(error)


class _Inner(Asked):
    """What is asked in the place of another request."""

    in_grpc = False


class _Asker:
    """Takes the answer to what was asked."""

    def __init__(self, exchange: Exchange, answered: Answered) -> None:
        self._exchange = exchange
        self._answered = answered

    def answered(self, status: int, lines: bytes, body: bytes) -> None:
        """The whole answer."""
        if self._exchange.cancelled:
            return
        asked = self._exchange.note
        asked.cancelled = True  # as an exchange is that a connection has answered
        self._exchange.batch_s = asked.batch_s
        try:
            self._answered(status, lines, body)
        except KfuncError as error:
            self._exchange.fail(error)
        except Exception:  # it would end the connection to the server, and its caller would wait for ever
            target = self._exchange.target.decode("latin-1")
            log.exception("an answer could not be translated: %s", target, extra={"exchange": self._exchange})
            self._exchange.fail(KfuncError("internal error; the log of the server says more"))

    def broken_off(self) -> None:
        """It began, and will not end."""
        self._exchange.note.cancelled = True
        self._exchange.fail(BadGateway("the server broke off its answer"))


def _answer(exchange: Exchange, translate: Callable[[bytes], bytes]) -> Answered:
    """Answers with what `translate` makes of a good answer, and with any other as it is: errors are the same in both."""

    def answered(status: int, lines: bytes, body: bytes) -> None:
        if status != 200:
            exchange.relay(status, lines, body)
            return
        if field_of(lines, b"content-encoding") or field_of(lines, JSON_LENGTH):
            raise BadGateway("the server's answer is not plain JSON")
        exchange.respond(200, translate(body))

    return answered


def _path(found: "re.Match[bytes]") -> bytes:
    name, version = found[1], found[2]
    return b"/models/%b" % name + (b"/versions/%b" % version if version else b"")


def _decode(exchange: Exchange, body: bytes) -> InferRequest:
    length = exchange.headers.get(JSON_LENGTH)
    if length is None:
        return v2.decode_request(body)
    json_length = number_of(length)
    if json_length is None:
        raise InvalidRequest("Inference-Header-Content-Length must be a number of bytes")
    return v2_binary.decode_request(body, json_length)


def _metadata_of(body: bytes) -> ModelMetadata:
    try:
        return msgspec.json.decode(body, type=ModelMetadata)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return forms.NOTHING_KNOWN  # then the values say what they are


def _says_ready(body: bytes) -> bool:
    """KServe's V1 has `ready`, TensorFlow Serving the states of versions; V2 says it by its status alone."""
    try:
        document = orjson.loads(body) if body else {}
    except ValueError:
        return True
    if not isinstance(document, dict):
        return True
    if "model_version_status" in document:
        return b'"AVAILABLE"' in body
    return str(document.get("ready", True)).lower() == "true"
