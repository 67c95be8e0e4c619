"""The handler's REST application: requests → codec → Model → codec → answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

import kfunc
from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, KfuncError, MethodNotAllowed, NotFound, Unavailable, UnsupportedMediaType
from kfunc.handlers.routes import POSTED, V1_ACTIONS, V2_ACTIONS, Action, resolve
from kfunc.http.exchange import Exchange
from kfunc.protocol import v1, v2
from kfunc.protocol.contract import Model
from kfunc.protocol.messages import InferRequest, InferResponse
from kfunc.telemetry.requests import RequestRecorder

log = logging.getLogger("kfunc.handlers")

EXTENSIONS: list[str] = []
MAX_ENDPOINTS = 1024
MAX_TARGET = 512

Decode = Callable[[bytes, str, str], InferRequest]
Encode = Callable[[InferResponse], bytes]


class Codec:
    """A protocol's two directions; `encode` comes with numpy, when the model is loaded."""

    __slots__ = ("decode", "encode")

    encode: Encode

    def __init__(self, decode: Decode) -> None:
        self.decode = decode


class Endpoint:
    """A path that was resolved once: what answers it, and with which methods."""

    __slots__ = ("allow", "answer", "codec", "methods", "version")

    def __init__(self, answer: "Answer", version: str, codec: "Codec", *, posted: bool) -> None:
        self.answer = answer
        self.codec = codec
        self.version = version
        self.methods = (b"POST",) if posted else (b"GET", b"HEAD")
        self.allow = "POST" if posted else "GET, HEAD"


Answer = Callable[[Exchange, Endpoint], None]


class Application:
    """Answers V1 and V2 for one function. Until `serve` brings a model, readiness and inference are 503."""

    stream_above = 2**62  # the codecs want whole bodies

    def __init__(self, config: PodConfig, recorder: RequestRecorder, all_loaded: Callable[[], bool] = lambda: True) -> None:
        self._config = config
        self._all_loaded = all_loaded
        self._recorder = recorder
        self._model: Model | None = None
        self._codec_v1 = Codec(v1.decode_request)
        self._codec_v2 = Codec(v2.decode_request)
        self._tasks: set[asyncio.Task[None]] = set()
        self._endpoints: dict[bytes, Endpoint] = {}
        self._answers: dict[Action, Answer] = {
            Action.ROOT: self._root,
            Action.SERVER_METADATA: self._server_metadata,
            Action.SERVER_LIVE: self._live,
            Action.SERVER_READY: self._server_ready,
            Action.MODEL_METADATA: self._model_metadata,
            Action.MODEL_READY: self._model_ready,
            Action.INFER: self._infer,
            Action.V1_LIST: self._v1_list,
            Action.V1_STATUS: self._v1_status,
            Action.V1_PREDICT: self._infer,
        }

    def serve(self, model: Model) -> None:
        """From now on `model` answers."""
        from kfunc.handlers.encoding import encode_v1, encode_v2  # numpy comes with the model, not before liveness

        self._codec_v1.encode, self._codec_v2.encode = encode_v1, encode_v2
        self._model = model

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange; the endpoints of paths that were good are remembered."""
        endpoint = self._endpoints.get(exchange.target)
        if endpoint is None:
            endpoint = self._resolve(exchange.target)
        if exchange.method not in endpoint.methods:
            raise MethodNotAllowed(f"this path takes {endpoint.allow}", endpoint.allow)
        endpoint.answer(exchange, endpoint)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        self._recorder.record(exchange, exchange.note is not None)

    def _resolve(self, target: bytes) -> Endpoint:
        route = resolve(target)
        model, protocols = self._config.model, self._config.protocols
        if route.action in V1_ACTIONS and "v1" not in protocols:
            raise NotFound("the V1 protocol is not served here (inference.protocols)")
        if route.action in V2_ACTIONS and "v2" not in protocols:
            raise NotFound("the V2 protocol is not served here (inference.protocols)")
        if route.model and route.model != model.name:
            raise NotFound(f"no model {route.model!r} here; the model is {model.name!r}")
        if route.version and route.version != model.version:
            raise NotFound(f"model {model.name!r} has no version {route.version!r}; its version is {model.version!r}")
        codec = self._codec_v1 if route.action in V1_ACTIONS else self._codec_v2
        endpoint = Endpoint(self._answers[route.action], route.version, codec, posted=route.action in POSTED)
        if len(self._endpoints) < MAX_ENDPOINTS and len(target) <= MAX_TARGET:
            self._endpoints[target] = endpoint
        return endpoint

    def _loaded(self) -> Model:
        if self._model is None:
            raise Unavailable(f"the model {self._config.model.name} is loading")
        return self._model

    # ---- inference

    def _infer(self, exchange: Exchange, endpoint: Endpoint) -> None:
        """Decode, ask the model, encode; a task is made only for a model that waits."""
        exchange.note = endpoint
        memo = exchange.memo
        if memo is None or not exchange.body or "readable" not in memo:
            _require_json(exchange)
        model = self._model or self._loaded()
        codec = endpoint.codec
        answer = model.infer(codec.decode(exchange.body, self._config.model.name, endpoint.version), exchange)
        if type(answer) is InferResponse:
            exchange.respond(200, codec.encode(answer))
            return
        task = asyncio.get_running_loop().create_task(self._infer_later(exchange, answer, codec.encode))  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _infer_later(self, exchange: Exchange, answer: Awaitable[InferResponse], encode: Encode) -> None:
        try:
            exchange.respond(200, encode(await answer))
        except KfuncError as error:
            exchange.fail(error)
        except Exception:
            log.exception("a request failed")
            exchange.fail(KfuncError("internal error; the log of the handler says more"))

    # ---- everything else

    def _respond(self, exchange: Exchange, document: Any) -> None:
        exchange.respond(200, msgspec.json.encode(document))

    def _root(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, {"name": self._config.function, "status": "alive", "protocols": self._config.protocols})

    def _server_metadata(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, {"name": "kfunc", "version": kfunc.__version__, "extensions": EXTENSIONS})

    def _live(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, {"live": True})

    def _server_ready(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._require_ready()
        self._respond(exchange, {"ready": True})

    def _require_ready(self) -> None:
        if not self._loaded().ready or not self._all_loaded():
            raise Unavailable(f"the model {self._config.model.name} is not ready")

    def _model_ready(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._require_ready()
        self._respond(exchange, {"name": self._config.model.name, "ready": True})

    def _model_metadata(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, v2.metadata_document(self._loaded().metadata))

    def _v1_list(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, {"models": [self._config.model.name]})

    def _v1_status(self, exchange: Exchange, endpoint: Endpoint) -> None:
        ready = self._model is not None and self._model.ready
        self._respond(exchange, {"name": self._config.model.name, "ready": ready})


def _require_json(exchange: Exchange) -> None:
    """A body must be plain JSON; its content type is not asked, since many clients send none or a form's."""
    if exchange.headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("a compressed body is not read; send it without Content-Encoding")
    if b"inference-header-content-length" in exchange.headers:
        raise UnsupportedMediaType("the binary tensor extension is not offered (see extensions in /v2)")
    if exchange.memo is not None:
        exchange.memo["readable"] = True
    if not exchange.body:
        raise InvalidRequest("the request has no body")
