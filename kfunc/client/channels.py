"""gRPC for both clients: grpcio's channels, which carry our messages as bytes. They need the extra `grpc`."""

import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from kfunc.client.errors import ClientError, ConnectionLost, InvalidCall, NotConnected, TimedOut
from kfunc.client.wire import Answer, Base, Request

# The HTTP status of the same case in REST.
STATUSES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}
# Retries are ours; a message has no bound of the client's.
OPTIONS = [("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
OWN = ("accept-encoding", "user-agent")  # grpcio writes them
PUSHBACK = "grpc-retry-pushback-ms"


class _Channels:
    """What both kinds share."""

    def __init__(self, base: Base, compression: str | None, tls: ssl.SSLContext | None) -> None:
        try:
            import grpc
        except ImportError:
            raise InvalidCall("grpc:// needs grpcio, not installed here: pip install 'kfunc[grpc]'") from None
        if tls is not None:
            raise InvalidCall("tls is for https; grpcs takes the certificates of the variable GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
        if base.path:
            raise InvalidCall(f"{base.url} has a path, and gRPC has none")
        known = {None: grpc.Compression.NoCompression, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
        if compression not in known:
            raise InvalidCall(f"compression over gRPC is gzip or deflate, not {compression}")
        self._grpc = grpc
        self._base = base
        self._compression = known[compression]
        self._channel: Any = None
        self._closed = False

    def _opened(self, module: Any) -> Any:
        if self._closed:
            raise InvalidCall("this client is closed; make another one")
        if self._channel is None:
            host = f"[{self._base.host}]" if ":" in self._base.host else self._base.host
            target = f"{host}:{self._base.port or (443 if self._base.secure else 80)}"
            options = [*OPTIONS, ("grpc.primary_user_agent", "kfunc-client")]
            if self._base.secure:
                credentials = self._grpc.ssl_channel_credentials()
                self._channel = module.secure_channel(target, credentials, options=options)
            else:
                self._channel = module.insecure_channel(target, options=options)
        return self._channel

    def _settings(self, request: Request) -> dict[str, Any]:
        metadata = [(name, value) for name, value in request.headers.items() if name not in OWN]
        return {"timeout": request.timeout_s, "metadata": metadata, "compression": self._compression}

    def _failed(self, request: Request, error: Any, metadata: dict[str, str]) -> Answer:
        """The answer that a refused call is. Raises ClientError where the server gave none."""
        code, details, url = error.code().name, error.details() or "", self._base.url
        if "x-request-id" not in metadata:
            if code == "DEADLINE_EXCEEDED":
                raise TimedOut(f"{url} did not answer {request.path} in time")
            if code == "UNAVAILABLE" and ("failed to connect" in details.lower() or "dns" in details.lower()):
                raise NotConnected(f"cannot connect to {url}: {details}; is the function running there?")
            if code == "UNAVAILABLE":
                raise ConnectionLost(f"{url} closed the connection before the answer was there; the model may have run")
        pushback = metadata.get(PUSHBACK, "-1")
        if pushback.isdigit():
            metadata["retry-after"] = str(-(-int(pushback) // 1000))
        return Answer(STATUSES.get(code, 500), metadata, msgspec.json.encode({"error": details}), code)


def _joined(*parts: Any) -> dict[str, str]:
    return {name: value for part in parts for name, value in part or () if isinstance(value, str)}


class Channel(_Channels):
    """The plain client's."""

    def send(self, request: Request) -> Answer:
        """The answer to one call. Raises ClientError where there is none."""
        stub = self._opened(self._grpc).unary_unary(request.path)
        try:
            message, call = stub.with_call(request.body, **self._settings(request))
        except self._grpc.RpcError as error:
            return self._failed(request, error, _joined(error.initial_metadata(), error.trailing_metadata()))
        return Answer(200, _joined(call.initial_metadata()), message, "OK")

    def stream(self, request: Request) -> Iterator[bytes]:
        """The messages of a stream with one request. Raises ClientError."""
        stub = self._opened(self._grpc).stream_stream(request.path)
        call = stub(iter([request.body]), **self._settings(request))
        try:
            yield from call
        except self._grpc.RpcError as error:
            raise refused(self._failed(request, error, _joined(error.initial_metadata(), error.trailing_metadata()))) from None
        finally:
            call.cancel()

    def close(self) -> None:
        """Close the channel."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()


class AioChannel(_Channels):
    """The asyncio client's, for one event loop."""

    async def send(self, request: Request) -> Answer:
        """The answer to one call. Raises ClientError where there is none."""
        from grpc import aio

        call = self._opened(aio).unary_unary(request.path)(request.body, **self._settings(request))
        try:
            message = await call
        except aio.AioRpcError as error:
            return self._failed(request, error, _joined(error.initial_metadata(), error.trailing_metadata()))
        return Answer(200, _joined(await call.initial_metadata()), message, "OK")

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        """The messages of a stream with one request. Raises ClientError."""
        from grpc import aio

        call = self._opened(aio).stream_stream(request.path)(iter([request.body]), **self._settings(request))
        try:
            async for message in call:
                yield message
        except aio.AioRpcError as error:
            raise refused(self._failed(request, error, _joined(error.initial_metadata(), error.trailing_metadata()))) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        """Close the channel."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()


def refused(answer: Answer) -> ClientError:
    """The error that an answer with another status than 200 is."""
    from kfunc.client.sending import error_of

    return error_of(answer)
