"""The numbers behind the metrics: doubles of this process, or of several that were forked from one parent.

Each process writes a slab of its own in a shared map. What is allocated before the fork stands at the same place in
all slabs; what a process allocates later is in its slab's directory, where the others find it.
"""

import mmap
import struct
import time
from collections.abc import Iterable, Iterator, MutableSequence
from typing import cast

import msgspec
from msgspec import Struct

SLAB_DOUBLES = 16384
DIRECTORY_BYTES = 1024 * 1024
CODES = range(100, 600)
HEAD = struct.Struct("@QQ")  # how often the directory was rewritten, twice (odd: it is being), and its bytes that are written
TRIES = 20  # to read a directory that is being rewritten


class Entry(Struct, frozen=True, array_like=True):
    """What stands at `index` of a slab: one series. `combine` says how several processes' gauges become one."""

    index: int
    name: str
    kind: str
    text: str
    labels: tuple[tuple[str, str], ...]
    bounds: tuple[float, ...] = ()
    combine: str = "sum"

    @property
    def size(self) -> int:
        """Its doubles: a histogram's buckets, one more without a bound, and the sum; one for each HTTP status; a gauge that
        is combined by `last` has the time beside its value."""
        if self.kind == "codes":
            return len(CODES)
        if self.kind == "histogram":
            return len(self.bounds) + 2
        return 2 if self.combine == "last" else 1


class Slabs:
    """`values` are this process's own; `count` is the number of processes that share them."""

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self.own = -1  # the slab that is written, once `attach` has said so
        self._used = 0
        self._free: dict[int, list[int]] = {}  # by size: what was allocated once
        self._directories: mmap.mmap | None = None
        self._read: dict[int, tuple[int, int, list[Entry]]] = {}  # by slab: head and entries of the last look
        self.values: MutableSequence[float]
        if count == 1:
            # A list counts in half the time, but only a map is shared with workers that are forked later.
            self._list: list[float] = []
            self._all: MutableSequence[float] = self._list
            self.values = self._all
        else:
            self._all = cast(MutableSequence[float], memoryview(mmap.mmap(-1, count * SLAB_DOUBLES * 8)).cast("d"))
            self.values = self._all[:SLAB_DOUBLES]
            self._directories = mmap.mmap(-1, count * DIRECTORY_BYTES)

    def attach(self, slab: int) -> list[Entry]:
        """Write to slab number `slab` from now on; what an earlier process has allocated there."""
        if self._directories is None:
            return []
        self.own = slab % self.count
        start = self.own * SLAB_DOUBLES
        self.values = self._all[start : start + SLAB_DOUBLES]
        rewritten, _ = HEAD.unpack_from(self._directories, self.own * DIRECTORY_BYTES)
        if rewritten % 2:  # it ended while it wrote
            HEAD.pack_into(self._directories, self.own * DIRECTORY_BYTES, rewritten + 1, 0)
        entries = self._entries(self._directories, self.own)
        self._used = max([self._used, *(entry.index + entry.size for entry in entries)])
        return entries

    def allocate(self, size: int) -> int:
        """The index of `size` doubles in a row, all 0. Raises ValueError where the slab is full."""
        if free := self._free.get(size):
            first = free.pop()
        else:
            first = self._used
            if first + size > SLAB_DOUBLES:
                raise ValueError("too many metrics for a slab")
            self._used += size
            if self._directories is None:
                self._list += [0.0] * size
        for index in range(first, first + size):
            self.values[index] = 0.0
        return first

    def release(self, entry: Entry) -> None:
        """Nobody counts there any more."""
        self._free.setdefault(entry.size, []).append(entry.index)

    # ---- what the other processes know of what was allocated after the fork

    def publish(self, entry: Entry) -> None:
        """Let them know of it. Raises ValueError where there is no room."""
        directories = self._directories
        if directories is None or self.own < 0:
            return
        at = self.own * DIRECTORY_BYTES
        rewritten, written = HEAD.unpack_from(directories, at)
        line = msgspec.json.encode(entry) + b"\n"
        if HEAD.size + written + len(line) > DIRECTORY_BYTES:
            raise ValueError("too many metrics for a slab")
        start = at + HEAD.size + written
        directories[start : start + len(line)] = line
        HEAD.pack_into(directories, at, rewritten, written + len(line))  # last: who reads meanwhile sees whole lines

    def rewrite(self, entries: Iterable[Entry]) -> None:
        """Let them know of these alone, which they knew."""
        directories = self._directories
        if directories is None or self.own < 0:
            return
        at = self.own * DIRECTORY_BYTES
        rewritten, _ = HEAD.unpack_from(directories, at)
        lines = b"".join([msgspec.json.encode(entry) + b"\n" for entry in entries])
        HEAD.pack_into(directories, at, rewritten + 1, 0)
        directories[at + HEAD.size : at + HEAD.size + len(lines)] = lines
        HEAD.pack_into(directories, at, rewritten + 2, len(lines))

    def published(self) -> Iterator[tuple[int, Entry]]:
        """What each process has allocated after the fork."""
        if self._directories is None:
            return
        for slab in range(self.count):
            for entry in self._entries(self._directories, slab):
                yield slab, entry

    def _entries(self, directories: mmap.mmap, slab: int) -> list[Entry]:
        at = slab * DIRECTORY_BYTES
        before, length, known = self._read.get(slab, (0, 0, []))
        for _ in range(TRIES):
            rewritten, written = HEAD.unpack_from(directories, at)
            if (rewritten, written) == (before, length):
                return known
            if rewritten % 2 == 0:
                added = rewritten == before
                text = directories[at + HEAD.size + (length if added else 0) : at + HEAD.size + written]
                if HEAD.unpack_from(directories, at)[0] == rewritten:
                    new = [msgspec.json.decode(line, type=Entry) for line in text.splitlines()]
                    known = [*known, *new] if added else new
                    self._read[slab] = (rewritten, written, known)
                    return known
            time.sleep(0.0001)
        return known

    def read(self, slab: int, index: int, size: int = 1) -> list[float]:
        """Some numbers of one process."""
        start = slab * SLAB_DOUBLES + index
        return list(self._all[start : start + size])
