"""Offering gRPC on a server without a price for its start: what answers calls is imported when the server is ready."""

import asyncio
import importlib
from typing import TYPE_CHECKING

from kfunc.http.exchange import Application
from kfunc.http.server import HttpServer

if TYPE_CHECKING:
    from kfunc.grpc.front import Direct


def offer(server: HttpServer, direct: "Direct | None" = None) -> None:
    """From now on `server` answers calls; `direct` asks the model where it is in this process."""

    def select(target: bytes) -> Application:
        from kfunc.grpc.front import GrpcFront

        server.grpc = GrpcFront(server, direct).select
        return server.grpc(target)

    server.grpc = select


def prepare() -> None:
    """Import what the first call would wait for: HTTP/2 as well."""
    asyncio.get_running_loop().run_in_executor(None, _import)


def _import() -> None:
    for name in ("kfunc.http.h2.connection", "kfunc.grpc.front"):
        importlib.import_module(name)
