"""The folder of models that processes of one machine, or pods with one volume, share.

`models/KEY` is complete and never changed, `partial/KEY` is on its way, `locks/KEY` is held by who fetches it, until it is
on the disk itself, and `locks/KEY.use` by all who use it. A model appears by one rename.
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
from kfunc.storage.download import JOURNAL, boot_id
from kfunc.storage.eviction import Kept, evict
from kfunc.storage.progress import size_text

ABOUT = "about.json"
CONTENT = "content"
BUILT = "built"
COMPLETE = ".complete"
FOLDERS = ("models", "partial", "locks", "removed")
LOOK_AGAIN_S = 0.25


class About(Struct, frozen=True):
    """What a model in the cache is: `entry` is the path within `content` that the URI means, `boot` the kernel that wrote it.

    `wish` says what was asked for: the URI with its query, which may hold a secret, files and digest, as a hash. `synced`: it
    is on the disk itself, and outlives a crash of the machine.
    """

    uri: str
    wish: str
    version: str
    size: int
    entry: str
    boot: str
    synced: bool = False


class Use:
    """The lock of a model in use, and how many hold it here."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.count = 0


class Cache:
    """A cache in `folder` of at most `max_bytes`, as far as what is in use allows."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self._uses: dict[str, Use] = {}
        self._fetching: dict[str, int] = {}  # the descriptors of the locks
        self._mutex = threading.Lock()
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

    def latest(self, wish: str) -> tuple[str, str] | None:
        """Key and version of the newest copy that was fetched for the same wish, for when its storage cannot be asked."""
        found = [(kept.used_at, kept.key) for kept in self.kept()]
        for _, key in sorted(found, reverse=True):
            about = _about(self.folder / "models" / key)
            if about is not None and about.wish == wish:
                return key, about.version
        return None

    # ---- locks

    @contextmanager
    def fetching(self, key: str, waits: Callable[[], None]) -> Iterator[Path | None]:
        """Alone with this model, or with where it is: another process may have completed it.

        `waits` is called now and then while another one fetches it.
        """
        descriptor = self._lock_file(key)
        try:
            while not _try_lock(descriptor, fcntl.LOCK_EX):
                if found := self.find(key):
                    yield found
                    return
                waits()
                sleep(LOOK_AGAIN_S)
            self._fetching[key] = descriptor
            try:
                yield self.find(key)
            finally:
                if self._fetching.pop(key, None) is not None:
                    fcntl.flock(descriptor, fcntl.LOCK_UN)  # a child that was forked meanwhile has the descriptor as well
        finally:
            os.close(descriptor)

    def hold(self, key: str) -> None:
        """From now on the model is in use here: nobody removes it until each `hold` has its `release`, or this process ends."""
        with self._mutex:
            use = self._uses.get(key)
            if use is None:
                descriptor = self._lock_file(f"{key}.use")
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                use = self._uses[key] = Use(descriptor)
            use.count += 1

    def release(self, key: str) -> None:
        """One of those who hold it here does not use it any more."""
        with self._mutex:
            use = self._uses.get(key)
            if use is None:
                return
            use.count -= 1
            if not use.count:
                del self._uses[key]
                os.close(use.descriptor)

    def _used_elsewhere(self, key: str) -> bool:
        """Whether another process uses the model, or another cache of this one."""
        with self._mutex:
            use = self._uses.get(key)
            descriptor = use.descriptor if use else self._lock_file(f"{key}.use")
            try:
                return not _try_lock(descriptor, fcntl.LOCK_EX)
            finally:
                if use:
                    fcntl.flock(descriptor, fcntl.LOCK_SH)  # a lock that is changed in vain is gone
                else:
                    os.close(descriptor)

    def _lock_file(self, name: str) -> int:
        return os.open(self.folder / "locks" / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    # ---- what comes and goes

    def partial(self, key: str) -> Path:
        """The folder of a download on its way."""
        return self.folder / "partial" / key

    def complete(self, key: str, content: Path, about: About) -> Path:
        """`content` is the whole model now; it is moved, and brought to the disk in the background.

        One that another machine has in use stays in its place: its files are the same, though it may not be on the disk yet.
        """
        folder, made = self.folder / "models" / key, self.folder / "partial" / f"{key}{COMPLETE}"
        self._remove(made)
        made.mkdir(parents=True)
        (self.partial(key) / JOURNAL).unlink(missing_ok=True)  # what is moved is not there to go on with
        content.rename(made / CONTENT)
        (made / ABOUT).write_bytes(msgspec.json.encode(about))
        there = _about(folder)
        if there is not None and self._used_elsewhere(key):
            about = there
            self._remove(made)
        else:
            self._remove(folder)
            made.rename(folder)
        self._remove(self.partial(key))
        held = self._fetching.pop(key, None)
        lock = None if held is None else os.dup(held)
        threading.Thread(target=_sync, args=(folder, about, lock), daemon=True).start()
        return folder / CONTENT / about.entry if about.entry else folder / CONTENT

    def beside(self, key: str) -> Path:
        """For what is built of a model here: no file of the model's is there, and it goes when the model does."""
        return self.folder / "models" / key / BUILT

    def kept(self) -> list[Kept]:
        """The complete models, with what was built of them here."""
        result = []
        for folder in (self.folder / "models").iterdir():
            about = _about(folder)
            try:
                size = (about.size if about else 0) + size_below(folder / BUILT)
                result.append(Kept(folder.name, size, (folder / ABOUT).stat().st_mtime))
            except OSError:  # removed just now
                continue
        return result

    def _begun(self, besides: str) -> list[Kept]:
        """Downloads that are not complete, with the size that they are to have, but that of the key `besides`."""
        result = []
        for folder in (self.folder / "partial").iterdir():
            if folder.name.removesuffix(COMPLETE) != besides:
                try:
                    result.append(Kept(folder.name, size_below(folder), folder.stat().st_mtime, whole=False))
                except OSError:  # removed just now
                    continue
        return result

    def make_room(self, needed: int, key: str = "") -> None:
        """Remove what was not used for longest until `needed` bytes fit, for the download of `key`.

        Raises ModelLoadError where they never can.
        """
        if needed > self.max_bytes:
            raise ModelLoadError(
                f"the model has {size_text(needed)}, the cache holds at most {size_text(self.max_bytes)} "
                "(inference.model_cache.max_bytes)"
            )
        self._sweep()
        evict([*self.kept(), *self._begun(key)], needed, self.max_bytes, self._evicted)

    def remove_unused(self, key: str = "") -> int:
        """Remove all that nobody uses or fetches, but the download of `key`; the bytes that this freed."""
        self._sweep()
        return sum(kept.size for kept in (*self.kept(), *self._begun(key)) if self._evicted(kept))

    def _evicted(self, kept: Kept) -> bool:
        return self.remove(kept.key) if kept.whole else self._remove_begun(kept.key)

    def _sweep(self) -> None:
        """What a process that was killed was about to remove."""
        for left in (self.folder / "removed").iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def remove(self, key: str) -> bool:
        """Remove a model unless it is in use somewhere; whether it was."""
        return self._remove_unlocked(f"{key}.use", self.folder / "models" / key)

    def _remove_begun(self, name: str) -> bool:
        """Remove what a download left, unless it goes on; whether it was."""
        return self._remove_unlocked(name.removesuffix(COMPLETE), self.folder / "partial" / name)

    def _remove_unlocked(self, lock: str, path: Path) -> bool:
        descriptor = self._lock_file(lock)
        try:
            if not _try_lock(descriptor, fcntl.LOCK_EX):
                return False
            self._remove(path)
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


def size_below(folder: Path) -> int:
    """Of the files in a folder, as long as they say they are."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _sync(folder: Path, about: About, lock: int | None) -> None:
    """Bring a model to the disk, then say so in its record; until then the lock keeps other machines from fetching it."""
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
    finally:
        if lock is not None:
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)
