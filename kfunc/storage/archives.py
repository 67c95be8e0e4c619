"""Unpacks archives of models: plain files and folders only, of bounded number and size, never outside the target."""

import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from stat import S_ISDIR, S_ISREG
from tarfile import EOFHeaderError  # type: ignore[attr-defined]
from typing import IO, Any

from kfunc.errors import ModelLoadError
from kfunc.storage.inflating import Content, inflated
from kfunc.storage.names import Names
from kfunc.storage.progress import Progress

TARS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")
SUFFIXES = (*TARS, ".zip")
BLOCK = 1024 * 1024
BOMB_RATIO, BOMB_FLOOR = 100, 64 * 1024 * 1024
"""An archive may become 64 MiB; more only if it is at most 100 times its own size."""
ENCRYPTED = 0x1
AGAIN = "make it or copy it again"
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
BROKEN: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    ValueError,
)


def is_archive(name: str) -> bool:
    """Whether a file is unpacked, by its name."""
    return name.lower().endswith(SUFFIXES)


class Member:
    """A file or folder of an archive; `refusal` says why it is neither."""

    def __init__(self, name: str, stream: IO[bytes] | None, *, folder: bool = False, refusal: str = "") -> None:
        self.name = name
        self.stream = stream
        self.folder = folder
        self.refusal = refusal


class Header(tarfile.TarInfo):
    """A member's header; an archive read to its end-of-archive marker is told so: tarfile ends at any other bytes too."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> "Header":
        """The next header."""
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:
            tarfile.whole = True
            raise


def unpack(archive: Path, target: Path, limit: int, progress: Progress, root: str = "") -> int:
    """Unpack into the folder `target`; the bytes that it holds. Raises ModelLoadError with the file and the reason.

    With `root` it is a layer of an image: what is not below that folder is left out, what is there already is replaced.
    """
    size = archive.stat().st_size
    limit = min(limit, max(BOMB_FLOOR, size * BOMB_RATIO))
    names, written = Names(archive.name), 0
    target.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            for member in _members(archive, stack):
                name = member.name.removeprefix("./").rstrip("/")
                if root and not name.startswith(f"{root}/"):
                    continue
                if member.refusal:
                    raise ModelLoadError(
                        f"{archive.name}: {member.name[:200]!r} {member.refusal}: only plain files are unpacked"
                    )
                path = target / names.take(name, folder=member.folder)
                if root and path.name.startswith(WHITEOUT):
                    _remove(path)
                elif member.folder or member.stream is None:
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    written = _write(member.stream, path, written, limit, archive.name, progress, over=bool(root))
    except BROKEN as error:
        raise ModelLoadError(f"{archive.name}: is not an archive that can be read: {error or type(error).__name__}") from None
    return written


def _remove(whiteout: Path) -> None:
    """What a lower layer has and this one has not (OCI Image Layer Filesystem Changeset, Whiteouts)."""
    name = whiteout.name.removeprefix(WHITEOUT)
    gone = whiteout.parent if whiteout.name == OPAQUE else whiteout.with_name(name)
    if gone.is_dir():
        rmtree(gone)
    else:
        gone.unlink(missing_ok=True)


def _write(stream: IO[bytes], path: Path, written: int, limit: int, name: str, progress: Progress, *, over: bool) -> int:
    with path.open("wb" if over else "xb") as file:
        while block := stream.read(BLOCK):
            written += len(block)
            if written > limit:
                raise ModelLoadError(
                    f"{name}: becomes more than {limit} bytes: an archive may become {BOMB_RATIO} times its size, "
                    "and no more than the cache may hold (inference.model_cache.max_bytes)"
                )
            file.write(block)
            progress.add(len(block))
    return written


def _members(archive: Path, stack: ExitStack) -> Iterator[Member]:
    if archive.name.lower().endswith(".zip"):
        return _zip_members(stack.enter_context(zipfile.ZipFile(archive)))
    content = inflated(stack.enter_context(archive.open("rb")))
    stream: Any = content  # tarfile reads and does nothing else
    return _tar_members(stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=Header)), content, archive.name)


def _tar_members(tar: tarfile.TarFile, content: Content, name: str) -> Iterator[Member]:
    for info in tar:
        if info.name in (".", "./") and info.isdir():
            continue
        if info.issym() or info.islnk():
            yield Member(info.name, None, refusal=f"is a {'symbolic' if info.issym() else 'hard'} link")
        elif info.isdir():
            yield Member(info.name, None, folder=True)
        elif not info.isreg() or info.sparse is not None:
            yield Member(info.name, None, refusal="is a device, a pipe or a file with holes")
        else:
            yield Member(info.name, tar.extractfile(info))
    if not getattr(tar, "whole", False):
        raise ModelLoadError(f"{name}: the archive is cut off or damaged: its end-of-archive marker is missing; {AGAIN}")
    try:
        content.finish(BOMB_FLOOR)
    except EOFError:
        raise ModelLoadError(f"{name}: the archive is cut off: its compressed data have no end; {AGAIN}") from None


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        kind = mode and not (S_ISREG(mode) or S_ISDIR(mode) or mode < 0o10000)
        if info.flag_bits & ENCRYPTED:
            yield Member(info.filename, None, refusal="is encrypted")
        elif kind:
            yield Member(info.filename, None, refusal="is a link or a device")
        elif info.is_dir():
            yield Member(info.filename, None, folder=True)
        else:
            with archive.open(info) as stream:
                yield Member(info.filename, stream)
