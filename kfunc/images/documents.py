"""OCI's documents: an image's configuration, manifests, indexes. Equal input gives equal bytes. Pure."""

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from kfunc.errors import BuildError
from kfunc.images.platforms import Platform

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
INDEXES = (INDEX, DOCKER_LIST)
DOCKER_LAYERS = {
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar": "application/vnd.oci.image.layer.v1.tar",
}
EPOCH = "1970-01-01T00:00:00Z"
"""The time of every image: a real one would give another digest each time."""

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
"""A digest becomes part of paths and URLs: nothing else may be in it."""

Json = dict[str, Any]


class Descriptor(Struct, frozen=True):
    """What a document says of a blob or of another document."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    artifact_type: str = ""
    annotations: dict[str, str] = {}

    def document(self) -> Json:
        """In OCI's words."""
        result: Json = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.platform:
            result["platform"] = {"architecture": self.platform.architecture, "os": self.platform.os}
        if self.artifact_type:
            result["artifactType"] = self.artifact_type
        if self.annotations:
            result["annotations"] = dict(sorted(self.annotations.items()))
        return result


class Started(Struct, rename={"variables": "Env", "labels": "Labels"}):
    """Of somebody else's configuration what is read of its `config`."""

    variables: list[str] | None = None
    labels: dict[str, str] | None = None


class Roots(Struct):
    """Of somebody else's configuration what is read of its `rootfs`."""

    diff_ids: list[str] | None = None


class ConfigShape(Struct):
    """The form of a configuration, as far as it is read. A null is nothing."""

    architecture: str = ""
    os: str = ""
    variant: str | None = None
    config: Started | None = None
    rootfs: Roots | None = None
    history: list[Json] | None = None


class ManifestShape(Struct):
    """The form of a manifest or an index, as far as it is read."""

    config: Json | None = None
    layers: list[Json] | None = None
    manifests: list[Json] | None = None


class Settings(Struct, frozen=True):
    """How the image's process is started, and what the image says of itself; on top of the base's."""

    user: str
    folder: str
    variables: dict[str, str] = {}
    entrypoint: list[str] = []
    arguments: list[str] = []
    ports: list[int] = []
    labels: dict[str, str] = {}


def encode(document: Json) -> bytes:
    """The bytes of a document."""
    return msgspec.json.encode(document)


def digest_of(content: bytes) -> str:
    """The digest of a document."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def read_descriptor(value: Any, of: str) -> Descriptor:
    """A descriptor of somebody else's document, `of` what. Raises BuildError."""
    try:
        kind, digest, size = value["mediaType"], value["digest"], value["size"]
        at = value.get("platform") or {}
        platform = Platform(at["architecture"], at["os"]) if at else None
        if not (isinstance(kind, str) and isinstance(size, int) and DIGEST.fullmatch(digest)):
            raise TypeError
        return Descriptor(kind, digest, size, platform)
    except (KeyError, TypeError, AttributeError):
        raise BuildError(f"{of} is no image as OCI and Docker have them; choose another base image") from None


def config(base: Json, platform: Platform, layers: Iterable[tuple[str, str]], settings: Settings) -> Json:
    """An image's configuration: the base's with ours on top. `layers` are diff_id and created_by of those that are added."""
    added = list(layers)
    own = base.get("config") or {}
    variables = dict(line.partition("=")[::2] for line in own.get("Env") or []) | settings.variables
    made: Json = {
        "User": settings.user,
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "WorkingDir": settings.folder,
        "Labels": dict(sorted(((own.get("Labels") or {}) | settings.labels).items())),
    }
    if settings.entrypoint:
        made |= {"Entrypoint": settings.entrypoint, "Cmd": settings.arguments}
    if settings.ports:
        made["ExposedPorts"] = {f"{port}/tcp": {} for port in settings.ports}
    kept = {key: value for key, value in own.items() if key not in ("ExposedPorts", "Entrypoint", "Cmd", "Healthcheck")}
    roots = base.get("rootfs") or {}
    before = list(base.get("history") or [])
    nameless = len(roots.get("diff_ids") or []) - sum(1 for each in before if not each.get("empty_layer"))
    # Podman counts: an entry for each layer, also where the base's maker left them out.
    before += [{"created": EPOCH, "created_by": "base image"}] * nameless
    history = [{"created": EPOCH, "created_by": f"kfunc build: {text}"} for _, text in added]
    result: Json = {
        "created": EPOCH,
        "architecture": platform.architecture,
        "os": platform.os,
        "config": kept | made,
        "rootfs": {"type": "layers", "diff_ids": [*(roots.get("diff_ids") or []), *(diff for diff, _ in added)]},
        "history": [*before, *history],
    }
    if base.get("variant"):
        result["variant"] = base["variant"]
    return result


def manifest(config: Descriptor, layers: Iterable[Descriptor], annotations: dict[str, str]) -> Json:
    """An image's manifest."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.document(),
        "layers": [layer.document() for layer in layers],
        "annotations": dict(sorted(annotations.items())),
    }


def artifact(kind: str, layers: Iterable[Descriptor], subject: Descriptor | None, annotations: dict[str, str]) -> Json:
    """The manifest of what is no image, attached to `subject` (OCI 1.1, Guidelines for Artifact Usage)."""
    empty = Descriptor(EMPTY, "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", 2)
    result: Json = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": empty.document(),
        "layers": [layer.document() for layer in layers],
    }
    if subject:
        result["subject"] = subject.document()
    return result | {"annotations": dict(sorted(annotations.items()))}


def index(manifests: Iterable[Descriptor], annotations: dict[str, str]) -> Json:
    """An index: one manifest for each platform."""
    return {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [each.document() for each in manifests],
        **({"annotations": dict(sorted(annotations.items()))} if annotations else {}),
    }
