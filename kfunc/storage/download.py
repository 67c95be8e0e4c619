"""Moves the files of a model into a folder: several ranges at a time, again where one breaks off, further after a crash."""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from time import sleep

from kfunc.errors import ModelLoadError
from kfunc.storage import planning
from kfunc.storage.contract import UNKNOWN, Interrupted, RemoteFile, Source
from kfunc.storage.names import Names
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
    """The file in which a download notes the parts that are there."""

    def __init__(self, path: Path, head: Head) -> None:
        text = path.read_bytes() if path.exists() else b""
        done = planning.read(text, head)
        self.is_new = done is None
        self.done: list[Part] = done or []
        self._file = path.open("wb" if done is None else "ab", buffering=0)
        if done is None:
            self._file.write(planning.first_line(head))
        elif not text.endswith(b"\n"):
            self._file.write(b"\n")
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
        self._descriptors: list[int] = []

    def run(self) -> Path:
        """Download what is missing; the folder with the files. Raises ModelLoadError; what is there stays for the next try."""
        paths = self._paths()
        head = Head(list(self._files), self._part_bytes, boot_id())
        self._folder.mkdir(parents=True, exist_ok=True)
        journal = Journal(self._folder / JOURNAL, head)
        try:
            parts = planning.plan(self._files, journal.done, self._part_bytes)
            total = planning.known_bytes(self._files)
            missing = sum(part.stop - part.start for part in parts if part.stop != UNKNOWN)
            self._progress.enter("downloading", total, total - missing)
            self._open(paths)
            self._move(deque(parts), journal)
            self._progress.finish()
        finally:
            journal.close()
            for descriptor in self._descriptors:
                os.close(descriptor)
        return self._folder / FILES

    def _paths(self) -> list[Path]:
        names = Names("the model's storage")
        return [self._folder / FILES / names.take(file.name) for file in self._files]

    def _open(self, paths: list[Path]) -> None:
        for path, file in zip(paths, self._files, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
            self._descriptors.append(descriptor)
            if file.size == UNKNOWN or os.fstat(descriptor).st_size != file.size:
                os.truncate(descriptor, max(file.size, 0))

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
                self._read(part)
                if not self._stopped.is_set():
                    journal.note(part)
        except BaseException as error:
            if self._error is None:
                self._error = error
            self._stopped.set()

    def _read(self, part: Part) -> None:
        """One part, from where it broke off as often as something comes of it."""
        file, at, failures = self._files[part.file], part.start, 0
        while at != part.stop and not self._stopped.is_set():
            began_at = at
            try:
                for block in self._source.read(file, at, part.stop):
                    at = self._write(file, part, at, block)
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
                    cause = str(error).partition("\n")[0] or type(error).__name__
                    raise ModelLoadError(f"{file.name}: the download does not go on: {cause}") from None
                if part.stop == UNKNOWN:
                    self._progress.add(-at)
                    at = 0
                    os.truncate(self._descriptors[part.file], 0)
                self._pause(planning.pause_s(failures))

    def _write(self, file: RemoteFile, part: Part, at: int, block: bytes) -> int:
        end = at + len(block)
        if part.stop != UNKNOWN and end > part.stop:
            raise Interrupted("the answer is longer than what was asked for")
        if end > self._limit:
            raise ModelLoadError(f"{file.name}: is larger than {self._limit} bytes, all that the cache may hold")
        view = memoryview(block)
        while view:
            written = os.pwrite(self._descriptors[part.file], view, at)
            at, view = at + written, view[written:]
        self._progress.add(len(block))
        return end


NO_ROOM = (28, 122)  # ENOSPC, EDQUOT: waiting does not help
