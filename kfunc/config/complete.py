"""Function → PodConfig: everything decided that the file leaves open. Pure."""

from typing import Any, cast

from msgspec import UNSET, Struct

from kfunc.config.function import Function
from kfunc.config.inference import ModelSource, Runtime
from kfunc.config.locations import claim_mount, file_path
from kfunc.config.names import service_name
from kfunc.config.pod import PodConfig, PodModel
from kfunc.config.server import spoken

DEFAULT_NAMESPACE = "default"


def complete(function: Function, runtime: str) -> PodConfig:
    """The pod's settings; `runtime` is the one that runs the model, never `auto`.

    A file: URI becomes its path, and a pvc: URI the path where the claim is mounted.
    """
    source = function.inference.model
    name = function.name or service_name("")
    decided = {
        "function": name,
        "namespace": namespace_of(function),
        "model": _model(source, name, runtime),
        "models": [_model(each, "", each.runtime) for each in function.inference.models],
    }
    server = function.inference.server
    other = {"v1": "v2", "v2": "v1"}
    if server is not UNSET and other.get(spoken(server)) in function.inference.protocols:
        decided["upstream_speaks"] = spoken(server)
    settings = {name: value for name, value in _given(function.inference).items() if name in PodConfig.__struct_fields__}
    return PodConfig(**{**settings, **decided})


def _model(source: ModelSource, name: str, runtime: str) -> PodModel:
    uri = claim_mount(source.uri) or file_path(source.uri) or source.uri
    return PodModel(**{**{"name": name, **_given(source)}, **{"uri": uri, "runtime": cast(Runtime, runtime)}})


def namespace_of(function: Function) -> str:
    """Where the function is deployed."""
    return function.namespace or function.deploy.namespace or DEFAULT_NAMESPACE


def _given(block: Struct) -> dict[str, Any]:
    """The fields of a mapping that have a value, by their names: those of the pod have the same."""
    fields = {name: getattr(block, name) for name in block.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not UNSET}
