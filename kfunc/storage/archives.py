"""Unpacks archives of models: plain files and folders only, of bounded number and size, never outside the target."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from stat import S_ISDIR, S_ISREG
from tarfile import EOFHeaderError  # type: ignore[attr-defined]
from typing import IO, Any

from kfunc.errors import ModelLoadError
from kfunc.storage.inflating import Content, inflated
from kfunc.storage.names import MANY, Names
from kfunc.storage.progress import Progress
from kfunc.storage.zips import open_zip

TARS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")
SUFFIXES = (*TARS, ".zip")
BLOCK = 1024 * 1024
BOMB_RATIO, BOMB_FLOOR = 100, 64 * 1024 * 1024
"""An archive may become 64 MiB; more only if it is at most 100 times its own size."""
MAX_HEADERS = 1024 * 1024  # bytes before one member: tarfile reads long names and attributes into memory
MANY_MEMBERS = 10 * MANY  # of a layer, whose other folders are passed over
ENCRYPTED = 0x1
AGAIN = "make it or copy it again"
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
BROKEN: tuple[type[Exception], ...] = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RecursionError,
    ValueError,
)


def is_archive(name: str) -> bool:
    """Whether a file is unpacked, by its name."""
    return name.lower().endswith(SUFFIXES)


Readable = Content | IO[bytes]


class Member:
    """A file or folder of an archive; `refusal` says why it is neither."""

    def __init__(self, name: str, stream: Readable | None, *, folder: bool = False, refusal: str = "") -> None:
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

    def _proc_member(self, tar: Any) -> tarfile.TarInfo:
        """Called with each header before what it announces is read."""
        if self.type in READ_WHOLE:
            tar.headers = getattr(tar, "headers", 0) + self.size
            if not 0 <= self.size <= MAX_HEADERS or tar.headers > MAX_HEADERS:
                raise tarfile.ReadError(f"the names and attributes of a member have more than {MAX_HEADERS} bytes")
        found: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        return found


READ_WHOLE = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)


def unpack(archive: Path, target: Path, take: Callable[[int], bool], progress: Progress, root: str = "") -> None:
    """Unpack into the folder `target`; `take` is asked before so many bytes are written, and may say no.

    With `root` it is a layer of an image: what is not below that folder is left out, what is there already is replaced.
    Raises ModelLoadError with the file and the reason.
    """
    names = Names(archive.name)
    bound = Bound(archive, take, progress)
    target.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as stack:
            for number, member in enumerate(_members(archive, bound, stack)):
                if number >= MANY_MEMBERS:
                    raise ModelLoadError(f"{archive.name}: holds more than {MANY_MEMBERS} files")
                name = member.name.removeprefix("./").rstrip("/")
                if root and not name.startswith(f"{root}/"):
                    continue
                if member.refusal:
                    raise ModelLoadError(
                        f"{archive.name}: {member.name[:200]!r} {member.refusal}: only plain files are unpacked"
                    )
                path = target / names.take(name, folder=member.folder)
                if root and path.name.startswith(WHITEOUT):
                    _remove(path, archive.name)
                elif member.folder or member.stream is None:
                    path.mkdir(parents=True, exist_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    _write(member.stream, path, bound, over=bool(root))
    except BROKEN as error:
        raise ModelLoadError(f"{archive.name}: is not an archive that can be read: {error or type(error).__name__}") from None


class Bound:
    """What an archive may become, and what its members may claim to be."""

    def __init__(self, archive: Path, take: Callable[[int], bool], progress: Progress) -> None:
        self._name = archive.name
        self._take = take
        self._progress = progress
        self.most = max(BOMB_FLOOR, archive.stat().st_size * BOMB_RATIO)
        self._inflated = 0

    def inflate(self, count: int) -> None:
        """So many bytes more were inflated, whether or not they are kept. Raises ModelLoadError."""
        self._inflated += count
        self.check(self._inflated)

    def check(self, size: int) -> None:
        """Raises ModelLoadError for more than the archive may become."""
        if not 0 <= size <= self.most:
            raise self._exceeded()

    def write(self, count: int) -> None:
        """So many bytes are about to be written. Raises ModelLoadError."""
        if not self._take(count):
            raise self._exceeded()
        self._progress.add(count)

    def _exceeded(self) -> ModelLoadError:
        return ModelLoadError(
            f"{self._name}: becomes too large: an archive may become {BOMB_RATIO} times its size (here {self.most} bytes), "
            "and no more than the cache may hold (inference.model_cache.max_bytes)"
        )


def _remove(whiteout: Path, archive: str) -> None:
    """What a lower layer has and this one has not (OCI Image Layer Filesystem Changeset, Whiteouts)."""
    name = whiteout.name.removeprefix(WHITEOUT)
    if name in ("", ".", ".."):
        raise ModelLoadError(f"{archive}: refuses the name {whiteout.name!r}: it takes away no file of its folder")
    gone = whiteout.parent if whiteout.name == OPAQUE else whiteout.with_name(name)
    if gone.is_dir():
        rmtree(gone)
    else:
        gone.unlink(missing_ok=True)


def _write(stream: Readable, path: Path, bound: Bound, *, over: bool) -> None:
    with path.open("wb" if over else "xb") as file:
        while block := stream.read(BLOCK):
            bound.write(len(block))
            file.write(block)


def _members(archive: Path, bound: Bound, stack: ExitStack) -> Iterator[Member]:
    if archive.name.lower().endswith(".zip"):
        return _zip_members(stack.enter_context(open_zip(archive)), bound)
    content = inflated(stack.enter_context(archive.open("rb")), bound.inflate)
    stream: Any = content  # tarfile reads and does nothing else
    return _tar_members(
        stack.enter_context(tarfile.open(fileobj=stream, mode="r|", tarinfo=Header)), content, bound, archive.name
    )


def _tar_members(tar: tarfile.TarFile, content: Content, bound: Bound, name: str) -> Iterator[Member]:
    for info in tar:
        tar.headers = 0  # type: ignore[attr-defined]
        bound.check(info.size)  # tarfile passes over as much without looking whether it is there
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


def _zip_members(archive: zipfile.ZipFile, bound: Bound) -> Iterator[Member]:
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
                yield Member(info.filename, Content(stream, bound.inflate, OSError, lzma.LZMAError))
