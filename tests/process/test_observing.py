"""Whether anything is sent: only where the variables ask, and a process serves without it where it cannot be."""

import asyncio
from pathlib import Path

import pytest

from kfunc.config.pod import PodConfig
from kfunc.http.exchange import Exchange
from kfunc.process.observing import start_telemetry, traced
from kfunc.telemetry.metrics import Metrics
from kfunc.telemetry.request_trace import Traced
from kfunc.telemetry.requests import RequestRecorder

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


class Nothing:
    """An application that is never asked."""

    stream_above = 1

    def handle(self, exchange: Exchange) -> None:
        """Not asked."""

    def observe(self, exchange: Exchange) -> None:
        """Not asked."""


def application_with(environ: dict[str, str]) -> object:
    """What answers a server's requests once its process is ready."""

    async def main() -> object:
        metrics = Metrics("handler")
        telemetry = await start_telemetry(PodConfig(), metrics, outermost=True, environ=environ)
        application = traced(telemetry, Nothing(), RequestRecorder(metrics, access_log=False), None, declares=False)
        if telemetry is not None:
            await telemetry.close(0.1)
        return application

    return asyncio.run(main())


@pytest.mark.parametrize(
    "environ",
    [
        {},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
        ENDPOINT | {"OTEL_PROPAGATORS": "none"},
        {"OTEL_SERVICE_NAME": "iris"},
    ],
)
def test_requests_pass_nothing_of_tracing_where_no_traces_are_sent(environ: dict[str, str]) -> None:
    assert type(application_with(environ)) is Nothing


def test_requests_are_traced_where_a_collector_is_named() -> None:
    assert type(application_with(ENDPOINT)) is Traced


def test_a_certificate_that_cannot_be_read_is_said_and_the_process_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_EXPORTER_OTLP_CERTIFICATE": str(tmp_path / "none.pem")}
    assert type(application_with(environ)) is Nothing
    assert "the collector's certificate cannot be read" in caplog.text


def test_an_endpoint_that_is_no_url_is_said_and_the_process_serves(caplog: pytest.LogCaptureFixture) -> None:
    assert type(application_with({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://[::1:4318"})) is Nothing
    assert "expected a URL" in caplog.text


def test_whatever_telemetry_fails_with_the_process_serves(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    binary = tmp_path / "ca.pem"
    binary.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    for secure in ({"OTEL_EXPORTER_OTLP_CERTIFICATE": str(binary)}, {"OTEL_EXPORTER_OTLP_CERTIFICATE": "a\0b"}):
        assert type(application_with({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", **secure})) is Nothing
    assert "no telemetry is sent" in caplog.text


def test_a_variable_that_cannot_be_used_is_said(caplog: pytest.LogCaptureFixture) -> None:
    application_with(ENDPOINT | {"OTEL_TRACES_SAMPLER": "often"})
    assert "OTEL_TRACES_SAMPLER='often': expected one of always_on" in caplog.text
