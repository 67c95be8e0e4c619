"""Which method a call asks for, and what answers it. A server's `grpc`."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from kfunc.errors import KfuncError, Unsupported
from kfunc.grpc.asked import Asked, unasked
from kfunc.grpc.infer_stream import InferStream
from kfunc.grpc.observers import Reflection, Watch
from kfunc.grpc.stream import StreamCall
from kfunc.grpc.unary import InferCall, QuestionCall
from kfunc.http.exchange import Application, Exchange
from kfunc.http.server import HttpServer
from kfunc.protocol.grpc.methods import METHODS, Method
from kfunc.protocol.grpc.plans import Plans
from kfunc.protocol.grpc.services import HEALTH, INFERENCE, REFLECTION
from kfunc.protocol.grpc.status import code_of
from kfunc.protocol.messages import InferRequest, InferResponse

Direct = Callable[[Exchange, InferRequest], InferResponse | Awaitable[InferResponse]]
"""Inference without a detour over REST's bytes. Raises KfuncError."""

log = logging.getLogger("kfunc.grpc")

WHOLE_BODIES = 2**62
TICK_S = 0.5

STREAMS: dict[str, type[StreamCall]] = {
    f"/{INFERENCE}/ModelStreamInfer": InferStream,
    f"/{HEALTH}/Watch": Watch,
    **{f"/{name}/ServerReflectionInfo": Reflection for name in REFLECTION},
}


class GrpcFront:
    """Answers the calls that come to `server`, by asking its application."""

    def __init__(self, server: HttpServer, direct: Direct | None = None) -> None:
        self.application = server.application
        self.limits = server.limits
        self.direct = direct
        self.plans = Plans()
        self._server = server
        self._tasks: set[asyncio.Task[None]] = set()
        self._methods: dict[bytes, Application] = {f"/{INFERENCE}/ModelInfer".encode(): Infer(self)}
        self._methods |= {path.encode(): Questions(self, method) for path, method in METHODS.items()}
        self._methods |= {path.encode(): Streams(self, kind) for path, kind in STREAMS.items()}
        self._unknown = Unknown(self)
        self.streams: set[StreamCall] = set()
        self._ticking: asyncio.TimerHandle | None = None

    def select(self, target: bytes) -> Application:
        """What answers calls of a method."""
        return self._methods.get(target, self._unknown)

    def broken(self, exchange: Exchange) -> KfuncError:
        """The answer to a call that failed through a fault of ours."""
        log.exception("a call failed: %s", exchange.target.decode("latin-1"), extra={"exchange": exchange})
        return KfuncError("internal error; the log of the server says more")

    def watch(self) -> None:
        """Let streams know of the time, as long as there are any."""
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._ticking = None
        for stream in list(self.streams):
            stream.tick(draining=self._server.draining)
        if self.streams:
            self.watch()

    def ask(self, asked: Asked) -> None:
        """Hand REST's request to the application; what it raises becomes the answer."""
        self._server.dispatch(asked)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do the work in a task."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def count(self, exchange: Exchange) -> None:
        """Record a call that had ended before anything was asked."""
        if exchange.note is None:
            if exchange.error is not None:
                exchange.status = exchange.error.status
                exchange.refused = exchange.in_grpc = True
                exchange.grpc_status = code_of(exchange.status)
            self.application.observe(exchange)

    def refuse(self, outer: Exchange, error: KfuncError) -> None:
        """Record a message of a stream that could not be read."""
        asked = unasked(outer)
        asked.status, asked.grpc_status, asked.error = error.status, code_of(error.status), error
        self.application.observe(asked)


class Unary:
    """The calls of a unary method: a body of one message."""

    stream_above = WHOLE_BODIES

    def __init__(self, front: GrpcFront) -> None:
        self.front = front

    def handle(self, exchange: Exchange) -> None:
        """Begin to answer."""
        raise TypeError("a method has its own")

    def observe(self, exchange: Exchange) -> None:
        """The call has ended; most are recorded as what was asked in their place."""
        self.front.count(exchange)


class Infer(Unary):
    """ModelInfer."""

    def handle(self, exchange: Exchange) -> None:
        """Begin to answer."""
        InferCall(self.front, exchange).begin()


class Questions(Unary):
    """A method of METHODS."""

    def __init__(self, front: GrpcFront, method: Method) -> None:
        super().__init__(front)
        self._method = method

    def handle(self, exchange: Exchange) -> None:
        """Begin to answer."""
        QuestionCall(self.front, exchange, self._method).begin()


class Streams(Unary):
    """A method with streams: handed over at once."""

    stream_above = -1

    def __init__(self, front: GrpcFront, kind: type[StreamCall]) -> None:
        super().__init__(front)
        self._kind = kind

    def handle(self, exchange: Exchange) -> None:
        """Begin to answer."""
        self._kind(self.front, exchange).begin()
        self.front.watch()


class Unknown(Unary):
    """Calls of what is not there."""

    def handle(self, exchange: Exchange) -> None:
        """Say so."""
        raise Unsupported(f"no method {exchange.target.decode('latin-1')!r} here; server reflection lists what there is")
