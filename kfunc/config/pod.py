"""What the pod's processes read: the completed configuration in `KFUNC_CONFIG`.

Pure: the mains pass the environment in. Overrides are `KFUNC_` plus the field's path in upper
case, `KFUNC_BATCHER_MAX_BATCH_SIZE=64`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from kfunc.config.inference import (
    Accelerator,
    Batcher,
    Digest,
    Execution,
    Limits,
    Logger,
    Name,
    Protocol,
    Runtime,
    Seconds,
    Threads,
    Workers,
)
from kfunc.errors import ConfigError, Problem

VERSION = 1
MAX_BYTES = 64 * 1024
VARIABLE = "KFUNC_CONFIG"


class PodModel(Struct, frozen=True, forbid_unknown_fields=True):
    """A model whose name, runtime and location are decided."""

    name: Name
    version: Name
    uri: Annotated[str, Meta(min_length=1)]
    runtime: Runtime
    execution: Execution = "auto"
    threads: Threads = 0
    concurrency: Threads = 0
    trust: bool = False
    digest: Digest | None = None


class PodConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One function, complete: nothing in it is left to a default of the reader's."""

    function: str
    namespace: str
    model: PodModel
    protocols: Annotated[list[Protocol], Meta(min_length=1)]
    accelerator: Accelerator
    workers: Workers
    timeout_s: Seconds
    hang_timeout_s: Seconds
    grace_s: Seconds
    limits: Limits
    batcher: Batcher | None = None
    logger: Logger | None = None
    version: int = VERSION


def encode(config: PodConfig) -> str:
    """The value of `KFUNC_CONFIG`. Raises ConfigError over 64 KiB."""
    encoded = msgspec.json.encode(config)
    if len(encoded) > MAX_BYTES:
        raise ConfigError([Problem(f"the configuration is {len(encoded)} bytes, the limit is {MAX_BYTES}")], VARIABLE)
    return encoded.decode()


def decode(environ: Mapping[str, str]) -> PodConfig:
    """Read `KFUNC_CONFIG` and the overrides beside it. Raises ConfigError."""
    text = environ.get(VARIABLE)
    if text is None:
        raise ConfigError([Problem(f"{VARIABLE} is not set: start the process with `kfunc run`, or render it")], VARIABLE)
    overrides = {key: value for key, value in environ.items() if key.startswith("KFUNC_") and key != VARIABLE}
    try:
        if not overrides:
            return _current(msgspec.json.decode(text, type=PodConfig))
        plain = msgspec.json.decode(text, type=dict[str, Any])
        for key, value in sorted(overrides.items()):
            _override(plain, key, value)
        return _current(msgspec.convert(plain, PodConfig, strict=False))
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise ConfigError([Problem(str(error))], VARIABLE) from None


def _current(config: PodConfig) -> PodConfig:
    if config.version != VERSION:
        raise ConfigError(
            [Problem(f"version {config.version} of the configuration, this kfunc reads {VERSION}: render it again")], VARIABLE
        )
    return config


def _override(plain: dict[str, Any], key: str, value: str) -> None:
    """Set the field whose path, joined with `_`, is the variable's name."""
    wanted = key.removeprefix("KFUNC_").lower()
    target, fields = plain, PodConfig.__struct_fields__
    for block, struct in BLOCKS.items():
        if wanted.startswith(block + "_"):
            inner = plain.get(block) or {}
            plain[block] = inner
            target, fields, wanted = inner, struct.__struct_fields__, wanted.removeprefix(block + "_")
            break
    if wanted not in fields:
        raise ConfigError([Problem(f"{key} names no setting", suggestion=f"settings here: {', '.join(fields)}")], "environment")
    if isinstance(target, dict):  # else converting it says what is wrong
        target[wanted] = value.split(",") if wanted == "protocols" else value


BLOCKS: dict[str, type[Struct]] = {"model": PodModel, "limits": Limits, "batcher": Batcher, "logger": Logger}
