"""The asyncio client: the calls of `Client`, each to be awaited. It needs the extra `client`."""

import random
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any

from kfunc.client.aio_connections import AioConnections, run
from kfunc.client.calls import Calls
from kfunc.client.client import RETRIES, TIMEOUT_S, Compression
from kfunc.client.results import Explanation, IndexEntry, InferResult, Prediction, ServerMetadata
from kfunc.client.wire import Base, Flow, T, parse_url
from kfunc.protocol.messages import ModelMetadata


class AsyncClient:
    """`Client` for one event loop: the same settings and calls; any number of tasks may share one.

    >>> async with AsyncClient("http://127.0.0.1:8080") as client:
    ...     result = await client.infer({"input": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)})
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        model: str = "",
        timeout_s: float = TIMEOUT_S,
        headers: Mapping[str, str] | None = None,
        retries: int = RETRIES,
        binary: bool | None = None,
        compression: Compression | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        base = parse_url(url)
        self._connections, calls = _transport(base, compression, tls)
        self._calls = calls(
            model=model,
            timeout_s=timeout_s,
            headers=headers or {},
            retries=retries,
            binary=binary,
            compression=None if base.grpc else compression,
            clock=time.monotonic,
            chance=random.random,
        )

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()

    async def infer(
        self,
        inputs: Mapping[str, Any],
        *,
        model: str = "",
        version: str = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        id: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> InferResult:
        """V2 inference: arrays by input name in, arrays by output name out; see `Client.infer`."""
        return await self._run(self._calls.infer(inputs, model, version, outputs, parameters, id, headers or {}, timeout_s))

    async def stream(
        self,
        inputs: Mapping[str, Any],
        *,
        model: str = "",
        version: str = "",
        outputs: Sequence[str] | None = None,
        parameters: Mapping[str, Any] | None = None,
        id: str = "",
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[InferResult]:
        """V2 inference whose answer comes in parts (grpc:// only); see `Client.stream`."""
        flow = self._calls.stream(inputs, model, version, outputs, parameters, id, headers or {}, timeout_s)
        request = await self._run(flow)
        from kfunc.client.grpc_calls import part_of

        async for message in self._connections.stream(request):
            yield part_of(message)

    async def predict(
        self,
        instances: Any,
        *,
        model: str = "",
        version: str = "",
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """V1 `:predict`: an array or a list of rows, or several by input name; see `Client.predict`."""
        return await self._run(self._calls.predict(instances, model, version, parameters, headers or {}, timeout_s))

    async def explain(
        self,
        instances: Any,
        *,
        model: str = "",
        version: str = "",
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Explanation:
        """V1 `:explain`, with what `predict` takes."""
        return await self._run(self._calls.explain(instances, model, version, parameters, headers or {}, timeout_s))

    async def metadata(self, model: str = "", version: str = "") -> ModelMetadata:
        """Names, datatypes and shapes of a model's inputs and outputs, and its versions."""
        return await self._run(self._calls.metadata(model, version))

    async def server_metadata(self) -> ServerMetadata:
        """Name, version and extensions of the server."""
        return await self._run(self._calls.server_metadata())

    async def models(self) -> list[str]:
        """The names of the server's models."""
        return await self._run(self._calls.models())

    async def repository_index(self, *, only_ready: bool = False) -> list[IndexEntry]:
        """Every version of every model, with its state."""
        return await self._run(self._calls.repository_index(only_ready=only_ready))

    async def live(self) -> bool:
        """Whether the server answers."""
        return await self._run(self._calls.live())

    async def ready(self, model: str = "", version: str = "") -> bool:
        """Whether all models, or this one, can be asked now. Raises NotFound for a model that is not there."""
        return await self._run(self._calls.ready(model, version))

    async def wait_ready(self, timeout_s: float = 60.0, model: str = "", version: str = "") -> None:
        """Wait until `ready`. Raises TimedOut that says what was in the way, NotFound."""
        await self._run(self._calls.wait_ready(timeout_s, model, version))

    async def _run(self, flow: Flow[T]) -> T:
        return await run(flow, self._connections)


def _transport(base: Base, compression: str | None, tls: ssl.SSLContext | None) -> tuple[Any, type[Calls]]:
    """What carries the calls to a URL, and how they are written."""
    if not base.grpc:
        return AioConnections(base, tls), Calls
    from kfunc.client.channels import AioChannel
    from kfunc.client.grpc_calls import GrpcCalls

    return AioChannel(base, compression, tls), GrpcCalls
