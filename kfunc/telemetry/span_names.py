"""What a request's span is called, and what it has in common with others of its path. Sans-IO.

Names are of few: a path that no protocol has is only its method (OpenTelemetry, HTTP spans: {method} {http.route}).
"""

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from msgspec import Struct

from kfunc.protocol.grpc.methods import METHODS
from kfunc.protocol.grpc.services import HEALTH, INFERENCE, REFLECTION
from kfunc.telemetry.otlp import attributes

if TYPE_CHECKING:
    from kfunc.http.exchange import Exchange

MAX_KNOWN = 1024
MAX_TARGET = 512
MAX_SHOWN = 256
# Methods of gRPC that are here: a call of another one is only `grpc`.
CALLS = frozenset(
    (*METHODS, f"/{INFERENCE}/ModelInfer", f"/{INFERENCE}/ModelStreamInfer", f"/{HEALTH}/Watch")
    + tuple(f"/{each}/ServerReflectionInfo" for each in REFLECTION)
)
# Path -> its route; the groups are model and version.
ROUTES = [
    (re.compile(pattern), route)
    for pattern, route in (
        (r"/v2/models/([^/]+)/versions/([^/]+)/infer", "/v2/models/{model}/versions/{version}/infer"),
        (r"/v2/models/([^/]+)/infer", "/v2/models/{model}/infer"),
        (r"/v2/models/([^/]+)/versions/([^/]+)/infer_stream", "/v2/models/{model}/versions/{version}/infer_stream"),
        (r"/v2/models/([^/]+)/infer_stream", "/v2/models/{model}/infer_stream"),
        (r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:predict", "/v1/models/{model}:predict"),
        (r"/v1/models/([^/:]+)(?:/versions/([^/:]+))?:explain", "/v1/models/{model}:explain"),
        (r"/v2/models/([^/]+)/versions/([^/]+)", "/v2/models/{model}/versions/{version}"),
        (r"/v2/models/([^/]+)", "/v2/models/{model}"),
        (r"/v1/models/([^/:]+)", "/v1/models/{model}"),
        (r"/v2/models", "/v2/models"),
        (r"/v1/models", "/v1/models"),
        (r"/v2/repository/index", "/v2/repository/index"),
        (r"/v2/repository/models/([^/]+)/load", "/v2/repository/models/{model}/load"),
        (r"/v2/repository/models/([^/]+)/unload", "/v2/repository/models/{model}/unload"),
        (r"/v2", "/v2"),
        (r"/openapi.json", "/openapi.json"),
        (r"/", "/"),
    )
]


class Named(Struct, frozen=True):
    """A span's name, its route, and the attributes that all requests like it have."""

    name: str
    route: str
    common: bytes


class SpanNames:
    """Remembers what was worked out, for as many paths as may be."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, str, bytes], Named] = {}

    def of(self, exchange: "Exchange") -> Named:
        """Of a request, or of a call of gRPC."""
        key = (
            exchange.method,
            exchange.target,
            exchange.version,
            exchange.called or exchange.target if exchange.in_grpc else b"",
        )
        named = self._known.get(key)
        if named is None:
            named = name(*key)
            if len(self._known) < MAX_KNOWN and len(exchange.target) <= MAX_TARGET:
                self._known[key] = named
        return named


def name(method: bytes, target: bytes, version: str, called: bytes = b"") -> Named:
    """By the path, or by the gRPC method `called`, and by semantic conventions for HTTP and RPC servers."""
    path = target.partition(b"?")[0].decode("latin-1")
    verb, route, model, model_version = method.decode("latin-1"), "", "", ""
    for pattern, known in ROUTES:
        match = pattern.fullmatch(path)
        if match is not None:
            model, model_version = [unquote(group or "")[:MAX_SHOWN] for group in (*match.groups(), "", "")[:2]]
            route = known
            break
    values = {"kfunc.model.name": model, "kfunc.model.version": model_version}
    if called:
        given = called.decode("latin-1")
        service, _, asked = given[1:].rpartition("/") if given in CALLS else ("", "", "")
        values |= {"rpc.system": "grpc", "rpc.service": service, "rpc.method": asked}
        shown = f"{service}/{asked}" if asked else "grpc"
    else:
        values |= {
            "http.request.method": verb or "_OTHER",
            "url.path": path[:MAX_SHOWN],
            "url.scheme": "http",
            "http.route": route,
            "network.protocol.name": "http",
            "network.protocol.version": version,
        }
        shown = f"{verb or 'HTTP'} {route}".strip()  # by the conventions, where the method is not known
    return Named(shown, route, attributes({key: value for key, value in values.items() if value}))
