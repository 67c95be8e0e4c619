"""What a function reaches by the network: its registry with the user's credentials, the sinks of its logger."""

import os
import socket
from collections.abc import Iterator

from msgspec import UNSET

from kfunc.cli.build_options import insecure_hosts
from kfunc.cli.findings import Finding
from kfunc.config.complete import namespace_of
from kfunc.config.function import Function
from kfunc.config.sink_addresses import SinkAddress, SinkFault, parse_sink, targets
from kfunc.errors import KfuncError
from kfunc.images.registry import Registry
from kfunc.images.transport import Transport, Trust
from kfunc.registries.references import DEFAULT_TAG, parse_reference

CONNECT_S = 3.0
ANSWER_S = 5.0  # of a registry, which is asked some times
PORTS = {"http": 80, "https": 443, "nats": 4222, "kafka": 9092, "amqp": 5672, "amqps": 5671}
INSIDE = (".svc", ".svc.cluster.local")


def registry_findings(function: Function) -> Iterator[Finding]:
    """Whether the image can be pushed, as far as the registry tells without a push."""
    image = function.image or (f"{function.registry.rstrip('/')}/{function.name}" if function.registry else "")
    if not image:
        yield Finding("registry", "note", "func.yaml names no image", "image: REGISTRY/NAME lets kfunc build push it")
        return
    try:
        reference = parse_reference(image)
    except KfuncError as error:
        yield Finding("registry", "bad", error.message)
        return
    trust, tag = Trust(insecure_hosts(reference.host, False, function)), reference.tag or DEFAULT_TAG
    try:
        with Transport(trust, os.environ, lambda seconds: None, ANSWER_S) as transport:
            there = Registry(reference, transport, os.environ, "pull,push").has_manifest(tag)
    except KfuncError as error:
        yield refused(error)
        return
    state = f"{reference.name}:{tag} is there" if there else f"{reference.name} has no {tag} yet: kfunc build pushes it"
    yield Finding("registry", "good", f"{reference.registry} answers; {state}")


def refused(error: KfuncError) -> Finding:
    """What to do is in the message, but for an option that `kfunc build` has and this command has not."""
    message, option, _ = error.message.partition(" give --insecure")
    advice = "registryInsecure: true in func.yaml allows plain HTTP, if that is meant" if option else ""
    return Finding("registry", "bad", message.rstrip(":") if option else message, advice)


def sink_findings(function: Function) -> Iterator[Finding]:
    """Whether something listens at the addresses of the logger's sinks."""
    logger = function.inference.logger
    for text in targets(logger) if logger is not UNSET else ():
        try:
            address = parse_sink(text, namespace_of(function))
        except SinkFault as fault:
            yield Finding("sinks", "bad", f"{text.partition('?')[0]}: {fault.message}", fault.suggestion)
            continue
        yield from _sink(address)


def _sink(address: SinkAddress) -> Iterator[Finding]:
    shown = f"{address.scheme}:{address.path}" if address.scheme == "file" else f"{address.scheme}://{address.hosts}"
    if address.scheme == "broker":
        text = f"broker:{address.path}: only pods reach it; what is said of the cluster says whether it is there"
        yield Finding("sinks", "note", text)
        return
    port = PORTS.get(address.scheme)
    if port is None:
        yield Finding("sinks", "note", f"{shown}: cannot be asked without its credentials; the logger reports what fails")
        return
    for place in address.hosts.split(","):
        host, _, given = place.rpartition(":") if ":" in place.rpartition("]")[2] else (place, "", "")
        host = host.strip("[]")
        if host.endswith(INSIDE):
            yield Finding("sinks", "note", f"{shown}: a name of the cluster's, which only pods know")
            continue
        try:
            socket.create_connection((host, int(given or port)), CONNECT_S).close()
            yield Finding("sinks", "good", f"{shown}: something listens")
        except (OSError, ValueError) as error:
            yield _silent(shown, host, error)


def _silent(shown: str, host: str, error: Exception) -> Finding:
    """A sink that cannot be reached; a short name may be one that pods know: NAME, or NAME.NAMESPACE."""
    if isinstance(error, socket.gaierror) and host.count(".") <= 1:
        text = f"{shown}: no name that is known here; if it is a Service of the cluster, only pods know it"
        return Finding("sinks", "note", text)
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    advice = "start it, or correct inference.logger; events wait in the spool meanwhile"
    return Finding("sinks", "bad", f"{shown}: nothing answers from here ({cause})", advice)
