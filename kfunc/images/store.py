"""Blobs on this machine: each in a file named by its digest, kept between builds so that nothing is made or fetched twice."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from kfunc.errors import BuildError

PIECE = 1 << 20
KEPT_S = 30 * 86400
ALGORITHM = "sha256:"

Noted = TypeVar("Noted", bound=Struct)


class Blob(Struct, frozen=True):
    """Bytes with a digest; `path` is where they are."""

    digest: str
    size: int
    media_type: str
    path: Path


class Writing:
    """A blob that is being written; `blob` is there when it is whole."""

    blob: Blob

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file = path.open("wb")
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Raises BuildError where there is no space."""
        try:
            written = self._file.write(data)
        except OSError as error:
            raise cannot_write(error, self.path.parent) from None
        self._hash.update(data)
        self.size += len(data)
        return written

    def end(self) -> str:
        """Close it, and give its digest."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())  # before it gets its name: after a power cut a blob is whole, or not there
            self._file.close()
        except OSError as error:
            raise cannot_write(error, self.path.parent) from None
        return ALGORITHM + self._hash.hexdigest()

    def abandon(self) -> None:
        """Remove what is not whole."""
        try:
            self._file.close()
        except OSError:
            pass
        self.path.unlink(missing_ok=True)


class Store:
    """A folder of blobs, and of notes about what was made from what."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._notes = folder / "notes"
        try:
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._notes.mkdir(exist_ok=True)
        except OSError as error:
            raise cannot_write(error, folder) from None

    @contextmanager
    def writing(self, media_type: str, expected: str = "") -> Iterator[Writing]:
        """A blob to write. Raises BuildError: no space, or not the digest that is expected."""
        try:
            handle, name = tempfile.mkstemp(dir=self._blobs, prefix=".")
        except OSError as error:
            raise cannot_write(error, self._blobs) from None
        os.close(handle)
        writing = Writing(Path(name))
        try:
            yield writing
            digest = writing.end()
            if expected and digest != expected:
                raise BuildError(f"what came has the digest {digest} and not {expected}: it is damaged; try again")
            writing.path.replace(self.path(digest))
        except BaseException:
            writing.abandon()
            raise
        writing.blob = Blob(digest, writing.size, media_type, self.path(digest))

    def add(self, data: bytes, media_type: str) -> Blob:
        """A small blob."""
        with self.writing(media_type) as file:
            file.write(data)
        return file.blob

    def path(self, digest: str) -> Path:
        """Where a blob is, or would be."""
        return self._blobs / digest.replace(":", "-")

    def find(self, digest: str, media_type: str, size: int) -> Blob | None:
        """A blob that is here; one of another size is damaged, and removed."""
        path = self.path(digest)
        try:
            if path.stat().st_size != size:
                path.unlink()
                return None
            os.utime(path)
            return Blob(digest, size, media_type, path)
        except OSError:
            return None

    def note(self, key: str, value: Struct) -> None:
        """Remember what `key` stands for. Raises BuildError."""
        path = self._notes / key
        try:
            handle, made = tempfile.mkstemp(dir=self._notes, prefix=".")  # another build may write the same note
            with open(handle, "wb") as file:
                file.write(msgspec.json.encode(value))
            os.replace(made, path)
        except OSError as error:
            raise cannot_write(error, path) from None

    def noted(self, key: str, kind: type[Noted]) -> Noted | None:
        """What `key` stands for, if it is remembered."""
        path = self._notes / key
        try:
            os.utime(path)
            return msgspec.json.decode(path.read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError):
            return None

    def forget(self, key: str) -> None:
        """Remember it no more."""
        (self._notes / key).unlink(missing_ok=True)

    def prune(self, now: float) -> None:
        """Remove what nothing has used for 30 days."""
        for path in [*self._blobs.iterdir(), *self._notes.iterdir()]:
            try:
                if path.stat().st_mtime < now - KEPT_S:
                    path.unlink()
            except OSError:
                pass  # another build was faster


def cannot_write(error: OSError, place: Path) -> BuildError:
    """A full or read-only disk as an error that says what to do."""
    return BuildError(
        f"cannot write to {error.filename or place}: {error.strerror}; make room there, or set KFUNC_CACHE to another folder"
    )


def open_store(environ: Mapping[str, str]) -> Store:
    """The store of this user: KFUNC_CACHE, else kfunc in the folder for caches."""
    homeless = not any(environ.get(name) for name in ("KFUNC_CACHE", "XDG_CACHE_HOME", "HOME"))
    caches = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or "/") / ".cache")
    folder = Path(environ.get("KFUNC_CACHE") or caches / "kfunc")
    if homeless:  # anybody may have made a folder there, with what is in it
        folder = Path(tempfile.gettempdir()) / f"kfunc-{os.getuid()}"
    store = Store(folder)
    if homeless and folder.stat().st_uid != os.getuid():
        raise BuildError(f"{folder} is somebody else's: set KFUNC_CACHE to a folder of your own")
    store.prune(time.time())
    return store
