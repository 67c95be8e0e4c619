"""The volumes of the pod, and where each container has them. Pure.

A pod with a volume starts about 0.3 s later than one without: the kubelet mounts, and looks only so often whether all are
there. So there is one only where something needs it.
"""

from typing import Any

from msgspec import UNSET, Struct

from kfunc.config.function import Volume
from kfunc.config.inference_block import Inference
from kfunc.config.locations import claim
from kfunc.config.logger import MEMORY, Logger, volume_bytes
from kfunc.config.logger import SPOOL_PATH as SPOOL
from kfunc.config.model_addresses import is_remote
from kfunc.config.places import CONFIGURATION, CREDENTIALS, MODEL_CACHE, MODELS, SCRATCH, UNSEALED
from kfunc.config.pod import PodConfig
from kfunc.config.residency import ModelCache
from kfunc.manifests.environment import configuration
from kfunc.manifests.features import feature
from kfunc.manifests.plan import Container, Manifest, Note, Plan
from kfunc.manifests.scratch import needs_scratch

CLAIMS = "kubernetes.podspec-persistent-volume-claim"
CLAIM_WRITES = "kubernetes.podspec-persistent-volume-write"
MEBIBYTE = 1024 * 1024


class Mounted(Struct, frozen=True):
    """A volume, or its folder `sub_path`, the containers that have it, its path in them; `field` is its name in func.yaml."""

    name: str
    source: dict[str, Any]
    path: str
    containers: tuple[Container, ...]
    read_only: bool = False
    field: str = ""
    sub_path: str = ""

    def volume(self) -> Manifest:
        return {"name": self.name, **self.source}

    def mount(self) -> Manifest:
        within = {"subPath": self.sub_path} if self.sub_path else {}
        return {"name": self.name, "mountPath": self.path} | within | ({"readOnly": True} if self.read_only else {})


def volumes(plan: Plan) -> list[Mounted]:
    """All volumes, kfunc's own first."""
    inference, config = plan.function.inference, plan.config
    result = []
    own: tuple[Container, ...] = ("handler",) if inference.server is UNSET else ()
    own += sidecars_of(config)
    if settings_map := configuration(plan):
        source = {"configMap": {"name": settings_map["metadata"]["name"]}}
        result.append(Mounted("configuration", source, CONFIGURATION, own, read_only=True))
    if needs_scratch(plan):
        result.append(Mounted("tmp", {"emptyDir": {}}, SCRATCH, ("handler",)))
    if config.logger is not None and config.logger.spool != MEMORY:
        result.append(_spool(config.logger))
    if secret := inference.storage.file_secret:
        result.append(Mounted("storage", {"secret": {"secretName": secret}}, CREDENTIALS, ("handler",), read_only=True))
    if inference.server is UNSET or claim(inference.model.uri):
        result += _of_models(inference)
    tokens = [] if config.logger is None else token_files(config.logger)
    return result + [_given(number, volume, tokens) for number, volume in enumerate(plan.function.run.volumes)]


def _of_models(inference: Inference) -> list[Mounted]:
    """The claims of models, each once; the cache of those that are fetched."""
    result: list[Mounted] = []
    sources = [("inference.model.uri", inference.model)]
    sources += [(f"inference.models[{number}].uri", model) for number, model in enumerate(inference.models)]
    for field, model in sources:
        found = claim(model.uri)
        if found and all(each.path != f"{MODELS}/{found[0]}" for each in result):
            claimed: dict[str, Any] = {"persistentVolumeClaim": {"claimName": found[0], "readOnly": True}}
            name = f"model-{len(result)}" if result else "model"
            result.append(Mounted(name, claimed, f"{MODELS}/{found[0]}", ("handler",), True, field))
    if any(is_remote(model.uri) for _, model in sources):
        result.append(_cache(inference.model_cache))
    if any(model.sealed for _, model in sources):
        result.append(Mounted("unsealed", {"emptyDir": {"medium": "Memory"}}, UNSEALED, ("handler",)))
    return result


def _cache(cache: ModelCache) -> Mounted:
    """Where fetched models are: a claim that functions share, or a folder of the pod's own."""
    if cache.path is not UNSET and (found := claim(cache.path)):
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": found[0]}}
        return Mounted("model-cache", source, MODEL_CACHE, ("handler",), False, "inference.model_cache.path", found[1])
    size = -(-cache.max_bytes * 9 // 8 // MEBIBYTE)  # a download is there while the old version still is
    return Mounted("model-cache", {"emptyDir": {"sizeLimit": f"{size}Mi"}}, MODEL_CACHE, ("handler",))


def token_files(logger: Logger) -> list[str]:
    """Files with tokens for the logger's sinks."""
    found = (logger.token_file, *(sink.token_file for sink in logger.sinks))
    return [file for file in found if file is not UNSET]


def _spool(logger: Logger) -> Mounted:
    """Where events wait: a claim that outlives the pod, or a folder that outlives the container."""
    if logger.spool is not UNSET and (found := claim(logger.spool)):
        source: dict[str, Any] = {"persistentVolumeClaim": {"claimName": found[0]}}
        return Mounted("spool", source, SPOOL, ("logger",), False, "inference.logger.spool", found[1])
    size = -(-volume_bytes(logger) // MEBIBYTE)
    return Mounted("spool", {"emptyDir": {"sizeLimit": f"{size}Mi"}}, SPOOL, ("logger",))


def sidecars_of(config: PodConfig) -> tuple[Container, ...]:
    """The sidecars that the function has, the inner one first."""
    given: tuple[tuple[Container, object], ...] = (("batcher", config.batcher), ("logger", config.logger))
    return tuple(name for name, block in given if block is not None)


def _given(number: int, volume: Volume, tokens: list[str]) -> Mounted:
    """One of func.yaml's, the logger's too where a token of its sinks is in it; Secrets and ConfigMaps are read-only."""
    name, path, field = f"volume-{number}", str(volume.path), f"run.volumes[{number}]"
    shared = any(token.startswith(f"{path.rstrip('/')}/") for token in tokens)
    who: tuple[Container, ...] = ("handler", "logger") if shared else ("handler",)
    if volume.secret is not UNSET:
        return Mounted(name, {"secret": {"secretName": volume.secret}}, path, who, True, field)
    if volume.config_map is not UNSET:
        return Mounted(name, {"configMap": {"name": volume.config_map}}, path, who, True, field)
    if volume.persistent_volume_claim is not UNSET:
        claimed = volume.persistent_volume_claim
        source: dict[str, Any] = {"claimName": claimed.claim_name} | ({"readOnly": True} if claimed.read_only else {})
        return Mounted(name, {"persistentVolumeClaim": source}, path, who, claimed.read_only, field)
    given = volume.empty_dir
    empty = {} if given is UNSET else {"medium": given.medium, "sizeLimit": given.size_limit}
    return Mounted(name, {"emptyDir": {key: value for key, value in empty.items() if value}}, path, who, False, field)


def claim_notes(mounted: list[Mounted]) -> list[Note]:
    """The feature flags that claims need."""
    notes = []
    for volume in mounted:
        if "persistentVolumeClaim" in volume.source:
            notes.append(feature(CLAIMS, volume.field))
            notes += [] if volume.read_only else [feature(CLAIM_WRITES, volume.field)]
    return notes
