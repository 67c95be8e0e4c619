"""Which sink an address means, and what it is called."""

from hashlib import sha256
from importlib import import_module
from typing import cast

from msgspec import UNSET

from kfunc.config.logger import SinkSettings
from kfunc.errors import StartupError
from kfunc.logger_sidecar.contract import Sink, SinkContext

# Scheme → module and class, imported when it is used. A class is made of SinkSettings and SinkContext, and raises
# StartupError for settings that can never work.
SINKS = {
    "file": "kfunc.logger_sidecar.file_sink:FileSink",
    "http": "kfunc.logger_sidecar.http_sink:HttpSink",
    "https": "kfunc.logger_sidecar.http_sink:HttpSink",
    "broker": "kfunc.logger_sidecar.http_sink:HttpSink",
    "nats": "kfunc.logger_sidecar.nats_sink:NatsSink",
    "kafka": "kfunc.logger_sidecar.kafka_sink:KafkaSink",
    "amqp": "kfunc.logger_sidecar.amqp_sink:AmqpSink",
    "amqps": "kfunc.logger_sidecar.amqp_sink:AmqpSink",
    "s3": "kfunc.logger_sidecar.object_sink:ObjectSink",
    "gs": "kfunc.logger_sidecar.object_sink:ObjectSink",
    "az": "kfunc.logger_sidecar.object_sink:ObjectSink",
}


def open_sink(settings: SinkSettings, context: SinkContext) -> Sink:
    """The sink that `settings.to` means. Raises StartupError."""
    module, _, name = SINKS.get(settings.to.partition(":")[0], "").partition(":")
    if not module:
        from kfunc.config.field_path import show_text  # start-up time: only a wrong one needs it

        known = ", ".join(f"{scheme}:" for scheme in SINKS)
        raise StartupError(f"the sink {show_text(settings.to)} is none of {known}")
    return cast(Sink, getattr(import_module(module), name)(settings, context))


def sink_names(sinks: list[SinkSettings]) -> list[str]:
    """A name for each sink, for its metrics and in what is said of it."""
    return _told_apart([sink.name if sink.name is not UNSET else _short(sink.to) for sink in sinks])


def progress_names(sinks: list[SinkSettings]) -> list[str]:
    """The name that each sink's progress is kept by: its own, or one of all of its address but user and password."""
    return _told_apart([sink.name if sink.name is not UNSET else _whole(sink.to) for sink in sinks])


def _told_apart(wanted: list[str]) -> list[str]:
    names: list[str] = []
    for name in wanted:
        same = sum(each == name or each.startswith(f"{name}-") for each in names)
        names.append(f"{name}-{same + 1}" if same else name)
    return names


def _short(target: str) -> str:
    """`http-broker.example.com`, `file-events.jsonl`: no user, no query."""
    scheme, _, rest = target.partition(":")
    place = rest.partition("?")[0].strip("/")
    part = place.rpartition("/")[2] if scheme == "file" else place.partition("/")[0].rpartition("@")[2]
    kept = "".join(letter if letter.isalnum() or letter in ".-_" else "-" for letter in part)
    return f"{scheme}-{kept}"[:128].rstrip("-")


def _whole(target: str) -> str:
    scheme, separator, rest = target.partition("://")
    place, slash, path = rest.partition("/")
    address = f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}"
    return f"{_short(target)}-{sha256(address.encode()).hexdigest()[:12]}"


def without_secrets(target: str) -> str:
    """The address without user, password and query."""
    scheme, separator, rest = target.partition("://")
    if not separator:
        return target
    place, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"
