"""Rules for `inference.egress`: names that can exist, and nothing shut out that the function itself is told to call."""

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from msgspec import UNSET

from kfunc.config.access import EgressHost
from kfunc.config.complete import namespace_of
from kfunc.config.field_path import FieldPath, show_text
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.names import MAX_SUBDOMAIN
from kfunc.config.urls import is_http_url

EGRESS: FieldPath = ("inference", "egress")
LOGGER: FieldPath = ("inference", "logger")
NAMES_BY_SNI_OR_HEADER = ("https", "tls", "http", "http2", "grpc")
OPEN_NAMESPACES = ("istio-system", "knative-eventing")
"""Istio itself and the brokers: the rendered Sidecar has them always, and the function's own namespace."""


def egress_hosts_are_names(function: Function) -> Iterator[Finding]:
    """Names that DNS can resolve, each port once; only a protocol that says the name can have a wildcard."""
    egress = function.inference.egress
    if egress is UNSET:
        return
    seen: set[tuple[str, int]] = set()
    for number, one in enumerate(egress):
        path: FieldPath = (*EGRESS, number)
        if len(one.host) > MAX_SUBDOMAIN or one.host.rpartition(".")[2].isdigit():
            yield Finding((*path, "host"), f'expected a host name such as "s3.example.com", found {show_text(one.host)}')
        if one.host.startswith("*."):
            if one.host.endswith("cluster.local"):
                yield Finding((*path, "host"), "a name within the cluster is written out", "NAME.NAMESPACE.svc.cluster.local")
            elif one.protocol not in NAMES_BY_SNI_OR_HEADER:
                message = f"with {one.protocol} no name is said, so that a wildcard matches nothing"
                yield Finding((*path, "protocol"), message, f"one of {', '.join(NAMES_BY_SNI_OR_HEADER)}")
        elif one.host.endswith(".cluster.local") and not re.fullmatch(r"[-a-z0-9]+\.[-a-z0-9]+\.svc\.cluster\.local", one.host):
            yield Finding((*path, "host"), f"expected NAME.NAMESPACE.svc.cluster.local, found {show_text(one.host)}")
        if (one.host, one.port) in seen:
            yield Finding(path, f"port {one.port} of {show_text(one.host)} is already in the list", "remove it")
        seen.add((one.host, one.port))


def nothing_needed_is_shut_out(function: Function) -> Iterator[Finding]:
    """Sinks and collectors that func.yaml names are hosts that the function calls."""
    egress = function.inference.egress
    if egress is UNSET:
        return
    for path, url in _called(function):
        host = (urlsplit(url).hostname or "").lower() if is_http_url(url) else ""
        if host and not _is_open(host, egress, namespace_of(function)):
            message = f"inference.egress does not let the function call {show_text(host)}"
            yield Finding(path, message, f"add {{host: {host}, port: …, protocol: …}} to inference.egress")


def _called(function: Function) -> Iterator[tuple[FieldPath, str]]:
    logger, telemetry = function.inference.logger, function.inference.telemetry
    if logger is not UNSET:
        if logger.sink is not UNSET:
            yield (*LOGGER, "sink"), logger.sink
        for number, sink in enumerate(logger.sinks):
            yield (*LOGGER, "sinks", number, "to"), sink.to
    if telemetry is not UNSET:
        yield ("inference", "telemetry", "otlp_endpoint"), telemetry.otlp_endpoint


def _is_open(host: str, egress: list[EgressHost], namespace: str) -> bool:
    within = re.fullmatch(r"[-a-z0-9]+(?:\.([-a-z0-9]+)(?:\.svc(?:\.cluster\.local)?)?)?", host)
    if within and (not within[1] or host.endswith((".svc", ".svc.cluster.local"))):
        full = f"{host.partition('.')[0]}.{within[1] or namespace}.svc.cluster.local"
        return (within[1] or namespace) in (namespace, *OPEN_NAMESPACES) or any(one.host == full for one in egress)
    return any(host == one.host or (one.host.startswith("*.") and host.endswith(one.host[1:])) for one in egress)


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    egress_hosts_are_names,
    nothing_needed_is_shut_out,
)
