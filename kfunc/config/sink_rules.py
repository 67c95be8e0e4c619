"""Rules for sinks: each is an address, without secrets in it, and has only settings that mean something for its kind."""

from collections.abc import Callable, Iterator
from posixpath import normpath

from msgspec import UNSET

from kfunc.config.field_path import FieldPath
from kfunc.config.finding import Finding
from kfunc.config.function import Function
from kfunc.config.logger import Logger, SinkSettings, sinks_of
from kfunc.config.sink_addresses import SinkFault, parse_sink

LOGGER = ("inference", "logger")
HTTP = ("http", "https", "broker")
STORES = ("s3", "gs", "az")
# Setting → the kinds of sinks that it is for, and their name.
MEANT_FOR = {
    "connections": (HTTP, "an http(s) sink"),
    "token_file": (HTTP, "an http(s) sink"),
    "rotate_bytes": (("file",), "a file"),
    "rotate_keep": (("file",), "a file"),
    **dict.fromkeys(("format", "batch_events", "batch_bytes", "batch_s"), (STORES, "an object store")),
}


def sinks_are_addresses(function: Function) -> Iterator[Finding]:
    """Each has what its kind needs; a secret is in the environment, from a Secret."""
    for path, text in _addresses(function.inference.logger):
        try:
            address = parse_sink(text)
        except SinkFault as fault:
            yield Finding(path, fault.message, fault.suggestion)
            continue
        if address.user or address.password:
            message = "a sink's address in func.yaml has no user or password in it"
            yield Finding(
                path, message, "func.yaml is no place for secrets: set them by environment variables (docs/logger.md, Sinks)"
            )


def sinks_are_different(function: Function) -> Iterator[Finding]:
    """Two with one address would get everything twice."""
    logger = function.inference.logger
    if logger is UNSET:
        return
    known = [] if logger.sink is UNSET else [logger.sink]
    for number, sink in enumerate(logger.sinks):
        if sink.to in known:
            yield Finding((*LOGGER, "sinks", number, "to"), "events go there already", "remove it")
        known.append(sink.to)


def refused_events_go_elsewhere(function: Function) -> Iterator[Finding]:
    """What a sink refuses, or does not take, is not for it again."""
    logger = function.inference.logger
    if logger is UNSET:
        return
    for number, sink in enumerate(logger.sinks):
        if sink.dead_letter == sink.to:
            yield Finding(
                (*LOGGER, "sinks", number, "dead_letter"), "this is the sink that has refused them", "name another one"
            )
    wholes = {sink.to for sink in sinks_of(logger)}
    for name in ("dead_letter", "overflow"):
        if wholes == {getattr(logger, name)}:
            yield Finding((*LOGGER, name), "this is the sink that does not take them", "name another one")


def brokers_get_no_batches(function: Function) -> Iterator[Finding]:
    """A Knative broker takes one event a request."""
    logger = function.inference.logger
    if logger is UNSET:
        return
    sinks = sinks_of(logger)
    own = len(sinks) - len(logger.sinks)  # `sink` comes before `sinks`
    for number, sink in enumerate(sinks):
        if sink.to.startswith("broker:") and sink.content_mode == "batched":
            at_sink = number >= own and logger.sinks[number - own].content_mode is not UNSET
            path: FieldPath = ("sinks", number - own, "content_mode") if at_sink else ("content_mode",)
            message = f"{sink.to} is a Knative broker, which takes no batches"
            yield Finding((*LOGGER, *path), message, 'write "structured" or "binary" for it')
            return


def the_spool_is_a_folder_of_its_own(function: Function) -> Iterator[Finding]:
    """Not all of a file system."""
    logger = function.inference.logger
    if logger is not UNSET and logger.spool is not UNSET and not normpath(logger.spool).strip("/."):
        yield Finding(
            (*LOGGER, "spool"), f'expected a folder for the spool alone, found "{logger.spool}"', 'write "memory", or remove it'
        )


def settings_suit_their_sink(function: Function) -> Iterator[Finding]:
    """What only one kind of sinks has is not set where there is no such sink."""
    logger = function.inference.logger
    if logger is UNSET:
        return
    for number, sink in enumerate(logger.sinks):
        for name in (*MEANT_FOR, "content_mode"):
            if getattr(sink, name) is not UNSET and (fault := _unsuited(name, [sink], getattr(sink, name))):
                yield Finding((*LOGGER, "sinks", number, name), *fault)
    sinks = logger.sinks if logger.sink is UNSET else [SinkSettings(to=logger.sink), *logger.sinks]
    if sinks:
        for name in (*MEANT_FOR, "content_mode"):
            value = getattr(logger, name)
            if value != getattr(Logger(), name) and (fault := _unsuited(name, sinks, value)):
                yield Finding((*LOGGER, name), *fault)


def _unsuited(name: str, sinks: list[SinkSettings], value: object) -> tuple[str, str] | None:
    kinds, called = MEANT_FOR.get(name, (None, ""))
    if name == "content_mode":
        if value == "batched":
            kinds, called = HTTP, "an http(s) sink"
        elif value == "binary":
            kinds, called = (*HTTP, "nats", "kafka", "amqp", "amqps"), "a sink with header fields"
    schemes = [sink.to.partition(":")[0] for sink in sinks]
    if kinds is None or any(scheme in kinds for scheme in schemes):
        return None
    return f"this is for {called}, and the sink is {' and '.join(f'{scheme}:' for scheme in schemes)}", "remove it"


def _addresses(logger: object) -> Iterator[tuple[FieldPath, str]]:
    """Every address of the block, with its place."""
    if not isinstance(logger, Logger):
        return
    for name in ("sink", "dead_letter", "overflow"):
        if getattr(logger, name) is not UNSET:
            yield (*LOGGER, name), getattr(logger, name)
    for number, sink in enumerate(logger.sinks):
        yield (*LOGGER, "sinks", number, "to"), sink.to
        if sink.dead_letter is not UNSET:
            yield (*LOGGER, "sinks", number, "dead_letter"), sink.dead_letter


RULES: tuple[Callable[[Function], Iterator[Finding]], ...] = (
    sinks_are_addresses,
    sinks_are_different,
    refused_events_go_elsewhere,
    brokers_get_no_batches,
    the_spool_is_a_folder_of_its_own,
    settings_suit_their_sink,
)
