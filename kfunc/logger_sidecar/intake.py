"""The end of the log in shared memory: a ring in a file that outlives the process. Appending costs no system call.

`written` and `drained` are positions in the log, of bytes. What lies between them is not on the disk yet; what was
written before is still there until it is overwritten. One thread writes. A lock on the file says that its process lives.
"""

import fcntl
import mmap
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from zlib import crc32

import msgspec

from kfunc.config.logger import SHARED_MEMORY
from kfunc.logger_sidecar.record import Origin

MAGIC = int.from_bytes(b"kfintak1", "little")
HEAD_BYTES = 4096
MAGIC_AT, SIZE_AT, WRITTEN_AT, DRAINED_AT, LANE_AT, ORIGIN_AT, CURSORS_AT = 0, 1, 2, 3, 4, 5, 8  # 8-byte words
MAX_CURSORS = 16  # two words each: key, position
ORIGIN_BYTES_AT, FOLDER_BYTES_AT = 512, 3072


def intake_path(lane: str) -> str:
    """Where the intake of a lane is: in shared memory, which no disk can stall, else beside the segments."""
    name = sha256(os.path.realpath(lane).encode()).hexdigest()[:16]
    return f"{SHARED_MEMORY}/kfunc-{os.geteuid()}-{name}"


def intake_in(lane: str) -> str:
    """Where it is beside the segments: where shared memory cannot be had."""
    return os.path.join(lane, "intake")


def cursor_key(name: str) -> int:
    """The word that stands for a sink's name; never 0."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "little") | 1


def left_intakes(shared_memory: str, is_wanted: Callable[[str, int], bool]) -> "Iterator[Intake]":
    """The intakes of this user's processes that are gone, by folder and key of their lanes; each is to be closed."""
    prefix = f"kfunc-{os.geteuid()}-"
    try:
        entries = list(os.scandir(shared_memory))
    except OSError:
        return  # this system has none
    for entry in entries:
        if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
            intake = left_intake(entry.path, is_wanted)
            if intake is not None:
                yield intake


def left_intake(path: str, is_wanted: Callable[[str, int], bool]) -> "Intake | None":
    """The intake there, whatever its lane, if it is wanted; None where a process has it, or it is no intake."""
    try:
        with open(path, "rb") as file:
            head = file.read(HEAD_BYTES)
        magic, key = (int.from_bytes(head[8 * at : 8 * at + 8], "little") for at in (MAGIC_AT, LANE_AT))
        if magic != MAGIC or not is_wanted(os.fsdecode(head[FOLDER_BYTES_AT:].partition(b"\0")[0]), key):
            return None
        return Intake(path, 0, key)
    except (OSError, ValueError):
        return None


class Intake:
    """The ring; one that exists keeps its size. Without a path it is memory of this process alone.

    Raises OSError where the file cannot be made, or a living process has it, ValueError where it is somebody else's, or
    holds records of another lane.
    """

    def __init__(self, path: str, size: int, lane_key: int) -> None:
        self.path = path
        self.appended = 0  # records of this process
        self.quiet = False  # the next record is told of: by `on_new`
        self.on_new: Callable[[], None]
        self._lock = -1
        if path:
            self._lock, self._map = _map_file(path, size)
        else:
            self._map = mmap.mmap(-1, HEAD_BYTES + size)
        self._words = memoryview(self._map)[:ORIGIN_BYTES_AT].cast("Q")
        words = self._words
        self.size = len(self._map) - HEAD_BYTES
        drained, written = words[DRAINED_AT], words[WRITTEN_AT]
        known = words[MAGIC_AT] == MAGIC and words[SIZE_AT] == self.size and drained <= written <= drained + self.size
        self.kept = known and words[LANE_AT] == lane_key  # else what is left of a deleted folder, or of a run before others
        if known and not self.kept and drained < written:
            self.close(remove=False)
            raise ValueError(f"{path} holds the records of another lane")
        if not self.kept:
            self._map[:HEAD_BYTES] = bytes(HEAD_BYTES)
            words[SIZE_AT], words[LANE_AT] = self.size, lane_key
            words[MAGIC_AT] = MAGIC
        self.written, self.drained = words[WRITTEN_AT], words[DRAINED_AT]

    def start_at(self, position: int, origin: Origin) -> None:
        """Begin a run: what was in the ring has been taken out."""
        text = msgspec.json.encode(origin)
        if len(text) > FOLDER_BYTES_AT - ORIGIN_BYTES_AT:
            raise ValueError("the origin of the events is too long")
        words = self._words
        words[DRAINED_AT] = words[WRITTEN_AT] = self.written = self.drained = position
        words[ORIGIN_AT] = len(text) << 32 | crc32(text)
        self._map[ORIGIN_BYTES_AT : ORIGIN_BYTES_AT + len(text)] = text

    def belong_to(self, folder: str, lane_key: int) -> None:
        """Say whose intake this is, so that it can be removed when the folder is gone; one of a long name stays."""
        self._words[LANE_AT] = lane_key
        name = os.fsencode(os.path.realpath(folder)) + b"\0"
        if len(name) <= HEAD_BYTES - FOLDER_BYTES_AT:
            self._map[FOLDER_BYTES_AT : FOLDER_BYTES_AT + len(name)] = name

    def folder(self) -> str:
        """Whose intake this is; empty where that is not told."""
        return os.fsdecode(self._map[FOLDER_BYTES_AT:HEAD_BYTES].partition(b"\0")[0])

    @property
    def lane_key(self) -> int:
        """The key of its lane."""
        return self._words[LANE_AT]

    def cursors(self) -> dict[int, int]:
        """All positions that are kept, by their keys."""
        pairs = range(CURSORS_AT, CURSORS_AT + 2 * MAX_CURSORS, 2)
        return {self._words[at]: self._words[at + 1] for at in pairs if self._words[at]}

    def origin(self) -> Origin | None:
        """Who wrote what is in the ring."""
        length, checksum = divmod(self._words[ORIGIN_AT], 1 << 32)
        text = self._map[ORIGIN_BYTES_AT : ORIGIN_BYTES_AT + min(length, HEAD_BYTES)]
        if not text or crc32(text) != checksum:
            return None
        return msgspec.json.decode(text, type=Origin)

    def append(self, record: bytes) -> None:
        """Write a record; there must be room."""
        start, size = self.written, self.size
        index, length = start % size, len(record)
        if index + length <= size:
            at = HEAD_BYTES + index
            self._map[at : at + length] = record
        else:
            first = size - index
            self._map[HEAD_BYTES + index :] = record[:first]
            self._map[HEAD_BYTES : HEAD_BYTES + length - first] = record[first:]
        # In one store: a process that is killed before has not accepted it.
        self._words[WRITTEN_AT] = self.written = start + length
        self.appended += 1
        if self.quiet:
            self.quiet = False
            self.on_new()

    def read(self, start: int, end: int) -> bytes:
        """The bytes of the log from `start` to `end`, which must not be overwritten yet."""
        size = self.size
        index, length = start % size, end - start
        at = HEAD_BYTES + index
        if index + length <= size:
            return self._map[at : at + length]
        return self._map[at:] + self._map[HEAD_BYTES : HEAD_BYTES + length - (size - index)]

    def holds(self, position: int) -> bool:
        """Whether the log can be read here from `position` on."""
        return self.written - self.size <= position

    def set_drained(self, position: int) -> None:
        """The disk has everything before `position`."""
        self._words[DRAINED_AT] = self.drained = position

    def cursor(self, key: int) -> int:
        """The position that was kept for `key`; 0 for none."""
        words = self._words
        for at in range(CURSORS_AT, CURSORS_AT + 2 * MAX_CURSORS, 2):
            if words[at] == key:
                return words[at + 1]
        return 0

    def set_cursor(self, key: int, position: int) -> None:
        """Keep a sink's position; past `MAX_CURSORS` of them they are only in the lane's file."""
        words = self._words
        for at in range(CURSORS_AT, CURSORS_AT + 2 * MAX_CURSORS, 2):
            if words[at] in (key, 0):
                words[at + 1] = position
                words[at] = key
                return

    def close(self, *, remove: bool) -> None:
        """Let go; `remove` the file when there is nothing in it that is not elsewhere."""
        self._words.release()
        if remove and self.path:
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass  # without a spool it never keeps its name
        self.unlock()
        self._map.close()

    def unlock(self) -> None:
        """Say that nobody uses it any more, as the end of the process does."""
        if self._lock >= 0:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_UN)  # the map has a descriptor of its own, which would keep it
            except OSError:
                pass  # the volume knows no locks
            os.close(self._lock)
        self._lock = -1


def _map_file(path: str, size: int) -> tuple[int, mmap.mmap]:
    """The file's descriptor, which holds its lock, and its memory."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise ValueError(f"{path} belongs to another user")
        _lock(descriptor)
        length = status.st_size if status.st_size > HEAD_BYTES else HEAD_BYTES + size
        try:
            os.posix_fallocate(descriptor, 0, length)  # a page that cannot be had later would end the process
        except OSError:
            if not status.st_size:
                os.unlink(path)
            raise
        return descriptor, mmap.mmap(descriptor, length)
    except BaseException:
        os.close(descriptor)
        raise


def _lock(descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # the volume knows no locks: then it is that of a lane, which nobody else takes
    if not os.fstat(descriptor).st_nlink:
        raise BlockingIOError("another process has just removed it")
