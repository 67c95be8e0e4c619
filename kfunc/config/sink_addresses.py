"""Addresses of sinks, as func.yaml and the environment write them: what each kind needs, what is wrong with one. Pure."""

import re
from typing import Any

from msgspec import UNSET, Struct

from kfunc.config.locations import file_path
from kfunc.config.logger import Logger


class Kind(Struct, frozen=True):
    """What the addresses of one scheme look like. `path` says what their path names; `extra` brings the library."""

    example: str
    path: str = ""
    pattern: str = ".*"
    options: tuple[str, ...] = ()
    extra: str = ""
    library: str = ""
    variables: str = ""  # what the names of the environment's variables with its credentials begin with


STORAGE: dict[str, Any] = {"path": "bucket", "extra": "object-storage", "library": "obstore"}
QUEUE: dict[str, Any] = {
    "options": ("queue", "exchange", "routing_key"),
    "extra": "amqp",
    "library": "aio_pika",
    "variables": "AMQP_",
}

# A scheme of sinks is a line here and one in logger_sidecar/sinks.py.
KINDS = {
    "http": Kind("http://events.example.com/inference"),
    "https": Kind("https://events.example.com/inference"),
    "broker": Kind("broker:default"),
    "file": Kind("file:events.jsonl"),
    "nats": Kind(
        "nats://nats.messaging:4222/kfunc.events",
        path="subject",
        pattern=r"[^\s.*>]+(\.[^\s.*>]+)*",
        options=("stream", "tls"),
        extra="nats",
        library="nats",
        variables="NATS_",
    ),
    "kafka": Kind(
        "kafka://kafka.messaging:9092/kfunc-events",
        path="topic",
        pattern=r"(?!\.\.?$)[A-Za-z0-9._-]{1,249}",
        options=("tls", "sasl"),
        extra="kafka",
        library="aiokafka",
        variables="KAFKA_",
    ),
    "amqp": Kind("amqp://rabbitmq.messaging:5672?queue=kfunc-events", **QUEUE),
    "amqps": Kind("amqps://rabbitmq.messaging:5671?queue=kfunc-events", **QUEUE),
    "s3": Kind("s3://bucket/events", variables="AWS_", **STORAGE),
    "gs": Kind("gs://bucket/events", variables="GOOGLE_", **STORAGE),
    "az": Kind("az://container/events", variables="AZURE_", **STORAGE),
}
SASL = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
FLAGS = ("true", "false")
VALUES = {"tls": FLAGS, "sasl": SASL}
LISTED = ("kafka", "nats")  # several hosts, each after a comma


class SinkFault(ValueError):
    """What is wrong with an address, and what to do."""

    def __init__(self, message: str, suggestion: str) -> None:
        super().__init__(f"{message}; {suggestion}")
        self.message = message
        self.suggestion = suggestion


class SinkAddress(Struct, frozen=True):
    """An address in its parts. `hosts` is as written, less user and password; `path` has no outer `/`.

    For s3, gs and az `hosts` is the bucket; for file the path is all there is; for broker it is NAMESPACE/NAME.
    """

    scheme: str
    hosts: str = ""
    path: str = ""
    query: str = ""
    options: dict[str, str] = {}
    user: str = ""
    password: str = ""

    @property
    def kind(self) -> Kind:
        """What its scheme asks for."""
        return KINDS[self.scheme]

    @property
    def secure(self) -> bool:
        """Whether the address asks for TLS."""
        return self.scheme in ("https", "amqps") or self.options.get("tls") == "true"


def parse_sink(text: str, namespace: str = "default") -> SinkAddress:
    """Read an address; `namespace` is that of a broker without one. Raises SinkFault."""
    scheme = text.partition(":")[0]
    kind = KINDS.get(scheme)
    if kind is None or ":" not in text:
        raise SinkFault(f"{_shown(text)} is no sink", _suggest_scheme(scheme))
    if not text.isprintable() or re.search(r"\s", text):
        raise SinkFault(
            f"a sink's address has no spaces and control characters, and {_shown(text)} has", "write a space as %20"
        )
    if scheme == "file":
        path = file_path(text)
        if not path or not path.isprintable() or path.endswith("/"):
            raise SinkFault("expected a file on this machine", 'write "file:events.jsonl"')
        return SinkAddress(scheme, path=path)
    if scheme == "broker":
        return _broker(text, namespace)
    return _url(text, kind)


def targets(logger: Logger) -> list[str]:
    """All addresses of a logger's settings: of its sinks, its dead letters, its overflow."""
    found = [logger.sink, logger.dead_letter, logger.overflow]
    for sink in logger.sinks:
        found += [sink.to, sink.dead_letter]
    return [each for each in found if each is not UNSET]


def sink_variables(logger: Logger) -> tuple[str, ...]:
    """What the names of those variables begin with that the logger's sinks read their credentials from."""
    kinds = [KINDS[scheme] for each in targets(logger) if (scheme := each.partition(":")[0]) in KINDS]
    return tuple(sorted({kind.variables for kind in kinds if kind.variables}))


def _broker(text: str, namespace: str) -> SinkAddress:
    from kfunc.config.brokers import broker_name  # here: a start that needs neither pays for neither
    from kfunc.config.names import is_label, is_subdomain

    place, name = broker_name(text, namespace)
    if not (is_label(place) and is_subdomain(name)):
        raise SinkFault(f"{_shown(text)} names no broker", 'write "broker:NAME" or "broker:NAMESPACE/NAME"')
    return SinkAddress("broker", path=f"{place}/{name}")


def _url(text: str, kind: Kind) -> SinkAddress:
    from urllib.parse import unquote, urlsplit  # here: they cost 2 ms of every start

    example = f'write it like "{kind.example}"'
    names: list[str] = []
    if "#" in text:
        raise SinkFault(f"{_shown(text)} has a #: what follows it is never sent", "remove it, or write # as %23")
    try:
        parts = urlsplit(text)
        user, _, hosts = parts.netloc.rpartition("@")
        for each in hosts.split(",") if parts.scheme in LISTED else [hosts]:
            one = urlsplit(f"//{each}")
            if not one.hostname or one.port == 0 or (parts.scheme in ("s3", "gs", "az") and one.port is not None):
                raise ValueError
            names.append(one.hostname.removesuffix("."))
    except ValueError:
        raise SinkFault(f"{_shown(text)} has no host, or a wrong port", example) from None
    if not all(0 < len(part) < 64 for name in names for part in name.split(".")):
        raise SinkFault(f"{_shown(text)} has a host with a part that is empty or above 63 letters", example)
    name, _, password = user.partition(":")
    login: dict[str, Any] = {"user": unquote(name), "password": unquote(password)}
    if parts.scheme in ("http", "https"):
        if not text.isascii():
            raise SinkFault(f"{_shown(text)} is not ASCII", "write other characters as %-escapes")
        return SinkAddress(parts.scheme, hosts, parts.path or "/", parts.query, **login)
    path = unquote(parts.path).strip("/")
    if kind.path not in ("", "bucket") and not re.fullmatch(kind.pattern, path):
        raise SinkFault(f"{_shown(text)} has no {kind.path} after its host, or one with wrong characters", example)
    if parts.scheme.startswith("amqp"):
        path = unquote(parts.path).removeprefix("/") or "/"
    return SinkAddress(parts.scheme, hosts, path, options=_options(parts.scheme, parts.query, kind), **login)


def _options(scheme: str, query: str, kind: Kind) -> dict[str, str]:
    """What stands behind the `?`. Raises SinkFault."""
    from urllib.parse import parse_qsl

    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in kind.options:
            known = f"known are {', '.join(kind.options)}" if kind.options else "remove what stands behind the ?"
            raise SinkFault(f"a sink {scheme}: has no option {_shown(name)}", known)
        values = VALUES.get(name)
        if not value or (values and value not in values):
            raise SinkFault(
                f"the sink's option {name} cannot be {_shown(value)}", f"write {' or '.join(values or ('a name',))}"
            )
    if scheme.startswith("amqp") and ("queue" in options) == ("exchange" in options):
        raise SinkFault("a sink amqp: needs either a queue or an exchange", f'write it like "{kind.example}"')
    return options


def _suggest_scheme(scheme: str) -> str:
    from difflib import get_close_matches  # here: only who has made a mistake needs it

    near = get_close_matches(scheme, KINDS, n=1)
    return (
        f'did you mean "{KINDS[near[0]].example}"?' if near else f"a sink begins with {', '.join(f'{name}:' for name in KINDS)}"
    )


def _shown(text: str) -> str:
    """It may be said: without user, password and query."""
    from kfunc.config.field_path import without_login  # here: only who has made a mistake needs it

    text = without_login(text, "...")
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")
