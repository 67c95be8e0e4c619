"""Images in files: OCI image layouts, read and written, and archives that `docker load` takes."""

import io
import os
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from kfunc.errors import BuildError, StartupError
from kfunc.images.documents import INDEX, Descriptor, Json, digest_of, encode, index, read_descriptor
from kfunc.images.store import PIECE, Blob, Store

MARK = "oci-layout"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"


class Layout:
    """A folder that holds images (OCI image layout 1.0), of which `tag` is one."""

    def __init__(self, folder: Path, tag: str = "") -> None:
        self.folder = folder
        self._tag = tag
        if not (folder / MARK).is_file():
            raise StartupError(f"{folder} is no OCI layout: it has no file {MARK}")

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """A manifest by digest; without one, that of the tag, or all images as an index. Raises BuildError, StartupError."""
        if wanted:
            content = self._document(wanted)
            return Descriptor(self._decode(content).get("mediaType", ""), wanted, len(content)), content
        content = self._read(self.folder / "index.json")
        listed = self._decode(content).get("manifests") or []
        images = [each for each in listed if not each.get("artifactType")]
        tags = {str((each.get("annotations") or {}).get(NAME) or "") for each in images}
        if self._tag:
            images = [each for each in images if (each.get("annotations") or {}).get(NAME) == self._tag]
        if not images or (len(images) > 1 and len(tags) == len(images)):
            known = ", ".join(f"oci:{self.folder}:{tag}" for tag in sorted(tags - {""}))
            raise StartupError(f"which image of {self.folder}? Name one, as {known or 'oci:DIR:TAG'}")
        if len(images) == 1:
            only = read_descriptor(images[0], str(self.folder))
            return only, self._document(only.digest)
        return Descriptor(INDEX, "", len(content)), content

    def fetch(self, descriptor: Descriptor, store: Store) -> Blob:
        """A blob, checked. Raises BuildError."""
        found = store.find(descriptor.digest, descriptor.media_type, descriptor.size)
        if found:
            return found
        try:
            with (
                self._blob(descriptor.digest).open("rb") as file,
                store.writing(descriptor.media_type, descriptor.digest) as copy,
            ):
                while piece := file.read(PIECE):
                    copy.write(piece)
        except OSError as error:
            raise BuildError(f"cannot read {error.filename}: {error.strerror}; the layout is not whole") from None
        return copy.blob

    def _document(self, digest: str) -> bytes:
        """A document with this digest. Raises BuildError for one that has another."""
        content = self._read(self._blob(digest))
        if digest_of(content) != digest:
            raise BuildError(f"{self._blob(digest)} is damaged: its digest is another; write the layout anew")
        return content

    def _decode(self, content: bytes) -> Json:
        try:
            found: Json = msgspec.json.decode(content, type=dict)
        except msgspec.MsgspecError:
            raise BuildError(f"the layout {self.folder} is damaged: a document of it is no JSON; write it anew") from None
        return found

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.replace(":", "/")

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise BuildError(f"cannot read {path}: {error.strerror}; the layout is not whole") from None


def write_layout(folder: Path, roots: Iterable[Descriptor], blobs: Iterable[Blob], name: str) -> None:
    """Write an OCI layout. Blobs that are there stay, other images in the folder too. Raises BuildError."""
    try:
        (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (folder / MARK).write_bytes(VERSION)
        for blob in blobs:
            target = folder / "blobs" / blob.digest.replace(":", "/")
            if not target.exists() or target.stat().st_size != blob.size:
                _copy(blob.path, target)
        own = [_named(root, name) for root in roots]
        file = folder / "index.json"
        current = msgspec.json.decode(file.read_bytes(), type=dict) if file.exists() else {}
        made = [each.document() for each in own]
        document = index([], {}) | {"manifests": [*_staying(folder, current.get("manifests") or [], made, name), *made]}
        with _replacing(file) as new:
            new.write_bytes(encode(document))
    except OSError as error:
        raise BuildError(f"cannot write to {error.filename or folder}: {error.strerror}; choose another folder") from None
    except msgspec.MsgspecError:
        raise BuildError(f"{folder}/index.json is damaged: choose another folder, or remove it") from None


def _staying(folder: Path, listed: list[Json], own: list[Json], name: str) -> list[Json]:
    """What is in a layout and stays: images of other names, and the artifacts that are attached to them."""
    added = {each["digest"] for each in own}
    images = [each for each in listed if not each.get("artifactType") and not _is_named(each, name)]
    alive = set()
    for each in (*images, *own):
        parts = _read(folder, each).get("manifests") or []
        alive |= {each.get("digest"), *(part.get("digest") for part in parts)}
    attached = [each for each in listed if each.get("artifactType") and each.get("digest") not in added]
    kept = [each for each in attached if (_read(folder, each).get("subject") or {}).get("digest") in alive]
    return [*images, *kept]


def _is_named(entry: Json, name: str) -> bool:
    """Whether an image has that name; of one that only other tools have named, its tag counts."""
    names = entry.get("annotations") or {}
    return names[CONTAINERD_NAME] == name if CONTAINERD_NAME in names else names.get(NAME) == name.rpartition(":")[2]


def _read(folder: Path, entry: Json) -> Json:
    """A document of a layout; empty for what is not there, or no document."""
    try:
        content = (folder / "blobs" / str(entry.get("digest")).replace(":", "/")).read_bytes()
        found: Json = msgspec.json.decode(content, type=dict)
    except (OSError, msgspec.MsgspecError):
        return {}
    return found


def _named(root: Descriptor, name: str) -> Descriptor:
    """The tag for OCI's tools, and the whole name for `ctr images import`; artifacts have no name."""
    if root.artifact_type:
        return root
    names = {NAME: name.rpartition(":")[2], CONTAINERD_NAME: name}
    return Descriptor(root.media_type, root.digest, root.size, root.platform, annotations=names)


def _copy(source: Path, target: Path) -> None:
    with _replacing(target) as made:
        shutil.copyfile(source, made)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` when it is whole and is gone otherwise; each build has its own."""
    made = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        yield made
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)


class Loadable(Struct, frozen=True):
    """One image for `docker load`: its configuration and layers in their order."""

    config: Blob
    layers: list[Blob]


def write_docker_archive(path: Path, image: Loadable, name: str) -> None:
    """Write an archive for `docker load` and `podman load`. Raises BuildError."""
    layers = [f"{blob.digest.removeprefix('sha256:')}.tar" for blob in image.layers]
    config = f"{image.config.digest.removeprefix('sha256:')}.json"
    listed = msgspec.json.encode([{"Config": config, "RepoTags": [name], "Layers": layers}])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as made, tarfile.open(made, "w") as archive:
            _add(archive, "manifest.json", io.BytesIO(listed), len(listed))
            for member, blob in dict(zip([config, *layers], [image.config, *image.layers], strict=True)).items():
                with blob.path.open("rb") as file:
                    _add(archive, member, file, blob.size)
    except OSError as error:
        raise BuildError(f"cannot write to {error.filename or path}: {error.strerror}; choose another place") from None


def _add(archive: tarfile.TarFile, name: str, file: "io.BufferedIOBase | io.BytesIO", size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    archive.addfile(info, file)
