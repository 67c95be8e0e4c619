"""Moves the files of a model into a folder: several ranges at a time, again where one breaks off, further after a crash."""

import os
import shutil
import threading
from collections import deque
from collections.abc import Callable, Sequence
from errno import EDQUOT, ENOSPC
from pathlib import Path, PurePosixPath
from time import sleep

from kfunc.errors import ModelLoadError
from kfunc.storage import planning
from kfunc.storage.contract import UNKNOWN, Interrupted, RemoteFile, Source
from kfunc.storage.names import Names
from kfunc.storage.outages import told, told_again
from kfunc.storage.planning import Head, Part
from kfunc.storage.progress import Progress

JOURNAL = "journal"
FILES = "files"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TRANSIENT = (Interrupted, OSError)


def boot_id() -> str:
    """Of the running kernel."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


class Journal:
    """The file in which a download notes the parts that are there; those of files that are not `whole` count no more.

    `is_new`: whatever is there is of another listing.
    """

    def __init__(self, path: Path, head: Head, whole: Callable[[int], bool]) -> None:
        read = planning.read(path.read_bytes() if path.exists() else b"", head)
        self.is_new, noted = read is None, read or []
        files = {number for number in {part.file for part in noted} if whole(number)}
        self.done = [part for part in noted if part.file in files]
        renewed = path.with_name(f"{path.name}.new")
        renewed.write_bytes(planning.first_line(head) + b"".join(map(planning.line, self.done)))
        renewed.rename(path)
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()

    def note(self, part: Part) -> None:
        """The part is written."""
        with self._lock:
            self._file.write(planning.line(part))

    def close(self) -> None:
        self._file.close()


class Download:
    """One model's files on their way into `folder`/files; `limit` bytes at most where a server does not tell a length."""

    def __init__(
        self,
        source: Source,
        files: Sequence[RemoteFile],
        folder: Path,
        progress: Progress,
        connections: int,
        limit: int,
        part_bytes: int = planning.PART_BYTES,
        pause: Callable[[float], None] = sleep,
    ) -> None:
        self._source = source
        self._files = files
        self._folder = folder
        self._progress = progress
        self._connections = connections
        self._limit = limit
        self._part_bytes = part_bytes
        self._pause = pause
        self._stopped = threading.Event()
        self._error: BaseException | None = None
        self._paths = [folder / FILES / name for name in _names(files)]

    def run(self) -> Path:
        """Download what is missing; the folder with the files. Raises ModelLoadError; what is there stays for the next try."""
        head = Head(list(self._files), self._part_bytes, boot_id())
        self._folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(self._folder / JOURNAL, head, self._has_its_size)
        try:
            if journal.is_new:
                shutil.rmtree(self._folder / FILES, ignore_errors=True)
            self._make_files()
            parts = planning.plan(self._files, journal.done, self._part_bytes)
            there = sum(part.stop - part.start for part in journal.done)
            self._progress.enter("downloading", planning.all_bytes(self._files), there)
            self._move(deque(parts), journal)
            self._progress.finish()
        finally:
            journal.close()
        return self._folder / FILES

    def _has_its_size(self, number: int) -> bool:
        """Whether a file is there as `_make_files` left it: one that was moved away or removed has to be read again."""
        try:
            return self._paths[number].lstat().st_size == self._files[number].size
        except OSError:
            return False

    def _make_files(self) -> None:
        """All files with their sizes, those that grow empty; the journal knows before which of them are new."""
        for number, file in enumerate(self._files):
            if not self._has_its_size(number):
                self._paths[number].parent.mkdir(parents=True, exist_ok=True)
                descriptor = self._opened(number)
                try:
                    os.truncate(descriptor, 0 if file.in_one_piece else file.size)
                finally:
                    os.close(descriptor)

    def _opened(self, number: int) -> int:
        return os.open(self._paths[number], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)

    def _move(self, parts: deque[Part], journal: Journal) -> None:
        """Read all parts in threads; the first failure stops them all."""
        count = min(self._connections, len(parts))
        threads = [threading.Thread(target=self._work, args=(parts, journal), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, parts: deque[Part], journal: Journal) -> None:
        try:
            while not self._stopped.is_set():
                try:
                    part = parts.popleft()
                except IndexError:
                    return
                descriptor = self._opened(part.file)  # here and not for all files: a model may have thousands
                try:
                    self._read(part, descriptor)
                finally:
                    os.close(descriptor)
                if not self._stopped.is_set():
                    journal.note(part)
        except BaseException as error:
            if self._error is None:
                self._error = error
            self._stopped.set()

    def _read(self, part: Part, descriptor: int) -> None:
        """One part, from where it broke off as often as something comes of it."""
        file, at, failures = self._files[part.file], part.start, 0
        while at != part.stop and not self._stopped.is_set():
            began_at = at
            try:
                for block in self._source.read(file, at, part.stop):
                    at = self._write(descriptor, part, at, block)
                    if self._stopped.is_set():
                        return
                if part.stop == UNKNOWN:
                    return
                if at < part.stop:
                    raise Interrupted("the answer ended early")
            except TRANSIENT as error:
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    raise
                failures = 1 if at > began_at else failures + 1
                if failures >= planning.TRIES:
                    raise ModelLoadError(f"{file.name}: the download does not go on: {told(error)}") from None
                stuck = at == began_at
                if file.in_one_piece:
                    self._progress.add(-at)
                    at = 0
                    os.truncate(descriptor, 0)
                pause_s = planning.pause_s(failures, getattr(error, "after_s", 0.0))
                if stuck:
                    self._progress.hinder(told_again(error, pause_s, failures + 1, planning.TRIES))
                self._pause(pause_s)

    def _write(self, descriptor: int, part: Part, at: int, block: bytes) -> int:
        end = at + len(block)
        if part.stop != UNKNOWN and end > part.stop:
            raise Interrupted("the answer is longer than what was asked for")
        if end > self._limit:
            name = self._files[part.file].name
            raise ModelLoadError(f"{name}: is larger than {self._limit} bytes, all that the cache may hold")
        view = memoryview(block)
        while view:
            written = os.pwrite(descriptor, view, at)
            at, view = at + written, view[written:]
        self._progress.add(len(block))
        return end


def _names(files: Sequence[RemoteFile]) -> list[PurePosixPath]:
    names = Names("the model's storage")
    return [names.take(file.name) for file in files]


NO_ROOM = (ENOSPC, EDQUOT)  # waiting does not help
