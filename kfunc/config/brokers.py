"""Knative brokers as sinks: `broker:NAME`, `broker:NAMESPACE/NAME`, and the address that takes their events. Pure."""

from kfunc.config.knative import BROKER_INGRESS

SCHEME = "broker:"
DEFAULT = f"{SCHEME}default"


def broker_name(sink: str, namespace: str) -> tuple[str, str]:
    """The broker's namespace, the function's own where none is named, and its name."""
    first, slash, rest = sink.removeprefix(SCHEME).partition("/")
    return (first, rest) if slash else (namespace, first)


def broker_url(sink: str, namespace: str, ingress: str = BROKER_INGRESS) -> str:
    """Where a broker takes events: POST /NAMESPACE/NAME of its class's ingress."""
    return "/".join((ingress.rstrip("/"), *broker_name(sink, namespace)))
