"""A collector of the tests: takes OTLP over HTTP and gRPC, and reads it with OpenTelemetry's own messages."""

import gzip
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from google.protobuf.unknown_fields import UnknownFieldSet
from msgspec import Struct
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer"}
Attributes = dict[str, Any]


class Seen(Struct, frozen=True):
    """A span as it came, ids in hexadecimal."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    started_ns: int
    ended_ns: int
    attributes: Attributes
    links: list[tuple[str, str]]
    error: str | None
    state: str
    resource: Attributes

    @property
    def component(self) -> str:
        return str(self.resource["kfunc.component"])


class Point(Struct, frozen=True):
    """A number, or of a histogram its count and sum."""

    name: str
    attributes: Attributes
    value: float
    sum: float
    resource: Attributes


def attributes_of(pairs: Any) -> Attributes:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def spans_of(body: bytes) -> list[Seen]:
    """The spans of an ExportTraceServiceRequest, each of a time that makes sense."""
    found = []
    for group in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = attributes_of(group.resource.attributes)
        for scope in group.scope_spans:
            assert scope.scope.name == "kfunc"
            for span in scope.spans:
                assert span.start_time_unix_nano <= span.end_time_unix_nano
                assert not list(UnknownFieldSet(span))
                found.append(
                    Seen(
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.name,
                        KINDS[span.kind],
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        attributes_of(span.attributes),
                        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                        span.status.message if span.status.code == 2 else None,
                        span.trace_state,
                        resource,
                    )
                )
    return found


def points_of(body: bytes) -> list[Point]:
    """The points of an ExportMetricsServiceRequest."""
    found = []
    for group in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        resource = attributes_of(group.resource.attributes)
        for metric in (metric for scope in group.scope_metrics for metric in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data")).data_points:
                own = attributes_of(point.attributes)
                if metric.WhichOneof("data") == "histogram":
                    assert sum(point.bucket_counts) == point.count
                    assert len(point.bucket_counts) == len(point.explicit_bounds) + 1
                    found.append(Point(metric.name, own, point.count, point.sum, resource))
                else:
                    found.append(Point(metric.name, own, point.as_double, 0.0, resource))
    return found


class Collector:
    """Listens on `port` of `host`; a context manager. `status` is what it answers to all that comes, `statuses` to the next."""

    def __init__(self, status: int = 200, answer: bytes = b"", host: str = "127.0.0.1") -> None:
        self.statuses: list[int] = []
        self.status, self.answer = status, answer
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(collector.statuses.pop(0) if collector.statuses else collector.status)
                self.send_header("content-length", str(len(collector.answer)))
                self.end_headers()
                self.wfile.write(collector.answer)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self.url = f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def spans(self) -> list[Seen]:
        return [span for path, _, body in list(self.requests) if path.endswith("/traces") for span in spans_of(body)]

    @property
    def points(self) -> list[Point]:
        return [point for path, _, body in list(self.requests) if path.endswith("/metrics") for point in points_of(body)]

    def trace(self, trace_id: str) -> list[Seen]:
        return [span for span in self.spans if span.trace_id == trace_id]

    def wait_for(self, condition: Callable[[], Any], seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, [(span.component, span.name) for span in self.spans][-40:]
            time.sleep(0.02)


class GrpcCollector(Collector):
    """The same over gRPC."""

    def __init__(self) -> None:
        super().__init__()
        import grpc

        paths = {
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "/v1/traces",
            "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "/v1/metrics",
        }
        collector = self

        class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, details: Any) -> Any:
                path, metadata = paths[details.method], dict(details.invocation_metadata)

                def answer(body: bytes, context: Any) -> bytes:
                    collector.requests.append((path, metadata, body))
                    return b""

                return grpc.unary_unary_rpc_method_handler(answer)

        self._grpc = grpc.server(ThreadPoolExecutor(2), handlers=(Handler(),))
        self.port = self._grpc.add_insecure_port("127.0.0.1:0")
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._grpc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._grpc.stop(0).wait()
        self._server.server_close()
