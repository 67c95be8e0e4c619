"""The handler's REST application: a path is resolved once, then its endpoint answers.

Inference is `inference.py`'s; what the server and its models say of themselves is here.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

import kfunc
from kfunc.config.pod import PodConfig
from kfunc.errors import MethodNotAllowed, NotFound, Unavailable
from kfunc.handlers.forms import form_of, require_event
from kfunc.handlers.inference import Answer, Codec, Endpoint, Inference
from kfunc.handlers.management import index
from kfunc.handlers.model_metrics import ModelMetrics
from kfunc.handlers.repository import Repository
from kfunc.handlers.routes import POSTED, V1_ACTIONS, V2_ACTIONS, Action, resolve
from kfunc.handlers.slots import Served, Slot
from kfunc.http.exchange import Exchange
from kfunc.http.wire import JSON
from kfunc.protocol import v2
from kfunc.protocol.messages import InferRequest, InferResponse
from kfunc.telemetry.requests import RequestRecorder

EXTENSIONS = ["binary_tensor_data", "kfunc.cloudevents", "kfunc.content_coding", "kfunc.openapi"]
MANAGED = ["model_repository"]
MAX_ENDPOINTS = 1024
MAX_TARGET = 512
GET, POST = (b"GET", b"HEAD"), (b"POST",)


class Application:
    """Answers V1 and V2 for one function. Until its repository has models, readiness and inference are 503."""

    stream_above = 2**62  # the codecs want whole bodies

    def __init__(
        self,
        config: PodConfig,
        recorder: RequestRecorder,
        all_loaded: Callable[[], bool] = lambda: True,
        repository: Repository | None = None,
        models: ModelMetrics | None = None,
    ) -> None:
        self._config = config
        self._all_loaded = all_loaded
        self._recorder = recorder
        self._models = models
        self.repository = repository or Repository(config)
        self._inference = Inference(config)
        self._endpoints: dict[bytes, Endpoint] = {}
        infer = self._inference.answer
        self._answers: dict[Action, Answer] = {
            Action.ROOT: self._root,
            Action.OPENAPI: self._openapi,
            Action.SERVER_METADATA: self._server_metadata,
            Action.SERVER_LIVE: self._live,
            Action.SERVER_READY: self._server_ready,
            Action.MODEL_LIST: self._model_list,
            Action.MODEL_METADATA: self._model_metadata,
            Action.MODEL_READY: self._model_ready,
            Action.INFER: infer,
            Action.INFER_STREAM: self._inference.stream,
            Action.INDEX: self._index,
            Action.V1_LIST: self._model_list,
            Action.V1_STATUS: self._v1_status,
            Action.V1_PREDICT: infer,
            Action.V1_EXPLAIN: self._inference.explain,
            Action.EXPLAIN: self._inference.explain,
            Action.INVOCATIONS: infer,
        }

    def serve(self, model: Served) -> None:
        """From now on `model` answers as the default one."""
        self.start()
        self.repository.serve(model)

    def start(self) -> None:
        """The models are there, and numpy with them."""
        self._inference.load_encoders()

    def handle(self, exchange: Exchange) -> None:
        """Answer an exchange; the endpoints of paths that were good are remembered."""
        endpoint = self._endpoints.get(exchange.target)
        if endpoint is None:
            endpoint = self._resolve(exchange.target)
        if exchange.method not in endpoint.methods:
            raise MethodNotAllowed(f"this path takes {endpoint.allow}", endpoint.allow)
        endpoint.answer(exchange, endpoint)

    def infer(self, exchange: Exchange, request: InferRequest) -> InferResponse | Awaitable[InferResponse]:
        """Inference that another protocol has decoded; `exchange` asks for it by REST's path. Raises KfuncError."""
        endpoint = self._endpoints.get(exchange.target) or self._resolve(exchange.target)
        exchange.note = endpoint
        slot = endpoint.slot
        request.model_name, request.model_version = slot.name, slot.version
        return (slot.model or slot.taken()).infer(request, exchange)

    def observe(self, exchange: Exchange) -> None:
        """An exchange has ended."""
        endpoint = exchange.note
        self._recorder.record(exchange, endpoint is not None)
        if endpoint is not None and self._models is not None:
            self._models.observe(endpoint.slot, exchange)

    def _resolve(self, target: bytes) -> Endpoint:
        route = resolve(target)
        action, protocols = route.action, self._config.protocols
        if action in (Action.LOAD, Action.UNLOAD):
            raise NotFound("models are loaded and unloaded on the handler's management port (--manage), not on this one")
        if action in V1_ACTIONS and "v1" not in protocols:
            raise NotFound("the V1 protocol is not served here (inference.protocols)")
        if action in V2_ACTIONS and "v2" not in protocols:
            raise NotFound("the V2 protocol is not served here (inference.protocols)")
        slot = self.repository.find(route.model, route.version)
        codec = self._codec(action)
        methods = POST if action in POSTED else GET + POST if action == Action.ROOT else GET
        endpoint = Endpoint(self._answers[action], methods, slot, codec)
        if len(self._endpoints) < MAX_ENDPOINTS and len(target) <= MAX_TARGET:
            self._endpoints[target] = endpoint
        return endpoint

    def _codec(self, action: Action) -> Codec:
        if action == Action.V1_EXPLAIN:
            return self._inference.v1_explain
        if action == Action.EXPLAIN:
            return self._inference.v2_explain
        if action == Action.ROOT:
            return self._inference.either
        if action == Action.INVOCATIONS:
            return self._inference.invocations
        return self._inference.v1 if action in V1_ACTIONS else self._inference.v2

    def _respond(self, exchange: Exchange, document: Any) -> None:
        exchange.respond(200, msgspec.json.encode(document))

    # ---- the server

    def _root(self, exchange: Exchange, endpoint: Endpoint) -> None:
        if exchange.method == b"POST":
            require_event(exchange)
            self._inference.answer(exchange, endpoint)
            return
        self._respond(exchange, {"name": self._config.function, "status": "alive", "protocols": self._config.protocols})

    def _server_metadata(self, exchange: Exchange, endpoint: Endpoint) -> None:
        extensions = [*EXTENSIONS, *(MANAGED if self._config.model_management else ())]
        self._respond(exchange, {"name": "kfunc", "version": kfunc.__version__, "extensions": extensions})

    def _live(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, {"live": True})

    def _server_ready(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._require_ready()
        self._respond(exchange, {"ready": True})

    def _require_ready(self, slot: Slot | None = None) -> None:
        self.repository.require_ready(slot)
        if not self._all_loaded():
            raise Unavailable("another worker process is still loading its models")

    def _openapi(self, exchange: Exchange, endpoint: Endpoint) -> None:
        from kfunc.handlers.openapi import document

        told = document(self._config, self.repository.described, self.repository.explained)
        self._inference.send(exchange, form_of(exchange), msgspec.json.encode(told), JSON, [])

    # ---- the models

    def _model_list(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, {"models": self.repository.names})

    def _model_metadata(self, exchange: Exchange, endpoint: Endpoint) -> None:
        model = endpoint.slot.model
        if model is not None and (coming := model.coming()) is not None:
            self._inference.spawn(exchange, self._metadata_later(exchange, endpoint, coming))
            return
        self._respond(exchange, v2.metadata_document(self.repository.metadata(endpoint.slot)))

    async def _metadata_later(self, exchange: Exchange, endpoint: Endpoint, coming: Awaitable[Any]) -> None:
        await coming
        self._respond(exchange, v2.metadata_document(self.repository.metadata(endpoint.slot)))

    def _model_ready(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._require_ready(endpoint.slot)
        self._respond(exchange, {"name": endpoint.slot.name, "ready": True})

    def _v1_status(self, exchange: Exchange, endpoint: Endpoint) -> None:
        try:
            self.repository.require_ready(endpoint.slot)
            ready = True
        except (Unavailable, NotFound):
            ready = False
        self._respond(exchange, {"name": endpoint.slot.name, "ready": ready})

    def _index(self, exchange: Exchange, endpoint: Endpoint) -> None:
        self._respond(exchange, index(self.repository, exchange.body))
