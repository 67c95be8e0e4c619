"""The image that a function's image stands on: from a registry, from an OCI layout, or none."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from kfunc.errors import BuildError, RegistryError, StartupError
from kfunc.images.documents import (
    DOCKER_LAYERS,
    INDEXES,
    MANIFESTS,
    ConfigShape,
    Descriptor,
    Json,
    ManifestShape,
    read_descriptor,
)
from kfunc.images.layouts import Layout
from kfunc.images.platforms import Platform, minor_version
from kfunc.images.registry import Registry
from kfunc.images.reporter import Reporter, megabytes
from kfunc.images.store import Blob, Store
from kfunc.images.transport import Transport
from kfunc.registries.references import Reference, parse_reference

LAYOUT = "oci:"
NOTHING = "scratch"


class Base(Struct, frozen=True):
    """A base image for one platform. `fetch` brings one of its layers into the store."""

    name: str
    digest: str
    config: Json
    layers: list[Descriptor]
    fetch: Callable[[Descriptor], Blob]
    reference: Reference | None = None

    @property
    def release(self) -> str:
        """The whole version of its Python, as official images say it; empty if it does not say."""
        lines = (self.config.get("config") or {}).get("Env") or []
        return dict(str(line).partition("=")[::2] for line in lines).get("PYTHON_VERSION", "")

    @property
    def python(self) -> str:
        """The minor version of it."""
        return minor_version(self.release)


class Source(Struct, frozen=True):
    """Where documents and blobs come from: a registry or a layout."""

    name: str
    manifest: Callable[[str], tuple[Descriptor, bytes]]
    fetch: Callable[[Descriptor], Blob]
    wanted: str
    reference: Reference | None = None


def open_base(name: str, transport: Transport, store: Store, environ: Mapping[str, str], reporter: Reporter) -> Source | None:
    """The source that a base image's name stands for; None for `scratch`. Raises StartupError."""
    if name == NOTHING:
        return None
    if name.startswith(LAYOUT):
        place = name.removeprefix(LAYOUT)
        folder, colon, tag = place.rpartition(":")
        layout = Layout(Path(place)) if not colon or Path(place).is_dir() else Layout(Path(folder), tag)
        return Source(name, layout.manifest, lambda layer: layout.fetch(layer, store), "")
    reference = parse_reference(name)
    registry = Registry(reference, transport, environ)

    def fetch(layer: Descriptor) -> Blob:
        with reporter.bar(f"fetch {megabytes(layer.size)} of {reference.repository}", layer.size) as told:
            return registry.fetch(layer, store, told)

    # Remembered: a tag that moves meanwhile must not give one release for one platform and the next for another.
    return Source(name, cache(registry.manifest), fetch, reference.wanted, reference)


def read_base(source: Source | None, platform: Platform) -> Base:
    """The base image for a platform. Raises BuildError, StartupError."""
    if source is None:
        return Base(NOTHING, "", {}, [], _nothing)
    descriptor, content = _first(source)
    document = _decode(content, source.name, ManifestShape)
    if descriptor.media_type in INDEXES:
        descriptor = _choose(document, platform, source.name)
        _, content = source.manifest(descriptor.digest)
        document = _decode(content, source.name, ManifestShape)
    elif descriptor.media_type not in MANIFESTS:
        raise BuildError(f"the base image {source.name} is {descriptor.media_type or 'of no type'}, which is no image")
    described = source.fetch(read_descriptor(document.get("config"), source.name))
    config = _decode(described.path.read_bytes(), source.name, ConfigShape)
    if (config.get("os"), config.get("architecture")) != (platform.os, platform.architecture):
        raise StartupError(
            f"the base image {source.name} is for {config.get('os')}/{config.get('architecture')} and not for {platform}:"
            " choose another with --base, or build for its platform with --platform"
        )
    layers = [read_descriptor(each, source.name) for each in document.get("layers") or []]
    if len((config.get("rootfs") or {}).get("diff_ids") or []) != len(layers):
        raise BuildError(f"the base image {source.name} is damaged: its layers and its configuration do not fit; pull it anew")
    own = [Descriptor(DOCKER_LAYERS.get(each.media_type, each.media_type), each.digest, each.size) for each in layers]
    return Base(source.name, descriptor.digest, config, own, source.fetch, source.reference)


def _first(source: Source) -> tuple[Descriptor, bytes]:
    """What the base image's name stands for. Raises RegistryError, BuildError."""
    try:
        return source.manifest(source.wanted)
    except RegistryError as error:
        way = "--base or inference.build.base names another base image"
        raise RegistryError(f"the base image {source.name}: {error.message}; {way}", error.code) from None


def _choose(index: Json, platform: Platform, name: str) -> Descriptor:
    """The manifest of an index for a platform; of several variants the one for the oldest processors. Raises StartupError."""
    listed = index.get("manifests") or []
    found = [read_descriptor(each, name) for each in listed]
    variants = [str((each.get("platform") or {}).get("variant") or "") for each in listed]  # "", or v1 … v9
    fitting = [(variants[number], number) for number, each in enumerate(found) if each.platform == platform]
    if fitting:
        return found[min(fitting)[1]]
    known = sorted({str(each.platform) for each in found if each.platform and each.platform.os != "unknown"})
    raise StartupError(
        f"the base image {name} is there for {', '.join(known) or 'no platform'} and not for {platform}:"
        " choose another with --base, or leave the platform out with --platform"
    )


def _decode(content: bytes, name: str, shape: type[ConfigShape | ManifestShape]) -> Json:
    """A document as it is, of the form that is expected. Raises BuildError."""
    try:
        value: Json = msgspec.json.decode(content, type=dict)
        msgspec.convert(value, shape)
    except msgspec.MsgspecError as error:
        raise BuildError(f"the base image {name} is damaged ({error}): choose another with --base") from None
    return value


def _nothing(descriptor: Descriptor) -> Blob:
    raise BuildError(f"there is no layer {descriptor.digest} in nothing")
