"""Decrypts sealed models into memory: a folder of a file system that is in memory, and nowhere else."""

import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from tempfile import mkdtemp

from kfunc.config.logger import SHARED_MEMORY
from kfunc.config.places import UNSEALED
from kfunc.errors import ModelLoadError
from kfunc.storage.credentials import Credentials
from kfunc.storage.digests import files_below
from kfunc.storage.progress import Progress
from kfunc.storage.sealing import SUFFIX, sealed_as, unseal

MOUNTS = Path("/proc/self/mountinfo")
IN_MEMORY = ("tmpfs", "ramfs")
PREFIX = "kfunc-model-"
_own: set[Path] = set()  # of this process: after a restart another one may have had its number
_making = threading.Lock()  # a folder that is made is one's own before another thread sweeps


def memory_folder(places: tuple[str, ...] = (UNSEALED, SHARED_MEMORY), mounts: Path = MOUNTS) -> Path:
    """A folder in memory. Raises ModelLoadError where there is none."""
    for place in places:
        if os.path.isdir(place) and os.access(place, os.W_OK) and file_system(place, mounts.read_text()) in IN_MEMORY:
            return Path(place)
    raise ModelLoadError(
        f"sealed models are decrypted only in memory: mount a volume of medium Memory at {UNSEALED} (kfunc render does)"
    )


def file_system(place: str, mountinfo: str) -> str:
    """The kind of file system that a path is on, by the text of /proc/self/mountinfo."""
    kind, longest = "", -1
    for line in mountinfo.splitlines():
        first, _, second = line.partition(" - ")
        point, fields = first.split()[4], second.split()
        inside = place == point or place.startswith(f"{point.rstrip('/')}/")
        if inside and len(point) >= longest:
            kind, longest = fields[0], len(point)
    return kind


def unsealed(path: Path, credentials: Credentials, progress: Progress) -> Path:
    """The model at `path`, decrypted, in a folder in memory. The caller removes it by `forget`.

    Every file of it must be sealed, and all by names that fit to each other. Raises ModelLoadError.
    """
    folder, files = (path.parent, [path.name]) if path.is_file() else (path, files_below(path))
    _require_sealed(path, files)
    memory = memory_folder()
    with _making:
        sweep(memory)
        target = Path(mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=memory))
        _own.add(target)
    progress.enter("decrypting", sum((folder / name).stat().st_size for name in files))
    try:
        above = _above(folder / files[0], files[0])
        for name in files:
            plain = name.removesuffix(SUFFIX)
            _write(target / plain, unseal(folder / name, credentials, above + plain), progress)
    except BaseException as error:
        forget(target)
        if isinstance(error, OSError):
            raise ModelLoadError(f"{target.parent}: has no room for the decrypted model: {error.strerror}") from None
        raise
    return target / path.name.removesuffix(SUFFIX) if path.is_file() else target


def _require_sealed(path: Path, files: list[str]) -> None:
    if not any(name.endswith(SUFFIX) for name in files):
        raise ModelLoadError(f"{path}: model.sealed is set, and no file there ends in {SUFFIX}")
    if plain := next((name for name in files if not name.endswith(SUFFIX)), None):
        raise ModelLoadError(
            f"{path}: {plain} is not sealed, and anybody could have put it there: seal the folder (kfunc model seal DIR); "
            f"of a folder elsewhere model.files: ['*{SUFFIX}'] leaves it out"
        )


def _above(file: Path, name: str) -> str:
    """The folder that was sealed may be one above the model's: what the names of all its files begin with."""
    known, plain = sealed_as(file), name.removesuffix(SUFFIX)
    return known.removesuffix(plain) if known.endswith(f"/{plain}") else ""


def _write(target: Path, blocks: Iterable[bytes], progress: Progress) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        for block in blocks:
            file.write(block)
            progress.add(len(block))


def forget(path: Path) -> None:
    """Remove what `unsealed` made; a model that has mapped its file keeps it."""
    folder = next((each for each in (path, *path.parents) if each.name.startswith(PREFIX)), None)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        _own.discard(folder)


def forget_all() -> None:
    """Remove all that this process has decrypted."""
    for folder in list(_own):
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what processes left there that were killed."""
    for each in folder.glob(f"{PREFIX}*"):
        pid = each.name.removeprefix(PREFIX).partition("-")[0]
        if each not in _own and pid.isdigit() and (int(pid) == os.getpid() or not os.path.exists(f"/proc/{pid}")):
            shutil.rmtree(each, ignore_errors=True)
