"""OTLP over gRPC, by grpcio (the extra `grpc`): imported when OTEL_EXPORTER_OTLP_PROTOCOL is grpc, after the start."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfunc.telemetry.otel_settings import Target
from kfunc.telemetry.otlp_http import Outcome, rejected

METHODS = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
# Of the codes that may succeed later (OTLP, Failures); UNKNOWN and what else says no will not.
RETRIED = frozenset(
    ("CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
)


class GrpcTransport:
    """Sends to one target. grpcio has threads of its own; the loop waits for none of them."""

    def __init__(self, target: Target, signal: str) -> None:
        import grpc

        self._target = target
        self._failure = grpc.RpcError
        address = f"{target.host}:{target.port}"
        options = [("grpc.default_compression_algorithm", 2)] if target.gzip else []
        if target.secure:
            self._channel = grpc.secure_channel(address, _credentials(grpc, target), options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._export: Callable[..., Any] = self._channel.unary_unary(METHODS[signal])  # bytes in, bytes out
        self._metadata = [(name.lower(), value) for name, value in target.headers.items()]

    def start(self) -> None:
        """It connects by itself."""

    async def send(self, body: bytes) -> Outcome:
        """Send; never raises for what the collector does."""
        return await asyncio.get_running_loop().run_in_executor(None, self._send, body)

    def _send(self, body: bytes) -> Outcome:
        try:
            answer = self._export(body, timeout=self._target.timeout_s, metadata=self._metadata)
        except self._failure as error:
            code = error.code().name
            return Outcome(False, again=code in RETRIED, reason=f"{code}: {error.details()}")
        return Outcome(True, rejected=rejected(answer))

    def close(self) -> None:
        """Let go of the channel."""
        self._channel.close()


def _credentials(grpc: Any, target: Target) -> Any:
    def read(path: str) -> bytes | None:
        return Path(path).read_bytes() if path else None

    return grpc.ssl_channel_credentials(read(target.certificate), read(target.client_key), read(target.client_certificate))
