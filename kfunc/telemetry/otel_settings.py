"""OpenTelemetry's variables: whether traces and metrics are sent, where to, how many. Sans-IO.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and …/protocol/exporter/. What cannot
be used is said once and has its default: a function must not fail because of its telemetry.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from kfunc.telemetry.sampling import Sampler, ratio_sampler

HTTP, GRPC = "http/protobuf", "grpc"
DEFAULT_PORTS = {HTTP: 4318, GRPC: 4317}
SAMPLERS: dict[str, tuple[float | None, bool]] = {  # the ratio (None: the argument), and whether a parent decides
    "always_on": (1.0, False),
    "always_off": (0.0, False),
    "traceidratio": (None, False),
    "parentbased_always_on": (1.0, True),
    "parentbased_always_off": (0.0, True),
    "parentbased_traceidratio": (None, True),
}
Number = TypeVar("Number", int, float)


class Target(Struct, frozen=True):
    """Where one signal goes."""

    host: str
    port: int
    path: str
    secure: bool
    protocol: str = HTTP
    headers: dict[str, str] = {}
    timeout_s: float = 10.0
    gzip: bool = False
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""


class OtelSettings(Struct, frozen=True):
    """What the variables say. A signal without a target is not sent."""

    traces: Target | None
    metrics: Target | None
    sampler: str
    ratio: float
    propagates: bool
    max_queue: int
    max_batch: int
    delay_s: float
    interval_s: float
    delta: bool
    resource: dict[str, str]
    complaints: list[str]

    def sample(self) -> Sampler:
        """The sampler of a process to which callers talk."""
        fixed, by_parent = SAMPLERS[self.sampler]
        return ratio_sampler(self.ratio if fixed is None else fixed, by_parent=by_parent)


def read(environ: Mapping[str, str]) -> OtelSettings:
    """All settings."""
    reader = _Reader(environ)
    sampler = reader.one_of("OTEL_TRACES_SAMPLER", "parentbased_always_on", tuple(SAMPLERS))
    propagators = reader.names("OTEL_PROPAGATORS", "tracecontext,baggage", ("tracecontext", "baggage", "none"))
    temporality = reader.one_of(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "cumulative", ("cumulative", "delta", "lowmemory")
    )
    max_queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 8192, int)
    return OtelSettings(
        traces=reader.target("TRACES", "/v1/traces", unless_said=True),
        metrics=reader.target("METRICS", "/v1/metrics", unless_said=False),
        sampler=sampler,
        ratio=min(1.0, reader.number("OTEL_TRACES_SAMPLER_ARG", 1.0, float)),
        propagates="tracecontext" in propagators,
        max_queue=max_queue,
        max_batch=min(max_queue, reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512, int)),
        delay_s=reader.number("OTEL_BSP_SCHEDULE_DELAY", 5000.0, float) / 1e3,
        interval_s=max(0.1, reader.number("OTEL_METRIC_EXPORT_INTERVAL", 60000.0, float) / 1e3),
        delta=temporality == "delta",
        resource=reader.pairs("OTEL_RESOURCE_ATTRIBUTES")
        | ({"service.name": environ["OTEL_SERVICE_NAME"]} if environ.get("OTEL_SERVICE_NAME") else {}),
        complaints=reader.complaints,
    )


class _Reader:
    """Reads single variables, and keeps what it could not use."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.complaints: list[str] = []

    def _complain(self, name: str, expected: str, used: str) -> None:
        self._say(f"{name}={_public(self._environ.get(name, ''))!r}: expected {expected}; {used} is used")

    def _say(self, complaint: str) -> None:
        if complaint not in self.complaints:  # both signals read the variables that they share
            self.complaints.append(complaint)

    def one_of(self, name: str, default: str, values: tuple[str, ...]) -> str:
        value = self._environ.get(name, "").strip().lower() or default
        if value in values:
            return value
        self._complain(name, f"one of {', '.join(values)}", default)
        return default

    def names(self, name: str, default: str, values: tuple[str, ...]) -> list[str]:
        found = [each.strip() for each in (self._environ.get(name) or default).split(",")]
        if unknown := [each for each in found if each not in values]:
            self._complain(name, f"of {', '.join(values)}", f"without {', '.join(unknown)} the rest")
        return found

    def number(self, name: str, default: Number, kind: Callable[[str], Number]) -> Number:
        text = self._environ.get(name, "").strip()
        try:
            value = kind(text) if text else default
        except ValueError:
            value = kind("-1")
        if 0 <= value < float("inf") and (value > 0 or kind is not int):
            return value
        self._complain(name, "a positive number" if kind is int else "a number of at least 0", f"{default:g}")
        return default

    def pairs(self, name: str) -> dict[str, str]:
        """`key=value,…`, with values in percent encoding (W3C Baggage). What cannot be read is not said: it may be a secret."""
        found = {}
        for number, part in enumerate(filter(str.strip, self._environ.get(name, "").split(",")), 1):
            key, equals, value = part.partition("=")
            if not key.strip() or not equals:
                self._say(f"{name}: its part {number} is not key=value, with commas between parts; the rest is used")
                continue
            found[unquote(key.strip())] = unquote(value.strip())
        return found

    def target(self, signal: str, path: str, *, unless_said: bool) -> Target | None:
        """Where a signal goes; `unless_said` is what an endpoint alone means: with none of both it is not sent."""
        endpoint = self._of(signal, "ENDPOINT")
        served = ("prometheus",) if signal == "METRICS" else ()  # /metrics is there in any case
        exporters = self.names(f"OTEL_{signal}_EXPORTER", "", ("", "otlp", "none", *served))
        if "otlp" not in exporters and not (unless_said and endpoint and exporters == [""]):
            return None
        protocol = self.one_of(self._name(signal, "PROTOCOL"), HTTP, (HTTP, GRPC))
        own = self._environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "")
        default = f"http://localhost:{DEFAULT_PORTS[protocol]}"
        try:
            parts = urlsplit(endpoint or default)
            port = parts.port or (443 if parts.scheme == "https" else 80 if protocol == HTTP else DEFAULT_PORTS[GRPC])
        except ValueError:
            parts, port = urlsplit(""), 0
        if parts.scheme not in ("http", "https") or not parts.hostname or not port:
            self._say(
                f"{self._name(signal, 'ENDPOINT')}={_public(endpoint)!r}: expected a URL such as http://collector:4318; "
                f"no {signal.lower()} are sent"
            )
            return None
        query = f"?{parts.query}" if parts.query else ""
        return Target(
            parts.hostname,
            port,
            ((parts.path or "/") if own else parts.path.rstrip("/") + path) + query,
            parts.scheme == "https",
            protocol,
            self.pairs(self._name(signal, "HEADERS")),
            max(0.1, self.number(self._name(signal, "TIMEOUT"), 10000.0, float) / 1e3),
            self.one_of(self._name(signal, "COMPRESSION"), "none", ("none", "gzip")) == "gzip",
            self._of(signal, "CERTIFICATE"),
            self._of(signal, "CLIENT_CERTIFICATE"),
            self._of(signal, "CLIENT_KEY"),
        )

    def _name(self, signal: str, end: str) -> str:
        """The variable that counts: a signal's own, else that of all."""
        own = f"OTEL_EXPORTER_OTLP_{signal}_{end}"
        return own if self._environ.get(own) else f"OTEL_EXPORTER_OTLP_{end}"

    def _of(self, signal: str, end: str) -> str:
        return self._environ.get(self._name(signal, end), "").strip()


def _public(value: str) -> str:
    """A value as it may stand in a log: without the user, the password and the query of a URL."""
    _, at, rest = value.rpartition("@")
    shown, mark, _ = rest.partition("?")
    return f"{'…@' if at else ''}{shown}{'?…' if mark else ''}"
