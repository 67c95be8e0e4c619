"""The model repository extension (Triton's): index, load and unload. Load and unload are for the management port only."""

import logging
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.config.pod import PodConfig
from kfunc.errors import InvalidRequest, MethodNotAllowed, NotFound, Unsupported
from kfunc.handlers.repository import Repository
from kfunc.handlers.routes import Action, resolve
from kfunc.handlers.slots import READY
from kfunc.http.exchange import Exchange
from kfunc.http.tasks import AnswerTasks

log = logging.getLogger("kfunc.handlers")


class IndexRequest(Struct):
    """What an index is asked for (Repository Index Request JSON Object)."""

    ready: bool = False
    repository_name: str = ""


class ChangeRequest(Struct):
    """What a load or unload may say (Repository Load Request JSON Object)."""

    parameters: dict[str, Any] = {}


_INDEX = msgspec.json.Decoder(IndexRequest)
_CHANGE = msgspec.json.Decoder(ChangeRequest)

# Triton's and KServe's clients send them; nothing here depends on a model, so there is nothing to do for it.
TAKEN = {Action.LOAD: set[str](), Action.UNLOAD: {"unload_dependents"}}


def index(repository: Repository, body: bytes) -> list[dict[str, str]]:
    """Name, version, state and reason of each version (Repository Index Response JSON Object). Raises InvalidRequest."""
    only_ready = _read(_INDEX, body, IndexRequest()).ready
    told = [(slot, *slot.shown) for slot in repository.slots]
    return [
        {"name": slot.name, "version": slot.version, "state": state, "reason": reason}
        for slot, state, reason in told
        if state == READY or not only_ready
    ]


class ModelManagement:
    """Answers on the management port what is not /metrics."""

    stream_above = 2**62

    def __init__(self, config: PodConfig, repository: Repository) -> None:
        self._config = config
        self._repository = repository
        self._tasks = AnswerTasks(log)

    def handle(self, exchange: Exchange) -> None:
        """Index, load or unload; everything else is 404."""
        route = resolve(exchange.target)
        if route.action not in (Action.INDEX, Action.LOAD, Action.UNLOAD):
            raise NotFound("the management port serves /metrics and /v2/repository; inference has a port of its own")
        if exchange.method != b"POST":
            raise MethodNotAllowed("this path takes POST", "POST")
        if route.action == Action.INDEX:
            exchange.respond(200, msgspec.json.encode(index(self._repository, exchange.body)))
            return
        self._require_allowed()
        unknown = _read(_CHANGE, exchange.body, ChangeRequest()).parameters.keys() - TAKEN[route.action]
        if unknown:
            raise InvalidRequest(f"the parameter {min(unknown)!r} is not taken: models come from the function's own folder")
        self._tasks.spawn(exchange, self._change(exchange, route.action, route.model), to_the_end=True)

    def observe(self, exchange: Exchange) -> None:
        """Changes are not counted among the requests."""

    def _require_allowed(self) -> None:
        if not self._config.model_management:
            raise NotFound("models are not loaded or unloaded by requests here; inference.model_management: true allows it")
        if self._config.workers > 1:
            raise Unsupported("load and unload need inference.workers: 1, since each worker process holds models of its own")

    async def _change(self, exchange: Exchange, action: Action, name: str) -> None:
        if action == Action.LOAD:
            await self._repository.load(name)
        else:
            await self._repository.unload(name)
        exchange.respond(200, msgspec.json.encode({"name": name, action.value.split()[-1]: True}))


def _read(decoder: "msgspec.json.Decoder[Any]", body: bytes, empty: Any) -> Any:
    try:
        return decoder.decode(body) if body.strip() else empty
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        cause = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidRequest(f"the request is not what this path takes: {cause}") from None
