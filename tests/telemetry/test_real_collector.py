"""OpenTelemetry's own collector takes what is sent, over HTTP and gRPC, and passes it on as it came."""

import asyncio
import json
from pathlib import Path

import pytest

from kfunc.config.pod import PodConfig
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.sending import Telemetry
from tests.parts import program
from tests.parts.servers import Server, free_port
from tests.telemetry.receiver import Collector
from tests.telemetry.test_export import adding

pytestmark = [pytest.mark.heavy, pytest.mark.integration]


class RealCollector(Server):
    """Takes OTLP on `port` and, over gRPC, on `grpc_port`; gives what it got to `behind`."""

    def __init__(self, folder: Path, behind: str) -> None:
        super().__init__(folder)
        self.grpc_port = free_port()
        protocols = {"http": {"endpoint": f"127.0.0.1:{self.port}"}, "grpc": {"endpoint": f"127.0.0.1:{self.grpc_port}"}}
        ways = {"receivers": ["otlp"], "exporters": ["otlphttp"]}
        settings = {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {"otlphttp": {"endpoint": behind, "compression": "none"}},
            "service": {"pipelines": {"traces": ways, "metrics": ways}, "telemetry": {"metrics": {"level": "none"}}},
        }
        folder.mkdir(parents=True)
        (folder / "settings.yaml").write_text(json.dumps(settings))

    def command(self) -> list[str]:
        """What runs it."""
        return [str(program("otel-collector")), "--config=settings.yaml"]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_it_takes_spans_and_metrics(tmp_path: Path, protocol: str) -> None:
    with Collector() as behind, RealCollector(tmp_path / "collector", behind.url) as collector:
        port = collector.port if protocol == "http/protobuf" else collector.grpc_port
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_METRICS_EXPORTER": "otlp",
        }
        metrics = Metrics("handler")
        metrics.histogram("kfunc_request_duration_seconds", "D.", (0.1, 1.0)).observe(0.5)

        async def main() -> None:
            telemetry = Telemetry(PodConfig(function="iris"), metrics, environ, outermost=True)
            telemetry.start()
            await adding(700)(telemetry)
            await telemetry.close(10.0)

        asyncio.run(main())
        behind.wait_for(lambda: len(behind.spans) == 700 and behind.points)
        points = {point.name: point for point in behind.points}
    assert len({span.span_id for span in behind.spans}) == 700
    assert points["kfunc_spans_exported_total"].value == 700
    assert (points["kfunc_request_duration_seconds"].value, points["kfunc_request_duration_seconds"].sum) == (1, 0.5)
