"""The plain client: any number of threads may share one."""

import random
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal

from kfunc.client.calls import Calls
from kfunc.client.connections import Connections, run
from kfunc.client.results import Explanation, IndexEntry, InferResult, Prediction, ServerMetadata
from kfunc.client.wire import Base, Flow, T, parse_url
from kfunc.protocol.messages import ModelMetadata

Compression = Literal["gzip", "deflate", "zstd"]
TIMEOUT_S = 300.0  # Knative's own limit on an answer, which a cold start is part of
RETRIES = 3


class Client:
    """A function, or any server of the V1 and V2 protocols, at a URL: http(s)://, or grpc(s):// for V2 over gRPC.

    >>> import numpy as np
    >>> from kfunc.client import Client
    >>> with Client("http://127.0.0.1:8080") as client:
    ...     result = client.infer({"input": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)})
    ...     result["label"]
    array([0])

    Every call may raise a `ClientError`. Threads may share a client; it opens as many connections as
    there are calls at once, and keeps them. Nothing is sent before the first call.

    - `model`: asked by calls that name none; without it, the only one that the server has.
    - `timeout_s`: longest time for one call, with its retries.
    - `headers`: sent with each call; a call's own come on top of them.
    - `retries`: further tries of what cannot have run (no connection, 503 with Retry-After) and of GETs.
    - `binary`: whether V2 tensors go in binary; None: where the server says in `/v2` that it reads them.
    - `compression`: of requests of 1 KiB and more, and asked for answers.
    - `tls`: for https, instead of the system's certificates.

    gRPC needs the extra `grpc`; errors have the kinds and statuses that they have over REST.
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
        self._connections, calls = transport(base, compression, tls)
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

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls in other threads end first."""
        self._connections.close()

    def infer(
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
        """V2 inference: arrays by input name in, arrays by output name out.

        An array is sent as its own datatype (`np.float32` is FP32); a list gets the datatype that the
        model's metadata say. Arrays of str or bytes are BYTES. `outputs` are those wanted, all by default.
        """
        return self._run(self._calls.infer(inputs, model, version, outputs, parameters, id, headers or {}, timeout_s))

    def stream(
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
    ) -> Iterator[InferResult]:
        """V2 inference whose answer comes in parts, each when the model has it (grpc:// only); see `infer`."""
        flow = self._calls.stream(inputs, model, version, outputs, parameters, id, headers or {}, timeout_s)
        request = self._run(flow)
        from kfunc.client.grpc_calls import part_of

        for message in self._connections.stream(request):
            yield part_of(message)

    def predict(
        self,
        instances: Any,
        *,
        model: str = "",
        version: str = "",
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Prediction:
        """V1 `:predict`: an array or a list of rows, or several by input name; bytes go as `{"b64": …}`.

        `parameters` are further members of the request.
        """
        return self._run(self._calls.predict(instances, model, version, parameters, headers or {}, timeout_s))

    def explain(
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
        return self._run(self._calls.explain(instances, model, version, parameters, headers or {}, timeout_s))

    def metadata(self, model: str = "", version: str = "") -> ModelMetadata:
        """Names, datatypes and shapes of a model's inputs and outputs, and its versions."""
        return self._run(self._calls.metadata(model, version))

    def server_metadata(self) -> ServerMetadata:
        """Name, version and extensions of the server."""
        return self._run(self._calls.server_metadata())

    def models(self) -> list[str]:
        """The names of the server's models."""
        return self._run(self._calls.models())

    def repository_index(self, *, only_ready: bool = False) -> list[IndexEntry]:
        """Every version of every model, with its state."""
        return self._run(self._calls.repository_index(only_ready=only_ready))

    def live(self) -> bool:
        """Whether the server answers."""
        return self._run(self._calls.live())

    def ready(self, model: str = "", version: str = "") -> bool:
        """Whether all models, or this one, can be asked now. Raises NotFound for a model that is not there."""
        return self._run(self._calls.ready(model, version))

    def wait_ready(self, timeout_s: float = 60.0, model: str = "", version: str = "") -> None:
        """Wait until `ready`. Raises TimedOut that says what was in the way, NotFound."""
        self._run(self._calls.wait_ready(timeout_s, model, version))

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self._connections)


def transport(base: Base, compression: str | None = None, tls: ssl.SSLContext | None = None) -> tuple[Any, type[Calls]]:
    """What carries the calls to a URL, and how they are written."""
    if not base.grpc:
        return Connections(base, tls), Calls
    from kfunc.client.channels import Channel
    from kfunc.client.grpc_calls import GrpcCalls

    return Channel(base, compression, tls), GrpcCalls
