"""The `logger` block of func.yaml: what is logged, where it is kept, where it goes."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from kfunc.config.block import Block, Connections, Name

SPOOL_PATH = "/var/spool/kfunc"  # where the pod mounts the spool's volume
MEMORY = "memory"
SHARED_MEMORY = "/dev/shm"  # noqa: S108
"""The pod's memory as files: all its containers share it, it outlives each, and it is no volume that a pod waits for."""
MEMORY_PATH = f"{SHARED_MEMORY}/kfunc-spool"
MEMORY_SHARE = 0.5  # of the pod's shared memory, with the intake: the handler has its temporary files there
SHARED_MEMORY_BYTES = 64 * 1024 * 1024  # what a pod has of it
LEAST_INTAKE, RECORDS_IN_INTAKE, TEXT_ROOM = 8 * 1024 * 1024, 3, 64 * 1024
VOLUME_SHARE = 0.8  # of the volume's size limit: past it the kubelet evicts the pod
MAX_SEGMENT_BYTES = 64 * 1024 * 1024

Mode = Literal["all", "request", "response", "metadata"]
ContentMode = Literal["structured", "binary", "batched"]
Compat = Literal["none", "kserve"]
Order = Literal["kept", "strict", "any"]
OnFull = Literal["drop_newest", "drop_oldest", "block"]
Share = Annotated[float, Meta(ge=0, le=1)]
Pattern = Annotated[str, Meta(min_length=1)]
Key = Annotated[str, Meta(min_length=1)]
Field = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$",
        extra_json_schema={"patternErrorMessage": "expected the name of an HTTP header field"},
    ),
]
Sink = Annotated[
    str,
    Meta(
        pattern=r"^((https?|nats|kafka|amqps?|s3|gs|az)://|broker:|file:).+$",
        extra_json_schema={
            "patternErrorMessage": 'expected "broker:NAME", "http(s)://…", "file:PATH", "nats://…", "kafka://…", '
            '"amqp(s)://…", "s3://…", "gs://…" or "az://…"'
        },
    ),
]
TokenFile = Annotated[
    str,
    Meta(
        pattern=r"^/.+$",
        description="A token for http(s) sinks, sent as Bearer and read again when it changes.",
        extra_json_schema={"patternErrorMessage": "expected an absolute path"},
    ),
]
Format = Literal["jsonl", "parquet"]
BatchEvents = Annotated[int, Meta(ge=1, le=100_000, description="Most events in one object of a store.")]
BatchBytes = Annotated[int, Meta(ge=1, le=64 * 1024 * 1024, description="About the most bytes of bodies in one object.")]
BatchSeconds = Annotated[float, Meta(ge=0, le=3600, description="How long the events of one object are collected.")]
Volume = Annotated[
    str,
    Meta(
        pattern=r"^(pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(/.*)?|[^:]+)$",
        extra_json_schema={"patternErrorMessage": 'expected a folder, "pvc://CLAIM/PATH" or "memory"'},
    ),
]


class SinkSettings(Block, frozen=True, kw_only=True):
    """One sink; what is not said here is as the logger's field of the same name says."""

    to: Annotated[Sink, Meta(description="Where events go: `broker:NAME`, a URL, or `file:PATH` (docs/logger.md, Sinks).")]
    name: Annotated[Name, Meta(description="Name in metrics and of its progress.")] | UnsetType = UNSET
    content_mode: Annotated[ContentMode, Meta(description="As the logger's, for this sink.")] | UnsetType = UNSET
    compat: Annotated[Compat, Meta(description="As the logger's, for this sink.")] | UnsetType = UNSET
    order: Annotated[Order, Meta(description="As the logger's, for this sink.")] | UnsetType = UNSET
    connections: Annotated[Connections, Meta(description="As the logger's, for this sink.")] | UnsetType = UNSET
    max_retries: Annotated[int, Meta(ge=0, description="As the logger's, for this sink.")] | UnsetType = UNSET
    dead_letter: Annotated[Sink, Meta(description="As the logger's, for this sink.")] | UnsetType = UNSET
    rotate_bytes: Annotated[int, Meta(ge=0, description="A file of this size is put aside; 0: it grows.")] | UnsetType = UNSET
    rotate_keep: Annotated[int, Meta(ge=1, le=1000, description="Files put aside that are kept.")] | UnsetType = UNSET
    token_file: TokenFile | UnsetType = UNSET
    format: Annotated[Format, Meta(description="Of the objects in a store.")] | UnsetType = UNSET
    batch_events: BatchEvents | UnsetType = UNSET
    batch_bytes: BatchBytes | UnsetType = UNSET
    batch_s: BatchSeconds | UnsetType = UNSET


class Shadow(Block, frozen=True, kw_only=True):
    """Sampled requests are sent to a candidate as well, off the request's path."""

    to: Annotated[
        str,
        Meta(
            pattern=r"^https?://.+$",
            description="The candidate's URL.",
            extra_json_schema={"patternErrorMessage": 'expected "http://…" or "https://…"'},
        ),
    ]
    sample: Annotated[Share, Meta(description="Share of the requests that are sent, the same for all of a trace.")] = 1.0
    compare: Annotated[bool, Meta(description="Log where the candidate's answers differ.")] = False


class Logger(Block, frozen=True):
    """Requests and responses as CloudEvents; present: on, absent: off."""

    mode: Annotated[
        Mode, Meta(description="Which of the two events of a call are sent; `metadata`: both, without the bodies.")
    ] = "all"
    sink: (
        Annotated[Sink, Meta(description="Where events go: `broker:NAME`, a URL, or `file:PATH` (docs/logger.md, Sinks).")]
        | UnsetType
    ) = UNSET
    sinks: Annotated[list[SinkSettings], Meta(description="Several sinks, each with its own progress.")] = []
    sample: Annotated[Share, Meta(description="Share of the calls that are logged, the same for all of a trace.")] = 1.0
    paths: Annotated[list[Pattern], Meta(description="Only calls of these paths; `*` stands for any characters.")] = []
    models: Annotated[list[Pattern], Meta(description="Only calls of these models; `*` stands for any characters.")] = []
    headers: Annotated[list[Field], Meta(description="Header fields of requests that are logged; no others are.")] = []
    redact: Annotated[list[Key], Meta(description="Names of JSON fields and tensors whose values are never written down.")] = []
    redact_with: Annotated[
        Literal["hash", "drop"], Meta(description="A redacted value is replaced by its SHA-256, or left out.")
    ] = "hash"
    max_body_bytes: Annotated[
        int,
        Meta(ge=0, le=16 * 1024 * 1024, description="Bytes of a body kept in its event; a longer one has a digest."),
    ] = 256 * 1024
    content_mode: (
        Annotated[
            ContentMode,
            Meta(
                description="An http(s) sink gets events as JSON (`structured`), as a body with attributes in header fields "
                "(`binary`), or, where it takes such, many at once (`batched`)."
            ),
        ]
        | UnsetType
    ) = UNSET
    compat: Annotated[Compat, Meta(description="`kserve`: KServe's types and attributes, for its consumers.")] = "none"
    order: Annotated[
        Order,
        Meta(
            description="`kept`: in order, until the spool is half full; `strict`: in order; `any`: faster, several under way."
        ),
    ] = "kept"
    connections: Annotated[Connections, Meta(description="Connections to an http(s) sink with `order: any`.")] = 1
    max_retries: Annotated[
        int,
        Meta(ge=0, description="Answers to try an event again after; then it is a dead letter. 0: until it is taken."),
    ] = 0
    rotate_bytes: Annotated[int, Meta(ge=0, description="A file: sink of this size is put aside as PATH.1; 0: it grows.")] = (
        256 * 1024 * 1024
    )
    rotate_keep: Annotated[int, Meta(ge=1, le=1000, description="Files put aside that are kept.")] = 4
    token_file: TokenFile | UnsetType = UNSET
    format: Annotated[Format, Meta(description="Of the objects in a store; `parquet` needs the extra of that name.")] = "jsonl"
    batch_events: BatchEvents = 10_000
    batch_bytes: BatchBytes = 8 * 1024 * 1024
    batch_s: BatchSeconds = 60.0
    dead_letter: (
        Annotated[Sink, Meta(description="Where events go that a sink refuses; without one they are dropped and counted.")]
        | UnsetType
    ) = UNSET
    spool: (
        Annotated[
            Volume,
            Meta(description="Where events wait for their sinks: a folder, pvc://CLAIM/PATH, or `memory` (docs/logger.md)."),
        ]
        | UnsetType
    ) = UNSET
    spool_max_bytes: Annotated[
        int, Meta(ge=1024 * 1024, description="Bytes of waiting events; at more, see `on_full`. The volume has a quarter more.")
    ] = 256 * 1024 * 1024
    spool_segment_bytes: Annotated[
        int,
        Meta(ge=64 * 1024, le=MAX_SEGMENT_BYTES, description="Size of the spool's files, deleted when all sinks have them."),
    ] = 8 * 1024 * 1024
    spool_sync: Annotated[
        bool, Meta(description="An answer waits until its events are on the disk itself: for auditors; slow.")
    ] = False
    overflow: (
        Annotated[Sink, Meta(description="Where events go when the spool is nearly full, or the pod ends, and a sink is down.")]
        | UnsetType
    ) = UNSET
    on_full: Annotated[
        OnFull, Meta(description="Past the bound drop the newest or the oldest events, or let requests wait.")
    ] = "drop_newest"
    shadow: Annotated[Shadow, Meta(description="Sampled requests go to a candidate as well.")] | UnsetType = UNSET


def sinks_of(logger: Logger, default: str = "") -> list[SinkSettings]:
    """The sinks, complete: what one leaves open is the logger's. `default` is where events go if no sink is set."""
    sinks = logger.sinks if logger.sink is UNSET else [SinkSettings(to=logger.sink), *logger.sinks]
    if not sinks and default:
        sinks = [SinkSettings(to=default)]
    return [_complete(sink, logger) for sink in sinks]


def _complete(sink: SinkSettings, logger: Logger) -> SinkSettings:
    """`content_mode` is `binary` for KServe's consumers, which know no other, else `structured`."""
    given = {name: getattr(sink, name) for name in sink.__struct_fields__}
    both = {name: getattr(logger, name, UNSET) if value is UNSET else value for name, value in given.items()}
    if both["content_mode"] is UNSET:
        both["content_mode"] = "binary" if both["compat"] == "kserve" else "structured"
    return SinkSettings(**both)


def volume_bytes(logger: Logger) -> int:
    """The size limit of the volume that holds the spool: its bound is four fifths of it."""
    return int(logger.spool_max_bytes / VOLUME_SHARE) + 1


def intake_bytes(logger: Logger) -> int:
    """The intake in shared memory: room for a few calls with the longest bodies."""
    return max(LEAST_INTAKE, RECORDS_IN_INTAKE * (2 * logger.max_body_bytes + TEXT_ROOM))
