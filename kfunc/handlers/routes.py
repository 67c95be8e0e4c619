"""Paths of the V1 and V2 protocols → what they ask for. Sans-IO."""

from enum import Enum
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from kfunc.errors import NotFound, UnsupportedMediaType


class Action(Enum):
    """What a path asks for."""

    ROOT = "root"
    OPENAPI = "openapi"
    SERVER_METADATA = "server metadata"
    SERVER_LIVE = "server live"
    SERVER_READY = "server ready"
    MODEL_LIST = "model list"
    MODEL_METADATA = "model metadata"
    MODEL_READY = "model ready"
    INFER = "infer"
    INFER_STREAM = "infer stream"
    V1_LIST = "v1 list"
    V1_STATUS = "v1 status"
    V1_PREDICT = "v1 predict"
    V1_EXPLAIN = "v1 explain"
    EXPLAIN = "explain"
    INVOCATIONS = "invocations"
    INDEX = "repository index"
    LOAD = "repository load"
    UNLOAD = "repository unload"


V1_ACTIONS = frozenset((Action.V1_LIST, Action.V1_STATUS, Action.V1_PREDICT, Action.V1_EXPLAIN))
V2_ACTIONS = frozenset(
    (Action.SERVER_METADATA, Action.MODEL_LIST, Action.MODEL_METADATA, Action.MODEL_READY, Action.INFER)
    + (Action.INFER_STREAM, Action.EXPLAIN, Action.INDEX)
)
POSTED = frozenset(
    (Action.INFER, Action.INFER_STREAM, Action.V1_PREDICT, Action.V1_EXPLAIN, Action.INVOCATIONS, Action.INDEX)
    + (Action.EXPLAIN, Action.LOAD, Action.UNLOAD)
)


class Route(Struct, frozen=True):
    """A resolved path; empty `model` and `version` where it names none."""

    action: Action
    model: str = ""
    version: str = ""


FIXED = {
    (): Route(Action.ROOT),
    ("openapi.json",): Route(Action.OPENAPI),
    ("v2",): Route(Action.SERVER_METADATA),
    ("v2", "health", "live"): Route(Action.SERVER_LIVE),
    ("v2", "health", "ready"): Route(Action.SERVER_READY),
    ("v2", "models"): Route(Action.MODEL_LIST),
    ("v2", "repository", "index"): Route(Action.INDEX),
    ("v1", "models"): Route(Action.V1_LIST),
    ("invocations",): Route(Action.INVOCATIONS),
    ("ping",): Route(Action.SERVER_READY),
}
V2_ENDS = {
    (): Action.MODEL_METADATA,
    ("ready",): Action.MODEL_READY,
    ("infer",): Action.INFER,
    ("infer_stream",): Action.INFER_STREAM,
    ("explain",): Action.EXPLAIN,
}
GRPC = "inference.GRPCInferenceService"
V1_VERBS = {"": Action.V1_STATUS, "predict": Action.V1_PREDICT, "explain": Action.V1_EXPLAIN}
REPOSITORY_ENDS = {"load": Action.LOAD, "unload": Action.UNLOAD}


def resolve(target: bytes) -> Route:
    """The route of a request's target. Raises NotFound."""
    try:
        path = tuple(unquote_to_bytes(part).decode() for part in target.partition(b"?")[0].strip(b"/").split(b"/"))
    except UnicodeDecodeError:
        raise NotFound("the path is not UTF-8") from None
    path = () if path == ("",) else path
    route = FIXED.get(path)
    if route is None and path[:2] == ("v2", "models"):
        route = _v2_model(path[2:])
    if route is None and path[:2] == ("v1", "models"):
        route = _v1_model(path[2:])
    if route is None and path[:3] == ("v2", "repository", "models") and len(path) == 5 and path[3]:
        action = REPOSITORY_ENDS.get(path[4])
        route = None if action is None else Route(action, path[3])
    if route is None and path[:1] == (GRPC,):
        raise UnsupportedMediaType(
            "gRPC needs HTTP/2 and the content type application/grpc; on Knative inference.protocols must name grpc, "
            "so that the port is h2c"
        )
    if route is None:
        raise NotFound("no such path; the protocols are under /v2 and /v1/models")
    return route


def _v2_model(rest: tuple[str, ...]) -> Route | None:
    if not rest or not rest[0]:
        return None
    name, version, end = rest[0], "", rest[1:]
    if len(end) >= 2 and end[0] == "versions" and end[1]:
        version, end = end[1], end[2:]
    action = V2_ENDS.get(end)
    return None if action is None else Route(action, name, version)


def _v1_model(rest: tuple[str, ...]) -> Route | None:
    """`NAME[/versions/VERSION][:VERB]`; the versions are TensorFlow Serving's."""
    if len(rest) not in (1, 3) or (len(rest) == 3 and rest[1] != "versions"):
        return None
    last, colon, verb = rest[-1].rpartition(":")
    if not colon:
        last, verb = verb, ""
    action = V1_VERBS.get(verb)
    if action is None or not last or not rest[0] or (colon and not verb):
        return None
    return Route(action, last) if len(rest) == 1 else Route(action, rest[0], last)
