"""The folder of models that processes of one machine, or pods with one volume, share.

`models/KEY` is complete and never changed, `partial/KEY` is on its way, `locks/KEY` is held by who fetches it (alone)
and by who uses it (together). A model appears by one rename.
"""

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep, time

import msgspec
from msgspec import Struct

from kfunc.errors import ModelLoadError
from kfunc.storage.download import boot_id
from kfunc.storage.eviction import Kept, victims
from kfunc.storage.progress import size_text

ABOUT = "about.json"
CONTENT = "content"
FOLDERS = ("models", "partial", "locks", "removed")
LOOK_AGAIN_S = 0.25


class About(Struct, frozen=True):
    """What a model in the cache is: `entry` is the path within `content` that the URI means, `boot` the kernel that wrote it.

    `synced`: it is on the disk itself, and outlives a crash of the machine.
    """

    uri: str
    version: str
    size: int
    entry: str
    boot: str
    synced: bool = False


class Cache:
    """A cache in `folder` of at most `max_bytes`, as far as what is in use allows."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._uses: dict[str, int] = {}
        try:
            for name in FOLDERS:
                (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ModelLoadError(
                f"{folder}: the cache of models cannot be made there: {error.strerror} (inference.model_cache.path)"
            ) from None

    def find(self, key: str) -> Path | None:
        """Where the model is, marked as used now; None where it is not there, or was lost in a crash."""
        folder = self.folder / "models" / key
        about = _about(folder)
        if about is None or not (about.synced or about.boot == boot_id()):
            return None
        path = folder / CONTENT / about.entry if about.entry else folder / CONTENT
        if not path.exists():
            return None
        try:
            os.utime(folder / ABOUT)
        except OSError:  # a volume that is read-only here
            pass
        return path

    def latest(self, uri: str) -> tuple[str, str] | None:
        """Key and version of the newest copy of `uri`, for when its storage cannot be asked."""
        found = [(kept.used_at, kept.key) for kept in self.kept()]
        for _, key in sorted(found, reverse=True):
            about = _about(self.folder / "models" / key)
            if about is not None and about.uri == uri:
                return key, about.version
        return None

    # ---- locks

    @contextmanager
    def fetching(self, key: str, waits: Callable[[], None]) -> Iterator[None]:
        """Alone with this model; `waits` is called now and then while another process fetches it."""
        descriptor = self._lock_file(key)
        try:
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                waits()
                sleep(LOOK_AGAIN_S)
            yield
        finally:
            os.close(descriptor)

    def hold(self, key: str) -> None:
        """From now on the model is in use here: nobody removes it before `release`, or before this process has ended."""
        if key not in self._uses:
            descriptor = self._lock_file(f"{key}.use")
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._uses[key] = descriptor

    def release(self, key: str) -> None:
        """It is not in use here any more."""
        descriptor = self._uses.pop(key, None)
        if descriptor is not None:
            os.close(descriptor)

    def _lock_file(self, name: str) -> int:
        return os.open(self.folder / "locks" / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    # ---- what comes and goes

    def partial(self, key: str) -> Path:
        """The folder of a download on its way."""
        return self.folder / "partial" / key

    def complete(self, key: str, content: Path, about: About) -> Path:
        """`content` is the whole model now; it is moved. Bring it to the disk in the background."""
        folder, made = self.folder / "models" / key, self.folder / "partial" / f"{key}.complete"
        self._remove(made)
        made.mkdir(parents=True)
        content.rename(made / CONTENT)
        (made / ABOUT).write_bytes(msgspec.json.encode(about))
        self._remove(folder)
        made.rename(folder)
        self._remove(self.partial(key))
        threading.Thread(target=_sync, args=(folder, about), daemon=True).start()
        return folder / CONTENT / about.entry if about.entry else folder / CONTENT

    def kept(self) -> list[Kept]:
        """The complete models."""
        result = []
        for folder in (self.folder / "models").iterdir():
            about = _about(folder)
            try:
                result.append(Kept(folder.name, about.size if about else 0, (folder / ABOUT).stat().st_mtime))
            except OSError:  # removed just now
                continue
        return result

    def make_room(self, needed: int) -> None:
        """Remove what was not used for longest until `needed` bytes fit. Raises ModelLoadError where they never can."""
        if needed > self.max_bytes:
            raise ModelLoadError(
                f"the model has {size_text(needed)}, the cache holds at most {size_text(self.max_bytes)} "
                "(inference.model_cache.max_bytes)"
            )
        kept = self.kept()
        limit = self.max_bytes
        for victim in victims(kept, needed, limit):
            self.remove(victim.key)

    def remove_unused(self) -> int:
        """Remove every model that nobody uses; the bytes that this freed."""
        return sum(kept.size for kept in self.kept() if self.remove(kept.key))

    def remove(self, key: str) -> bool:
        """Remove a model unless it is in use somewhere; whether it was."""
        descriptor = self._lock_file(f"{key}.use")
        try:
            if not _try_lock(descriptor, fcntl.LOCK_EX):
                return False
            self._remove(self.folder / "models" / key)
            return True
        finally:
            os.close(descriptor)

    def _remove(self, path: Path) -> None:
        """First out of the way by one rename, so that nobody sees half of it."""
        if path.exists():
            aside = self.folder / "removed" / f"{path.name}-{os.getpid()}-{time()}"
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)


def _about(folder: Path) -> About | None:
    try:
        return msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
    except (OSError, msgspec.MsgspecError):
        return None


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path, about: About) -> None:
    """Bring a model to the disk, then say so in its record."""
    try:
        for place, _, files in os.walk(folder):
            for name in files:
                descriptor = os.open(Path(place, name), os.O_RDONLY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        record = folder / f"{ABOUT}.new"
        record.write_bytes(msgspec.json.encode(msgspec.structs.replace(about, synced=True)))
        record.rename(folder / ABOUT)
    except OSError:  # it was removed meanwhile, or will be fetched again after a crash
        pass
