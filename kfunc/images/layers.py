"""Layers: entries become a tar file whose bytes depend on nothing but names, modes and contents.

No times, no owners, sorted, with the folders above each entry.
"""

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import IO, Literal
from zipfile import BadZipFile, ZipFile

from msgspec import Struct

from kfunc.errors import BuildError
from kfunc.images.store import PIECE, Blob, Store, Writing

Form = Literal["gzip", "plain"]
MEDIA_TYPES: dict[Form, str] = {
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "plain": "application/vnd.oci.image.layer.v1.tar",
}
Told = Callable[[int], object]
LEVEL = 6
DAMAGED = (BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error)
"""What a zip archive raises that is none, or that is damaged."""
GZIP = 31  # zlib's window bits for gzip; its header then has neither a time nor a name


class Member(Struct, frozen=True):
    """A file in a zip archive."""

    archive: Path
    name: str


class Entry(Struct, frozen=True):
    """A file of the image, or a symbolic link. `path` is absolute without the first slash."""

    path: str
    content: bytes | Path | Member = b""
    executable: bool = False
    link: str = ""


class Layer(Struct, frozen=True):
    """A layer in the store; `diff_id` is the digest of the tar file, `created_by` what the history says of it."""

    blob: Blob
    diff_id: str
    created_by: str


class _Writer(io.RawIOBase):
    """Takes the tar file, counts its digest, and passes it on, compressed or not."""

    def __init__(self, target: Writing, form: Form) -> None:
        self.digest = hashlib.sha256()
        self._target = target
        self._compressor = zlib.compressobj(LEVEL, wbits=GZIP) if form == "gzip" else None

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.digest.update(data)
        self._target.write(self._compressor.compress(data) if self._compressor else data)
        return len(data)

    def end(self) -> str:
        """Finish, and give the digest of the tar file."""
        if self._compressor:
            self._target.write(self._compressor.flush())
        return f"sha256:{self.digest.hexdigest()}"


def write_layer(
    store: Store,
    entries: Iterable[Entry],
    created_by: str,
    form: Form = "gzip",
    told: Told = lambda _: None,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Layer:
    """Write a layer into the store; `told` hears of the bytes that were read.

    `known` has the contents' digests by their paths. Raises BuildError, also for a content that has another by now.
    """
    with store.writing(MEDIA_TYPES[form]) as file:
        writer = _Writer(file, form)
        with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            _fill(archive, sorted(entries, key=lambda entry: entry.path), told, known)
        diff_id = writer.end()
    return Layer(file.blob, diff_id, created_by)


def _fill(archive: tarfile.TarFile, entries: list[Entry], told: Told, known: Mapping[str, str]) -> None:
    folders: set[str] = set()
    with Archives() as zips:
        for entry in entries:
            above = entry.path.split("/")[:-1]
            for depth in range(1, len(above) + 1):
                folder = "/".join(above[:depth])
                if folder not in folders:
                    folders.add(folder)
                    archive.addfile(_info(folder, tarfile.DIRTYPE, 0o755))
            if entry.link:
                info = _info(entry.path, tarfile.SYMTYPE, 0o777)
                info.linkname = entry.link
                archive.addfile(info)
                continue
            info = _info(entry.path, tarfile.REGTYPE, 0o755 if entry.executable else 0o644)
            with zips.open(entry.content) as (file, size):
                info.size = size
                heard = _Heard(file, told)
                archive.addfile(info, heard)
                if known.get(entry.path, heard.digest) != heard.digest:
                    raise BuildError(f"{entry.path} changed while it was read: build again when nobody writes it")


class Archives:
    """Opens what entries are made of; zip archives stay open meanwhile."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._zips: dict[Path, ZipFile] = {}

    def __enter__(self) -> "Archives":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def open(self, content: bytes | Path | Member) -> Iterator[tuple[IO[bytes], int]]:
        """The content and its size. Raises BuildError."""
        name = content if isinstance(content, Path) else content.archive if isinstance(content, Member) else ""
        try:
            if isinstance(content, bytes):
                yield io.BytesIO(content), len(content)
            elif isinstance(content, Path):
                with content.open("rb") as file:
                    yield file, os.fstat(file.fileno()).st_size
            else:
                if content.archive not in self._zips:
                    self._zips[content.archive] = self._stack.enter_context(ZipFile(content.archive))
                archive = self._zips[content.archive]
                with archive.open(content.name) as member:
                    yield member, archive.getinfo(content.name).file_size
        except OSError as error:
            raise BuildError(f"cannot read {name}: {error.strerror or error}") from None
        except (*DAMAGED, KeyError) as error:
            raise BuildError(f"{name} is damaged ({error}): remove it, and build again") from None


class _Heard(io.RawIOBase):
    """A file whose reading is told, and its digest counted."""

    def __init__(self, file: IO[bytes], told: Told) -> None:
        self._file = file
        self._told = told
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Of what has been read, in hexadecimal digits."""
        return self._hash.hexdigest()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._hash.update(data)
        self._told(len(data))
        return data


def _info(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, mode
    return info


def content_digest(content: bytes | Path | Member) -> str:
    """The sha256 of a content, in hexadecimal digits. Raises BuildError."""
    digest = hashlib.sha256()
    with Archives() as zips, zips.open(content) as (file, _):
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
