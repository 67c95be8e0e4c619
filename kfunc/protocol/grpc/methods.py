"""Methods that are a question of REST's: how each is asked there, and its answer as a message."""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from kfunc.errors import BadGateway, InvalidRequest, NotFound
from kfunc.protocol.grpc import schema, services
from kfunc.protocol.grpc.rest import model_path, read_error
from kfunc.protocol.grpc.schema import Schema
from kfunc.protocol.grpc.services import HEALTH, INFERENCE, SERVICES


class Question(NamedTuple):
    """A request to REST."""

    method: bytes
    target: bytes
    body: bytes = b""


class Method(NamedTuple):
    """`ask` makes REST's question of a message, `answer` a message of its status and JSON."""

    takes: Schema
    ask: Callable[[dict[str, Any]], Question]
    gives: Schema
    answer: Callable[[dict[str, Any], Any], dict[str, Any]]
    unavailable: dict[str, Any] | None = None
    """The answer where REST's is 503."""

    def read(self, message: dict[str, Any], status: int, body: bytes, retry_after: bytes) -> bytes:
        """The answer as a message. Raises Relayed, BadGateway."""
        if status == 503 and self.unavailable is not None:
            return schema.encode(self.gives, self.unavailable)
        if status != 200:
            raise read_error(status, body, retry_after)
        try:
            values = self.answer(message, msgspec.json.decode(body))
            return schema.encode(self.gives, values)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, AttributeError, TypeError):
            raise BadGateway("the upstream's answer is not as the V2 protocol says") from None


def _model(end: str) -> Callable[[dict[str, Any]], Question]:
    def ask(message: dict[str, Any]) -> Question:
        return Question(b"GET", model_path(named(message["name"]), message["version"], end))

    return ask


def named(model: str) -> str:
    """The model's name, which REST has in its path. Raises InvalidRequest where there is none."""
    if not model:
        raise InvalidRequest("the name of the model is missing")
    return model


def _change(verb: str) -> Callable[[dict[str, Any]], Question]:
    def ask(message: dict[str, Any]) -> Question:
        name = named(message["model_in_repository"] or message["model_name"])
        body = msgspec.json.encode({"parameters": {each["key"]: True for each in message["parameters"]}})
        return Question(b"POST", b"/v2/repository" + model_path(name, "", f"/{verb}").removeprefix(b"/v2"), body)

    return ask


def _health(message: dict[str, Any]) -> Question:
    if message.get("service", "") not in ("", *SERVICES):
        raise NotFound(f"no service {message['service']!r} here")
    return Question(b"GET", b"/v2/health/ready")


def _told(message: dict[str, Any], document: Any) -> dict[str, Any]:
    return dict(document)


def _changed(field: str) -> Callable[[dict[str, Any], Any], dict[str, Any]]:
    return lambda message, document: {"model_name": document["name"], field: True}


LIVE = Method({}, lambda message: Question(b"GET", b"/v2/health/live"), services.LIVE, lambda *_: {"live": True})
READY = Method({}, _health, services.READY, lambda *_: {"ready": True}, {"ready": False})
MODEL_READY = Method(services.MODEL, _model("/ready"), services.READY, lambda *_: {"ready": True}, {"ready": False})
SERVER = Method({}, lambda message: Question(b"GET", b"/v2"), services.SERVER_METADATA, _told)
MODEL = Method(services.MODEL, _model(""), services.MODEL_METADATA, _told)
INDEX = Method(
    services.INDEX_REQUEST,
    lambda message: Question(b"POST", b"/v2/repository/index", msgspec.json.encode({"ready": message["ready"]})),
    services.INDEX,
    lambda message, document: {"models": document},
)
LOAD = Method(services.CHANGE_REQUEST, _change("load"), services.LOADED, _changed("isLoaded"))
UNLOAD = Method(services.CHANGE_REQUEST, _change("unload"), services.UNLOADED, _changed("isUnloaded"))
CHECK = Method(
    services.HEALTH_REQUEST,
    _health,
    services.HEALTH_ANSWER,
    lambda *_: {"status": services.SERVING},
    {"status": services.NOT_SERVING},
)

METHODS = {
    f"/{INFERENCE}/ServerLive": LIVE,
    f"/{INFERENCE}/ServerReady": READY,
    f"/{INFERENCE}/ModelReady": MODEL_READY,
    f"/{INFERENCE}/ServerMetadata": SERVER,
    f"/{INFERENCE}/ModelMetadata": MODEL,
    f"/{INFERENCE}/RepositoryIndex": INDEX,
    f"/{INFERENCE}/RepositoryModelLoad": LOAD,
    f"/{INFERENCE}/RepositoryModelUnload": UNLOAD,
    f"/{HEALTH}/Check": CHECK,
}
