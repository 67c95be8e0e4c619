"""OpenTelemetry's variables: what each means, and that a wrong one is said and has its default."""

import pytest

from kfunc.telemetry.asking import wanted
from kfunc.telemetry.otel_settings import OtelSettings, read

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_nothing_is_sent_where_nothing_is_asked() -> None:
    assert not wanted({})
    assert not wanted({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"})
    assert not wanted({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"})
    assert wanted({"OTEL_METRICS_EXPORTER": "otlp"})
    assert read({}).traces is None


def test_an_endpoint_asks_for_traces_and_metrics_have_to_be_named() -> None:
    settings = read({ENDPOINT: "http://c:4318"})
    assert settings.traces is not None
    assert (settings.traces.host, settings.traces.port, settings.traces.path) == ("c", 4318, "/v1/traces")
    assert settings.metrics is None
    assert read({ENDPOINT: "http://c:4318", "OTEL_METRICS_EXPORTER": "otlp"}).metrics is not None
    assert read({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}).traces is None


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("localhost", 4318, "/v1/traces", False)),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("localhost", 4317, "/v1/traces", False)),
        ({ENDPOINT: "https://c/otlp/"}, ("c", 443, "/otlp/v1/traces", True)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:1/own"}, ("c", 1, "/own", False)),
        ({ENDPOINT: "http://a:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:2"}, ("b", 2, "/", False)),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/otlp?key=1"}, ("c", 443, "/otlp?key=1", True)),
        ({ENDPOINT: "https://c/otlp?key=1"}, ("c", 443, "/otlp/v1/traces?key=1", True)),
        ({ENDPOINT: "http://[::1]:4318"}, ("::1", 4318, "/v1/traces", False)),
    ],
)
def test_where_traces_go(variables: dict[str, str], expected: tuple[str, int, str, bool]) -> None:
    target = read(variables).traces
    assert target is not None
    assert (target.host, target.port, target.path, target.secure) == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("OTEL_TRACES_SAMPLER", "often", "one of always_on"),
        ("OTEL_TRACES_SAMPLER_ARG", "x", "a number of at least 0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "a positive number"),
        ("OTEL_BSP_SCHEDULE_DELAY", "nan", "a number of at least 0"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "one of http/protobuf, grpc"),
        ("OTEL_PROPAGATORS", "b3", "of tracecontext, baggage, none"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otlp"),
        ("OTEL_TRACES_EXPORTER", "prometheus", "otlp"),
    ],
)
def test_a_value_that_cannot_be_used_is_said(name: str, value: str, expected: str) -> None:
    (complaint, *_) = read({ENDPOINT: "http://c:4318", name: value}).complaints
    assert complaint.startswith(f"{name}={value!r}: ")
    assert expected in complaint


def test_prometheus_asks_for_what_is_served_in_any_case() -> None:
    settings = read({ENDPOINT: "http://c:4318", "OTEL_METRICS_EXPORTER": "prometheus"})
    assert (settings.metrics, settings.complaints) == (None, [])


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_HEADERS": "tenant=t,authorization: Bearer SECRET"},
        {"OTEL_RESOURCE_ATTRIBUTES": "a=b,SECRET"},
        {ENDPOINT: "http://user:SECRET@c:bad"},
        {ENDPOINT: "user:SECRET@c:4318"},
        {ENDPOINT: "ftp://c/otlp?api-key=SECRET"},
    ],
)
def test_what_is_said_of_a_value_has_no_secret_of_it_and_is_said_once(variables: dict[str, str]) -> None:
    complaints = read({ENDPOINT: "http://c:4318", "OTEL_METRICS_EXPORTER": "otlp", **variables}).complaints
    assert [each for each in complaints if "SECRET" in each] == []
    assert len(complaints) == len(set(complaints)) > 0
    assert all(each.startswith(tuple(variables)) for each in complaints)


@pytest.mark.parametrize("url", ["c:4318", "ftp://c", "http://", "http://c:99999", "http://[::1:4318"])
def test_without_a_usable_endpoint_nothing_is_sent(url: str) -> None:
    settings = read({ENDPOINT: url})
    assert settings.traces is None
    assert settings.complaints


def test_numbers_lists_and_files_are_read() -> None:
    settings: OtelSettings = read(
        {
            ENDPOINT: "https://c:1",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0.25",
            "OTEL_BSP_MAX_QUEUE_SIZE": "100",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1000",
            "OTEL_BSP_SCHEDULE_DELAY": "250",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=a%3Db, tenant = t ",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": "/ca.pem",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=other,team=a%20b",
        }
    )
    assert settings.traces is not None
    assert (settings.ratio, settings.max_queue, settings.max_batch, settings.delay_s) == (0.25, 100, 100, 0.25)
    assert (settings.traces.headers, settings.traces.timeout_s) == ({"api-key": "a=b", "tenant": "t"}, 2.5)
    assert settings.traces.certificate == "/ca.pem"
    assert settings.resource == {"service.name": "shop", "team": "a b"}
    assert settings.complaints == []
