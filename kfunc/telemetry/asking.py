"""Whether OpenTelemetry's variables ask for anything: a look that costs a start nothing. Sans-IO."""

from collections.abc import Mapping

ASKING = (
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
    *("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"),
)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether traces or metrics are to be sent."""
    return any(environ.get(name) for name in ASKING) and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
