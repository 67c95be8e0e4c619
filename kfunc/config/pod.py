"""What the pod's processes read: the completed configuration in `KFUNC_CONFIG`.

Pure: the mains pass the environment in. Overrides are `KFUNC_` plus the field's path in upper
case, `KFUNC_BATCHER_MAX_BATCH_SIZE=64`.
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from kfunc.config.batcher import Batcher
from kfunc.config.block import Name
from kfunc.config.explain import Explain
from kfunc.config.images import Images
from kfunc.config.inference import Digest, Limits, ModelSettings, Runtime, Settings
from kfunc.config.logger import Logger
from kfunc.config.residency import ModelCache, Residency
from kfunc.errors import ConfigError, Problem

VERSION = 1
MAX_BYTES = 1_000_000
"""Of the settings as JSON: about what a ConfigMap holds."""
MAX_VARIABLE_BYTES = 64 * 1024
"""Longer ones are a file, and KFUNC_CONFIG is `@` and its path."""
IN_FILE = "@"
VARIABLE = "KFUNC_CONFIG"


class PodModel(ModelSettings, frozen=True, kw_only=True, omit_defaults=False):
    """A model whose name and location are decided; a sidecar needs no location."""

    runtime: Runtime = "auto"
    name: Name = "model"
    uri: str = ""
    digest: Digest | None = None
    checked: bool = False
    """Whether the digest was checked when the model was fetched."""
    built: str = ""
    """Of a model that was fetched and that nobody vouches for: the folder, not of its files, for what is built of it here."""


class PodConfig(Settings, frozen=True, kw_only=True, omit_defaults=False):
    """One function, complete. The defaults serve a sidecar in front of somebody else's server."""

    function: str = "function"
    namespace: str = "default"
    model: PodModel = PodModel()
    batcher: Batcher | None = None
    logger: Logger | None = None
    explain: Explain | None = None
    models: list[PodModel] = []
    residency: Residency | None = None
    upstream_speaks: Literal["", "v1", "v2"] = ""
    """The only protocol of a server that is not kfunc's: the sidecar next to it translates the other."""
    images: Images | None = None
    version: int = VERSION


def encode(config: PodConfig) -> str:
    """The settings as JSON. Raises ConfigError over MAX_BYTES."""
    encoded = msgspec.json.encode(config)
    if len(encoded) > MAX_BYTES:
        raise ConfigError([Problem(f"the configuration is {len(encoded)} bytes, the limit is {MAX_BYTES}")], VARIABLE)
    return encoded.decode()


def decode(environ: Mapping[str, str], *, needs_model: bool = True) -> PodConfig:
    """Read `KFUNC_CONFIG` and the overrides beside it; what is in neither has its default. Raises ConfigError.

    `needs_model`: the model's location must be there.
    """
    text = environ.get(VARIABLE)
    overrides = {key: value for key, value in environ.items() if key.startswith("KFUNC_") and key != VARIABLE}
    settings: Any = "{}" if text is None else text
    owners: dict[tuple[str | int, ...], str] = {}
    try:
        if not overrides:
            config = msgspec.json.decode(settings, type=PodConfig)
        else:
            settings = msgspec.json.decode(settings, type=dict[str, Any])
            for key, value in sorted(overrides.items()):
                owners[_override(settings, key, value)] = key
            config = msgspec.convert(settings, PodConfig, strict=False)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        from kfunc.config.pod_faults import fault_of  # start-up time: only what is wrong needs it

        raise fault_of(error, settings, PodConfig, VARIABLE, owners) from None
    if needs_model and not config.model.uri:
        cause = f"{VARIABLE} is not set: start the process with `kfunc run`, or render it" if text is None else "no model.uri"
        raise ConfigError([Problem(cause, suggestion="or set KFUNC_MODEL_URI to the model's path")], VARIABLE)
    return _current(config)


def _current(config: PodConfig) -> PodConfig:
    if config.version != VERSION:
        raise ConfigError(
            [Problem(f"version {config.version} of the configuration, this kfunc reads {VERSION}: render it again")], VARIABLE
        )
    return config


def _override(plain: dict[str, Any], key: str, value: str) -> tuple[str, ...]:
    """Set the field whose path, joined with `_`, is the variable's name; the path."""
    path: tuple[str, ...] = ()
    wanted = key.removeprefix("KFUNC_").lower()
    target: Any = plain
    settings: type[Struct] = PodConfig
    for block, struct in BLOCKS.items():
        if wanted.startswith(block + "_") and wanted not in PodConfig.__struct_fields__:
            inner = plain.get(block) or {}
            plain[block] = inner
            target, settings, wanted, path = inner, struct, wanted.removeprefix(block + "_"), (block,)
            break
    kinds = {field.name: field.type for field in msgspec.structs.fields(settings)}
    if wanted not in kinds:
        raise ConfigError([Problem(f"{key} names no setting", suggestion=f"settings here: {', '.join(kinds)}")], "environment")
    if isinstance(target, dict):  # else converting it says what is wrong
        target[wanted] = _value(kinds[wanted], value)
    return (*path, wanted)


def _value(kind: Any, text: str) -> Any:
    """A list, with bounds or without, is its elements with commas between, or JSON; a block is JSON."""
    is_list = _holds(kind, list)
    if (is_list and text.startswith("[")) or (text.startswith("{") and _holds(kind, Struct)):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            pass  # a pattern such as [ab]*, or what converting it says is wrong
    return text.split(",") if is_list else text


def _holds(kind: Any, wanted: type) -> bool:
    origin = get_origin(kind) or kind
    return (isinstance(origin, type) and issubclass(origin, wanted)) or any(_holds(part, wanted) for part in get_args(kind))


BLOCKS: dict[str, type[Struct]] = {
    "model_cache": ModelCache,  # before `model`, with which its variables begin too
    "model": PodModel,
    "limits": Limits,
    "residency": Residency,
    "images": Images,
    "batcher": Batcher,
    "logger": Logger,
}
