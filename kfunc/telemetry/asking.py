"""Whether OpenTelemetry's variables ask for anything: a look that costs a start nothing. Sans-IO."""

from collections.abc import Mapping

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
EXPORTERS = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER")


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether traces or metrics are to be sent."""
    named = any(environ.get(name, "").strip() not in ("", "none") for name in EXPORTERS)
    return (named or any(environ.get(name) for name in ENDPOINTS)) and environ.get(
        "OTEL_SDK_DISABLED", ""
    ).strip().lower() != "true"
